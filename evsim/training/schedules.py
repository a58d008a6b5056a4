"""Learning-rate schedules: factor = schedule(epoch), by which an optimiser's lr is multiplied.

A schedule is anything that is called with the epoch, counted from 0, and gives a number; so is a function of one's own.
The formulas are those of torch.optim.lr_scheduler.
"""

import math
from dataclasses import dataclass

from evsim.checks import number, size

__all__ = ["CosineAnnealingLR", "ExponentialLR", "StepLR"]


@dataclass(frozen=True)
class StepLR:
    """gamma^floor(epoch / step_size)."""

    step_size: int
    gamma: float = 0.1

    def __post_init__(self) -> None:
        size("StepLR", "step_size", self.step_size, low=1)
        number("StepLR", "gamma", self.gamma, low=0.0)

    def __call__(self, epoch: int) -> float:
        """The factor for an epoch."""
        return float(self.gamma ** (epoch // self.step_size))


@dataclass(frozen=True)
class ExponentialLR:
    """gamma^epoch."""

    gamma: float

    def __post_init__(self) -> None:
        number("ExponentialLR", "gamma", self.gamma, low=0.0)

    def __call__(self, epoch: int) -> float:
        """The factor for an epoch."""
        return float(self.gamma**epoch)


@dataclass(frozen=True)
class CosineAnnealingLR:
    """floor + (1 - floor) * (1 + cos(pi * epoch / T_max)) / 2: from 1 to floor in T_max epochs, and back.

    Parameters
    ----------
    T_max : epochs, > 0.
    floor : the smallest factor (torch's eta_min / lr).
    """

    T_max: int
    floor: float = 0.0

    def __post_init__(self) -> None:
        size("CosineAnnealingLR", "T_max", self.T_max, low=1)
        number("CosineAnnealingLR", "floor", self.floor, low=0.0)

    def __call__(self, epoch: int) -> float:
        """The factor for an epoch."""
        return self.floor + (1.0 - self.floor) * (1.0 + math.cos(math.pi * epoch / self.T_max)) / 2.0
