"""What a call of a batch engine, on any backend, is made of: its input as arrays, and what is said where it stops."""

from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from evsim import batch_model as bm
from evsim import checks
from evsim.batch_input import BatchInput, DrawnInput, EventInput, PoissonInput, RepeatedInput
from evsim.dynamics import MAX_SPIKES

__all__ = ["Request", "input_arrays", "raise_stopped"]

Request = tuple[int, int]  # a node, and a variable of bm


def input_arrays(given: BatchInput | NDArray[Any]) -> tuple[Any, ...]:
    """What the kernels take for an input of any kind.

    Its kind, tensor (T or 1, B, n), spikes (start and index as EventInput's), thresholds (B, n), seed, EventInput's
    stride, and the number of its first sample.
    """
    kind = bm.DENSE
    dense: NDArray[Any] = np.zeros((0, 0, 0), np.float32)
    start, index = np.zeros(1, np.int64), np.zeros(0, np.uint32)
    threshold, seed, first_sample = np.zeros((0, 0), np.uint64), (np.uint64(0), np.uint64(0)), 0
    stride = 0
    n_steps, n_samples = given.shape[:2]
    source = given.source if isinstance(given, DrawnInput) else given
    if isinstance(source, PoissonInput):
        kind, threshold, seed = bm.POISSON, source.threshold.reshape(n_samples, -1), source.key
        first_sample = source.first_sample
    if isinstance(given, EventInput):
        kind = bm.DRAWN if isinstance(given, DrawnInput) else bm.EVENTS
        start, index, stride = given.start, given.index, given.stride
    elif isinstance(given, RepeatedInput):
        kind, dense = bm.REPEATED, given.current.reshape(1, n_samples, -1)
    elif not isinstance(given, BatchInput):
        dense = np.asarray(given).reshape(n_steps, n_samples, -1)
    arrays = (_writeable(each) for each in (dense, start, index, threshold))
    return kind, *arrays, seed, stride, first_sample


def _writeable(array: NDArray[Any]) -> NDArray[Any]:
    """The array, or a copy of one that must not be written to: for that, numba would compile the kernel once more."""
    return array if array.flags.writeable and array.flags.aligned else array.copy()


def raise_stopped(given: BatchInput | NDArray[Any], why: int, label: str, sample: int, step: int) -> NoReturn:
    """Say what stopped a run, in the node called `label`."""
    if why == bm.NOT_FINITE:
        x = np.asarray(given)
        raise ValueError(f"input: {checks.first_bad(x, np.isfinite(x), 'x')}; it must be finite; the state is reset")
    raise RuntimeError(
        f"{label}: a neuron spikes more than {MAX_SPIKES} times in a step (sample {sample}, from step {step} on); "
        "scale its input or its threshold; the state is reset"
    )
