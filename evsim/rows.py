"""The rows of synapses of one projection on their way into the Model: made each on its own, or shared by sources."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim import construction
from evsim.connectivity import Lists
from evsim.distributions import Distribution
from evsim.layout import Layout
from evsim.network import Projection

I8 = NDArray[np.int64]
F8 = NDArray[np.float64]

NO_INTS = np.zeros(1, np.int64)  # in the place of a list that is not given
NO_FLOATS = np.zeros(1, np.float64)
PIECE = 2**20  # weights looked at at a time


@dataclass
class ProjectionRows:
    """What all rows have: `rule` is as construction.draw_pair takes it."""

    projection: Projection
    rule: I8

    @property
    def varied(self) -> bool:
        """A weight each, rather than one for all?"""
        return bool(self.rule[construction.WEIGHT_KIND] != construction.UNIFORM)

    @property
    def bounds(self) -> list[float | None]:
        """What a weight can be at least and at most: numbers for all of its synapses, or None: as each is."""
        rule = self.projection.plasticity
        if rule is not None:
            return [rule.w_min, rule.w_max]
        return [None if self.varied else float(self.projection.weight)]

    @property
    def largest(self) -> float:
        """The largest |weight| that can occur."""
        return max(_largest(self.projection.weight) if bound is None else abs(bound) for bound in self.bounds)

    @property
    def mean_size(self) -> float:
        """The mean |weight|."""
        weight = self.projection.weight
        if isinstance(weight, Distribution):
            return weight.mean_size()
        return float(np.abs(weight).mean()) if weight.size else 0.0


@dataclass
class Rows(ProjectionRows):
    """Rows of their own: synapses that the rule draws or lists."""

    number: int  # among those of this kind, in the order of their sources
    first_row: int  # row i of it is row first_row + i of all
    n_rows: int  # n_source * n_threads
    row_start: I8  # (n_rows + 1,) view into Model.row_start, once they are counted
    weight_shift: int = 0  # weight of synapse s is synapse_weight[s + weight_shift]

    @property
    def n_candidates(self) -> int:
        """Candidates that construction.draw_pair is asked for."""
        return self.projection.rule.n_candidates(len(self.projection.source), len(self.projection.target))

    @property
    def n_synapses(self) -> int:
        """How many of them are synapses."""
        return int(self.row_start[-1] - self.row_start[0])

    @property
    def weights_at(self) -> tuple[int, int]:
        """Which of Model.synapse_weight are its own: [first, stop)."""
        first = int(self.row_start[0]) + self.weight_shift
        return first, first + (self.n_synapses if self.varied else 0)

    def places(self, layout: Layout) -> tuple[int, ...]:
        """What Model has of it, in the order of synapses.PLACES."""
        return self.first_row, layout.n_threads, -1, self.weight_shift, 0

    @property
    def longest(self) -> int:
        """Synapses of the longest row."""
        return int(np.diff(self.row_start).max(initial=0))

    def listed_pairs(self) -> tuple[I8, I8]:
        """The lists of an explicit rule."""
        pre, post = self.projection.rule.pre, self.projection.rule.post
        return (NO_INTS, NO_INTS) if pre is None or post is None else (pre, post)

    def listed_weights(self) -> F8:
        """A weight for each candidate, where they are LISTED; one where they are EQUAL."""
        listed = self.rule[construction.WEIGHT_KIND] in (construction.LISTED, construction.EQUAL)
        return self.projection.weight.reshape(-1) if listed else NO_FLOATS

    def listed_delays(self, dt: float) -> I8:
        """A delay in steps for each candidate, where they are LISTED."""
        listed = self.rule[construction.DELAY_KIND] == construction.LISTED
        return delay_steps(self.projection.delay.reshape(-1), dt) if listed else NO_INTS


@dataclass
class SharedRows(ProjectionRows):
    """Rows that sources have in common: of lists with their weights, or one row of all targets and weights of each.

    In the second case, a dense projection's, the row is a run: its targets follow one another.
    """

    first_row: int = 0  # of Model.row_start
    first_place: int = 0  # of Model.source_target
    first_synapse: int = 0
    first_weight: int = 0

    @cached_property
    def lists(self) -> Lists:
        """The lists of the rule; of a dense projection one list for all."""
        if self.projection.rule.lists is not None:
            return self.projection.rule.lists
        zeros, n = np.zeros(len(self.projection.source), np.int64), len(self.projection.target)
        return Lists(zeros, zeros, np.array([0, n]), np.arange(n))

    @property
    def n_synapses(self) -> int:
        """Those of all sources."""
        return self.projection.rule.n_candidates(len(self.projection.source), len(self.projection.target))

    @property
    def n_stored(self) -> int:
        """Entries in Model.synapse."""
        return self.lists.target.size

    @property
    def n_weights(self) -> int:
        """Entries in Model.synapse_weight."""
        return (self.n_synapses if self.projection.dense else self.n_stored) if self.varied else 0

    @property
    def weights_at(self) -> tuple[int, int]:
        """Which of Model.synapse_weight are its own: [first, stop)."""
        return self.first_weight, self.first_weight + self.n_weights

    def places(self, layout: Layout) -> tuple[int, ...]:
        """What Model has of it, in the order of synapses.PLACES."""
        weight = self.first_weight - self.first_synapse
        if self.projection.dense:
            return self.first_row, 0, -1, weight, self.weight_step
        return self.first_row, layout.n_threads + 1, self.first_place, weight, 0

    @property
    def weight_step(self) -> int:
        """Weights from those of a source to those of the next."""
        return len(self.projection.target) if self.projection.dense and self.varied else 0

    @property
    def mean_size(self) -> float:
        """The mean |weight| of all synapses."""
        if self.projection.dense or not self.varied:
            return super().mean_size
        uses = self.lists.uses()
        return float(np.abs(self.projection.weight) @ uses / max(uses.sum(), 1))

    def starts(self, layout: Layout) -> I8:
        """Model.row_start of each source, (n_source, n_threads + 1): where each thread's targets begin.

        Of a dense projection (1, n_threads + 1), which serves all.
        """
        lists, target = self.lists, self.projection.target
        chosen = slice(0, 1) if self.projection.dense else slice(None)
        p = layout.index(target.population)
        edges = np.append(layout.slice_start[p], target.population.size) - target.start
        big = len(target) + 1
        key = np.repeat(np.arange(lists.start.size - 1), np.diff(lists.start)) * big + lists.target
        wanted = np.clip(edges - lists.first_target[chosen, np.newaxis], 0, len(target))
        return self.first_synapse + np.searchsorted(key, lists.of_source[chosen, np.newaxis] * big + wanted)

    def source_targets(self) -> NDArray[np.uint32]:
        """Model.source_target: the input index at which each source's list begins; none of a dense projection."""
        if self.projection.dense:
            return np.zeros(0, np.uint32)
        return (self.rule[construction.INPUT] + self.lists.first_target).astype(np.uint32)

    def synapses(self) -> NDArray[np.uint32]:
        """The entries of Model.synapse."""
        first = self.rule[construction.INPUT] if self.projection.dense else 0
        steps = self.rule[construction.DELAY] << self.rule[construction.TARGET_BITS]
        made: NDArray[np.uint32] = (steps | (first + self.lists.target)).astype(np.uint32)
        return made

    def weights(self, first: int, stop: int) -> NDArray[np.float32]:
        """Its weights [first, stop), of those that are stored."""
        weight = self.projection.weight
        if not isinstance(weight, Distribution):
            listed: NDArray[np.float32] = weight.flat[first:stop].astype(np.float32)
            return listed
        drawn = np.empty(stop - first, np.float32)
        construction.draw_weights(self.rule, weight.quantile_table(), first, drawn)
        return drawn

    def pieces(self) -> Iterator[tuple[int, int]]:
        """Its weights as [first, stop): in whole rows where each source has its own, else all at once."""
        size = max(PIECE // self.weight_step, 1) * self.weight_step if self.weight_step else max(self.n_weights, 1)
        for first in range(0, self.n_weights, size):
            yield first, min(first + size, self.n_weights)

    def add_sums(self, scale: float, sums: I8) -> None:
        """Add to the largest sums of positive and of negative weights that can reach each input, as a Maker does."""
        lists, own = self.lists, sums[:, self.rule[construction.INPUT] :]
        if not self.varied:
            value = float(self.projection.weight)
            if self.projection.dense:  # so many synapses may stand for no memory
                each = construction.round_up(value, scale) * len(self.projection.source)
                own[0 if value > 0.0 else 1, : len(self.projection.target)] += each
            else:
                construction.sum_lists(*_columns(lists), np.full(self.n_stored, value), 0, scale, *own)
            return
        for first, stop in self.pieces():
            rows = slice(first // self.weight_step, stop // self.weight_step) if self.weight_step else slice(None)
            part = Lists(lists.of_source[rows], lists.first_target[rows], lists.start, lists.target)
            weight = self.weights(first, stop).astype(np.float64)
            construction.sum_lists(*_columns(part), weight, self.weight_step, scale, *own)


def shared_bytes(projection: Projection, n_threads: int) -> int:
    """What a projection takes whose sources share rows."""
    many = 4 if isinstance(projection.weight, Distribution) or projection.weight.ndim else 0
    lists = projection.rule.lists
    if lists is None:
        n = len(projection.target)
        return 4 * n + many * n * len(projection.source) + 8 * (n_threads + 1)
    return (4 + many) * lists.target.size + (8 * (n_threads + 1) + 4) * len(projection.source)


def delay_steps(delay: F8, dt: float) -> I8:
    """Delays in steps."""
    return np.rint(delay / dt).astype(np.int64)


def _columns(lists: Lists) -> tuple[I8, I8, I8, I8]:
    return lists.of_source, lists.first_target, lists.start, lists.target


def _largest(weight: Any) -> float:
    """The largest |weight| that can occur."""
    if isinstance(weight, Distribution):
        return float(np.abs(weight.bounds()).max())
    return float(np.abs(weight).max(initial=0.0))
