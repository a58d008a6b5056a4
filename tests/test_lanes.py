"""Vectors of the processor's against the same on numbers."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evsim.jit import choose, compile_kernel
from evsim.lanes import (
    LANES,
    MASK,
    count_ones,
    load_lanes,
    load_some,
    mask_nonzero,
    plus_times,
    store_lanes,
    store_set,
    store_some,
    trailing_zeros,
)
from evsim.training.reset_gradient import through_spike

f32, u32, u64 = np.float32, np.uint32, np.uint64
FLOATS = st.floats(-4, 4, width=32)


@compile_kernel
def combine(x, y, out):
    a, b = load_lanes(x, u64(1)), load_lanes(y, u64(2))
    store_lanes(out, u64(0), a + b)
    store_lanes(out, u64(LANES), a - b * f32(3.0))
    store_lanes(out, u64(2 * LANES), f32(1.0) - a)
    store_lanes(out, u64(3 * LANES), choose(a > b, a, f32(0.5)))
    store_lanes(out, u64(4 * LANES), choose(a < f32(0.0), f32(0.0), choose(a == b, f32(7.0), b)))
    store_lanes(out, u64(5 * LANES), plus_times(a, f32(2.0), b))


@settings(deadline=None)
@given(arrays(np.float32, LANES + 1, elements=FLOATS), arrays(np.float32, LANES + 2, elements=FLOATS))
def test_arithmetic_is_that_of_numbers(x, y):
    out = np.empty(6 * LANES, np.float32)
    combine(x, y, out)
    a, b = x[1:], y[2:]
    of_both = np.where(a < 0, f32(0), np.where(a == b, f32(7), b))
    wanted = a + b, a - b * f32(3), f32(1) - a, np.where(a > b, a, f32(0.5)), of_both, a + f32(2) * b
    np.testing.assert_array_equal(out.reshape(6, LANES), np.array(wanted))


@compile_kernel
def add_whole(x, y, out):
    store_lanes(out, u64(0), load_lanes(x, u64(0)) + load_lanes(y, u64(0)))


def test_whole_numbers_are_added():
    x, out = np.arange(LANES, dtype=np.int32), np.zeros(LANES, np.int32)
    add_whole(x, -3 * x, out)
    np.testing.assert_array_equal(out, -2 * x)


@compile_kernel
def move_some(x, count, n, out):
    store_some(out, u64(1), n, load_some(x, u64(0), n) + load_some(count, u64(0), n))


@pytest.mark.parametrize("n", [0, 1, 10, LANES])
def test_no_more_than_some_are_read_and_written(n):
    x, count, out = np.arange(n, dtype=np.float32), np.full(n, 200, np.uint8), np.full(LANES + 2, -1, np.float32)
    move_some(x, count, u64(n), out)
    np.testing.assert_array_equal(out, [-1, *(np.arange(n) + 200), *[-1] * (LANES + 1 - n)])


@compile_kernel
def list_set(first, bits, out):
    store_set(out, u64(1), u32(first), bits)
    return count_ones(bits)


@pytest.mark.parametrize("bits", range(16))
def test_sets_of_four_are_listed(bits):
    out = np.zeros(5, np.uint32)
    wanted = [100 + i for i in range(4) if bits >> i & 1]
    assert list_set(100, u64(bits), out) == len(wanted)
    np.testing.assert_array_equal(out[1 : 1 + len(wanted)], wanted)


@compile_kernel
def first_nonzero(x):
    return trailing_zeros(mask_nonzero(x, u64(1)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("at", [0, 17, 63])
def test_masks_show_what_is_not_zero(dtype, at):
    x = np.zeros(MASK + 1, dtype)
    x[1 + at :] = 0.25 if dtype == np.float32 else 3
    assert first_nonzero(x) == at


@compile_kernel
def spike_numbers(h, s, slope, ds, dv, spiking, soft, detach, out):
    for i in range(out.size):
        out[i] = through_spike(h[i], s[i], slope[i], ds[i], dv[i], f32(0.3), f32(-1.0), spiking, soft, detach)


@compile_kernel
def spike_lanes(h, s, slope, ds, dv, spiking, soft, detach, out):
    at = u64(0)
    x, count, d, given_ds = load_lanes(h, at), load_lanes(s, at), load_lanes(slope, at), load_lanes(ds, at)
    v = load_lanes(dv, at)
    store_lanes(out, at, through_spike(x, count, d, given_ds, v, f32(0.3), f32(-1.0), spiking, soft, detach))


@pytest.mark.parametrize("flags", list(product((False, True), repeat=3)))
def test_one_function_of_the_physics_serves_both(flags):
    rng = np.random.default_rng(4)
    h, slope, ds, dv = rng.normal(size=(4, LANES)).astype(np.float32)
    s = rng.integers(0, 3, LANES).astype(np.float32)
    numbers, lanes = np.empty((2, LANES), np.float32)
    spike_numbers(h, s, slope, ds, dv, *flags, numbers)
    spike_lanes(h, s, slope, ds, dv, *flags, lanes)
    np.testing.assert_array_equal(lanes, numbers)
