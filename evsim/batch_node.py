"""A node of a Sequential on its way into the BatchModel."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim import batch_model as bm
from evsim.neurons import NeuronModel

__all__ = ["Node"]

Shape = tuple[int, ...]


@dataclass
class Node:
    """What a connection with the neurons behind it, or a pool, is made of."""

    label: str  # for messages
    layer: int  # of the Sequential: the neurons, where there are any
    shape: Shape  # of a sample that leaves it, as the user sees it
    order: NDArray[np.int64]  # (n,) the user's number of each unit
    scale: float  # what its counts and values must be multiplied by: that of the pools before
    order_in: NDArray[np.int64]  # the same two of what enters it
    scale_in: float
    most_in: int  # spikes of a unit before in a step that sums must have room for
    connection: int | None = None  # the layer whose weights it has
    row: NDArray[np.int64] = field(default_factory=lambda: np.full(bm.N_COLUMNS, -1, np.int64))
    unit: float = 1.0
    neurons: NeuronModel | None = None
    values: dict[str, Any] = field(default_factory=dict)  # the neurons' parameters, in the order of the units
    n_synapses: int = 0
    n_weights: int = 0

    @property
    def size(self) -> int:
        """Its units."""
        return int(self.order.size)

    @cached_property
    def unit_of(self) -> NDArray[np.uint32] | None:
        """The engine's number of each unit that enters it, where the user numbers them in another way."""
        if self.is_given_in_order:
            return None
        made = np.empty(self.order_in.size, np.uint32)
        made[self.order_in] = np.arange(self.order_in.size)
        return made

    @cached_property
    def in_order(self) -> bool:
        """Whether the user numbers its units as the engine does."""
        return bool((np.diff(self.order) == 1).all())

    @cached_property
    def is_given_in_order(self) -> bool:
        """The same of the units that enter it."""
        return bool((np.diff(self.order_in) == 1).all())
