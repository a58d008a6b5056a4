"""evsim -> NIR -> evsim: the same weights, parameters and spikes; what NIR cannot hold is said by name."""

import warnings

import h5py
import nir_graphs as graphs
import numpy as np
import pytest
from nir_graphs import nir

import evsim
from evsim import sinabs, snntorch, spikingjelly
from evsim.nir_export import NIRWarning

STEPS = 60
RNG = np.random.default_rng(2)


def weights(*shape):
    return RNG.normal(0.25, 1.0, shape).astype(np.float32)


def layers(neurons, n=6):
    return [evsim.Linear(5, n, weight=weights(n, 5), bias=weights(n)), neurons]


EXACT = {  # neurons that NIR holds, or all but what evsim reads back from the metadata
    "IFNode": lambda: spikingjelly.IFNode(),
    "IFNode, soft": lambda: spikingjelly.IFNode(v_reset=None),
    "LIFNode": lambda: spikingjelly.LIFNode(tau=3.7),
    "LIFNode, input not decayed": lambda: spikingjelly.LIFNode(tau=np.linspace(1.5, 9.0, 6), decay_input=False),
    "ParametricLIFNode": lambda: spikingjelly.ParametricLIFNode(init_tau=2.5),
    "sinabs.IAF": lambda: sinabs.IAF(multi_spike=False),
    "sinabs.IAF, as it is": lambda: sinabs.IAF(),
    "sinabs.IAF, bounded": lambda: sinabs.IAF(min_v_mem=-0.5),
    "sinabs.LIF, as it is": lambda: sinabs.LIF(tau_mem=7.3, min_v_mem=np.linspace(-1.0, -0.1, 6)),
    "sinabs.LIF": lambda: sinabs.LIF(tau_mem=7.3, multi_spike=False, reset="zero"),
    "sinabs.LIF, soft": lambda: sinabs.LIF(tau_mem=7.3, multi_spike=False, norm_input=False),
    "sinabs.LIF, current": lambda: sinabs.LIF(tau_mem=7.3, tau_syn=3.1, multi_spike=False, reset="zero"),
    "sinabs.IAF, current": lambda: sinabs.IAF(tau_syn=3.1, multi_spike=False, reset="zero"),
    "sinabs.ExpLeak": lambda: sinabs.ExpLeak(tau_mem=5.0),
    "Leaky": lambda: snntorch.Leaky(beta=0.83, reset_mechanism="zero"),
    "Leaky, soft": lambda: snntorch.Leaky(beta=0.83),
    "Leaky, no leak": lambda: snntorch.Leaky(beta=1.0, reset_mechanism="zero"),
    "Leaky, all leak": lambda: snntorch.Leaky(beta=np.array([0.0, 0.0, 0.5, 0.5, 0.9, 0.9]), reset_mechanism="zero"),
    "Synaptic": lambda: snntorch.Synaptic(alpha=0.7, beta=0.8, threshold=np.linspace(0.5, 2.0, 6)),
    "SpikingNeuron": lambda: evsim.SpikingNeuron(decay=0.77),
    "LIF": lambda: evsim.LIF(tau_mem=12.3, v_leak=-0.2, v_reset=-0.3, v_threshold=0.4, r_mem=3.0),
    "LIF, soft": lambda: evsim.LIF(tau_mem=12.3, v_leak=0.1, v_reset=None, r_mem=2.0),
    "LIF, drawn": lambda: evsim.LIF(tau_mem=evsim.uniform(5.0, 20.0), v_threshold=evsim.uniform(0.3, 0.9)),
    "IAF": lambda: evsim.IAF(v_threshold=2.0),
    "nir.IF": lambda: evsim.nir.IF(r=1e3, v_threshold=1.0, dt=1e-3, subtract=0.7),
    "nir.LIF": lambda: evsim.nir.LIF(tau=np.float32(0.01), r=2.0, v_leak=0.1, v_threshold=0.7, dt=1e-3, method="euler"),
    "nir.CubaLIF": lambda: evsim.nir.CubaLIF(
        tau_syn=4e-3, tau_mem=np.linspace(5e-3, 2e-2, 6), r=1.5, v_leak=0.0, w_in=3.0, v_threshold=0.6, dt=1e-3
    ),
    "nir.CubaLI": lambda: evsim.nir.CubaLI(tau_syn=4e-3, tau_mem=9e-3, r=1.5, v_leak=0.3, dt=1e-3),
    "nir.I": lambda: evsim.nir.I(r=2.0, dt=1e-3),
    "nir.Threshold": lambda: evsim.nir.Threshold(np.linspace(0.1, 2.0, 6)),
}


def exported(net, path):
    """The graph of a network of which nothing is lost but what evsim reads back from the metadata."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        graph = evsim.to_nir(net, path)
    kept = {"several spikes in a step", "reset by subtraction", "lower bound of v"}
    assert all({*str(each.message).split(": ")[-1].split(", ")} <= kept for each in warned)
    return graph


def coefficients(net, index):
    built = net.compile_for("test", None)[1]
    k = [node.layer for node in built.nodes].index(index)
    start, step, n = built.model.parameter_start[k], built.model.parameter_step[k], built.nodes[k].size
    return [built.model.parameter_value[a + s * np.arange(n)] for a, s in zip(start, step, strict=True)]


@pytest.mark.parametrize("name", EXACT)
def test_neurons_come_back_with_the_same_constants(name, tmp_path):
    net = evsim.Sequential(*layers(EXACT[name]()))
    exported(net, tmp_path / "x.nir")
    back = evsim.from_nir(tmp_path / "x.nir")
    for key, value in net.parameters().items():
        if key.split(".")[1] in ("weight", "bias"):
            np.testing.assert_array_equal(back.parameters()[key], value)
    records = [each.record(1, "v_pre_reset") for each in (net, back)]
    x = (RNG.random((STEPS, 2, 5)) < 0.4).astype(np.uint8)
    out = net(x)
    assert out.any()
    np.testing.assert_array_equal(back(x), out)
    np.testing.assert_array_equal(records[1].v_pre_reset, records[0].v_pre_reset)
    for own, other in zip(coefficients(net, 1), coefficients(back, 1), strict=True):
        np.testing.assert_array_equal(own, other)


@pytest.mark.parametrize("tau", np.geomspace(1.2, 1e5, 25))
def test_any_time_constant_comes_back(tau):
    """The constants of a step, as float32, bit for bit, whatever the method."""
    for model in (spikingjelly.LIFNode(tau=tau), sinabs.LIF(tau_mem=tau, multi_spike=False, reset="zero")):
        net = evsim.Sequential(*layers(model))
        for method in ("exact", "euler"):
            back = evsim.from_nir(evsim.to_nir(net, method=method, dt=3e-4))
            for own, other in zip(coefficients(net, 1), coefficients(back, 1), strict=True):
                np.testing.assert_array_equal(own, other)


def images():
    return evsim.Sequential(
        evsim.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2, weight=weights(4, 1, 3, 2),
                     bias=weights(4)),
        spikingjelly.LIFNode(tau=2.0),
        evsim.AvgPool2d(2, stride=1, padding=1),
        evsim.Conv2d(4, 3, 3, weight=weights(3, 4, 3, 3), bias=False),
        spikingjelly.IFNode(),
        evsim.SumPool2d((2, 1)),
        evsim.Flatten(),
        evsim.Linear(24, 6, weight=weights(6, 24)),
        evsim.Recurrent(spikingjelly.LIFNode(tau=4.0), evsim.Linear(6, 6, weight=weights(6, 6), bias=weights(6))),
        evsim.Linear(6, 3, weight=weights(3, 6), bias=False),
    )  # fmt: skip


def test_images_and_recurrent_layers_come_back(tmp_path):
    net = images()
    x = (RNG.random((30, 3, 2, 9, 7)) < 0.3).astype(np.uint8)
    with pytest.raises(ValueError, match="to_nir: the shape of a sample is not known yet"):
        evsim.to_nir(net)
    graph = evsim.to_nir(net, tmp_path / "x.nir", shape=(2, 9, 7), strict=True)
    assert [type(node).__name__ for node in graph.nodes.values()] == [
        "Input", "Conv2d", "LIF", "AvgPool2d", "Conv2d", "IF", "SumPool2d", "Flatten", "Affine", "LIF", "Affine",
        "Linear", "Output",
    ]  # fmt: skip
    back = evsim.from_nir(tmp_path / "x.nir")
    out = net(x)
    assert out.any()
    np.testing.assert_array_equal(back(x), out)
    for key, value in net.parameters().items():
        if "weight" in key or "bias" in key:
            np.testing.assert_array_equal(back.parameters()[key], value)


def test_one_dimension_comes_back():
    net = evsim.Sequential(
        evsim.Conv1d(2, 4, 3, stride=2, padding=1, groups=2, weight=weights(4, 1, 3)), sinabs.ExpLeak(5)
    )
    x = (RNG.random((10, 2, 2, 11)) < 0.5).astype(np.uint8)
    np.testing.assert_array_equal(evsim.from_nir(evsim.to_nir(net, shape=(2, 11)))(x), net(x))


def test_the_file_says_dt_and_method(tmp_path):
    net = evsim.Sequential(*layers(spikingjelly.LIFNode()), dt=0.5)
    evsim.to_nir(net, tmp_path / "x.nir", method="euler")
    with h5py.File(tmp_path / "x.nir") as file:
        assert dict(file["evsim"].attrs) == {"dt": 5e-4, "method": "euler", "evsim_version": evsim.__version__}
        assert file["version"][()].decode() == nir.version
    graph = nir.read(tmp_path / "x.nir")  # which checks types
    assert graph.metadata["evsim_dt"] == 5e-4
    np.testing.assert_allclose(graph.nodes["1"].tau, np.full(6, 1e-3), rtol=1e-12)  # tau = 2 steps
    with pytest.raises(FileExistsError):
        evsim.to_nir(net, tmp_path / "x.nir")
    evsim.to_nir(net, tmp_path / "x.nir", dt=1.0, method="exact", overwrite=True)
    assert evsim.from_nir(tmp_path / "x.nir").dt == 1000.0


def test_thresholds_are_the_float32_below():
    graph = evsim.to_nir(evsim.Sequential(*layers(spikingjelly.IFNode())))
    assert graph.nodes["1"].v_threshold[0] == np.nextafter(np.float32(1), np.float32(0))


LOST = {
    "several spikes": (lambda: sinabs.IAF(), "layer 1 (IAF): several spikes in a step, reset by subtraction"),
    "lower bound": (
        lambda: sinabs.LIF(tau_mem=5.0, multi_spike=False, reset="zero", min_v_mem=-1.0),
        "lower bound of v",
    ),
    "refractory": (lambda: evsim.LIF(t_ref=2.0), "layer 1 (LIF): refractory time"),
    "adaptive": (lambda: evsim.LIF(theta_plus=0.1), "adaptive threshold"),
    "constant leak": (lambda: evsim.IAF(leak=0.1), "layer 1 (IAF): constant drive"),
    "initial v": (lambda: spikingjelly.IFNode(v_reset=-0.5), "the initial v"),
    "initial v of a biased neuron": (lambda: evsim.LIF(i_bias=0.5), "layer 1 (LIF): the initial v"),
    "spikes that act later": (lambda: evsim.LIF(tau_syn=5.0), "what a spike adds to v in its own step"),
}


@pytest.mark.parametrize("name", LOST)
def test_what_nir_cannot_hold_is_said(name, tmp_path):
    make, words = LOST[name]
    net = evsim.Sequential(*layers(make()))
    with pytest.warns(NIRWarning) as warned:
        graph = evsim.to_nir(net)
    assert len(warned) == 1
    assert words in str(warned[0].message)
    evsim.from_nir(graph)  # it can be read nevertheless
    with pytest.raises(ValueError, match="to_nir: NIR cannot hold: layer 1"):
        evsim.to_nir(net, tmp_path / "x.nir", strict=True)
    assert not (tmp_path / "x.nir").exists()


def test_one_warning_names_all():
    net = evsim.Sequential(*layers(sinabs.IAF()), evsim.Linear(6, 2), evsim.LIF(t_ref=2.0))
    with pytest.warns(NIRWarning) as warned:
        evsim.to_nir(net)
    (one,) = warned
    assert "layer 1 (IAF): several spikes" in str(one.message)
    assert "layer 3 (LIF): refractory time" in str(one.message)


def test_what_cannot_be_exported():
    pool = evsim.Sequential(evsim.MaxPool2d(2), evsim.Flatten(), evsim.Linear(4, 2))
    with pytest.raises(ValueError, match=r"layer 0 \(MaxPool2d\): NIR has no maximum of a window"):
        evsim.to_nir(pool, shape=(1, 4, 4))
    with pytest.raises(TypeError, match="net is 3; it must be a Sequential or a Network"):
        evsim.to_nir(3)
    net = evsim.Sequential(*layers(evsim.LIF()))
    with pytest.raises(
        ValueError, match=r"layer 1 \(LIF\): its time constants are in ms and a step is 1 ms; dt is 0.1 s"
    ):
        evsim.to_nir(net, dt=0.1)
    with pytest.raises(ValueError, match="method is 'rk4'"):
        evsim.to_nir(net, method="rk4")
    net = evsim.Sequential(*layers(evsim.nir.IF(r=1.0, v_threshold=1.0, dt=1e-3)))
    with pytest.raises(
        ValueError, match=r"layer 1 \(IF\): its dt is 0.001 and its method 'exact'; the graph's are 0.002"
    ):
        evsim.to_nir(net, dt=2e-3)
    net = evsim.Sequential(*layers(snntorch.Leaky(beta=0.0)))
    with pytest.raises(ValueError, match="beta"):
        evsim.to_nir(net, method="exact")
    net = evsim.Sequential(*layers(evsim.SpikingNeuron(decay=0.0, threshold=0.7)))
    assert type(evsim.to_nir(net).nodes["1"]).__name__ == "Threshold"


def run(network, x):
    return graphs.run_network(network, x)


def small_network(**more):
    """Two populations, feedback with two delays, a bias by hand, an input of three lines."""
    network = evsim.Network(dt=0.5, seed=3)
    lif = evsim.LIF(tau_mem=10.0, v_threshold=evsim.uniform(0.8, 1.2), **more)
    source = network.add_spike_source("lines", 3, ids=np.tile([0, 1, 2], 20), times=np.repeat(np.arange(20.0), 3))
    a, b = network.add_population("a", 4, lif), network.add_population("b", 3, lif)
    network.connect(source, a, evsim.all_to_all(), weight=np.abs(weights(3, 4)), delay=0.0)
    network.connect(a, b, evsim.all_to_all(), weight=np.abs(weights(4, 3)), delay=1.0)
    delays = np.where(np.eye(3, dtype=bool), 0.5, 2.5)
    network.connect(b, b, evsim.all_to_all(), weight=weights(3, 3), delay=delays)
    network.connect(b, a[:3], evsim.one_to_one(), weight=np.array([0.1, 0.2, 0.3]), delay=1.5)
    return network


def simulated(network, names, n_steps):
    sim = evsim.Simulation(network, backend="cpu")
    sim.record(spikes=[network.populations[name] for name in names])
    sim.run(n_steps * network.dt)
    return {name: sim.spikes(network.populations[name]) for name in names}


def test_a_network_comes_back(tmp_path):
    network = small_network()
    graph = evsim.to_nir(network, tmp_path / "x.nir", strict=True)
    assert {type(node).__name__ for node in graph.nodes.values()} == {"Input", "Linear", "Scale", "Delay", "LIF"} | {
        "Output"
    }
    back = evsim.from_nir(tmp_path / "x.nir")
    x = np.zeros((60, 3))
    x[::2][:20] = 1.0
    back.add_current("x", back.inputs["lines"], x)
    own, other = (simulated(each, "ab", 60) for each in (network, back))
    for name in "ab":
        assert own[name][0].size > 10
        np.testing.assert_array_equal(own[name][0], other[name][0])
        np.testing.assert_allclose(own[name][1], other[name][1])


def test_an_imported_network_comes_back():
    """With biases, branches and feedback."""
    nodes = {
        "in": nir.Input(np.array([4])),
        "w": nir.Affine(weights(5, 4), weights(5)),
        "n": graphs.neurons("LIF", 5),
        "back": nir.Affine(weights(5, 5), weights(5)),
        "bias": nir.Affine(weights(5, 5), weights(5)),
        "m": graphs.neurons("CubaLIF", 5),
        "sum": nir.Output(np.array([5])),
        "m out": nir.Output(np.array([5])),
    }
    edges = [("in", "w"), ("w", "n"), ("n", "back"), ("back", "n"), ("n", "bias"), ("bias", "m"), ("m", "m out"),
             ("m", "sum"), ("n", "sum")]  # fmt: skip
    first = evsim.from_nir(graphs.graph(nodes, edges), dt=1e-3)
    assert {"bias", "bias_"} & set(first.populations)
    graph = evsim.to_nir(first, strict=True)
    second = evsim.from_nir(graph)
    x = (RNG.random((80, 4)) < 0.3).astype(float)
    one, other = run(first, {"in": x}), run(second, {"in": x})
    assert one.keys() == other.keys() == {"sum", "m out"}
    for name, values in one.items():
        assert values.any()
        np.testing.assert_array_equal(values, other[name])


def test_layers_within_a_network_come_back():
    layered = images()
    network = evsim.Network(dt=1.0)
    x = (RNG.random((30, 1, 2, 9, 7)) < 0.3).astype(np.uint8)
    steps, ids = np.nonzero(x.reshape(30, -1))
    source = network.add_spike_source("in", 126, ids, steps.astype(float))
    layered.add_to(network, "net", source, (2, 9, 7))
    with pytest.warns(NIRWarning, match="sparse weights"):
        graph = evsim.to_nir(network)
    back = evsim.from_nir(graph)
    given = run(back, {"in": x.reshape(30, -1)})
    out = layered(x)
    assert out.any()
    (values,) = given.values()
    np.testing.assert_allclose(values, out[:, 0], atol=1e-5 * np.abs(out).max())


def test_what_a_network_has_that_nir_has_not():
    network = small_network(t_ref=2.0)
    a, b = network.populations["a"], network.populations["b"]
    network.add_poisson("noise", a, rate=100.0, weight=0.1)
    network.add_current("step", b, 0.1)
    network.add_population("one", 5, evsim.LIF(tau_syn=(1.0, 2.0)), one_winner=True, v=0.5)
    stdp = evsim.PairSTDP(tau_pre=20.0, tau_post=20.0, a_plus=0.01, a_minus=0.01, w_max=1.0)
    network.connect(b, a, evsim.pairwise_bernoulli(0.5), weight=evsim.uniform(0.0, 0.5), delay=1.0, plasticity=stdp,
                    name="learns")  # fmt: skip
    network.connect(
        a, network.populations["one"], evsim.all_to_all(), weight=-0.5, delay=1.0, receptor="inh", name="inh"
    )
    with pytest.warns(NIRWarning) as warned:
        graph = evsim.to_nir(network)
    (text,) = (str(each.message) for each in warned)
    for words in (
        "population 'a': refractory time",
        "population 'one': receptors other than 'exc'",
        "the initial v",
        "population 'one': one winner",
        "projection 'learns': learning (PairSTDP)",
        "projection 'learns': sparse weights (pairwise_bernoulli; a dense matrix holds them)",
        "projection 'inh': its receptor, 'inh'",
        "poisson 'noise'",
        "current 'step'",
    ):
        assert words in text
    drawn = evsim.Simulation(network, backend="cpu").synapses(network.projections[-2])
    assert graph.nodes["learns"].weight[drawn.post, drawn.pre].tolist() == drawn.weight.tolist()
    with pytest.raises(ValueError, match=r"NIR cannot hold: .*sparse weights"):
        evsim.to_nir(network, strict=True)


def test_poisson_sources_are_inputs():
    network = evsim.Network(dt=1.0)
    source = network.add_poisson_source("digits", 4, rate=50.0)
    out = network.add_population("out", 2, evsim.LIF())
    network.connect(source, out, evsim.all_to_all(), weight=0.5, delay=1.0)
    graph = evsim.to_nir(network, strict=True)
    assert type(graph.nodes["digits"]).__name__ == "Input"
    assert ("out", "out_output") in graph.edges


def test_a_matrix_too_large_is_refused():
    network = evsim.Network(dt=1.0)
    a, b = network.add_population("a", 20_000, evsim.LIF()), network.add_population("b", 20_000, evsim.LIF())
    network.connect(a, b, evsim.fixed_indegree(1), weight=0.5, delay=1.0)
    with pytest.raises(ValueError, match="projection 'a->b': a dense matrix of 20000 x 20000 is too large"):
        evsim.to_nir(network)


def test_populations_of_nir_s_neurons_that_start_elsewhere():
    network = evsim.Network(dt=1.0)
    source = network.add_spike_source("in", 2, ids=[0], times=[1.0])
    neurons = evsim.nir.LIF(tau=0.01, r=1.0, v_leak=0.0, v_threshold=1.0, dt=1e-3)
    network.connect(source, network.add_population("n", 2, neurons, v=0.5), evsim.all_to_all(), weight=1.0, delay=1.0)
    with pytest.warns(NIRWarning, match=r"population 'n': the initial v$"):
        evsim.to_nir(network)
