"""Sorting and summing synapses: the order of equal ones, sums that cannot overflow."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import evsim
from evsim import construction
from evsim.build import build
from evsim.synapses import _scale_for


@given(
    lengths=st.lists(st.sampled_from([0, 1, 2, 20, 24, 25, 26, 90, 300]), min_size=1, max_size=6),
    n_keys=st.sampled_from([1, 2, 5, 1000, 2**20]),
    uniform=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_rows_are_sorted_by_synapse_and_then_by_weight(lengths, n_keys, uniform, seed):
    """Short rows and long ones, no, short and long runs of equal synapses."""
    rng = np.random.default_rng(seed)
    row_start = np.cumsum([0, *lengths])
    synapse = rng.integers(0, n_keys, row_start[-1], dtype=np.uint32)
    weight = np.concatenate([[7, 8], rng.integers(0, 2**32, row_start[-1])]).astype(np.uint32)
    expected, expected_weight = synapse.copy(), weight.copy()
    for first, stop in pairwise(row_start):
        keys = (expected_weight[first + 2 : stop + 2], expected[first:stop])
        order = np.argsort(keys[1], kind="stable") if uniform else np.lexsort(keys)
        expected[first:stop] = expected[first:stop][order]
        if not uniform:
            expected_weight[first + 2 : stop + 2] = expected_weight[first + 2 : stop + 2][order]
    scratch = np.empty(256, np.int64), np.empty(300, np.uint32), np.empty(300, np.uint32)
    construction.sort_rows(row_start, 0, len(lengths), 20, synapse, weight, 2, uniform, *scratch)
    np.testing.assert_array_equal(synapse, expected)
    np.testing.assert_array_equal(weight, expected_weight)


@given(largest=st.floats(5e-324, 1e308), number=st.integers(1, 2**40))
def test_scaled_sums_fit(largest, number):
    scale = _scale_for(largest, number)
    assert math.frexp(scale)[0] == 0.5  # a power of two
    assert (math.ceil(largest * scale) + 1) * number < 2**63


@given(
    weights=st.lists(st.floats(-3.0, 3.0, width=32), min_size=1, max_size=50),
    value=st.floats(-3.0, 3.0),
    uniform=st.booleans(),
)
@settings(deadline=None)
def test_integer_sums_bound_the_sums_of_weights_closely(weights, value, uniform):
    n = len(weights)
    scale = _scale_for(3.0, n)
    most, least = np.zeros((2, 4), np.int64)
    synapse, weight = np.full(n, 2 + 16, np.uint32), np.array(weights, np.float32)
    construction.sum_weights(
        np.array([0, n]), 0, 1, synapse, weight, 0, uniform, value, scale, np.uint32(15), most, least
    )
    used = [value] * n if uniform else weights
    for sums, sign in ((most, 1.0), (least, -1.0)):
        exact = math.fsum(max(sign * w, 0.0) for w in used)
        assert exact <= sums[2] / scale <= exact + n / scale + 1e-14
        assert not sums[[0, 1, 3]].any()


@pytest.mark.parametrize("threads", [2, 3])
def test_units_do_not_depend_on_threads(threads):
    net = evsim.Network(seed=8)
    cells = net.add_population("cells", 600, evsim.LIF(tau_syn=(1.0, 2.0)))
    net.connect(cells, cells, evsim.fixed_indegree(100), weight=evsim.lognormal(0.0, 1.0), delay=1.0)
    net.connect(cells[:99], cells, evsim.fixed_total_number(5000), weight=-0.1, delay=evsim.uniform(0.1, 2.0))
    one, several = (build(net, n, lambda done: None).model.input_unit for n in (1, threads))
    np.testing.assert_array_equal(one, several)
