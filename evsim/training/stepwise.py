"""Neurons backwards step by step, all samples at once, in NumPy: for those that are recurrent or learn themselves.

With G_c the gradient of a coefficient c of the one update (h = leak v + drive + jump x + coupling i; i <- decay i +
gain x), dh, dv and di as in `backward_kernels.through_neurons`, sums over steps and samples, and v, i before the step:

    G_leak = sum dh v       G_drive = sum dh      G_jump = sum dh x      G_coupling = sum dh i
    G_decay = sum di i      G_gain = sum di x
    G_v_threshold = -sum slope * dL/ds            (of the spikes s, those through the reset too)
    G_v_reset = sum dv (spiked)   hard reset,   -sum dv s   soft reset

A parameter p of the neurons has the gradient sum_c G_c dc/dp, and dv of the first step times dv/dp, where v starts at
rest. The dc/dp are the imaginary parts of the coefficients at
p + 1e-20 i, divided by 1e-20, which loses no digit (Squire & Trapp 1998, SIAM Review 40:110).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim import batch_model as bm
from evsim.batch_build import BatchBuilt, Node
from evsim.coefficients import list_coefficients
from evsim.model import COUPLING, DECAY, DRIVE, GAIN, JUMP, LEAK, V_MIN, V_RESET, V_THRESHOLD
from evsim.training.record import Chunk

F4 = NDArray[np.float32]
STEP = 1e-20  # along the imaginary axis


class StepwiseNeurons:
    """Node k of a network on its way back through all chunks, the last one first."""

    def __init__(self, built: BatchBuilt, k: int, n_samples: int) -> None:
        node, model = built.nodes[k], built.model
        assert node.neurons is not None
        self._node, self._k, self._neurons = node, k, node.neurons
        starts, steps = model.parameter_start[k], model.parameter_step[k]
        self._value = [
            model.parameter_value[start : start + (node.size if step else 1)]
            for start, step in zip(starts, steps, strict=True)
        ]
        self._spiking, self._soft = bool(node.row[bm.SPIKING]), bool(node.row[bm.SOFT])
        self._filtered, self._detach = bool(node.row[bm.FILTERED]), bool(node.neurons.detach_reset)
        self._learns = bool(node.neurons.learned())
        self._dv, self._di = (np.zeros((n_samples, node.size), np.float32) for _ in range(2))
        self._sums = np.zeros((len(self._value), node.size))  # G, of each unit

    def enter(self, chunk: Chunk) -> None:
        """Go on in the chunk before."""
        k, row, n = self._k, self._node.row, self._node.size
        self._at_rest = chunk.first == 0 and int(chunk.state.step[0]) == 0  # at the first step
        self._pre, self._count, self._current = chunk.pre[k], chunk.frames[k], chunk.current.get(k)
        self._v_first = np.asarray(chunk.state.v)[:, row[bm.V_AT] :][:, :n]
        self._i_first = np.asarray(chunk.state.current)[:, max(row[bm.CURRENT_AT], 0) :][:, :n]

    def back(self, t: int, given: F4) -> F4:
        """The gradient of the input of step t of the chunk, from that of the output."""
        value, h, dv = self._value, self._pre[t], self._dv
        dv = np.where(self._after_reset(t) > value[V_MIN], dv, np.float32(0.0))
        if self._spiking:
            slope = self._neurons.surrogate.derivative(h, value[V_THRESHOLD])
            spiked = np.minimum(self._count[t], 1).astype(np.float32)
            by_spike = -value[V_RESET] if self._soft else value[V_RESET] - h  # dv / ds
            ds = given if self._detach else given + dv * by_spike
            dh = ds * slope + (dv if self._soft else dv * (1 - spiked))
            if self._learns:
                by_reset = -self._count[t].astype(np.float32) if self._soft else spiked
                self._sums[V_THRESHOLD] -= _over_samples(ds * slope)
                self._sums[V_RESET] += _over_samples(dv * by_reset)
        else:
            dh = given + dv
        if self._learns:
            self._add_sums(t, dh)
        dx = value[JUMP] * dh
        self._dv = value[LEAK] * dh
        if self._filtered:
            dx = dx + value[GAIN] * self._di
            self._di = value[DECAY] * self._di + value[COUPLING] * dh
        return dx.astype(np.float32)

    def parameter_gradients(self, dt: float) -> dict[str, Any]:
        """The gradients of what the neurons learn, by name; arrays are in the user's order."""
        return parameter_gradients(self._node, dt, self._sums, _over_samples(self._dv) if self._at_rest else None)

    def _add_sums(self, t: int, dh: F4) -> None:
        value, sums = self._value, self._sums
        v = self._bounded(t - 1) if t > 0 else self._v_first
        sums[LEAK] += _over_samples(dh * v)
        sums[DRIVE] += _over_samples(dh)
        charge = self._pre[t] - value[LEAK] * v - value[DRIVE]
        if not self._filtered:
            sums[JUMP] += _over_samples(dh * charge / value[JUMP])
            return
        assert self._current is not None
        i = self._current[t - 1] if t > 0 else self._i_first
        x = (self._current[t] - value[DECAY] * i) / value[GAIN]
        sums[JUMP] += _over_samples(dh * x)
        sums[COUPLING] += _over_samples(dh * i)
        sums[DECAY] += _over_samples(self._di * i)
        sums[GAIN] += _over_samples(self._di * x)

    def _after_reset(self, t: int) -> F4:
        """v after the reset and before its lower bound."""
        h, v_reset = self._pre[t], self._value[V_RESET]
        if not self._spiking:
            return h
        return h - self._count[t] * v_reset if self._soft else np.where(self._count[t] > 0, v_reset, h)

    def _bounded(self, t: int) -> F4:
        return np.maximum(self._after_reset(t), self._value[V_MIN])


def parameter_gradients(
    node: Node, dt: float, sums: NDArray[np.float64], dv_at_rest: NDArray[np.float64] | None
) -> dict[str, Any]:
    """The gradients of what neurons learn, by name: from G (coefficients, n), and dv (n,) where v starts at rest."""
    assert node.neurons is not None
    neurons, made = node.neurons, {}
    for name, learned in neurons.learned().items():
        key, value = neurons.disclosed(name, np.asarray(learned, np.float64)[()] + STEP * 1j)
        values = {**node.values, key: value if np.ndim(value) == 0 else value[node.order]}
        slopes = [np.imag(c) / STEP for c in list_coefficients(neurons, neurons.coefficients(values, dt))]
        each = sum(slope * total for slope, total in zip(slopes, sums, strict=True))
        if dv_at_rest is not None:
            each += np.imag(neurons.resting_v(values)) / STEP * dv_at_rest
        if learned.ndim:
            made[name] = np.empty(node.size, np.float32)
            made[name][node.order] = each
        else:
            made[name] = np.asarray(np.sum(each), np.float32)
    return made


def _over_samples(each: F4) -> NDArray[np.float64]:
    total: NDArray[np.float64] = each.sum(axis=0, dtype=np.float64)
    return total
