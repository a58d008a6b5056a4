"""Groups of a batch's samples: sums over samples are made group by group, whatever the number of threads."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim.threads import share_out

GROUPS = 8


def group_edges(n_samples: int) -> NDArray[np.int64]:
    """The samples of group g are [edges[g], edges[g + 1])."""
    n_groups = min(GROUPS, n_samples)
    return np.arange(n_groups + 1) * n_samples // n_groups


def share_groups(threads: int, edges: NDArray[np.int64], work: Callable[[int, int], Any]) -> None:
    """Call work(first group, stop) for parts of the groups: two for each of several threads, which evens them out."""
    n_parts = min(2 * threads if threads > 1 else 1, len(edges) - 1)
    parts = np.arange(n_parts + 1) * (len(edges) - 1) // n_parts
    share_out(threads, work, pairwise(parts.tolist()))
