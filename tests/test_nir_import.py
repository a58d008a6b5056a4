"""NIR graphs by hand, as a Sequential and as a Network: layers, branches, feedback, delays, subgraphs, mistakes."""

import os
import subprocess
import sys
from pathlib import Path

import h5py
import nir_graphs as graphs
import numpy as np
import pytest
from nir_graphs import chain, full, graph, neurons, nir

import evsim
from evsim.checks import DelayWarning

DT = 1e-3
RNG = np.random.default_rng(11)


@pytest.fixture(autouse=True)
def _same_numbers():
    """For each test, whichever run."""
    RNG.bit_generator.state = np.random.default_rng(11).bit_generator.state


def weights(*shape):
    return RNG.normal(0.2, 1.0, shape).astype(np.float32)


def counts(*shape, rate=0.3):
    return (RNG.random(shape) < rate).astype(np.uint8)


def padded(x, before, after):
    """x (C, ...) with zeros around each axis but the first."""
    return np.pad(x, [(0, 0), *zip(before, after, strict=True)])


def convolve(x, weight, bias, stride, padding, dilation, groups):
    """One sample (C, H, W), by the definition; padding is (before, after) for each axis."""
    x = padded(x, *padding)
    out_channels, in_channels, *kernel = weight.shape
    sizes = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(x.shape[1:], kernel, stride, dilation, strict=True)]
    y = np.zeros((out_channels, *sizes))
    for o, *at in np.ndindex(y.shape):
        group = o // (out_channels // groups)
        for c, *k in np.ndindex(weight.shape[1:]):
            place = tuple(i * s + a * d for i, s, a, d in zip(at, stride, k, dilation, strict=True))
            y[(o, *at)] += weight[(o, c, *k)] * x[(group * in_channels + c, *place)]
    return y + bias.reshape(-1, *[1] * len(sizes))


CONVOLUTIONS = {  # name: (shape, weight shape, stride, padding, dilation, groups)
    "plain": ((2, 6, 7), (4, 2, 3, 2), 1, 0, 1, 1),
    "strided": ((2, 8, 7), (3, 2, 3, 3), (2, 3), (1, 2), 1, 1),
    "dilated": ((1, 9, 9), (2, 1, 3, 3), 1, (2, 1), (2, 3), 1),
    "grouped": ((4, 6, 6), (6, 2, 3, 3), 2, 1, 1, 2),
    "same": ((2, 6, 6), (3, 2, 3, 5), 1, "same", (2, 1), 1),
    "same, even": ((2, 6, 7), (3, 2, 2, 4), 1, "same", 1, 1),
    "same, even, dilated": ((1, 9, 9), (2, 1, 2, 4), 1, "same", 3, 1),
    "valid": ((1, 5, 6), (2, 1, 3, 3), 1, "valid", 1, 1),
    "one axis": ((2, 12), (4, 2, 3), 2, 1, 2, 1),
    "one axis, same": ((4, 11), (4, 2, 4), 1, "same", 1, 2),
}


def around(weight, padding, dilation):
    """Zeros before and after each axis."""
    kernel = weight.shape[2:]
    if padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        return [t // 2 for t in total], [t - t // 2 for t in total]
    each = np.broadcast_to(0 if padding == "valid" else padding, len(kernel))
    return each, each


@pytest.mark.parametrize("to", ["sequential", "network"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name, to):
    shape, weight_shape, stride, padding, dilation, groups = CONVOLUTIONS[name]
    axes = len(shape) - 1
    weight, bias = weights(*weight_shape), weights(weight_shape[0])
    kind = nir.Conv2d if axes == 2 else nir.Conv1d
    node = kind(None, weight, stride, padding, dilation, groups, bias)
    pairs = [tuple(np.broadcast_to(value, axes)) for value in (stride, dilation)]
    x = counts(6, 1, *shape)
    expected = [
        convolve(each, weight, bias, pairs[0], around(weight, padding, pairs[1]), pairs[1], groups)
        for each in x[:, 0].astype(float)
    ]
    net = evsim.from_nir(chain(shape, node), dt=DT, to=to)
    given = net(x)[:, 0] if to == "sequential" else graphs.run_network(net, {"input": x})["output"]
    np.testing.assert_allclose(given.reshape(np.shape(expected)), expected, atol=2e-4)


@pytest.mark.parametrize("to", ["sequential", "network"])
@pytest.mark.parametrize("kind", ["SumPool2d", "AvgPool2d"])
def test_pools(kind, to):
    kernel, stride, padding = np.array([3, 2]), np.array([2, 2]), np.array([1, 0])
    node = getattr(nir, kind)(kernel, stride, padding)
    x = counts(5, 1, 2, 7, 6)
    area = 6.0 if kind == "AvgPool2d" else 1.0
    ones = full(1.0, 2, 1, 3, 2)
    expected = [
        convolve(each, ones, np.zeros(2), stride, (padding, padding), (1, 1), 2) / area
        for each in x[:, 0].astype(float)
    ]
    net = evsim.from_nir(chain((2, 7, 6), node), dt=DT, to=to)
    given = net(x)[:, 0] if to == "sequential" else graphs.run_network(net, {"input": x})["output"]
    np.testing.assert_allclose(given.reshape(np.shape(expected)), expected, rtol=1e-5)


@pytest.mark.parametrize("to", ["sequential", "network"])
def test_affine_linear_and_flatten(to):
    first, second, bias = weights(5, 12), weights(3, 5), weights(5)
    nodes = nir.Flatten({"input": np.array([2, 3, 2])}, 0, -1), nir.Affine(first, bias), nir.Linear(second)
    x = counts(5, 1, 2, 3, 2)
    net = evsim.from_nir(chain((2, 3, 2), *nodes), dt=DT, to=to)
    given = net(x)[:, 0] if to == "sequential" else graphs.run_network(net, {"input": x})["output"]
    np.testing.assert_allclose(given, (x.reshape(5, 12) @ first.T + bias) @ second.T, rtol=0, atol=2e-4)


SCALES = {
    "one dimension": ((4,), weights(4), []),
    "a number": ((4,), np.float32(0.5), []),
    "channels": ((2, 3, 3), np.repeat(weights(2), 9).reshape(2, 3, 3), []),
    "taken into r": ((3, 4), weights(3, 4), [neurons("LI", 3, 4)]),
    "taken into w_in": ((4,), weights(4), [neurons("CubaLI", 4)]),
    "before a threshold": ((4,), weights(4), [nir.Threshold(full(0.1, 4))]),
}


@pytest.mark.parametrize("name", SCALES)
def test_scale(name):
    shape, scale, behind = SCALES[name]
    x = RNG.normal(size=(5, 2, *shape)).astype(np.float32)
    net = evsim.from_nir(chain(shape, nir.Scale(scale), *behind), dt=DT, to="sequential")
    expected = x * scale
    if behind:
        expected = evsim.from_nir(chain(shape, *behind), dt=DT)(expected)
    np.testing.assert_allclose(net(x), expected, atol=1e-5)


def test_scale_of_each_unit_and_a_partial_flatten_make_a_network():
    scale = weights(2, 3, 2)
    nodes = nir.Scale(scale), nir.Flatten(None, 1, -1), nir.Threshold(full(0.1, 2, 6))
    net = evsim.from_nir(chain((2, 3, 2), *nodes), dt=DT)
    assert isinstance(net, evsim.Network)
    x = counts(9, 12)
    np.testing.assert_array_equal(graphs.run_network(net, {"input": x})["output"], x * scale.reshape(-1) > 0.1)
    with pytest.raises(ValueError, match=r"node '0' \(Scale\) differs within a channel.*cannot be a Sequential"):
        evsim.from_nir(chain((2, 3, 2), *nodes), dt=DT, to="sequential")


def test_a_scale_counts_once_where_a_chain_becomes_a_network():
    """What is found to be no Sequential half-way leaves nothing behind."""
    scale, last = nir.Scale(np.array([3.0, 0.25], np.float32)), nir.Delay(full(2 * DT, 2))
    net = evsim.from_nir(chain((2,), scale, neurons("LIF", 2), last, relay(2)), dt=DT)
    x = np.ones((30, 2), np.uint8)
    expected = evsim.from_nir(chain((2,), scale, neurons("LIF", 2)), dt=DT)(x[:, None])[:, 0]
    assert expected[:, 0].any()
    np.testing.assert_array_equal(graphs.run_network(net, {"input": x})["output"][2:], expected[:-2])


@pytest.mark.parametrize("kind", ["IF", "LIF", "CubaLIF", "LI", "CubaLI", "I"])
def test_a_network_gives_what_a_sequential_does(kind):
    nodes = nir.Affine(weights(8, 6), weights(8)), neurons(kind, 8)
    x = counts(60, 1, 6)
    layers = evsim.from_nir(chain((6,), *nodes), dt=DT)
    given = graphs.run_network(evsim.from_nir(chain((6,), *nodes), dt=DT, to="network"), {"input": x}, threads=2)
    out = layers(x)[:, 0]
    assert out.any()
    np.testing.assert_allclose(given["output"], out, atol=1e-5 * np.abs(out).max())  # spikes: the same


def test_a_number_stands_for_all_neurons():
    """As snnTorch and Norse write them."""
    one = nir.LIF(*(np.asarray(value, np.float32) for value in (0.01, 2.0, 0.0, 0.5, 0.0)))
    all_of_them = nir.LIF(*(full(value, 7) for value in (0.01, 2.0, 0.0, 0.5, 0.0)))
    x = RNG.normal(0.5, 1, (40, 1, 7)).astype(np.float32)
    outs = [evsim.from_nir(chain((7,), node), dt=DT)(x) for node in (one, all_of_them)]
    np.testing.assert_array_equal(*outs)
    assert outs[0].any()


def relay(n):
    """Neurons that pass spikes on."""
    return nir.Threshold(full(0.5, n))


def ends(n=1, m=1):
    return {"in": nir.Input(np.array([n])), "out": nir.Output(np.array([m]))}


def spikes(*steps, n=20):
    x = np.zeros((n, 1), np.uint8)
    x[list(steps)] = 1
    return x


def times(given):
    return np.flatnonzero(given).tolist()


def test_branches_and_joins_are_sums_of_the_same_step():
    a, b, c = weights(4, 5), weights(4, 5), weights(3, 4)
    nodes = {
        "in": nir.Input(np.array([5])),
        "left": nir.Linear(a),
        "right": nir.Affine(b, weights(4)),
        "both": neurons("LIF", 4),
        "skip": nir.Linear(weights(3, 5)),
        "last": nir.Linear(c),
        "end": neurons("IF", 3),
        "out": nir.Output(np.array([3])),
        "seen": nir.Output(np.array([4])),
    }
    edges = [("in", "left"), ("in", "right"), ("left", "both"), ("right", "both"), ("both", "last"), ("last", "end"),
             ("in", "skip"), ("skip", "end"), ("end", "out"), ("both", "seen")]  # fmt: skip
    net = evsim.from_nir(graph(nodes, edges), dt=DT)
    assert net.feedback == []
    x = counts(80, 5)
    given = graphs.run_network(net, {"in": x})
    # the same as two chains, the second with the spikes of the first and the input side by side
    first = chain((5,), nir.Affine(a + b, nodes["right"].bias), nodes["both"])
    hidden = evsim.from_nir(first, dt=DT)(x[:, None])
    second = chain((9,), nir.Linear(np.hstack([c, nodes["skip"].weight])), nodes["end"])
    out = evsim.from_nir(second, dt=DT)(np.concatenate([hidden[:, 0], x], axis=1)[:, None])
    np.testing.assert_array_equal(given["seen"], hidden[:, 0])
    np.testing.assert_array_equal(given["out"], out[:, 0])
    assert out.any()


def test_two_inputs_add_up_and_an_output_can_be_a_sum():
    nodes = {"a": nir.Input(np.array([2])), "b": nir.Input(np.array([3])), "to": nir.Linear(weights(4, 3)),
             "of a": nir.Linear(weights(4, 2)), "out": nir.Output(np.array([4]))}  # fmt: skip
    net = evsim.from_nir(graph(nodes, [("a", "of a"), ("b", "to"), ("of a", "out"), ("to", "out")]), dt=DT)
    assert list(net.inputs) == ["a", "b"]
    a, b = counts(10, 2) * 3, counts(10, 3)
    given = graphs.run_network(net, {"a": a, "b": b})["out"]
    np.testing.assert_allclose(given, a @ nodes["of a"].weight.T + b @ nodes["to"].weight.T, atol=1e-4)


def test_a_delay_is_whole_steps_of_each_unit():
    delay = np.array([0.0, 1e-3, 3e-3, 7e-3], np.float32)
    net = evsim.from_nir(chain((4,), relay(4), nir.Delay(delay), relay(4)), dt=DT)
    x = np.zeros((20, 4), np.uint8)
    x[[2, 5]] = 1
    given = graphs.run_network(net, {"input": x})["output"]
    for unit, steps in enumerate((0, 1, 3, 7)):
        assert times(given[:, unit]) == [2 + steps, 5 + steps]


def test_delays_off_the_grid_are_rounded_with_a_warning():
    with pytest.warns(
        DelayWarning, match=r"node '1' \(Delay\): delay 0.0013 is not a multiple of dt = 0.001 and becomes"
    ):
        net = evsim.from_nir(chain((1,), relay(1), nir.Delay(full(1.3e-3, 1)), relay(1)), dt=DT)
    assert times(graphs.run_network(net, {"input": spikes(4)})["output"]) == [5]


def test_delays_of_no_step_leave_a_sequential():
    net = evsim.from_nir(chain((1,), relay(1), nir.Delay(full(0.0, 1)), relay(1)), dt=DT)
    assert isinstance(net, evsim.Sequential)
    assert len(net) == 2


def test_feedback_takes_a_step():
    """A ring of two relays: the edge that closes it is a step late."""
    nodes = {**ends(), "a": relay(1), "b": relay(1)}
    edges = [("in", "a"), ("a", "b"), ("b", "a"), ("b", "out")]
    net = evsim.from_nir(graph(nodes, edges), dt=DT)
    assert net.feedback == [("b", "a")]
    assert times(graphs.run_network(net, {"in": spikes(3)})["out"]) == list(range(3, 20))


@pytest.mark.parametrize("steps", [1, 4])
def test_feedback_over_a_delay_takes_the_delay_only(steps):
    nodes = {**ends(), "a": relay(1), "b": relay(1), "wait": nir.Delay(full(steps * 1e-3, 1))}
    net = evsim.from_nir(graph(nodes, [("in", "a"), ("a", "b"), ("b", "wait"), ("wait", "a"), ("b", "out")]), dt=DT)
    assert net.feedback == []
    assert times(graphs.run_network(net, {"in": spikes(3)})["out"]) == list(range(3, 20, steps))


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("connection", ["Linear", "Affine", "Scale", None])
def test_recurrent_neurons(connection, order):
    """An edge back, over a connection: x[t] + connection(spikes[t - 1]); the order of edges does not matter."""
    made = {
        "Linear": lambda: nir.Linear(weights(5, 5)),
        "Affine": lambda: nir.Affine(weights(5, 5), weights(5)),
        "Scale": lambda: nir.Scale(weights(5)),
        None: lambda: None,
    }[connection]()
    first = nir.Linear(3.0 * weights(5, 4))
    nodes = {**ends(4, 5), "w": first, "n": neurons("LIF", 5)}
    edges = [("in", "w"), ("w", "n"), ("n", "out")]
    if made is None:
        edges.append(("n", "n"))
    else:
        nodes["back"] = made
        edges += [("n", "back"), ("back", "n")]
    recurrent = graph(nodes, edges[::order])
    x = counts(60, 1, 4)
    net = evsim.from_nir(recurrent, dt=DT)
    assert isinstance(net[1], evsim.Recurrent)
    weight = np.eye(5) if made is None else np.diag(made.scale) if connection == "Scale" else made.weight
    back = evsim.Linear(5, 5, weight=weight, bias=getattr(made, "bias", False))
    model = evsim.from_nir(chain((5,), nodes["n"]), dt=DT)[0]
    expected = evsim.Sequential(evsim.Linear(4, 5, weight=first.weight, bias=False), evsim.Recurrent(model, back))(x)
    assert expected.any()
    np.testing.assert_array_equal(net(x), expected)
    in_network = graphs.run_network(evsim.from_nir(recurrent, dt=DT, to="network"), {"in": x})
    np.testing.assert_array_equal(in_network["out"], expected[:, 0])


def test_subgraphs_dissolve():
    """A subgraph within a subgraph, recurrent, twice the same one."""
    core = graph(
        {"input": nir.Input(np.array([3])), "n": neurons("LIF", 3), "w": nir.Linear(weights(3, 3)),
         "output": nir.Output(np.array([3]))},
        [("input", "n"), ("n", "w"), ("w", "n"), ("n", "output")],
    )  # fmt: skip
    wrapped = graph(
        {"from": nir.Input(np.array([3])), "core": core, "to": nir.Output(np.array([3]))},
        [("from", "core"), ("core", "to")],
    )
    first, second = nir.Linear(weights(3, 3)), nir.Linear(weights(3, 3))
    net = evsim.from_nir(chain((3,), first, wrapped, second, core), dt=DT)
    assert [type(layer).__name__ for layer in net] == ["Linear", "Recurrent", "Linear", "Recurrent"]
    network = evsim.from_nir(chain((3,), first, wrapped, second, core), dt=DT, to="network")
    assert {"1.core.n", "3.n"} < set(network.populations)
    x = counts(40, 1, 3, rate=0.6)
    np.testing.assert_array_equal(graphs.run_network(network, {"input": x})["output"], net(x)[:, 0])


def test_the_batch_engine_and_a_simulation_by_add_to():
    nodes = nir.Affine(weights(8, 6), weights(8)), neurons("CubaLIF", 8), nir.Linear(weights(4, 8)), neurons("IF", 4)
    net = evsim.from_nir(chain((6,), *nodes), dt=DT)
    x = counts(50, 3, 6)
    out = net(x)
    network = evsim.Network(dt=net.dt)
    steps, ids = np.nonzero(x[:, 1])
    source = network.add_spike_source("input", 6, ids, steps * net.dt)
    last = net.add_to(network, "net", source)[-1]
    sim = evsim.Simulation(network, backend="cpu")
    sim.record(spikes=[last])
    sim.run(50 * net.dt)
    ids, at = sim.spikes(last)
    counted = np.zeros((50, 4))
    np.add.at(counted, (np.rint(at / net.dt).astype(int), ids), 1)
    np.testing.assert_array_equal(counted, out[:, 1])
    assert out[:, 1].any()


CUDA = """
import sys
sys.path.insert(0, "tests")
import numpy as np, nir, evsim, nir_graphs as g
rng = np.random.default_rng(0)
w = lambda *shape: rng.normal(0.2, 1.0, shape).astype(np.float32)
nodes = nir.Affine(w(8, 6), w(8)), g.neurons("CubaLIF", 8), nir.Linear(w(4, 8)), g.neurons("LIF", 4)
made = g.chain((6,), *nodes)
x = (rng.random((12, 2, 6)) < 0.5).astype(np.uint8)
outs = [evsim.from_nir(made, dt=1e-3, backend=b)(x) for b in ("cpu", "cuda")]
assert outs[0].any() and outs[0].tobytes() == outs[1].tobytes()
sums = []
for backend in ("cpu", "cuda"):
    net = evsim.from_nir(made, dt=1e-3, to="network")
    net.add_current("x", net.inputs["input"], x[:, 0].astype(float))
    sim = evsim.Simulation(net, backend=backend)
    sim.run(12 * net.dt)
    sums.append((sim.spike_checksum, sim.spike_counts()["3"]))
assert sums[0] == sums[1] and sums[0][1] > 0
print("equal")
"""


@pytest.mark.slow
def test_both_engines_on_the_cuda_simulator():
    pytest.importorskip("evsim.cuda_kernels.target", exc_type=ImportError)
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    command = [sys.executable, "-c", CUDA]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], env=environment, capture_output=True, text=True)
    assert done.stdout == "equal\n", done.stderr


def lif(n):
    return neurons("LIF", n)


MISTAKES = {
    "edge to nothing": (
        lambda: graph({**ends(), "a": lif(1)}, [("in", "a"), ("a", "b"), ("a", "out")]),
        "edge 'a' -> 'b': there is no node 'b'; nodes are 'in', 'out', 'a'",
    ),
    "edge twice": (
        lambda: graph({**ends(), "a": lif(1)}, [("in", "a"), ("in", "a"), ("a", "out")]),
        "edge 'in' -> 'a': it is there twice",
    ),
    "edge into an input": (
        lambda: graph({**ends(), "a": lif(1)}, [("in", "a"), ("a", "in"), ("a", "out")]),
        "edge 'a' -> 'in': nothing enters an Input",
    ),
    "neurons of another shape": (
        lambda: chain((4,), nir.Linear(weights(5, 4)), lif(6)),
        r"edge '0' -> '1': \(5,\) enters node '1' \(LIF\), which takes \(6,\), the shape of its tau",
    ),
    "matrix of another shape": (
        lambda: chain((4,), nir.Linear(weights(5, 3))),
        r"edge 'input' -> '0': node '0' \(Linear\): its input has shape \(4,\); it must be \(3,\)",
    ),
    "image into a matrix": (
        lambda: chain((1, 2, 3), nir.Linear(weights(5, 6))),
        r"edge 'input' -> '0': .*must be \(6,\); put a Flatten\(\) before it",
    ),
    "stack of matrices": (lambda: chain((4,), nir.Linear(weights(2, 3, 4))), r"weight has shape \(2, 3, 4\)"),
    "channels": (
        lambda: chain((2, 5, 5), nir.Conv2d(None, weights(3, 1, 3, 3), 1, 0, 1, 1, full(0, 3))),
        r"edge 'input' -> '0': node '0' \(Conv2d\): its input has shape \(2, 5, 5\); it must be \(1, height, width\)",
    ),
    "kernel too large": (
        lambda: chain((1, 2, 5), nir.Conv2d(None, weights(3, 1, 3, 3), 1, 0, 1, 1, full(0, 3))),
        r"edge 'input' -> '0': node '0' \(Conv2d\): a window spans 3 places",
    ),
    "same with a stride": (
        lambda: chain((1, 5, 5), nir.Conv2d(None, weights(3, 1, 3, 3), 2, "same", 1, 1, full(0, 3))),
        r"node '0' \(Conv2d\): padding is 'same' and stride \(2, 2\)",
    ),
    "bias of another shape": (
        lambda: chain((4,), nir.Affine(weights(3, 4), weights(2))),
        r"node '0' \(Affine\): .*bias has shape \(2,\); it must have shape \(3,\)",
    ),
    "pool of a line": (
        lambda: chain((2, 8), nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))),
        r"edge 'input' -> '0': node '0' \(SumPool2d\): its input has shape \(2, 8\)",
    ),
    "flatten of another shape": (
        lambda: chain((2, 8), nir.Flatten({"input": np.array([2, 9])}, 0, -1)),
        r"edge 'input' -> '0': \(2, 8\) enters node '0' \(Flatten\), which takes \(2, 9\)",
    ),
    "flatten of axes that are not there": (
        lambda: chain((2, 8), nir.Flatten(None, 0, 3)),
        r"node '0' \(Flatten\); its start_dim 0 and end_dim 3 must be axes of it",
    ),
    "output of another shape": (
        lambda: chain((4,), lif(4), out=(5,)),
        r"edge '0' -> 'output': \(4,\) enters node 'output' \(Output\), which takes \(5,\)",
    ),
    "join of two shapes": (
        lambda: graph(
            {**ends(3, 2), "a": nir.Linear(weights(2, 3)), "n": nir.LIF(*(np.float32(v) for v in (1, 1, 0, 1, 0)))},
            [("in", "a"), ("a", "n"), ("in", "n"), ("n", "out")],
        ),
        r"edge 'a' -> 'n': node 'a' \(Linear\) gives \(2,\), but node 'n' \(LIF\) takes \(3,\)",
    ),
    "no input": (lambda: graph({"a": lif(1)}, []), "it has no Input"),
    "no way to it": (
        lambda: graph({**ends(), "a": lif(1), "b": lif(1)}, [("in", "a"), ("a", "out"), ("b", "b")]),
        r"node 'b' \(LIF\): no way leads to it",
    ),
    "nothing within": (lambda: graph(ends(), [("in", "out")]), "nothing lies between node 'in'"),
    "tau of 0": (
        lambda: chain((1,), nir.LI(full(0, 1), full(1, 1), full(0, 1))),
        r"node '0' \(LI\): tau is 0.0; it must be above 0",
    ),
    "nan": (
        lambda: chain((2,), nir.I(np.array([1.0, np.nan], np.float32))),
        r"node '0' \(I\): r\[1\] is nan; it must be finite",
    ),
    "reset above the threshold": (
        lambda: chain((1,), nir.IF(full(1, 1), full(1, 1), full(2, 1))),
        r"node '0' \(IF\): v_reset is 2.0, v_threshold 1; v_reset must be below v_threshold",
    ),
    "negative delay": (
        lambda: chain((1,), relay(1), nir.Delay(full(-1.0, 1)), relay(1)),
        r"node '1' \(Delay\): delay is -1 to -1; it must be finite and at least 0",
    ),
    "subgraph with two inputs": (
        lambda: chain((1,), graph({**ends(), "more": nir.Input(np.array([1]))}, [("in", "out")])),
        r"node '0' \(NIRGraph\): it has 2 Inputs and 1 Outputs",
    ),
    "mistake in a subgraph": (
        lambda: chain((1,), graph({**ends(), "a": lif(1)}, [("in", "a"), ("a", "x")])),
        "subgraph '0', edge 'a' -> 'x': there is no node 'x'",
    ),
    "cycle without neurons": (
        lambda: graph(
            {**ends(), "a": nir.Scale(full(0.5, 1)), "b": nir.Scale(full(0.5, 1))},
            [("in", "a"), ("a", "b"), ("b", "a"), ("b", "out")],
        ),
        r"node '[ab]' \(Scale\): it lies on a cycle without neurons",
    ),
    "values between populations": (
        lambda: graph(
            {**ends(), "a": neurons("LI", 1), "b": lif(1), "c": lif(1)},
            [("in", "a"), ("a", "b"), ("a", "c"), ("b", "out"), ("c", "out")],
        ),
        r"edge 'a' -> 'b': node 'a' \(LI\) does not spike; in a Network only spikes go from node to node",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_name_node_and_edge(name):
    make, words = MISTAKES[name]
    with pytest.raises(ValueError, match=words):
        evsim.from_nir(make(), dt=DT)


def test_arguments_that_cannot_be():
    made = chain((1,), lif(1))
    for more, words in (
        ({}, "does not say its dt; give dt= "),
        ({"dt": 0.0}, "dt is 0.0; it must be above 0"),
        ({"dt": DT, "method": "rk4"}, "method is 'rk4'; it must be one of exact, euler"),
        ({"dt": DT, "reset": "soft"}, "reset is 'soft'; it must be one of to_value, subtract"),
        ({"dt": DT, "to": "batch"}, "to is 'batch'"),
        ({"dt": 1.0, "method": "euler"}, r"node '0' \(LIF\): LIF: tau is 0.005; with method 'euler'"),
    ):
        with pytest.raises(ValueError, match=words):
            evsim.from_nir(made, **more)
    with pytest.raises(TypeError, match=r"graph is 3; it must be a path or a nir\.NIRGraph"):
        evsim.from_nir(3, dt=DT)


def test_why_a_graph_is_no_sequential():
    ring = {**ends(), "a": relay(1), "b": relay(1)}
    split = {**ends(), "a": relay(1), "b": relay(1)}
    for made, words in (
        (graph(ring, [("in", "a"), ("a", "b"), ("b", "a"), ("b", "out")]), "edge of feedback 'b' -> 'a' is no simple"),
        (graph(split, [("in", "a"), ("in", "b"), ("a", "out"), ("b", "out")]), r"'in' \(Input\) leads to 2 nodes"),
        (chain((1,), relay(1), nir.Delay(full(1e-3, 1)), relay(1)), r"node '1' \(Delay\) delays by a step or more"),
    ):
        with pytest.raises(ValueError, match=f"from_nir: .*{words}.*, so that the graph cannot be a Sequential"):
            evsim.from_nir(made, dt=DT, to="sequential")
        assert isinstance(evsim.from_nir(made, dt=DT), evsim.Network)


def written(path):
    nir.write(path, chain((4,), nir.Linear(weights(3, 4)), lif(3), out=(3,)))
    return path


def damage(path, name, value=None):
    with h5py.File(path, "r+") as file:
        del file[name]
        if value is not None:
            file[name] = value


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("node/nodes/1/tau", None, "node '1' of type 'LIF' cannot be: .*tau"),
        ("node/nodes/1/type", "ALIF", "node '1' of type 'ALIF' cannot be: NIR has no such type"),
        ("node/nodes/1/type", None, "node '1' of type None cannot be"),
        ("node/nodes/1/r", np.ones(2), "node '1' of type 'LIF' cannot be: All parameters must have the same shape"),
        ("node/nodes/input/shape", None, "node 'input' of type 'Input' cannot be: it lacks 'shape'"),
        ("node/edges", None, "the graph has no edges"),
        ("node/edges", np.ones(3), "edges of the graph are no pairs of names"),
        ("node/type", "LIF", "its node has type 'LIF'; it must be a NIRGraph"),
        ("node", None, "not a NIR file: it has no group 'node'"),
    ],
)
def test_malformed_files(tmp_path, name, value, words):
    path = written(tmp_path / "x.nir")
    damage(path, name, value)
    with pytest.raises(ValueError, match=f"x.nir: {words}"):
        evsim.from_nir(path, dt=DT)


def test_files_that_are_none(tmp_path):
    (tmp_path / "x.nir").write_text("graph")
    with pytest.raises(ValueError, match=r"x.nir: not a NIR file: it is no HDF5 file"):
        evsim.from_nir(tmp_path / "x.nir", dt=DT)
    with pytest.raises(FileNotFoundError, match=r"y.nir: no such file"):
        evsim.from_nir(tmp_path / "y.nir", dt=DT)


def test_without_the_package(tmp_path, monkeypatch):
    path = written(tmp_path / "x.nir")
    monkeypatch.setitem(sys.modules, "nir", None)
    for call in (lambda: evsim.from_nir(path, dt=DT), lambda: evsim.to_nir(evsim.Sequential(evsim.Linear(2, 2)))):
        with pytest.raises(ImportError, match=r"NIR graphs need the nir package: pip install 'evsim\[nir\]'"):
            call()


def random_graph(rng):
    """Four nodes of two neurons that add whole numbers, joined at random, back as well, over Delays here and there."""
    nodes = {"in": nir.Input(np.array([3]))}
    edges = []
    kinds = rng.permutation(["IF", "Threshold", "IF", "IF"])
    for i, kind in enumerate(kinds):
        v = full(rng.integers(1, 4) + 0.5, 2)
        nodes[f"n{i}"] = nir.Threshold(v) if kind == "Threshold" else nir.IF(full(1.0 / DT, 2), v, full(0.0, 2))
        nodes[f"out{i}"] = nir.Output(np.array([2]))
        edges.append((f"n{i}", f"out{i}"))
    pairs = [("in", "n0")] + [(f"n{i}", f"n{(i + 1) % 4}") for i in range(3)]
    pairs += [(f"n{a}", f"n{b}") for a, b in rng.integers(0, 4, (4, 2))]
    for k, (source, target) in enumerate(dict.fromkeys(pairs)):
        weight = rng.integers(-1, 4, (2, 3 if source == "in" else 2)).astype(np.float32)
        bias = rng.integers(0, 2, 2).astype(np.float32)
        nodes[f"w{k}"] = nir.Affine(weight, bias) if rng.random() < 0.3 else nir.Linear(weight)
        edges.append((source, f"w{k}"))
        if rng.random() < 0.4:
            nodes[f"d{k}"] = nir.Delay((rng.integers(0, 4, 2) * DT).astype(np.float32))
            edges += [(f"w{k}", f"d{k}"), (f"d{k}", target)]
        else:
            edges.append((f"w{k}", target))
    return graph(nodes, [edges[k] for k in rng.permutation(len(edges))])


def simulate_by_definition(made, feedback, x):
    """What each Output gives, step by step, asking each node for what it needs."""
    v = {name: np.zeros(2) for name in made.nodes}
    given = {}

    def arriving(name, t):
        sources = [source for source, target in made.edges if target == name]
        return sum((value(source, t - ((source, name) in feedback)) for source in sources), np.zeros(()))

    def value(name, t):
        if t < 0:
            shape = made.nodes[name].weight.shape[0] if hasattr(made.nodes[name], "weight") else 2
            return np.zeros(shape)
        if (name, t) not in given:
            given[name, t] = step(name, made.nodes[name], t)
        return given[name, t]

    def step(name, node, t):
        kind = type(node).__name__
        if kind == "Input":
            return x[t].astype(float)
        if kind in ("Affine", "Linear"):
            return node.weight @ arriving(name, t) + getattr(node, "bias", 0.0)
        if kind == "Delay":
            late = np.rint(node.delay / DT).astype(int)
            return np.array([arriving(name, t - k)[i] if t >= k else 0.0 for i, k in enumerate(late)])
        if kind == "Threshold":
            return (arriving(name, t) > node.threshold).astype(float)
        if kind == "IF":
            v[name] = v[name] + arriving(name, t)
            spikes = v[name] > node.v_threshold
            v[name][spikes] = 0.0
            return spikes.astype(float)
        return arriving(name, t)

    outputs = [name for name, node in made.nodes.items() if type(node).__name__ == "Output"]
    for t in range(len(x)):
        for name in made.nodes:
            value(name, t)
    return {name: np.array([given[name, t] for t in range(len(x))]) for name in outputs}


@pytest.mark.parametrize("seed", range(12))
def test_random_graphs_do_what_their_definition_says(seed):
    rng = np.random.default_rng(seed)
    made = random_graph(rng)
    x = (rng.random((40, 3)) < 0.4).astype(np.uint8)
    net = evsim.from_nir(made, dt=DT, to="network")
    again = evsim.from_nir(evsim.to_nir(net, strict=True), to="network")
    expected = simulate_by_definition(made, {*net.feedback}, x)
    assert sum(values.sum() for values in expected.values()) > 0
    for network in (net, again):
        given = graphs.run_network(network, {"in": x}, threads=1 + seed % 2)
        for name, values in expected.items():
            np.testing.assert_array_equal(given[name], values)
