"""Small networks of every feature, and their runs on both backends: for the CUDA simulator and for a GPU."""

import numpy as np

import evsim


def delta_neurons_with_noise():
    """Delta synapses, recurrence over delays of 1 to 5 steps, Poisson input, refractory time."""
    net = evsim.Network(dt=0.5, seed=3)
    lif = evsim.LIF(tau_mem=10.0, v_threshold=10.0, t_ref=1.0)
    a = net.add_population("a", 40, lif, v=evsim.uniform(0.0, 10.0))
    b = net.add_population("b", 10, lif)
    net.add_poisson("noise", [a, b[2:]], rate=4000.0, weight=1.0)
    net.connect(a, [a, b], evsim.fixed_indegree(8), weight=evsim.normal(0.7, 0.1, low=0), delay=evsim.uniform(0.5, 2.5))
    net.connect(b, a, evsim.pairwise_bernoulli(0.3), weight=-1.0, delay=1.0)
    return net, {a[:5]: "v", b: ["v", "v_pre_reset"]}


def two_receptors_and_currents():
    """Exponential synapses, a parameter for each neuron, a current for each neuron and step, windows of 3 steps."""
    net = evsim.Network(dt=0.1, seed=4)
    taus = np.linspace(5.0, 20.0, 30)
    cells = net.add_population("cells", 30, evsim.LIF(tau_mem=taus, tau_syn=(0.5, 2.0), v_threshold=1.0, t_ref=0.3))
    net.add_current("steps", cells[3:20], amplitude=[0.0, 40.0, 10.0], times=[0.0, 0.2, 1.0])
    net.add_current("array", cells[10:], np.random.default_rng(0).uniform(0, 30, (12, 20)))
    net.add_poisson("noise", cells, rate=np.linspace(0, 9000, 30), weight=20.0)
    net.connect(cells, cells[:25], evsim.all_to_all(False), weight=5.0, delay=0.3)
    net.connect(cells[:9], cells, evsim.fixed_outdegree(9), weight=evsim.uniform(-8.0, -1.0), delay=0.5)
    return net, {cells: ["v", "i_exc"], cells[7]: "i_inh"}


def soft_reset_and_wide_sums():
    """IAF neurons with leak, bound and soft reset, explicit spikes, changing rates, weights that need 64-bit sums."""
    net = evsim.Network(dt=1.0, seed=5)
    source = net.add_spike_source("source", 6, [0, 1, 5, 2, 0], [0.0, 1.0, 1.0, 6.0, 9.0])
    cells = net.add_population("cells", 20, evsim.IAF(leak=0.1, v_reset=None, v_min=0.0, v_threshold=1.0))
    net.add_poisson("noise", cells, rate=[0.0, 900.0, 300.0], times=[0.0, 2.0, 7.0], weight=0.6)
    net.connect(source, cells, evsim.all_to_all(), weight=evsim.uniform(1e-6, 2e-6), delay=2.0)
    net.connect(cells, cells, evsim.fixed_total_number(100), weight=0.4, delay=3.0)
    return net, {cells: "v"}


CASES = [delta_neurons_with_noise, two_receptors_and_currents, soft_reset_and_wide_sums]


def run(case, backend, steps, path=None):
    """The simulation after all its runs, and everything it recorded and left."""
    net, state = case()
    populations = list(net.populations.values())
    sim = evsim.Simulation(net, backend=backend)
    sim.record(path, spikes=populations[:1], state=state, every=2 * net.dt)
    for n in steps:
        sim.run(n * net.dt)
    recorded = [sim.spikes(populations[0])]
    recorded += [sim.state(p.population, p.variable).values for p in sim._recorder.probes]
    recorded += [sim.values(p) for p in populations if p.name not in ("source",)]
    return sim, recorded


def assert_same(a, b):
    """Two results of `run` are bit-identical."""
    assert a[0].n_spikes > 0
    assert a[0].spike_counts() == b[0].spike_counts()
    assert a[0].spike_checksum == b[0].spike_checksum
    assert a[0].n_events == b[0].n_events
    for x, y in zip(a[1], b[1], strict=True):
        np.testing.assert_array_equal(x, y)


def assert_equal(case, steps=(7, 5)):
    """Both backends agree, on something worth comparing."""
    cpu, cuda = (run(case, backend, steps) for backend in ("cpu", "cuda"))
    assert cuda[0].backend == "cuda"
    assert cpu[0].n_spikes > 20
    assert cpu[0].n_events > 0
    assert_same(cpu, cuda)
