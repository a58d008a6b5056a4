"""The coefficients of neurons as flat arrays, for the update of `dynamics`: the same for every engine."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim import construction
from evsim.aligned import join_aligned, whole_lines
from evsim.distributions import Distribution
from evsim.model import DECAY
from evsim.neurons import Coefficients, NeuronModel


class CoefficientPool:
    """Model.parameter_value in the making; equal numbers share one place."""

    def __init__(self, block: int) -> None:
        self.block = block
        self.pieces: list[NDArray[np.float32]] = []
        self.size = 0
        self.places: dict[float, int] = {}

    def add(self, value: Any) -> tuple[int, int]:
        """(start, step) of a coefficient: a number or one a neuron."""
        array = np.asarray(value, np.float64)
        if array.ndim and array.size and (array == array[0]).all():
            array = array[0]
        if array.ndim:
            return self._append(array.astype(np.float32)), 1
        number = float(array)
        if number not in self.places:
            self.places[number] = self._append(np.full(self.block, number, np.float32))
        return self.places[number], 0

    def _append(self, piece: NDArray[np.float32]) -> int:
        start = self.size
        self.pieces.append(piece)
        self.size += whole_lines(piece.size)
        return start

    def values(self) -> NDArray[np.float32]:
        """All coefficients, one after another."""
        return join_aligned(self.pieces, np.float32)


def list_coefficients(model: NeuronModel, c: Coefficients) -> list[Any]:
    """The coefficients in the order of LEAK ... and DECAY ... of each receptor.

    A hard reset ends at v_min where that is higher.
    """
    v_reset = c.v_reset if c.soft_reset else np.maximum(c.v_reset, c.v_min)
    listed = [c.leak, c.drive, c.v_threshold, v_reset, c.v_min, c.refractory_steps]
    for receptor in zip(c.decay, c.coupling, c.gain, c.jump, strict=True):
        listed.extend(receptor)
    assert len(listed) == DECAY + 4 * len(model.receptors())
    return listed


def resolve_parameters(model: NeuronModel, size: int, p: int, key: NDArray[np.int64]) -> dict[str, Any]:
    """The parameters of population p as float64: numbers, or one a neuron where they are given or drawn so."""
    return {
        name: resolve(value, size, p, number, key)
        for number, (name, value) in enumerate(model.parameters().items(), start=1)
    }


def resolve(value: Any, size: int, p: int, number: int, key: NDArray[np.int64]) -> Any:
    """A number or array as float64; a distribution drawn for every neuron of population p."""
    if not isinstance(value, Distribution):
        return np.asarray(value, np.float64)
    drawn = np.empty(size)
    construction.draw_values(value.quantile_table(), size, number, p, *key, drawn)
    return drawn
