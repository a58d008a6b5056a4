"""Published networks used as examples and benchmarks."""

import numpy as np
from numpy.typing import NDArray

from evsim.connectivity import all_to_all, explicit, fixed_indegree, fixed_total_number, one_to_one
from evsim.distributions import normal, uniform
from evsim.network import Network, Population
from evsim.neurons import LIF
from evsim.plasticity import PairSTDP

__all__ = ["brunel", "diehl_cook", "microcircuit", "vogels"]


def brunel(
    neurons: int = 10_000, rate: float = 20_000.0, dt: float = 0.1, seed: int = 1, plastic: bool = False
) -> Network:
    """Balanced random network of excitatory and inhibitory LIF neurons with delta synapses.

    Four fifths of the neurons are excitatory; each neuron receives from a tenth of either population. J = 0.1 mV,
    g = 5, delay 1.5 ms, tau_mem 20 ms, threshold 20 mV, refractory 2 ms. With 10,000 neurons these are 10 million
    synapses, and the default drive gives about 35 Hz.
    Source: Brunel 2000, J. Comput. Neurosci. 8:183.

    Parameters
    ----------
    neurons : at least 10.
    rate : Poisson input of each neuron, Hz.
    plastic : synapses between excitatory neurons learn by additive pair STDP, up to twice their weight.
    """
    if neurons < 10:
        raise ValueError(f"brunel: neurons is {neurons}; it must be at least 10")
    net = Network(dt, seed)
    lif = LIF(tau_mem=20.0, v_threshold=20.0, v_reset=0.0, t_ref=2.0)
    exc = net.add_population("exc", neurons * 4 // 5, lif, v=uniform(0.0, 20.0))
    inh = net.add_population("inh", neurons - exc.size, lif, v=uniform(0.0, 20.0))
    net.add_poisson("noise", target=[exc, inh], rate=rate, weight=0.1)
    stdp = PairSTDP(a_plus=0.01 * 0.2, a_minus=1.05 * 0.01 * 0.2, w_max=0.2) if plastic else None
    net.connect(exc, exc, fixed_indegree(exc.size // 10), weight=0.1, delay=1.5, plasticity=stdp)
    net.connect(exc, inh, fixed_indegree(exc.size // 10), weight=0.1, delay=1.5)
    net.connect(inh, [exc, inh], fixed_indegree(inh.size // 10), weight=-0.5, delay=1.5)
    return net


def vogels(neurons: int = 4000, dt: float = 0.1, seed: int = 1) -> Network:
    """Self-sustained irregular network of excitatory and inhibitory LIF neurons with exponential synapses.

    Four fifths of the neurons are excitatory; each neuron receives from 2 % of either population. tau_mem 20 ms, rest
    -60 mV with 20 mV of background, threshold -50 mV, refractory 5 ms, delay 0.8 ms, tau_syn 5 and 10 ms. The original
    has conductances; here each is multiplied by its mean driving force (at v = -55 mV), which makes it a current. The
    weights fall with the square of the size, as where simulators are compared, so that a large network keeps firing:
    with 224,000 neurons (1,000 million synapses) at about 29 Hz, the original with its conductances at about 26 Hz.
    Source: Vogels & Abbott 2005, J. Neurosci. 25:10786; sizes, weights and delay as in the benchmark of Bautembach et
    al. 2020, "Faster and Simpler SNN Simulation with Work Queues" (github.com/denniskb/spice).

    Parameters
    ----------
    neurons : at least 250.
    """
    if neurons < 250:
        raise ValueError(f"vogels: neurons is {neurons}; it must be at least 250")
    net = Network(dt, seed)
    lif = LIF(
        tau_mem=20.0, tau_syn=(5.0, 10.0), t_ref=5.0,
        v_leak=-60.0, v_threshold=-50.0, v_reset=-60.0, i_bias=20.0,
    )  # fmt: skip
    exc = net.add_population("exc", neurons * 4 // 5, lif, v=uniform(-60.0, -50.0))
    inh = net.add_population("inh", neurons - exc.size, lif, v=uniform(-60.0, -50.0))
    scale = (4000 / neurons) ** 2
    for source, conductance, reversal in ((exc, 0.4, 0.0), (inh, 5.1, -80.0)):  # of the leak's; mV
        weight = scale * conductance * (reversal + 55.0)
        net.connect(source, [exc, inh], fixed_indegree(source.size // 50), weight=weight, delay=0.8)
    return net


def diehl_cook(neurons: int = 400, inputs: int = 784, rate: float = 128.0, seed: int = 1) -> Network:
    """Unsupervised learning of images: Poisson inputs, excitatory neurons that learn, one inhibitory neuron for each.

    Populations "inputs", "exc" and "inh"; inputs -> exc is all to all and learns by pair STDP; an excitatory neuron
    excites its own inhibitory one, which inhibits all other excitatory ones. Thresholds of "exc" adapt. Delta
    synapses, dt = delay = 1 ms, in the form of BindsNET's DiehlAndCook2015, but that thresholds rise by 1.5e-4 mV times
    `neurons`, and weights by up to 2.5e-4 sqrt(neurons), at a spike: then the weights become good means of what they
    stand for in one epoch of MNIST's 60,000 images (BindsNET has 0.05 mV and 0.01).
    Source: Diehl & Cook 2015, Front. Comput. Neurosci. 9:99.

    Parameters
    ----------
    neurons : excitatory neurons, and as many inhibitory ones; at least 2.
    inputs : pixels of an image.
    rate : largest rate of an input, Hz; `Simulation.set_rate("inputs", ...)` shows an image.
    """
    if neurons < 2:
        raise ValueError(f"diehl_cook: neurons is {neurons}; it must be at least 2")
    net = Network(dt=1.0, seed=seed)
    source = net.add_poisson_source("inputs", inputs, rate=np.full(inputs, rate))
    exc_model = LIF(
        tau_mem=100.0, v_leak=-65.0, v_threshold=-52.0, v_reset=-60.0, t_ref=5.0,
        theta_plus=1.5e-4 * neurons, tau_theta=1e7,
    )  # fmt: skip
    inh_model = LIF(tau_mem=10.0, v_leak=-60.0, v_threshold=-40.0, v_reset=-45.0, t_ref=2.0)
    exc = net.add_population("exc", neurons, exc_model)
    inh = net.add_population("inh", neurons, inh_model)
    stdp = PairSTDP(a_plus=2.5e-4 * neurons**0.5, a_minus=1e-4, traces="nearest", w_max=1.0)
    net.connect(source, exc, all_to_all(), weight=uniform(0.0, 0.3), delay=1.0, plasticity=stdp)
    net.connect(exc, inh, one_to_one(), weight=22.5, delay=1.0)
    others = explicit(*np.nonzero(~np.eye(neurons, dtype=bool)))
    net.connect(inh, exc, others, weight=-120.0, delay=1.0)
    return net


# Potjans & Diesmann 2014, Cereb. Cortex 24:785, tables 4 and 5, in the form of the authors' PyNEST implementation.
POPULATIONS = ("L23E", "L23I", "L4E", "L4I", "L5E", "L5I", "L6E", "L6I")
FULL_SIZE = np.array([20683, 5834, 21915, 5479, 4850, 1065, 14395, 2948])
PROBABILITY = np.array(  # target by source
    [
        [0.1009, 0.1689, 0.0437, 0.0818, 0.0323, 0.0000, 0.0076, 0.0000],
        [0.1346, 0.1371, 0.0316, 0.0515, 0.0755, 0.0000, 0.0042, 0.0000],
        [0.0077, 0.0059, 0.0497, 0.1350, 0.0067, 0.0003, 0.0453, 0.0000],
        [0.0691, 0.0029, 0.0794, 0.1597, 0.0033, 0.0000, 0.1057, 0.0000],
        [0.1004, 0.0622, 0.0505, 0.0057, 0.0831, 0.3726, 0.0204, 0.0000],
        [0.0548, 0.0269, 0.0257, 0.0022, 0.0600, 0.3158, 0.0086, 0.0000],
        [0.0156, 0.0066, 0.0211, 0.0166, 0.0572, 0.0197, 0.0396, 0.2252],
        [0.0364, 0.0010, 0.0034, 0.0005, 0.0277, 0.0080, 0.0658, 0.1443],
    ]
)
EXTERNAL_INDEGREE = np.array([1600, 1500, 2100, 1900, 2000, 1900, 2900, 2100])
EXTERNAL_RATE = 8.0  # Hz for each external input
FULL_RATE = np.array([0.903, 2.965, 4.414, 5.876, 7.569, 8.633, 1.105, 7.829])  # Hz, used to scale the network down
INITIAL_V = np.array([-68.28, -63.16, -63.33, -63.45, -63.11, -61.66, -66.72, -61.43])  # mV
INITIAL_V_STD = np.array([5.36, 4.57, 4.74, 4.94, 4.94, 4.55, 5.46, 4.48])
C_M, TAU_MEM, TAU_SYN = 250.0, 10.0, 0.5  # pF, ms, ms
PSP, G = 0.15, -4.0  # mV, relative strength of inhibition
WEIGHT_SPREAD, DELAY_SPREAD = 0.1, 0.5  # standard deviations relative to the mean
DELAY_EXC, DELAY_INH = 1.5, 0.75  # ms


def microcircuit(scale: float = 1.0, drive: str = "poisson", dt: float = 0.1, seed: int = 1) -> Network:
    """The cortical microcircuit under 1 mm2 of early sensory cortex: 77,169 neurons, 299 million synapses.

    Eight populations of LIF neurons with exponential currents (in pA). Initial v is drawn so that the start-up
    transient is short. Below full scale, indegrees shrink with the sizes, weights grow by 1 / sqrt(scale), and a
    constant current replaces the mean input that is lost.
    Source: Potjans & Diesmann 2014, Cereb. Cortex 24:785.

    Parameters
    ----------
    scale : of the population sizes and of the indegrees, in (0, 1].
    drive : "poisson" or "dc": external input as Poisson trains or as the current that is their mean. Without the
        noise of the trains a small network (scale 0.1) is almost silent.
    """
    if not 0.0 < scale <= 1.0:
        raise ValueError(f"microcircuit: scale is {scale}; it must be in (0, 1]")
    if drive not in ("poisson", "dc"):
        raise ValueError(f"microcircuit: drive is {drive!r}; it must be 'poisson' or 'dc'")
    size = np.rint(FULL_SIZE * scale).astype(int)
    pairs = FULL_SIZE[:, None] * FULL_SIZE[None, :]
    full_synapses = np.log(1.0 - PROBABILITY) / np.log(1.0 - 1.0 / pairs)
    weight = np.full((8, 8), _psc_of_psp())
    weight[:, 1::2] *= G
    weight[0, 2] *= 2.0  # L4E -> L23E
    bias = 1e-3 * TAU_SYN * (1.0 - np.sqrt(scale)) * (weight * full_synapses / FULL_SIZE[:, None]) @ FULL_RATE
    external = 1e-3 * TAU_SYN * EXTERNAL_INDEGREE * EXTERNAL_RATE * _psc_of_psp()
    bias += external if drive == "dc" else (1.0 - np.sqrt(scale)) * external

    net = Network(dt, seed)
    populations = []
    for p, name in enumerate(POPULATIONS):
        model = LIF(
            tau_mem=TAU_MEM, tau_syn=TAU_SYN, r_mem=TAU_MEM / C_M, t_ref=2.0,
            v_leak=-65.0, v_threshold=-50.0, v_reset=-65.0, i_bias=float(bias[p]),
        )  # fmt: skip
        initial_v = normal(INITIAL_V[p], INITIAL_V_STD[p])
        populations.append(net.add_population(name, int(size[p]), model, v=initial_v))
    if drive == "poisson":
        for population, indegree in zip(populations, np.rint(EXTERNAL_INDEGREE * scale), strict=True):
            external_weight = _psc_of_psp() / np.sqrt(scale)
            net.add_poisson(f"external {population.name}", population, EXTERNAL_RATE * indegree, external_weight)
    synapses = np.rint(full_synapses * scale * scale).astype(int)
    _connect(net, populations, synapses, weight / np.sqrt(scale))
    return net


def _connect(
    net: Network, populations: list[Population], synapses: NDArray[np.int64], weight: NDArray[np.float64]
) -> None:
    for i, target in enumerate(populations):
        for j, source in enumerate(populations):
            if synapses[i, j] == 0:
                continue
            mean, delay = weight[i, j], DELAY_INH if j % 2 else DELAY_EXC
            low, high = (0.0, np.inf) if mean > 0.0 else (-np.inf, 0.0)
            net.connect(
                source,
                target,
                fixed_total_number(int(synapses[i, j])),
                weight=normal(mean, WEIGHT_SPREAD * abs(mean), low, high),
                delay=normal(delay, DELAY_SPREAD * delay, low=0.5 * net.dt),
            )


def _psc_of_psp() -> float:
    """The synaptic current (pA) whose postsynaptic potential peaks at PSP (mV)."""
    ratio = (TAU_MEM / TAU_SYN) ** (1.0 / (TAU_SYN - TAU_MEM))
    peak = TAU_MEM * TAU_SYN / (C_M * (TAU_SYN - TAU_MEM)) * (ratio**TAU_MEM - ratio**TAU_SYN)
    return float(PSP / peak)
