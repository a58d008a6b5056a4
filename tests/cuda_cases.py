"""Small networks of every feature, and their runs on both backends: for the CUDA simulator and for a GPU."""

from dataclasses import dataclass

import numpy as np
from numba.core import config

import evsim
from evsim.neurons import Coefficients, NeuronModel

MANY = 40 if config.ENABLE_CUDASIM else 300  # neurons: more than a block has threads, and a chunk of a row synapses


@dataclass(frozen=True, eq=False)
class Single(NeuronModel):
    """v <- leak * v + x; a spike where v >= v_threshold."""

    leak: float = 0.75
    v_threshold: object = 1.0
    v_reset: float | None = None
    t_ref: float = 0.0
    v_min: float = -np.inf
    tau_syn: object = None

    def coefficients(self, values, dt):
        v_reset, soft = self._reset(values)
        return Coefficients(
            leak=values["leak"],
            drive=0.0,
            v_threshold=values["v_threshold"],
            v_reset=v_reset,
            v_min=values["v_min"],
            refractory_steps=values["t_ref"] / dt,
            current_gain=1.0,
            soft_reset=soft,
            multi_spike=isinstance(self, Multi),
            **self._synapses(values, dt, lambda tau: 1.0),
        )


@dataclass(frozen=True, eq=False)
class Multi(Single):
    """The same; trunc(v / v_threshold) spikes."""


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


def plastic_network(rule, delay, seed, n_inputs=20, n_cells=30, rate=400.0):
    """Neurons driven by noise, whose spikes go over plastic synapses to others that noise drives too."""
    net = evsim.Network(dt=1.0, seed=seed)
    trains = net.add_spike_source("trains", 4, [0, 1, 0, 3, 2], [0.0, 1.0, 2.0, 3.0, 9.0])
    inputs = net.add_population("inputs", n_inputs, evsim.LIF(tau_mem=5.0, v_threshold=1.0))
    cells = net.add_population("cells", n_cells, evsim.LIF(tau_mem=10.0, v_threshold=1.0))
    net.add_poisson("noise", inputs, rate=rate, weight=0.8)
    net.add_poisson("more", cells[3:], rate=rate, weight=0.8)
    weight = evsim.uniform(rule.w_min + 0.1, rule.w_max - 0.1)
    net.connect(inputs, cells, evsim.pairwise_bernoulli(0.6), weight=weight, delay=delay, plasticity=rule)
    net.connect(trains, cells, evsim.all_to_all(), weight=weight, delay=2.0, plasticity=rule)
    net.connect(cells, cells[:20], evsim.fixed_indegree(4), weight=weight, delay=1.0, plasticity=rule)
    net.connect(cells, cells, evsim.fixed_indegree(5), weight=-0.1, delay=2.0)
    return net, {cells[:4]: "v"}


def learning_switched_and_normalized():
    """Changes at each arrival and spike, over delays of 1 to 4 steps; off in the second run, then normalised, reset."""

    def between(sim, i):
        sim.learning = i == 1
        if i == 1:
            sim.reset_state()
            sim.set_rate("noise", 350.0)
        for projection in sim.network.projections[:2]:
            sim.normalize(projection, 2.0)

    return *plastic_network(evsim.PairSTDP(a_plus=0.05, a_minus=0.04), evsim.uniform(1.0, 4.0), 6), between


def tabulated_dependence():
    """Both changes at once, only nearest spikes count, a power of the weight from a table, Euler's decay."""
    rule = evsim.PairSTDP(
        a_plus=0.05, a_minus=0.04, order="together", traces="nearest", dependence=("power", 0.4), decay="euler"
    )
    return plastic_network(rule, 3.0, 7)


def changes_at_the_end():
    """Weights that change between runs, by functions of the weight, with a target trace."""
    functions = (lambda w: 1.0 - w * w, lambda w: np.sqrt(w))
    rule = evsim.PairSTDP(a_plus=0.02, a_minus=0.03, x_target=0.2, dependence=functions, apply="run")
    return plastic_network(rule, evsim.uniform(1.0, 3.0), 8)


def full_columns():
    """Targets that spike so often between two arrivals that their columns are settled; rows of several chunks."""
    rule = evsim.PairSTDP(a_plus=0.01, a_minus=0.01, order="together")
    net, state = plastic_network(rule, 2.0, 9, n_inputs=3, n_cells=MANY, rate=150.0)
    cells = net.populations["cells"]
    net.add_current("on", cells[:6], amplitude=20.0)
    return net, state


def competing_neurons(n_cells=MANY):
    """Adaptive thresholds and one winner a step among neurons with plastic inputs, some of them alike."""
    net = evsim.Network(dt=0.5, seed=10)
    inputs = net.add_population("inputs", 30, evsim.LIF(tau_mem=5.0, v_threshold=1.0))
    lif = evsim.LIF(tau_mem=10.0, v_threshold=1.0, t_ref=1.0, theta_plus=0.02, tau_theta=50.0)
    cells = net.add_population("cells", n_cells, lif, one_winner=True)
    others = net.add_population("others", 10, evsim.LIF(tau_mem=10.0, v_threshold=1.0, theta_plus=0.05))
    net.add_poisson("noise", inputs, rate=900.0, weight=0.7)
    rule = evsim.PairSTDP(a_plus=0.05, a_minus=0.04, x_target=0.2)
    weight = np.resize([0.2, 0.3, 0.3, 0.1], (30, n_cells))
    net.connect(inputs, cells, evsim.all_to_all(), weight=weight, delay=0.5, plasticity=rule)
    net.connect(cells, others, evsim.all_to_all(), weight=1.5, delay=1.0)
    net.connect(others, cells, evsim.all_to_all(), weight=-0.1, delay=1.0)

    def between(sim, i):
        sim.learning = i == 1

    return net, {cells[:3]: ["v", "v_pre_reset"]}, between


def thresholds_without_plasticity():
    """Adaptive thresholds and a winner where no synapse learns; soft reset."""
    net = evsim.Network(dt=1.0, seed=12)
    lif = evsim.LIF(tau_mem=10.0, v_threshold=1.0, v_reset=None, theta_plus=0.1, tau_theta=20.0)
    cells = net.add_population("cells", 20, lif)
    winners = net.add_population("winners", 20, lif, one_winner=True)
    net.add_poisson("noise", [cells, winners], rate=500.0, weight=0.9)
    net.connect(cells, winners, evsim.fixed_indegree(5), weight=0.3, delay=3.0)
    return net, {winners: "v"}


def stages_of_a_step(model=None):
    """Layers over delays of 0, some of them side by side, noise in a later one, and delayed feedback."""
    net = evsim.Network(dt=1.0, seed=13)
    model = Single() if model is None else model
    last = net.add_population("last", 25, model)
    inputs = net.add_poisson_source("inputs", 20, rate=300.0)
    trains = net.add_spike_source("trains", 4, [0, 1, 0, 3, 2], [0.0, 1.0, 2.0, 3.0, 9.0])
    first, side = net.add_population("first", 20, model), net.add_population("side", 10, model)
    net.add_poisson("noise", side, rate=300.0, weight=0.75)
    net.connect([inputs, trains], first, evsim.fixed_outdegree(8), 0.5, delay=0.0)
    net.connect(inputs[:5], last[3:], evsim.all_to_all(), evsim.uniform(0.1, 0.3), delay=0.0)
    net.connect(first, [side, last], evsim.fixed_indegree(6), 0.5, delay=0.0)
    net.connect(side, last, evsim.fixed_indegree(4), evsim.normal(0.5, 0.1), delay=0.0)
    net.connect(last, first, evsim.fixed_indegree(4), -0.1, delay=evsim.uniform(1.0, 3.0))
    return net, {last: ["v", "v_pre_reset"], first[2:9]: "v"}


def several_spikes_in_a_step():
    """The same with neurons that spike several times in a step."""
    return stages_of_a_step(Multi())


def several_spikes_over_later_steps():
    """Neurons that spike several times in a step, held for one after it, and hard reset; no delay is 0; wide sums."""
    net = evsim.Network(dt=1.0, seed=14)
    noisy = net.add_population("noisy", 200, Multi(v_reset=0.0, v_min=-1.0))
    cells = net.add_population("cells", 10, Multi(leak=1.0, t_ref=1.0, v_threshold=np.linspace(0.5, 1.5, 10)))
    net.add_poisson("noise", noisy, rate=2000.0, weight=0.7)
    net.connect(noisy, cells, evsim.fixed_indegree(150), 0.02, delay=2.0)
    net.connect(cells, noisy, evsim.fixed_indegree(3), -0.1, delay=3.0)
    return net, {cells: "v"}


def learning_beside_stages():
    """Plastic synapses into a population of a later stage, competing neurons there, and thresholds that adapt."""
    net = evsim.Network(dt=1.0, seed=15)
    lif = evsim.LIF(tau_mem=10.0, v_threshold=1.0, theta_plus=0.02, tau_theta=50.0)
    cells = net.add_population("cells", 40, lif, one_winner=True)
    inputs = net.add_poisson_source("inputs", 30, rate=200.0)
    copies = net.add_population("copies", 30, evsim.IAF())
    others = net.add_population("others", 12, Multi())
    net.connect(inputs, copies, evsim.one_to_one(), 1.0, delay=0.0)
    net.connect(copies, cells, evsim.fixed_indegree(3), 0.5, delay=0.0)
    rule = evsim.PairSTDP(a_plus=0.05, a_minus=0.04, x_target=0.2)
    net.connect(copies, cells, evsim.all_to_all(), evsim.uniform(0.1, 0.3), evsim.uniform(1.0, 3.0), plasticity=rule)
    net.connect(cells, others, evsim.all_to_all(), 2.5, delay=0.0)
    net.connect(others, cells, evsim.all_to_all(), -0.1, delay=1.0)

    def between(sim, i):
        sim.learning = i == 1

    return net, {cells[:3]: ["v", "v_pre_reset"], others: "v"}, between


def rows_that_sources_share():
    """A convolution, one behind a pool, and runs: of listed, drawn and equal weights, over delays and none."""
    net = evsim.Network(dt=1.0, seed=17)
    rng = np.random.default_rng(8)
    source = net.add_poisson_source("source", 2 * 6 * 5 + 3, rate=200.0)
    made = evsim.Sequential(
        evsim.Conv2d(2, 4, 3, padding=1, groups=2, bias=False, weight=rng.normal(0.3, 0.5, (4, 1, 3, 3))),
        evsim.spikingjelly.LIFNode(),
        evsim.AvgPool2d(2),
        evsim.Conv2d(4, 3, 2, stride=(1, 2), weight=rng.normal(1.0, 1.0, (3, 4, 2, 2)), bias=[0.1, 0.2, -0.1]),
        evsim.sinabs.IAF(),
        evsim.Flatten(),
        evsim.Linear(6, 4, bias=False, weight=rng.normal(0.5, 0.5, (4, 6))),
        evsim.spikingjelly.IFNode(),
    ).add_to(net, "net", source[3:], (2, 6, 5))
    net.connect(made[1], made[0], evsim.all_to_all(), evsim.normal(0.2, 0.2), delay=2.0)
    net.connect(made[2], made[0][7:90], evsim.all_to_all(), -0.1, delay=1.0)
    return net, {made[0]: "v", made[2]: "v"}


CASES = [
    delta_neurons_with_noise,
    two_receptors_and_currents,
    soft_reset_and_wide_sums,
    stages_of_a_step,
    several_spikes_in_a_step,
    several_spikes_over_later_steps,
    rows_that_sources_share,
]
LEARNING_CASES = [
    learning_switched_and_normalized,
    tabulated_dependence,
    changes_at_the_end,
    full_columns,
    competing_neurons,
    thresholds_without_plasticity,
    learning_beside_stages,
]


def run(case, backend, steps, path=None):
    """The simulation after all its runs, and everything it recorded and left."""
    net, state, *between = case()
    populations = list(net.populations.values())
    sim = evsim.Simulation(net, backend=backend)
    sim.record(path, spikes=populations[:1], state=state, every=2 * net.dt)
    for i, n in enumerate(steps):
        if i and between:
            between[0](sim, i - 1)
        sim.run(n * net.dt)
    recorded = [sim.spikes(populations[0])]
    recorded += [sim.state(p.population, p.variable).values for p in sim._recorder.probes]
    neurons = [p for p in populations if not isinstance(p.model, evsim.network.SpikeSource)]
    recorded += [sim.values(p) for p in neurons]
    recorded += [sim.values(p, "theta") for p in neurons if getattr(p.model, "theta_plus", 0.0)]
    recorded += [sim.neuron_spikes(p) for p in populations]
    recorded += [sim.synapses(q).weight for q in net.projections]
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
