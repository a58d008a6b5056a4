"""Plastic weights in the order of `Simulation.synapses`: read and overwritten between steps."""

import numpy as np
from numpy.typing import NDArray

from evsim.build import Built
from evsim.learner import Learner
from evsim.network import Projection
from evsim.synapse_list import weight_places


class Weights:
    """The weights of plastic projections; where each lies is found once a projection.

    Of synapses that agree in source, target and delay, the order is the one they had then.
    """

    def __init__(self, built: Built, learner: Learner) -> None:
        self._built, self._learner = built, learner
        self._places: dict[Projection, NDArray[np.int64]] = {}

    def read(self, projection: Projection, step: int, chosen: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """The weights as they are before `step`, of all synapses or of the `chosen` ones (a copy)."""
        self._learner.settle(step)
        places = self._find(projection)
        return self._built.model.synapse_weight.view(np.float32)[places if chosen is None else places[chosen]]

    def write(self, projection: Projection, weight: NDArray[np.float32], step: int) -> None:
        """Give all synapses (n_synapses,) these weights from `step` on."""
        self._learner.overwrite(self.place(projection), self._find(projection), weight, step)

    def place(self, projection: Projection) -> int:
        """The projection's place in Model."""
        return int(np.flatnonzero(self._built.model.projection_index == projection.index)[0])

    def _find(self, projection: Projection) -> NDArray[np.int64]:
        if projection not in self._places:
            self._places[projection] = weight_places(self._built, projection, self.place(projection))
        return self._places[projection]
