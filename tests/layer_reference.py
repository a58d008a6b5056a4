"""Dense float64 NumPy versions of layers and neurons, and random networks of both.

A dense layer takes all frames (T, B, ...) and gives (what it gives, v of its neurons or None). Weights, constants and
inputs of random networks are binary fractions with so few digits that float32 rounds nothing: results are equal.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

import evsim
from evsim import sinabs, snntorch, spikingjelly


def convolve(x, weight, bias=None, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1):
    """Of images (..., channels, rows, columns), window by window."""
    x = np.pad(x, [(0, 0)] * (x.ndim - 2) + [(p, p) for p in padding])
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, weight.shape[2:], strict=True)]
    rows, columns = ((n - span) // s + 1 for n, span, s in zip(x.shape[-2:], spans, stride, strict=True))
    out = np.zeros((*x.shape[:-3], len(weight), rows, columns))
    n_in, n_out = weight.shape[1], len(weight) // groups
    for i in range(rows):
        for j in range(columns):
            y, z = i * stride[0], j * stride[1]
            window = x[..., y : y + spans[0] : dilation[0], z : z + spans[1] : dilation[1]]
            for g in range(groups):
                own, kernel = window[..., g * n_in : (g + 1) * n_in, :, :], weight[g * n_out : (g + 1) * n_out]
                out[..., g * n_out : (g + 1) * n_out, i, j] = np.einsum("...cab,ocab->...o", own, kernel)
    return out if bias is None else out + np.reshape(bias, (-1, 1, 1))


def pool(x, how, kernel, stride, padding=(0, 0)):
    """how = np.sum, np.mean or np.max of the windows of images (..., channels, rows, columns)."""
    empty = -np.inf if how is np.max else 0.0
    x = np.pad(x, [(0, 0)] * (x.ndim - 2) + [(p, p) for p in padding], constant_values=empty)
    rows, columns = ((n - k) // s + 1 for n, k, s in zip(x.shape[-2:], kernel, stride, strict=True))
    out = np.zeros((*x.shape[:-2], rows, columns))
    for i in range(rows):
        for j in range(columns):
            y, z = i * stride[0], j * stride[1]
            out[..., i, j] = how(x[..., y : y + kernel[0], z : z + kernel[1]], axis=(-2, -1))
    return out


@dataclass
class DenseNeurons:
    """Charge, lower bound, fire, reset."""

    charge: Any  # (v, x) -> h
    threshold: Any = 1.0
    v_reset: float | None = 0.0  # None: soft
    start: float = 0.0
    multi: bool = False
    v_min: float = -np.inf
    t_ref: int = 0  # steps
    spiking: bool = True
    recorded: float = 1.0  # what a recorded v is multiplied by
    back: Any = None  # weight (n, n) of a connection from their own spikes of the step before

    def __call__(self, x):
        self.v, self.left, last = np.full(x.shape[1:], self.start), np.zeros(x.shape[1:], int), np.zeros(x.shape[1:])
        spikes, v = np.zeros(x.shape), np.zeros(x.shape)
        for t in range(len(x)):
            last = spikes[t] = self.step(x[t] if self.back is None else x[t] + last @ self.back.T)
            v[t] = self.recorded * self.v
        return spikes, v

    def step(self, x):
        threshold = np.reshape(self.threshold, x.shape[1:]) if np.ndim(self.threshold) else self.threshold
        free = self.charge(self.v, x)
        h = np.where(self.left > 0, self.v, np.maximum(free, self.v_min))
        if not self.spiking:
            self.v = h
            return free
        fired = (h >= threshold) & (self.left == 0)
        n = np.where(fired, np.trunc(h / threshold) if self.multi else 1.0, 0.0)
        self.v = np.where(fired, h - n * threshold if self.v_reset is None else self.v_reset, h)
        self.left = np.where(fired, self.t_ref, np.maximum(self.left - 1, 0))
        return n


@dataclass
class DenseLeaky:
    """snnTorch's: what a spike takes off v is taken off in the next step, and v > threshold spikes."""

    beta: float
    threshold: float = 1.0

    def __call__(self, x):
        spikes, v, mem = np.zeros(x.shape), np.zeros(x.shape), np.zeros(x.shape[1:])
        for t in range(len(x)):
            mem = self.beta * mem + x[t] - self.threshold * (mem > self.threshold)
            v[t], spikes[t] = mem, mem > self.threshold
        return spikes, v


def neurons(draw, rng, n):
    """Neurons of a random kind: evsim's, and the dense ones."""
    v_reset = draw(st.sampled_from([0.0, None, -0.5]))
    start = v_reset or 0.0
    thresholds = rng.integers(2, 7, n) / 4
    v_min = draw(st.sampled_from([None, -1.0]))
    bound = -np.inf if v_min is None else v_min
    many = draw(st.booleans())
    kinds = {
        "IFNode": lambda: (spikingjelly.IFNode(v_reset=v_reset), lambda v, x: v + x, {"start": start}),
        "LIFNode": lambda: (
            spikingjelly.LIFNode(tau=2.0, v_reset=v_reset),
            lambda v, x: v + (x - (v - start)) / 2,
            {"start": start},
        ),
        "LIFNode, whole input": lambda: (
            spikingjelly.ParametricLIFNode(2.0, decay_input=False, v_reset=v_reset),
            lambda v, x: v - (v - start) / 2 + x,
            {"start": start},
        ),
        "sinabs.IAF": lambda: (
            sinabs.IAF(multi_spike=many, min_v_mem=v_min, reset="zero" if v_reset == 0.0 else "subtract"),
            lambda v, x: v + x,
            {"multi": many, "v_min": bound, "v_reset": 0.0 if v_reset == 0.0 else None},
        ),
        "ConstantLeakIAF": lambda: (
            sinabs.ConstantLeakIAF(v_leak=0.25, r=0.5, spike_threshold=thresholds, multi_spike=many, min_v_mem=v_min),
            lambda v, x: v + 0.5 * x - 0.25,
            {"multi": many, "v_min": bound, "v_reset": None, "threshold": thresholds},
        ),
        "ExpLeak": lambda: (
            sinabs.ExpLeak(tau_mem=1.0 / np.log(2.0), min_v_mem=v_min),
            lambda v, x: v / 2 + x,
            {"v_min": bound, "spiking": False},
        ),
        "evsim.IAF": lambda: (
            evsim.IAF(t_ref=2.0, v_threshold=thresholds, v_reset=v_reset),
            lambda v, x: v + x,
            {"t_ref": 2, "threshold": thresholds},
        ),
        "SpikingNeuron": lambda: (
            evsim.SpikingNeuron(decay=0.5),
            lambda v, x: v / 2 + x,
            {"recorded": 0.5, "v_reset": 0.0},
        ),
        "Leaky": lambda: (snntorch.Leaky(beta=0.5), None, {}),
    }
    model, charge, more = kinds[draw(st.sampled_from(sorted(kinds)))]()
    dense = DenseLeaky(0.5) if charge is None else DenseNeurons(charge, **{"v_reset": v_reset, **more})
    return model, dense


@dataclass
class RandomNetwork:
    """Layers, the same dense, and what goes in."""

    shape: tuple[int, ...]
    layers: list[Any] = field(default_factory=list)
    dense: list[Any] = field(default_factory=list)
    x: Any = None

    def expected(self):
        """What each layer gives, and v of its neurons or None; refuses examples that float32 would round."""
        results: list[Any] = []
        x = self.x.astype(np.float64)
        for dense in self.dense:
            y, v = dense(x)
            assume(not getattr(dense, "multi", False) or y.max() <= 255)
            for values in (y, *([] if v is None else [v])):
                assume((np.abs(values).max() < 2**13) and (values * 2**11 == np.rint(values * 2**11)).all())
            results.append((y, v))
            x = y
        return results


def _halves(rng, *shape):
    return rng.integers(-2, 3, shape) / 2


@st.composite
def random_networks(draw):
    """Up to six layers of any kind behind one another, and frames of spikes, counts, values and nothing."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = draw(st.sampled_from([(6,), (150,), (2, 7), (1, 6, 5), (3, 5, 6)]))
    net = RandomNetwork(shape)
    since_spikes = 0  # connections and pools whose values have only grown
    for _ in range(draw(st.integers(1, 6))):
        kinds = {1: ["Linear", "Recurrent"], 2: ["Conv1d", "Flatten"], 3: ["Conv2d", "Pool", "Flatten"]}[len(shape)]
        kind = draw(st.sampled_from(["Neurons", *(kinds if since_spikes < 2 else [])]))
        layer, dense = _layer(draw, rng, kind, shape)
        net.layers.append(layer)
        net.dense.append(dense)
        spiking = kind in ("Neurons", "Recurrent") and getattr(dense, "spiking", True)
        since_spikes = 0 if spiking else since_spikes + 1
        shape = dense(np.zeros((1, 1, *shape)))[0].shape[2:]
    assume(any(not isinstance(layer, evsim.Flatten) for layer in net.layers))
    n_steps, n_samples = draw(st.integers(1, 7)), draw(st.integers(1, 4))
    frames = (n_steps, n_samples, *net.shape)
    kinds = [np.zeros(frames), rng.random(frames) < 0.3, rng.integers(0, 20, frames), _halves(rng, *frames)]
    which = rng.integers(0, len(kinds), (n_steps, n_samples, *(1 for _ in net.shape)))
    net.x = np.choose(which, kinds).astype(np.float32)
    return net


def _layer(draw, rng, kind, shape):
    """A layer and the same dense."""
    size = st.integers(1, 3)
    bias = draw(st.booleans())
    if kind == "Neurons":
        return neurons(draw, rng, int(np.prod(shape)))
    if kind == "Flatten":
        return evsim.Flatten(), lambda x: (x.reshape(*x.shape[:2], -1), None)
    if kind == "Linear":
        n_out = draw(st.sampled_from([1, 5, 140]))
        w, b = _halves(rng, n_out, *shape), _halves(rng, n_out) if bias else np.zeros(n_out)
        return evsim.Linear(*shape, n_out, bias=b if bias else False, weight=w), lambda x: (x @ w.T + b, None)
    if kind == "Recurrent":
        w = _halves(rng, *shape, *shape) * (rng.random((*shape, *shape)) < 0.2)
        model, dense = neurons(draw, rng, *shape)
        assume(isinstance(dense, DenseNeurons) and dense.spiking)
        dense.back = w
        return evsim.Recurrent(model, evsim.Linear(*shape, *shape, bias=False, weight=w)), dense
    if kind == "Pool":
        kernel = tuple(min(draw(st.sampled_from([1, 2, 4])), n) for n in shape[1:])
        kernel = tuple(1 if k == 3 or k > 4 else k for k in kernel)
        stride, padding = (draw(size), draw(size)), tuple(draw(st.integers(0, k // 2)) for k in kernel)
        named = {np.sum: evsim.SumPool2d, np.mean: evsim.AvgPool2d, np.max: evsim.MaxPool2d}
        how = draw(st.sampled_from(list(named)))
        return named[how](kernel, stride, padding), lambda x: (pool(x, how, kernel, stride, padding), None)
    groups = shape[0] if draw(st.booleans()) else 1
    n_out = groups * draw(size)
    stride, padding, dilation = ((draw(size), draw(size)) for _ in range(3))
    padding = (draw(st.integers(0, 2)), draw(st.integers(0, 2)))
    kernel = tuple(
        draw(st.integers(1, min(3, (n + 2 * p - 1) // d + 1)))
        for n, p, d in zip(shape[-2:] if len(shape) == 3 else (1, shape[1]), padding, dilation, strict=True)
    )
    if kind == "Conv1d":
        kernel, stride, padding, dilation = (1, kernel[1]), (1, stride[1]), (0, padding[1]), (1, dilation[1])
    w, b = _halves(rng, n_out, shape[0] // groups, *kernel), _halves(rng, n_out) if bias else None
    more = {"groups": groups, "bias": False if b is None else b}
    if kind == "Conv2d":
        layer = evsim.Conv2d(shape[0], n_out, kernel, stride, padding, dilation, weight=w, **more)
        return layer, lambda x: (convolve(x, w, b, stride, padding, dilation, groups), None)
    layer = evsim.Conv1d(
        shape[0], n_out, kernel[1], stride[1], padding[1], dilation[1], weight=w[:, :, 0], **more
    )  # fmt: skip
    return layer, lambda x: (convolve(x[..., None, :], w, b, stride, padding, dilation, groups)[..., 0, :], None)
