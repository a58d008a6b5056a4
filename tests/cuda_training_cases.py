"""Small networks of every way to train, and their gradients on both backends: for the CUDA simulator and for a GPU.

A case makes layers and an input. Outputs agree bit for bit, gradients to rounding (1e-5 of the largest entry).
"""

import math

import cuda_batch_cases as batch
import numpy as np

import evsim
from evsim import sinabs, snntorch, spikingjelly
from evsim.training import forward

SURROGATES = [
    evsim.ATan(),
    evsim.Sigmoid(),
    evsim.PiecewiseQuadratic(),
    evsim.FastSigmoid(slope=3.0),
    evsim.SoftSign(),
    evsim.SingleExponential(),
    evsim.Triangle(),
    evsim.StraightThrough(),
    evsim.Surrogate.from_function(lambda x: math.exp(-x * x)),
]


def hard_and_soft_resets(big):
    """Both resets, attached and detached; biased layers; more targets than threads of a block; Poisson spikes."""
    n = (700, 1100, 40) if big else (9, 35, 5)
    layers = [
        evsim.Linear(n[0], n[1], bias=False),
        spikingjelly.LIFNode(v_threshold=0.2, surrogate=evsim.ATan()),
        evsim.Linear(n[1], n[2]),
        spikingjelly.IFNode(v_threshold=0.1, v_reset=None, surrogate=evsim.Sigmoid()),
        evsim.Linear(n[2], n[2]),
        spikingjelly.LIFNode(tau=3.0, v_threshold=0.05, detach_reset=True),
        evsim.Linear(n[2], 3),
        spikingjelly.ParametricLIFNode(3.0, v_threshold=0.02, v_reset=None, detach_reset=True),
    ]
    batch_size, steps = (40, 30) if big else (3, 7)
    pixels = np.random.default_rng(1).random((batch_size, n[0])) * 0.6
    return layers, evsim.encoders.poisson(pixels, steps, seed=3)


def several_spikes_and_bounds(big):
    """Multi-spike neurons with a lower bound, filtered input, neurons that give v; counts beyond 1 as input."""
    n = 200 if big else 6
    layers = [
        evsim.Linear(n, n + 1),
        sinabs.IAF(spike_threshold=0.2, min_v_mem=-0.3),
        evsim.Linear(n + 1, n),
        sinabs.LIF(tau_mem=10.0, tau_syn=4.0, spike_threshold=0.1, reset="zero"),
        evsim.Linear(n, 4),
        sinabs.ExpLeak(tau_mem=5.0, min_v_mem=-0.2),
    ]
    batch_size, steps = (30, 20) if big else (9, 6)
    return layers, batch.spikes(0.5, 1, steps, batch_size, n, most=3)


def sums_of_analog_values(big):
    """Values through neurons without weights, constants of each neuron, and a last layer without neurons."""
    n = 300 if big else 7
    layers = [
        spikingjelly.LIFNode(v_threshold=0.4),
        evsim.Linear(n, n),
        sinabs.LIF(tau_mem=np.linspace(4.0, 9.0, n), norm_input=False, spike_threshold=0.3, multi_spike=False),
        evsim.Linear(n, 3),
    ]
    batch_size, steps = (40, 20) if big else (3, 6)
    return layers, batch.values(1, steps, batch_size, n)


def repeated_currents(big):
    """A current in every step."""
    n = 100 if big else 5
    layers = [evsim.Linear(n, 10), evsim.SpikingNeuron(), evsim.Linear(10, 1)]
    batch_size, steps = (40, 20) if big else (4, 6)
    return layers, evsim.encoders.repeat(batch.values(3, batch_size, n), steps)


def listed_spikes(big):
    """Spikes as lists of an image, its channels one after another."""
    layers = [evsim.Conv2d(2, 3, 3, bias=False), sinabs.IAF(spike_threshold=0.3), evsim.Flatten(), evsim.Linear(27, 2)]
    return layers, evsim.EventInput.from_dense(batch.spikes(0.4, 2, 9 if big else 5, 3, 2, 5, 5).astype(np.uint8))


def recurrent_neurons(big):
    """Spikes that come back, over a layer with bias and one without; what recurrent neurons learn."""
    n = 300 if big else 10
    layers = [
        *batch.recurrence(n, spread=1.5),
        evsim.Recurrent(snntorch.Leaky(0.8, threshold=0.5, learn=("beta", "threshold"))),
    ]
    batch_size, steps = (30, 40) if big else (3, 6)
    return layers, batch.spikes(0.6, 1, steps, batch_size, 6)


def learned_constants(big):
    """Constants that neurons learn: one for all and one each, through a filter, hard and soft resets."""
    n = 200 if big else 6
    many = sinabs.LIF(
        tau_mem=np.linspace(4.0, 9.0, n), tau_syn=3.0, norm_input=False, spike_threshold=0.3,
        learn=("tau_mem", "tau_syn", "spike_threshold"),
    )  # fmt: skip
    layers = [
        evsim.Linear(n, n),
        many,
        evsim.Linear(n, n),
        spikingjelly.LIFNode(tau=3.0, v_threshold=0.1, v_reset=-0.1, learn=("tau", "v_threshold", "v_reset")),
        evsim.Linear(n, 4),
        evsim.LIF(tau_mem=6.0, tau_syn=3.0, v_threshold=0.1, learn=("tau_mem", "tau_syn")),
    ]
    batch_size, steps = (30, 40) if big else (3, 6)
    return layers, batch.spikes(0.8, 1, steps, batch_size, n)


def images(big):
    """Convolutions with stride, padding, dilation and groups; pools of three kinds, padded; bytes as input."""
    layers = batch.image_layers(big, (0.1, 0.02, 0.05), (evsim.MaxPool2d, evsim.SumPool2d))
    size = (40, 33) if big else (9, 8)
    batch_size, steps = (20, 10) if big else (2, 2)
    return layers, batch.spikes(0.4, 1, steps, batch_size, 2, *size).astype(np.uint8)


def pools_of_values(big):
    """A pool that the input enters, overlapping pools, a convolution of one dimension."""
    layers = [
        evsim.AvgPool2d(2, padding=1),
        evsim.MaxPool2d(3, stride=1, padding=1),
        evsim.Conv2d(2, 3, 2, stride=2),
        sinabs.ExpLeak(tau_mem=4.0),
    ]
    size = (30, 21) if big else (6, 5)
    return layers, batch.values(1, *((20, 10) if big else (3, 2)), 2, *size)


def one_dimension(big):
    """A strided, dilated convolution of one dimension in groups."""
    layers, n = batch.layers_of_one_dimension(big)
    return layers, batch.spikes(0.5, 1, *((20, 30) if big else (4, 2)), 4, n)


CASES = [
    hard_and_soft_resets,
    several_spikes_and_bounds,
    sums_of_analog_values,
    repeated_currents,
    listed_spikes,
    recurrent_neurons,
    learned_constants,
    images,
    pools_of_values,
    one_dimension,
]


def gradients(layers, x, backend, layer=None, **options):
    """Output, gradients and rates of a network, for random gradients of the output, and of what a layer gives."""
    net = evsim.Sequential(*layers, seed=7, backend=backend)
    output, backward = forward(net, x, input_gradient=True, **options)
    rng = np.random.default_rng(5)
    extra = {} if layer is None else {layer: rng.normal(size=backward.frames(layer).shape).astype(np.float32)}
    return output, backward(rng.normal(size=output.shape).astype(np.float32), extra), backward.rates()


def assert_close(own, other):
    """The same output and rates, and gradients equal to rounding."""
    assert own[0].tobytes() == other[0].tobytes()
    assert own[0].any()
    assert own[1].keys() == other[1].keys()
    for name, gradient in own[1].items():
        assert np.abs(gradient).max() > 0.0, f"{name} says nothing"
        scale = float(np.abs(gradient).max())
        np.testing.assert_allclose(other[1][name], gradient, rtol=1e-5, atol=1e-5 * scale, err_msg=name)
    for index, rate in own[2].items():
        np.testing.assert_array_equal(other[2][index], rate)


def assert_equal(case, big=False):
    """Both backends agree."""
    cpu, cuda = (gradients(*case(big), backend) for backend in ("cpu", "cuda"))
    assert_close(cpu, cuda)


def surrogate_case(surrogate):
    """A layer with this surrogate, thresholds of each neuron."""
    neurons = sinabs.LIF(5.0, spike_threshold=np.linspace(0.2, 0.6, 6), multi_spike=False, surrogate=surrogate)
    return [evsim.Linear(5, 6), neurons], batch.spikes(0.6, 2, 8, 3, 5)


def train(backend, **options):
    """History and weights of two epochs of a small network."""
    rng = np.random.default_rng(5)
    x, y = rng.random((7, 6)).astype(np.float32), np.arange(7) % 3
    layers = [
        evsim.Linear(6, 8),
        spikingjelly.LIFNode(v_threshold=0.2, surrogate=evsim.ATan()),
        evsim.Linear(8, 3),
        sinabs.ExpLeak(5.0),
    ]
    net = evsim.Sequential(*layers, seed=1, backend=backend)
    trainer = evsim.Trainer(
        net,
        evsim.MeanCrossEntropy(),
        evsim.Adam(lr=0.01),
        encoder=lambda x, first: evsim.encoders.poisson(x, 18, seed=1, first_sample=first),
        regularisers={1: evsim.RateRegulariser(0.3, 0.4, 10.0)},
        **options,
    )
    return trainer.fit(x, y, epochs=2, batch_size=5), net.parameters()
