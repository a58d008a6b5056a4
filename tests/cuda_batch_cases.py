"""Small layered networks of every feature, and their runs on both backends: for the CUDA simulator and for a GPU.

A case makes its layers, the shape of a sample, what is recorded of which layers, and the inputs of calls one after
another, which the state is kept over. `big` is for a GPU.
"""

import numpy as np

import evsim
from evsim import sinabs, snntorch, spikingjelly
from evsim.batch_input import EventInput, RepeatedInput

EVERYTHING = "spikes", "v", "v_pre_reset"


def spikes(rate, seed, *shape, most=1):
    """Random counts of spikes."""
    rng = np.random.default_rng(seed)
    return ((rng.random(shape) < rate) * rng.integers(1, most + 1, shape)).astype(np.float32)


def values(seed, *shape):
    """Analog values, some of them 0."""
    rng = np.random.default_rng(seed)
    return (rng.normal(0.5, 1.0, shape) * (rng.random(shape) < 0.7)).astype(np.float32)


def chain_of_linear_layers(big):
    """Spikes through biased and unbiased layers, wider and narrower than a block; bytes as input."""
    n = (784, 1000, 300) if big else (20, 30, 7)
    layers = [
        evsim.Linear(n[0], n[1], bias=False),
        spikingjelly.LIFNode(v_threshold=0.15),
        evsim.Linear(n[1], n[2]),
        spikingjelly.IFNode(v_reset=None, v_threshold=0.3),
        evsim.Linear(n[2], 3),
        spikingjelly.LIFNode(tau=3.5, decay_input=False, v_threshold=0.1),
    ]
    batch, steps = (70, 30) if big else (3, 5)
    first = spikes(0.3, 1, steps, batch, n[0], most=3).astype(np.uint8)
    return layers, [(1, *EVERYTHING), (3, *EVERYTHING), (5, "v")], [first, spikes(0.3, 2, steps, batch, n[0])]


def analog_values(big):
    """Values through a linear layer, neurons that give v, a layer that gives its sums; both filtered."""
    n = 300 if big else 12
    layers = [
        evsim.Linear(n, n + 1),
        sinabs.ExpLeak(tau_mem=5.0, min_v_mem=-0.2),
        evsim.Linear(n + 1, n),
        sinabs.LIF(tau_mem=10.0, tau_syn=4.0, spike_threshold=0.3),
        evsim.Linear(n, 5),
    ]
    batch, steps = (40, 20) if big else (3, 5)
    return layers, [(1, *EVERYTHING), (3, *EVERYTHING, "i")], [values(1, steps, batch, n), values(2, steps, batch, n)]


def neurons_alone(big):
    """Neurons without weights; spikes and values in turn, parameters of each neuron."""
    n = 700 if big else 9
    taus = np.linspace(2.0, 20.0, n)
    layers = [sinabs.LIF(tau_mem=taus, norm_input=False, multi_spike=False), sinabs.IAF(spike_threshold=0.7)]
    batch, steps = (40, 20) if big else (2, 6)
    mixed = spikes(0.4, 1, steps, batch, n, most=4)
    mixed[steps // 2 :] = values(2, steps - steps // 2, batch, n)
    return layers, [(0, *EVERYTHING), (1, *EVERYTHING)], [mixed, mixed[::-1]]


def adaptive_thresholds(big):
    """ALIF of both resets with a filtered input, one and several spikes a step."""
    n = 400 if big else 10
    layers = [
        evsim.Linear(n, n),
        sinabs.ALIF(tau_mem=4.0, tau_adapt=15.0, spike_threshold=0.1, norm_input=False),
        evsim.Linear(n, n),
        sinabs.ALIF(
            tau_mem=4.0, tau_adapt=10.0, tau_syn=3.0, multi_spike=True, reset="zero", spike_threshold=0.1,
            norm_input=False,
        ),
    ]  # fmt: skip
    batch, steps = (40, 50) if big else (2, 8)
    return layers, [(1, *EVERYTHING), (3, *EVERYTHING, "i")], [spikes(0.5, s, steps, batch, n) for s in (1, 2)]


def refractory_neurons(big):
    """Neurons with refractory times, of two kinds; hard, soft and no reset."""
    n = 500 if big else 10
    layers = [
        evsim.Linear(n, n),
        snntorch.Synaptic(alpha=0.8, beta=0.9, reset_mechanism="zero", threshold=0.3),
        evsim.Linear(n, n),
        evsim.LIF(tau_mem=10.0, v_threshold=0.1, t_ref=3.0, theta_plus=0.05, tau_theta=20.0),
        evsim.Linear(n, n),
        snntorch.Leaky(beta=0.9, threshold=0.3),
    ]
    batch, steps = (40, 50) if big else (2, 10)
    kept = [(1, *EVERYTHING, "i"), (3, *EVERYTHING), (5, *EVERYTHING)]
    return layers, kept, [spikes(0.5, s, steps, batch, n) for s in (1, 2)]


def recurrence(n, spread):
    """Six inputs to neurons whose spikes, several a step, come back over a layer with bias."""
    rng = np.random.default_rng(1)
    back = evsim.Linear(n, n, bias=rng.normal(0.0, 0.1, n), weight=rng.normal(0.0, spread / n, (n, n)))
    return [evsim.Linear(6, n), evsim.Recurrent(sinabs.IAF(spike_threshold=0.3, min_v_mem=-1.0), back)]


def recurrent_neurons(big):
    """Spikes that come back, over a layer with bias and one without; values as input; fewer inputs than neurons."""
    n = 300 if big else 140
    layers = [
        *recurrence(n, spread=0.5),
        evsim.Recurrent(sinabs.LIF(tau_mem=5.0, norm_input=False, spike_threshold=0.8, multi_spike=False)),
    ]
    batch, steps = (30, 40) if big else (2, 4)
    given = [spikes(0.5, 1, steps, batch, 6), values(2, steps, batch, 6)]
    return layers, [(1, *EVERYTHING), (2, *EVERYTHING)], given


def image_layers(big, thresholds, pools):
    """Convolutions with stride, padding, dilation and groups; pools of three kinds, padded."""
    c = 16 if big else 4
    return [
        evsim.Conv2d(2, c, 3, padding=1),
        sinabs.IAF(spike_threshold=thresholds[0], min_v_mem=-1.0),
        pools[0](3, stride=2, padding=1),
        evsim.Conv2d(c, 2 * c, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2),
        spikingjelly.LIFNode(v_threshold=thresholds[1]),
        pools[1](2, padding=1),
        evsim.Conv2d(2 * c, 2 * c, 2, stride=2, groups=2 * c, bias=False),
        sinabs.IAF(spike_threshold=thresholds[2]),
        evsim.AvgPool2d(2, padding=1),
        evsim.Flatten(),
        evsim.Linear(2 * c * (6 if big else 1), 5),
    ]


def images(big):
    """Convolutions and pools of spikes, then of values."""
    layers = [
        *image_layers(big, (0.3, 0.3, 0.2), (evsim.SumPool2d, evsim.MaxPool2d)),
        sinabs.IAF(spike_threshold=0.1),
    ]
    size = (40, 33) if big else (9, 8)
    batch, steps = (20, 20) if big else (2, 3)
    kept = [(1, *EVERYTHING), (2, "spikes"), (4, *EVERYTHING), (7, "v"), (11, *EVERYTHING)]
    return layers, kept, [spikes(0.3, 1, steps, batch, 2, *size, most=2), values(2, steps, batch, 2, *size)]


def pools_of_values(big):
    """Pools and convolutions of analog values, one-dimensional ones too; no neurons in between."""
    layers = [
        evsim.MaxPool2d(2, padding=1),
        evsim.Conv2d(2, 4, 3, padding=2, dilation=2, groups=2),
        evsim.AvgPool2d(3, stride=1, padding=1),
        evsim.Conv2d(4, 3, 2, stride=2),
        sinabs.ExpLeak(tau_mem=4.0),
    ]
    size = (30, 21) if big else (7, 8)
    batch, steps = (20, 10) if big else (2, 3)
    given = [values(1, steps, batch, 2, *size), spikes(0.5, 2, steps, batch, 2, *size, most=9)]
    return layers, [(0, "spikes"), (1, "spikes"), (2, "spikes"), (4, *EVERYTHING)], given


def layers_of_one_dimension(big):
    """A strided, dilated convolution of one dimension in groups, of 4 channels; and the length of its input."""
    n = 100 if big else 12
    layers = [
        evsim.Conv1d(4, 6, 3, stride=2, padding=2, dilation=2, groups=2),
        spikingjelly.LIFNode(v_threshold=0.2),
        evsim.Flatten(),
        evsim.Linear(6 * n // 2, 4),
    ]
    return layers, n


def one_dimension(big):
    """A repeated current, then repeated counts."""
    layers, n = layers_of_one_dimension(big)
    batch, steps = (30, 20) if big else (3, 4)
    given = [RepeatedInput(values(1, batch, 4, n), steps), RepeatedInput(spikes(0.5, 2, batch, 4, n, most=3), steps)]
    return layers, [(1, *EVERYTHING)], given


def drawn_and_listed_spikes(big):
    """Poisson spikes of an image and listed ones, some several times in a step; more than sums have room for."""
    side, batch, steps = (28, 60, 30) if big else (5, 3, 6)
    layers = [evsim.Conv2d(3, 4, 3), sinabs.IAF(), evsim.AvgPool2d(2), evsim.Flatten()]
    rng = np.random.default_rng(3)
    pixels = rng.random((batch, 3, side, side)) * (rng.random((batch, 3, side, side)) < 0.6)
    n = 40 * batch
    step, sample = np.arange(n) % steps, rng.integers(0, batch, n)
    unit = rng.integers(0, 3 * side * side, n)
    often = np.full(400, 7)  # of one unit, far beyond what sums have room for
    listed = EventInput.from_spikes(
        np.r_[step, 0 * often], np.r_[sample, 0 * often], np.r_[unit, often], (steps, batch, 3, side, side)
    )
    drawn = evsim.encoders.poisson(pixels, n_steps=steps, seed=5, first_sample=1000)
    return layers, [(1, *EVERYTHING)], [drawn, listed]


def sums_that_are_no_counts(big):
    """Pools of counts whose sums a count cannot hold, then of sums that it can."""
    layers = [evsim.SumPool2d(2), evsim.SumPool2d(2, stride=1), evsim.Conv2d(2, 3, 1)]
    x = spikes(0.5, 1, 4, 2, 2, 6, 6, most=30000)
    x[::2] %= 9
    return layers, [(0, "spikes"), (1, "spikes")], [x]


CASES = [
    chain_of_linear_layers,
    analog_values,
    neurons_alone,
    adaptive_thresholds,
    refractory_neurons,
    recurrent_neurons,
    images,
    pools_of_values,
    one_dimension,
    drawn_and_listed_spikes,
    sums_that_are_no_counts,
]


def run(case, backend, big=False):
    """What all calls gave and recorded."""
    layers, kept, inputs = case(big)
    net = evsim.Sequential(*layers, seed=7, backend=backend)
    assert net.backend == backend
    records = [net.record(layer, *variables) for layer, *variables in kept]
    outputs = [net(x) for x in inputs]
    recorded = {
        (record.layer, variable): getattr(record, variable) for record in records for variable in record.variables
    }
    return outputs, recorded


def assert_equal(case, big=False):
    """Both backends agree, bit for bit, on something worth comparing."""
    cpu, cuda = (run(case, backend, big) for backend in ("cpu", "cuda"))
    for key, values_of in cpu[1].items():
        assert np.unique(values_of).size > 1, f"{key} says nothing"
        assert values_of.tobytes() == cuda[1][key].tobytes(), f"{key} differs"
    for own, other in zip(cpu[0], cuda[0], strict=True):
        assert own.tobytes() == other.tobytes()
