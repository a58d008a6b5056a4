"""Optimisers: new parameters from gradients.

    parameters = optimizer.update(parameters, gradients)

Both are dicts of arrays with the same names and shapes. The formulas, and the order of their float32 operations with
what is rounded only once (fma), are those of torch.optim. Each parameter is one pass over memory, whatever the rule.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from evsim.checks import nearest, number
from evsim.jit import compile_kernel, fma

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "clip_gradients"]

Floats = NDArray[np.float32]
f32 = np.float32


@dataclass(eq=False)
class Optimizer(ABC):
    """What optimisers share: for each parameter its number of steps and moving averages of its shape.

    Parameters
    ----------
    lr : learning rate.
    """

    lr: float
    _state: dict[str, dict[str, NDArray[Any]]] = field(default_factory=dict, init=False, repr=False)

    averages: ClassVar[tuple[str, ...]] = ()
    not_negative: ClassVar[tuple[str, ...]] = ()  # besides lr

    def update(
        self, parameters: Mapping[str, Any], gradients: Mapping[str, Any], factor: float = 1.0
    ) -> dict[str, Floats]:
        """The parameters after one step against the gradients.

        Parameters
        ----------
        parameters
            Arrays by name; not changed.
        gradients
            Arrays of the same shapes. Parameters without one stay as they are.
        factor
            What lr is multiplied by, as a schedule gives it.

        Returns
        -------
        New float32 arrays, for every parameter.

        Raises
        ------
        KeyError : a gradient for no parameter. ValueError : a gradient of another shape.
        """
        new = {name: np.array(value, f32, order="C") for name, value in parameters.items()}
        given = {name: np.asarray(gradient, f32) for name, gradient in gradients.items()}
        for name, gradient in given.items():
            if name not in new:
                raise nearest(type(self).__name__, "parameter", name, new)
            if name not in self._state:
                self._state[name] = self._fresh(new[name].shape)
            for part, array in (("gradient", gradient), *self._state[name].items()):
                if array.shape != new[name].shape and part != "step":
                    raise ValueError(
                        f"{type(self).__name__}: the {part} of {name!r} has shape {array.shape}; "
                        f"it must be {new[name].shape}"
                    )
        for name, gradient in given.items():
            state = self._state[name]
            state["step"] += 1
            averages = [state[part].reshape(-1) for part in self.averages]
            self._step(new[name].reshape(-1), gradient.reshape(-1), averages, int(state["step"]), self.lr * factor)
        return new

    def state(self) -> dict[str, NDArray[Any]]:
        """A copy of what is remembered from step to step: arrays named "<parameter>/<part>"."""
        return {f"{name}/{part}": a.copy() for name, parts in self._state.items() for part, a in parts.items()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave.

        Raises
        ------
        ValueError : not the state of an optimiser of this kind.
        """
        loaded: dict[str, dict[str, NDArray[Any]]] = {}
        for key, array in state.items():
            name, _, part = key.rpartition("/")
            loaded.setdefault(name, {})[part] = np.array(array, np.int64 if part == "step" else f32, order="C")
        expected = {"step", *self.averages}
        for name, parts in loaded.items():
            if set(parts) != expected:
                raise ValueError(
                    f"{type(self).__name__}: the state of {name!r} has {', '.join(sorted(parts))}; "
                    f"it must have {', '.join(sorted(expected))}"
                )
        self._state = loaded

    def _fresh(self, shape: tuple[int, ...]) -> dict[str, NDArray[Any]]:
        return {"step": np.zeros((), np.int64), **{part: np.zeros(shape, f32) for part in self.averages}}

    @abstractmethod
    def _step(self, p: Floats, g: Floats, averages: list[Floats], step: int, lr: float) -> None:
        """Change p and the averages, all (n,), by the step-th gradient g."""

    def __post_init__(self) -> None:
        for name in ("lr", *self.not_negative):
            number(type(self).__name__, name, getattr(self, name), low=0.0)


@dataclass(eq=False)
class SGD(Optimizer):
    """d = g + weight_decay * p;  b = momentum * b + d;  p = p - lr * b, or with nesterov p - lr * (d + momentum * b).

    Source: torch.optim.SGD.
    """

    lr: float = 1e-3
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    averages: ClassVar[tuple[str, ...]] = ("b",)
    not_negative: ClassVar[tuple[str, ...]] = ("momentum", "weight_decay")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and self.momentum == 0.0:
            raise ValueError("SGD: momentum is 0 with nesterov; it must be above 0")

    def _step(self, p: Floats, g: Floats, averages: list[Floats], step: int, lr: float) -> None:
        sgd(p, g, averages[0], f32(lr), f32(self.momentum), self.nesterov, f32(self.weight_decay))


@dataclass(eq=False)
class Adam(Optimizer):
    """Adam, with the decay of weights added to the gradient. At the t-th step::

        g = g + weight_decay * p
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g^2
        p = p - lr / (1 - beta1^t) * m / (sqrt(v / (1 - beta2^t)) + eps)

    Source: Kingma & Ba 2015, arXiv:1412.6980; torch.optim.Adam.
    """

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    averages: ClassVar[tuple[str, ...]] = ("m", "v")
    not_negative: ClassVar[tuple[str, ...]] = ("eps", "weight_decay")

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.betas) != 2 or not all(0.0 <= beta < 1.0 for beta in self.betas):
            raise ValueError(f"{type(self).__name__}: betas is {self.betas!r}; it must be two numbers in [0, 1)")

    def _step(self, p: Floats, g: Floats, averages: list[Floats], step: int, lr: float) -> None:
        self._adam(p, g, averages, step, lr, 1.0, self.weight_decay)

    def _adam(
        self, p: Floats, g: Floats, averages: list[Floats], step: int, lr: float, keep: float, decay: float
    ) -> None:
        beta1, beta2 = self.betas
        size, root = lr / (1.0 - beta1**step), math.sqrt(1.0 - beta2**step)
        shares = f32(1.0 - beta1), f32(beta2), f32(1.0 - beta2)
        adam(p, g, *averages, *shares, f32(size), f32(root), f32(self.eps), f32(keep), f32(decay))


@dataclass(eq=False)
class AdamW(Adam):
    """Adam with p = (1 - lr * weight_decay) * p before the step, instead of the decay in the gradient.

    Source: Loshchilov & Hutter 2019, arXiv:1711.05101; torch.optim.AdamW.
    """

    weight_decay: float = 1e-2

    def _step(self, p: Floats, g: Floats, averages: list[Floats], step: int, lr: float) -> None:
        self._adam(p, g, averages, step, lr, 1.0 - lr * self.weight_decay, 0.0)


def clip_gradients(gradients: Mapping[str, Any], max_norm: float) -> dict[str, Floats]:
    """All gradients times min(1, max_norm / (norm + 1e-6)), norm the root of the sum of all their squares.

    Source: torch.nn.utils.clip_grad_norm_.

    Raises
    ------
    ValueError : max_norm negative, or the norm not finite.
    """
    number("clip_gradients", "max_norm", max_norm, low=0.0)
    squares = {name: float(np.square(g, dtype=np.float64).sum()) for name, g in gradients.items()}
    for name, square in squares.items():
        if not math.isfinite(square):
            raise ValueError(f"clip_gradients: the norm of {name} is {math.sqrt(square)}; gradients must be finite")
    factor = f32(min(1.0, max_norm / (math.sqrt(sum(squares.values())) + 1e-6)))
    return {name: np.asarray(g, f32) * factor for name, g in gradients.items()}


@compile_kernel
def sgd(p: Floats, g: Floats, b: Floats, lr: Any, momentum: Any, nesterov: bool, decay: Any) -> None:
    """One step of SGD: p and b (n,) float32 are changed."""
    for i in range(p.size):
        d = fma(decay, p[i], g[i])
        b[i] = momentum * b[i] + d
        p[i] = fma(-lr, fma(momentum, b[i], d) if nesterov else b[i], p[i])


@compile_kernel
def adam(
    p: Floats,
    g: Floats,
    m: Floats,
    v: Floats,
    share1: Any,
    beta2: Any,
    share2: Any,
    lr: Any,
    root: Any,
    eps: Any,
    keep: Any,
    decay: Any,
) -> None:
    """One step of Adam: p, m and v (n,) float32 are changed. keep: of p, before the step; decay: of p, in the gradient.

    share1 = 1 - beta1 and share2 = 1 - beta2; lr and root have the corrections of the averages' start from 0 in them.
    """
    for i in range(p.size):
        d = fma(decay, p[i], g[i])
        m[i] = fma(share1, d - m[i], m[i])
        v[i] = fma(share2 * d, d, beta2 * v[i])
        p[i] = keep * p[i] - lr * m[i] / (math.sqrt(v[i]) / root + eps)
