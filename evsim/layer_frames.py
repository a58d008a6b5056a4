"""The frames of a `Sequential`'s nodes for given samples: as many samples at a time as memory is allowed for."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evsim import batch_model as bm
from evsim.batch_build import BatchBuilt
from evsim.batch_input import BatchInput, EventInput, PoissonInput, RepeatedInput
from evsim.layer_values import checked_input
from evsim.sequential import Sequential

F4 = NDArray[np.float32]
FRAME_BYTES = 2**27  # of the frames that are in memory at a time


class Part(NamedTuple):
    """Some samples of an input, and what nodes gave for them."""

    first: int  # sample
    given: BatchInput | NDArray[Any]  # (T, B, ...)
    built: BatchBuilt
    frames: dict[int, F4]  # node -> (T, B, units in the engine's order), sums of pools not yet divided


def run_parts(net: Sequential, x: Any, choose: Callable[[BatchBuilt], Sequence[int]]) -> Iterator[Part]:
    """Run a network on x (T, B, ...) from a fresh state, some samples after others; it is reset afterwards.

    Parameters
    ----------
    choose : the nodes whose frames are wanted.

    Raises
    ------
    As `Sequential.__call__`.
    """
    given = checked_input(x)
    n_steps, n_samples, *_ = given.shape
    net.reset()
    built, _, _ = net.begin(1, given.shape[2:])
    wanted = list(choose(built))
    units = sum(built.nodes[k].size for k in wanted)
    size = max(1, FRAME_BYTES // (4 * n_steps * max(units, 1)))
    try:
        for first in range(0, n_samples, size):
            part = samples(given, first, min(first + size, n_samples))
            net.reset()
            built, engine, state = net.begin(part.shape[1], part.shape[2:])
            frames = engine.run(state, part, [(k, bm.SPIKES) for k in wanted])
            yield Part(first, part, built, dict(zip(wanted, frames, strict=True)))
    finally:
        net.reset()


def samples(given: BatchInput | NDArray[Any], first: int, stop: int) -> BatchInput | NDArray[Any]:
    """Samples [first, stop) of an input, with the spikes that they have in it."""
    if isinstance(given, PoissonInput):
        return PoissonInput(given.threshold[first:stop], given.n_steps, given.seed, given.first_sample + first)
    if isinstance(given, RepeatedInput):
        return RepeatedInput(given.current[first:stop], given.n_steps)
    if isinstance(given, EventInput):
        n_steps = given.shape[0]
        start = given.start[first * n_steps : stop * n_steps + 1]
        shape = (n_steps, stop - first, *given.shape[2:])
        return EventInput.trusted(start - start[0], given.index[start[0] : start[-1]], shape)
    assert isinstance(given, np.ndarray)
    return np.ascontiguousarray(given[:, first:stop])


def steps(given: BatchInput | NDArray[Any], every: int) -> Iterator[tuple[int, BatchInput | NDArray[Any]]]:
    """An input, so many steps after others, each with the number of its first step."""
    n_steps, n_samples = given.shape[:2]
    given = given.events() if isinstance(given, PoissonInput) else given
    for first in range(0, n_steps, every):
        stop = min(first + every, n_steps)
        if isinstance(given, RepeatedInput):
            yield first, RepeatedInput(given.current, stop - first)
        elif isinstance(given, EventInput):
            frames = np.add.outer(np.arange(n_samples) * n_steps, np.arange(first, stop + 1))  # (B, steps + 1)
            edges = given.start[frames]
            index = [given.index[row[0] : row[-1]] for row in edges]
            start = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.diff(edges, axis=1))])
            yield first, EventInput.trusted(start, np.concatenate(index), (stop - first, *given.shape[1:]))
        else:
            assert isinstance(given, np.ndarray)
            yield first, given[first:stop]
