"""Predictions that are made as soon as one class leads, from sums of the output over steps."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim import checks
from evsim.decoding import NONE
from evsim.layer_frames import steps
from evsim.layer_values import checked_input
from evsim.sequential import Sequential

__all__ = ["predict_early", "running_sums"]

EVERY = 8  # steps that are run at a time


def running_sums(
    output: NDArray[Any], before: NDArray[np.float64] | float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums of the output (T, B, classes) up to each step, and by how much the largest leads (T, B); -1: no output."""
    sums = before + np.cumsum(output, axis=0, dtype=np.float64)
    ordered = np.sort(sums, axis=2)
    lead = ordered[:, :, -1] - ordered[:, :, -2] if sums.shape[2] > 1 else np.abs(ordered[:, :, -1])
    return sums, np.where(sums.any(axis=2), lead, -1.0)


def predict_early(net: Sequential, x: Any, margin: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Run a network until each sample's class is clear: its sum of the output is `margin` above that of the next.

        classes, steps = evsim.predict_early(net, evsim.encoders.poisson(images, 200), margin=10)

    A few steps are run at a time, until all samples are decided; a sample's class is that of the first step in which it
    was. One that stays undecided takes all steps. The state is reset before and afterwards.

    Parameters
    ----------
    net : whose output is (T, B, classes): spikes or sums.
    x : array (T, B, ...), or an input of `evsim.encoders`: for all steps that there may be.
    margin : at least 0.

    Returns
    -------
    classes : (B,) NONE (-1) for a sample without any output.
    steps : (B,) after how many steps it was decided.

    Raises
    ------
    ValueError : an output of another shape; as the network does.
    """
    margin = checks.number("predict_early", "margin", margin, 0.0)
    given = checked_input(x)
    n_steps, n_samples, *_ = given.shape
    classes, taken = np.full(n_samples, NONE), np.full(n_samples, n_steps)
    undecided = np.ones(n_samples, bool)
    sums: Any = 0.0
    net.reset()
    try:
        for first, part in steps(given, EVERY):
            output = net(part)
            if output.ndim != 3:
                raise ValueError(f"predict_early: the network gives {output.shape}; it must give (T, B, classes)")
            running, lead = running_sums(output, sums)
            for t, enough in enumerate(lead >= margin):
                now = undecided & enough
                classes[now], taken[now] = running[t, now].argmax(axis=1), first + t + 1
                undecided &= ~enough
            sums = running[-1]
            if not undecided.any():
                break
    finally:
        net.reset()
    any_output = undecided & sums.any(axis=1)
    classes[any_output] = sums[any_output].argmax(axis=1)
    return classes, taken
