"""Graphs that snnTorch, Norse and sinabs wrote: the same spikes as there, or the difference and what makes it good.

The files and the script that made them are in tests/data (make_nir_golden.py).
"""

from pathlib import Path

import numpy as np
import pytest
from nir_graphs import run_network

import evsim
from evsim.io.nir_file import read_nir

FOLDER = Path(__file__).parent / "data"
GOLDEN = np.load(FOLDER / "nir_golden.npz")
SNNTORCH = {"dt": 1e-4, "method": "euler"}  # the dt that it writes for
NORSE = {"dt": 1e-3, "method": "euler"}


def both(name, graph=None, **options):
    """What evsim gives, and what the peer gave."""
    net = evsim.from_nir(FOLDER / f"nir_{name}.nir" if graph is None else graph, **options)
    return net(GOLDEN[f"{name}/x"]), GOLDEN[f"{name}/out"]


@pytest.mark.parametrize(
    ("name", "options"), [("snntorch_zero", SNNTORCH), ("snntorch_recurrent", SNNTORCH), ("norse_box", NORSE)]
)
def test_the_same_output(name, options):
    given, expected = both(name, **options)
    assert expected.any()
    np.testing.assert_allclose(given, expected, rtol=0, atol=1e-6)


def test_snntorch_subtracts_a_step_later():
    """mem <- beta mem + x - threshold after a spike: beta (mem - threshold / beta) + x, so threshold / beta at once."""
    given, expected = both("snntorch_subtract", **SNNTORCH, reset="subtract")
    assert (given != expected).any()
    graph = read_nir(FOLDER / "nir_snntorch_subtract.nir")
    for node in graph.nodes.values():
        if hasattr(node, "v_threshold"):
            beta = 1.0 - SNNTORCH["dt"] / getattr(node, "tau", getattr(node, "tau_mem", None))
            node.v_reset = node.v_threshold - node.v_threshold / beta  # what is taken off is v_threshold - v_reset
    given, expected = both("snntorch_subtract", graph, **SNNTORCH, reset="subtract")
    np.testing.assert_array_equal(given, expected)


def test_norse_s_default_dt_scales_time_constants():
    """Written with dt = 0.001, time constants are thousandths of the true ones: so must the dt of the reader be."""
    given, expected = both("norse_scaled", dt=1e-6, method="euler")
    np.testing.assert_allclose(given, expected, rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match=r"node '1' \(LIF\): LIF: tau is 5e-06; with method 'euler'"):
        both("norse_scaled", **NORSE)


def test_norse_s_current_jumps_by_the_whole_input():
    """It writes w_in = 1 where an input held for dt needs tau_syn / dt."""
    given, expected = both("norse_current", **NORSE)
    assert given.sum() < expected.sum()
    graph = read_nir(FOLDER / "nir_norse_current.nir")
    for node in graph.nodes.values():
        if hasattr(node, "w_in"):
            node.w_in = node.tau_syn / NORSE["dt"]
    given, expected = both("norse_current", graph, **NORSE)
    np.testing.assert_array_equal(given, expected)


def test_sinabs_counts_time_in_steps_and_leaves_out_norm_input():
    """Its neurons' spikes are the same; its ExpLeak, without norm_input, gives 1 / (1 - alpha) of an LI."""
    given, expected = both("sinabs_single", dt=1.0, reset="subtract")
    np.testing.assert_allclose(given / (1.0 - np.exp(-1.0 / 5.0)), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["snntorch_recurrent", "snntorch_zero"])
def test_the_same_as_a_network(name):
    net = evsim.from_nir(FOLDER / f"nir_{name}.nir", **SNNTORCH, to="network")
    x = GOLDEN[f"{name}/x"][:, 0]
    given = run_network(net, {"input": x.reshape(len(x), -1)})
    np.testing.assert_array_equal(given["output"], GOLDEN[f"{name}/out"][:, 0])


@pytest.mark.parametrize("name", ["snntorch_zero", "snntorch_recurrent", "norse_box", "norse_current", "sinabs_single"])
def test_read_and_written_they_are_the_same(name, tmp_path):
    """Parameters and weights are equal, and so is the output."""
    options = {"snntorch": SNNTORCH, "norse": NORSE, "sinabs": {"dt": 1.0}}[name.split("_")[0]]
    net = evsim.from_nir(FOLDER / f"nir_{name}.nir", **options)
    evsim.to_nir(net, tmp_path / "again.nir", strict=True)
    again = evsim.from_nir(tmp_path / "again.nir")
    for key, value in net.parameters().items():
        np.testing.assert_array_equal(again.parameters()[key], value)
    original, written = (read_nir(path) for path in (FOLDER / f"nir_{name}.nir", tmp_path / "again.nir"))
    for layer, node in written.nodes.items():
        if layer in original.nodes and hasattr(node, "r"):
            for parameter in vars(node).keys() - {"input_type", "output_type", "metadata"}:
                one, other = (getattr(each.nodes[layer], parameter) for each in (original, written))
                np.testing.assert_array_equal(*np.broadcast_arrays(one, other))
    x = GOLDEN[f"{name}/x"]
    np.testing.assert_array_equal(again(x), net(x))
