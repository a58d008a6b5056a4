"""Layers as part of a Network: the spikes of the batch engine, bit for bit."""

import numpy as np
import pytest

import evsim

STEPS = 40
RNG = np.random.default_rng(5)


def kernel(*shape, scale=1.0):
    return (RNG.normal(0.3, 1.0, shape) * scale).astype(np.float32)


IF = evsim.spikingjelly.IFNode
NETS = {
    "linear": ((12,), lambda: [evsim.Linear(12, 9, weight=kernel(9, 12), bias=kernel(9)), IF(v_reset=None)]),
    "chain": (
        (12,),
        lambda: [
            evsim.Linear(12, 20, weight=kernel(20, 12), bias=kernel(20)),
            evsim.spikingjelly.LIFNode(),
            evsim.Linear(20, 7, weight=kernel(7, 20), bias=False),
            evsim.sinabs.IAF(min_v_mem=-1.0),
        ],
    ),
    "convolutions": (
        (2, 9, 8),
        lambda: [
            evsim.Conv2d(2, 6, 3, padding=1, groups=2, weight=kernel(6, 1, 3, 3), bias=kernel(6, scale=0.2)),
            evsim.sinabs.IAF(),
            evsim.AvgPool2d(3, stride=2, padding=1),
            evsim.Conv2d(6, 4, (3, 2), stride=(2, 1), dilation=(1, 2), weight=kernel(4, 6, 3, 2), bias=False),
            evsim.sinabs.LIF(tau_mem=8.0, tau_syn=3.0),
            evsim.SumPool2d(2),
            evsim.Flatten(),
            evsim.Linear(4, 5, weight=kernel(5, 4), bias=False),
            IF(),
        ],
    ),
    "adaptive": (
        (12,),
        lambda: [
            evsim.Linear(12, 9, weight=kernel(9, 12), bias=kernel(9)),
            evsim.sinabs.ALIF(tau_mem=6.0, tau_adapt=9.0, tau_syn=3.0, norm_input=False),
            evsim.Linear(9, 9, weight=2.0 * kernel(9, 9), bias=False),
            evsim.sinabs.ALIF(tau_mem=4.0, tau_adapt=5.0, reset="zero", min_v_mem=0.2),
        ],
    ),
    "from_scratch": ((12,), lambda: [evsim.Linear(12, 9, weight=kernel(9, 12)), evsim.SpikingNeuron()]),
    "maximum": (
        (1, 6, 6),
        lambda: [
            evsim.MaxPool2d(2),
            evsim.Conv2d(1, 3, 2, weight=kernel(3, 1, 2, 2), bias=False),
            IF(),
            evsim.MaxPool2d(2),
            evsim.Flatten(),
            evsim.Linear(3, 4, weight=kernel(4, 3), bias=False),
            evsim.snntorch.Synaptic(alpha=0.5, beta=0.8, reset_mechanism="zero"),
        ],
    ),
    "recurrent": (
        (6,),
        lambda: [
            evsim.Linear(6, 8, weight=kernel(8, 6), bias=False),
            evsim.Recurrent(
                evsim.sinabs.LIF(tau_mem=5.0), evsim.Linear(8, 8, weight=kernel(8, 8, scale=0.3), bias=kernel(8))
            ),
            evsim.Linear(8, 3, weight=kernel(3, 8), bias=kernel(3)),
        ],
    ),
    "pool_of_ninths": ((3, 7, 7), lambda: [evsim.AvgPool2d(3, 1, 1), evsim.spikingjelly.LIFNode(v_threshold=0.2)]),
    "pool_to_neurons": ((3, 4, 4), lambda: [evsim.AvgPool2d(2), IF(v_threshold=0.4), evsim.SumPool2d(2)]),
    "ms": (
        (10,),
        lambda: [
            evsim.Linear(10, 6, weight=kernel(6, 10, scale=2.0), bias=False),
            evsim.LIF(tau_mem=10.0, tau_syn=4.0, t_ref=2.0),
            evsim.Linear(6, 6, weight=kernel(6, 6), bias=False),
            evsim.IAF(leak=0.1, v_min=-0.5),
        ],
    ),
}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_network_of_layers_spikes_as_the_batch_engine(name, threads):
    shape, layers = NETS[name]
    net = evsim.Sequential(*layers())
    n = int(np.prod(shape))
    x = np.random.default_rng(7).random((STEPS, 1, *shape)) < 0.3
    records = {
        index: net.record(index, "spikes", "v")
        for index, layer in enumerate(net)
        if isinstance(layer, evsim.neurons.NeuronModel | evsim.Recurrent)
    }
    out = net(x)

    network = evsim.Network(dt=1.0)
    steps, _, ids = np.nonzero(x.reshape(STEPS, 1, n))
    source = network.add_spike_source("input", n, ids, steps.astype(float))
    made = net.add_to(network, "net", source, shape)
    sim = evsim.Simulation(network, backend="cpu", threads=threads)
    sim.record(spikes=made, state={made[-1]: "v"}, every=1.0)
    sim.run(float(STEPS))
    for population in made:
        index = int(population.name.split(".")[1])
        ids, times = sim.spikes(population)
        counted = np.zeros((STEPS, population.size))
        np.add.at(counted, (np.rint(times).astype(int), ids), 1)
        if index in records:
            expected = records[index].spikes[:, 0].reshape(STEPS, -1)
            assert expected.sum() > 0
            np.testing.assert_array_equal(counted, expected)
        if population is made[-1] and index in records:
            expected = records[index].v[:, 0].reshape(STEPS, -1)
            np.testing.assert_array_equal(sim.state(population, "v").values, expected)
    if isinstance(net[len(net) - 1], evsim.Linear | evsim.SumPool2d):
        state = sim.state(made[-1], "v")
        np.testing.assert_array_equal(state.values, out[:, 0].reshape(STEPS, -1))


def test_distributions_are_those_of_the_sequential():
    """Drawn by the layers' own seed, for units of an image as for others, and for a dict of receptors."""
    taus, thresholds = evsim.uniform(2.0, 9.0), evsim.normal(1.0, 0.2, low=0.5)
    net = evsim.Sequential(
        evsim.Conv2d(2, 3, 2, weight=kernel(3, 2, 2, 2), bias=False),
        evsim.LIF(tau_mem=taus, tau_syn={"all": taus}, v_threshold=thresholds),
        evsim.Flatten(),
        evsim.Linear(36, 20, weight=kernel(20, 36), bias=False),
        evsim.Recurrent(evsim.LIF(tau_mem=taus, v_threshold=thresholds, v_leak=evsim.uniform(-0.5, 0.0))),
        seed=11,
    )
    shape = (2, 5, 4)
    x = np.random.default_rng(2).random((STEPS, 1, *shape)) < 0.4
    records = [net.record(index, "spikes", "v") for index in (1, 4)]
    net(x)
    network = evsim.Network(dt=1.0, seed=99)
    steps, _, ids = np.nonzero(x.reshape(STEPS, 1, -1))
    source = network.add_spike_source("input", 40, ids, steps.astype(float))
    made = net.add_to(network, "net", source, shape)
    sim = evsim.Simulation(network, backend="cpu", threads=2)
    sim.record(spikes=made, state=dict.fromkeys(made, "v"), every=1.0)
    sim.run(float(STEPS))
    for population, record in zip(made, records, strict=True):
        assert record.spikes.sum() > 20
        assert sim.spikes(population)[0].size == record.spikes.sum()
        np.testing.assert_array_equal(sim.state(population, "v").values, record.v[:, 0].reshape(STEPS, -1))


def test_input_beside_the_layers_never_overflows():
    """The layers' own unit has no room for it; sums then have 64 bits."""
    network = evsim.Network(dt=1.0)
    source = network.add_spike_source("input", 2, [0, 1, 1], [0.0, 0.0, 1.0])
    layers = evsim.Linear(2, 3, weight=np.full((3, 2), 0.75), bias=False), IF(v_threshold=2000.0)
    (cells,) = evsim.Sequential(*layers).add_to(network, "net", source)
    assert evsim.Simulation(network)._built.state.ring.dtype == np.int32
    network.connect(source, cells, evsim.all_to_all(), weight=500.0, delay=1.0)
    sim = evsim.Simulation(network, backend="cpu")
    sim.record(state={cells: "v"})
    sim.run(3.0)
    np.testing.assert_array_equal(sim.state(cells, "v").values[:, 0], [1.5, 1002.25, 1502.25])


@pytest.mark.parametrize(
    ("layers", "what"),
    [
        ([evsim.SumPool2d(2), evsim.MaxPool2d(2)], "a pool before it sums spikes"),
        (
            [evsim.sinabs.IAF(), evsim.MaxPool2d(2)],
            "those before it can spike several times",
        ),
    ],
)
def test_a_maximum_of_more_than_single_spikes_is_refused(layers, what):
    network = evsim.Network(dt=1.0)
    with pytest.raises(ValueError, match=rf"layer 1 \(MaxPool2d\): .*{what}"):
        evsim.Sequential(*layers).add_to(network, "net", network.add_population("cells", 16, IF()), (1, 4, 4))
