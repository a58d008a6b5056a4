"""Gradients against finite differences of a network whose spikes are smoothed: no peer and no equation is trusted.

With s = S(h - v_threshold), S the integral of the surrogate, in the place of the step function, the network is
differentiable and the surrogate's gradients are its own. It is run below in float64 from the coefficients alone; what
it did is put into the place of what a run kept.
"""

import copy
import math

import numpy as np
import pytest
from scipy.special import expit

import evsim
from evsim import batch_model as bm
from evsim.model import COUPLING, DECAY, DRIVE, GAIN, JUMP, LEAK, V_MIN, V_RESET, V_THRESHOLD
from evsim.training import forward

T, B = 9, 4
INTEGRALS = {
    evsim.Sigmoid(3.0): lambda x: expit(3.0 * x),
    evsim.ATan(2.0): lambda x: np.arctan(math.pi * x) / math.pi + 0.5,
    evsim.PiecewiseQuadratic(0.7): lambda x: np.where(
        np.abs(x) < 1 / 0.7, 0.5 + 0.7 * x - 0.245 * x * np.abs(x), x > 0
    ),
    evsim.SoftSign(2.0): lambda x: 0.5 * (2.0 * x / (1 + np.abs(2.0 * x)) + 1),
    evsim.FastSigmoid(5.0): lambda x: x / (1 + 5.0 * np.abs(x)),
    evsim.StraightThrough(): lambda x: x,
    evsim.Surrogate.from_function(lambda x: math.exp(-x * x)): lambda x: (
        0.5 * math.sqrt(math.pi) * np.vectorize(math.erf)(x)
    ),
}
SURROGATES = {type(surrogate).__name__: surrogate for surrogate in INTEGRALS}
BY_NAME = {type(surrogate).__name__: integral for surrogate, integral in INTEGRALS.items()}


def coefficients(net, x):
    """The constants of each node, float64, as `coefficients` gives them."""
    made = []
    for node in net.begin(B, x.shape[2:])[0].nodes:
        c = node.neurons.coefficients(node.values, net.dt)
        soft = c.soft_reset
        listed = [c.leak, c.drive, c.v_threshold, c.v_reset, c.v_min, 0.0, c.decay[0], c.coupling[0]]
        made.append((soft, [*listed, c.gain[0], c.jump[0]], node.neurons.resting_v(node.values)))
    return made


def smoothed(net, x):
    """Spikes, potentials before the reset and currents of all layers, of the network with smoothed spikes."""
    frames, pre, currents, values = [], [], [], x
    for place, (soft, c, rest) in enumerate(coefficients(net, x)):
        linear, layer = net[2 * place], net[2 * place + 1]
        neurons = layer.neurons if isinstance(layer, evsim.Recurrent) else layer
        back = layer.connection.weight if isinstance(layer, evsim.Recurrent) else np.zeros((1, 1))
        integral = BY_NAME[type(neurons.surrogate).__name__]
        v, i, s = rest, 0.0, np.zeros((B, linear.out_features))
        outs = [], [], []
        for t in range(T):
            u = values[t] @ linear.weight.T.astype(float) + linear.bias
            u = u + (s @ back.T.astype(float) if back.size > 1 else 0.0)
            h = c[LEAK] * v + c[DRIVE] + c[JUMP] * u + c[COUPLING] * i
            i = c[DECAY] * i + c[GAIN] * u
            s = integral(h - c[V_THRESHOLD])
            v = np.maximum(h - s * c[V_RESET] if soft else (1 - s) * h + s * c[V_RESET], c[V_MIN])
            for out, value in zip(outs, (s, h, np.broadcast_to(i, h.shape)), strict=True):
                out.append(value)
        values = np.array(outs[0])
        for kept, out in zip((frames, pre, currents), outs, strict=True):
            kept.append(np.array(out))
    return frames, pre, currents


def networks():
    """Neurons of two layers, and what they learn."""
    for name, surrogate in SURROGATES.items():
        more = {"surrogate": surrogate}
        lif = evsim.spikingjelly.LIFNode(tau=2.5, v_reset=None, **more)
        hard = evsim.spikingjelly.LIFNode(tau=3.0, v_reset=-0.1, v_threshold=0.7, decay_input=False, **more)
        yield f"{name}-soft", lif, lif
        if name != "StraightThrough":  # whose s (v_reset - h) grows without bound
            yield f"{name}-hard", hard, hard
    more = {"surrogate": evsim.Sigmoid(3.0)}
    synapses = {"tau_syn": 3.0, "learn": ("tau_mem", "tau_syn", "spike_threshold")}
    yield (
        "sinabs",
        evsim.sinabs.LIF(6.0, norm_input=False, **synapses, **more),
        evsim.sinabs.LIF(4.0, **synapses, **more),
    )
    exact = {"tau_mem": 6.0, "tau_syn": 3.0, "r_mem": 2.0, "v_leak": 0.1, "i_bias": 0.2, "v_reset": None, **more}
    learn = "tau_mem", "tau_syn", "v_leak", "v_threshold", "r_mem", "i_bias"
    yield (
        "exact",
        evsim.LIF(**exact, learn=learn),
        evsim.LIF(**{**exact, "tau_syn": None}, learn=("tau_mem", *learn[2:])),
    )
    yield "equal_taus", evsim.LIF(**{**exact, "tau_syn": 6.0}, learn=learn[:2]), evsim.LIF(**exact)
    leak = {"leak": 0.05, "v_reset": None, **more}
    learn = "leak", "v_threshold", "r_mem", "i_bias"
    yield "integrator", evsim.IAF(**leak, learn=learn), evsim.IAF(tau_syn=2.0, **leak, learn=("tau_syn", *learn))
    lif = evsim.spikingjelly.LIFNode(tau=2.5, v_reset=None, learn=("tau", "v_threshold"), **more)
    yield "recurrent", evsim.Recurrent(lif), lif


NETWORKS = {name: pair for name, *pair in networks()}


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_finite_differences(name):
    first, last = copy.deepcopy(NETWORKS[name])
    net = evsim.Sequential(evsim.Linear(5, 6), first, evsim.Linear(6, 3), last, seed=2)
    rng = np.random.default_rng(3)
    x, c = rng.normal(0.7, 0.5, (T, B, 5)), rng.normal(size=(T, B, 3))
    output, backward = forward(net, x.astype(np.float32))
    frames, pre, currents = smoothed(net, x)
    chunk = backward._record.last
    chunk.frames = [each.astype(np.float32) for each in frames]
    chunk.pre = {k: each.astype(np.float32) for k, each in enumerate(pre)}
    chunk.current = {k: each.astype(np.float32) for k, each in enumerate(currents)}
    assert all(node.row[bm.NEURONS] == 1 for node in backward._built.nodes)
    assert output.shape == c.shape
    gradients = backward(c)

    def loss(parameters):
        net.load_parameters(parameters)
        return np.sum(c * smoothed(net, x)[0][-1])

    parameters = {key: value.astype(float) for key, value in net.parameters().items()}
    assert gradients.keys() == parameters.keys()
    for key, gradient in gradients.items():
        wanted, step = np.zeros(gradient.shape), 2.0**-11
        for at in list(np.ndindex(gradient.shape))[:: max(1, gradient.size // 6)]:
            ends = []
            for side in (1, -1, 2, -2):
                moved = parameters[key].copy()
                moved[at] += side * step
                ends.append(loss({**parameters, key: moved}))
            wanted[at] = (8 * (ends[0] - ends[1]) - (ends[2] - ends[3])) / (12 * step)
            assert gradient[at] == pytest.approx(wanted[at], rel=3e-3, abs=1e-3 * float(np.abs(gradient).max())), (
                key,
                at,
            )
