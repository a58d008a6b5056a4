"""Plastic weights in the order of `Simulation.synapses`: read and overwritten between steps."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim.build import Built
from evsim.learner import Learner
from evsim.network import Projection
from evsim.synapse_list import plastic_weights, weight_order


class Weights:
    """The weights of plastic projections; where each lies is found once a projection.

    Of synapses that agree in source, target and delay, the order is the one they had then.
    """

    def __init__(self, built: Built, learner: Learner) -> None:
        self._built, self._learner = built, learner
        self._orders: dict[Projection, tuple[int, NDArray[np.int64]]] = {}

    def read(self, projection: Projection, step: int, chosen: Any = ...) -> NDArray[np.float32]:
        """The weights as they are before `step`, of all synapses or of the `chosen` ones (a copy)."""
        self._learner.settle(step)
        return plastic_weights(self._built, *self._find(projection), chosen)

    def write(self, projection: Projection, weight: NDArray[np.float32], step: int) -> None:
        """Give all synapses (n_synapses,) these weights from `step` on."""
        first, order = self._find(projection)
        self._learner.overwrite(self._place(projection), first + order, weight, step)

    def _find(self, projection: Projection) -> tuple[int, NDArray[np.int64]]:
        if projection not in self._orders:
            self._orders[projection] = weight_order(self._built, projection, self._place(projection))
        return self._orders[projection]

    def _place(self, projection: Projection) -> int:
        """The projection's place in Model."""
        return int(np.flatnonzero(self._built.model.projection_index == projection.index)[0])
