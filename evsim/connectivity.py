"""Connection rules: who is connected to whom. Names and defaults are NEST's.

A rule says how many synapses there are and, through its code, which pair synapse k joins: a pure function of
(seed, projection, k), evaluated by `construction`. So a network is the same whatever builds it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim import checks

__all__ = [
    "Rule",
    "all_to_all",
    "explicit",
    "fixed_indegree",
    "fixed_outdegree",
    "fixed_total_number",
    "from_sparse",
    "one_to_one",
    "pairwise_bernoulli",
]

# codes understood by construction.draw_pair, but for SHARED, whose rows are `rows.SharedRows`
ALL_TO_ALL, ONE_TO_ONE, FIXED_INDEGREE, FIXED_OUTDEGREE, FIXED_TOTAL_NUMBER, PAIRWISE_BERNOULLI, EXPLICIT = range(7)
SHARED = 7

I8 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Lists:
    """Lists of targets that sources share: source i has list of_source[i], counted from target first_target[i] on.

    List n is target[start[n] : start[n + 1]], ascending, and a weight belongs to each of its entries.
    """

    of_source: I8  # (n_source,)
    first_target: I8  # (n_source,)
    start: I8  # (n_lists + 1,)
    target: I8  # (n_entries,) from 0

    @property
    def n_synapses(self) -> int:
        """Synapses of all sources."""
        return int(np.diff(self.start)[self.of_source].sum())

    def uses(self) -> I8:
        """How many sources have each entry."""
        return np.repeat(np.bincount(self.of_source, minlength=self.start.size - 1), np.diff(self.start))

    def expand(self) -> tuple[I8, I8, I8]:
        """Source, target and entry of every synapse, by source."""
        length = np.diff(self.start)[self.of_source]
        pre = np.repeat(np.arange(self.of_source.size), length)
        entry = np.arange(pre.size) - np.repeat(np.cumsum(length) - length, length) + self.start[self.of_source[pre]]
        return pre, self.first_target[pre] + self.target[entry], entry


@dataclass(frozen=True, eq=False)
class Rule:
    """A connection rule; made by the functions of this module."""

    name: str
    code: int
    degree: int = 0
    probability: float = 0.0
    allow_autapses: bool = True
    allow_multapses: bool = True
    pre: NDArray[np.int64] | None = None
    post: NDArray[np.int64] | None = None
    weight: Any = None  # of a sparse matrix: its data, one a synapse
    shape: tuple[int, int] | None = None
    lists: Lists | None = None

    def n_candidates(self, n_source: int, n_target: int) -> int:
        """How many k to look at; all are synapses but for excluded pairs and failed Bernoulli trials."""
        if self.code in (ALL_TO_ALL, PAIRWISE_BERNOULLI):
            return n_source * n_target
        if self.code == ONE_TO_ONE:
            return n_source
        if self.code == FIXED_INDEGREE:
            return self.degree * n_target
        if self.code == FIXED_OUTDEGREE:
            return self.degree * n_source
        if self.code == FIXED_TOTAL_NUMBER:
            return self.degree
        if self.lists is not None:
            return self.lists.n_synapses
        assert self.pre is not None
        return int(self.pre.size)

    def expected_synapses(self, n_source: int, n_target: int, overlap: int) -> float:
        """The number of synapses (for pairwise_bernoulli its mean); `overlap` neurons are on both sides."""
        candidates = self.n_candidates(n_source, n_target)
        if self.code in (ALL_TO_ALL, ONE_TO_ONE, PAIRWISE_BERNOULLI) and not self.allow_autapses:
            candidates -= overlap
        return candidates * self.probability if self.code == PAIRWISE_BERNOULLI else float(candidates)

    def value_shape(self, n_source: int, n_target: int) -> tuple[int, ...] | None:
        """The shape an array of weights or delays must have; None where no array fits."""
        if self.code == ALL_TO_ALL:
            return (n_source, n_target)
        if self.code == ONE_TO_ONE:
            return (n_source,)
        if self.code == EXPLICIT:
            assert self.pre is not None
            return (self.pre.size,)
        if self.lists is not None:
            return (self.lists.target.size,)
        return None

    def check(self, owner: str, n_source: int, n_target: int, overlap: int) -> None:
        """Refuse what the rule cannot do between these neurons."""
        if self.code == ONE_TO_ONE and n_source != n_target:
            raise ValueError(
                f"{owner}: one_to_one joins {n_source} sources to {n_target} targets; there must be as many of each"
            )
        if self.code in (FIXED_INDEGREE, FIXED_OUTDEGREE):
            side, n = ("sources", n_source) if self.code == FIXED_INDEGREE else ("targets", n_target)
            most = n if self.allow_autapses or overlap == 0 else n - 1
            if most < 1 and self.degree:
                raise ValueError(f"{owner}: {self.name} wants {self.degree} of {most} {side}")
            if not self.allow_multapses and self.degree > most:
                raise ValueError(
                    f"{owner}: {self.name} is {self.degree} without multapses, but there are {most} {side}; "
                    f"it must be in [0, {most}]"
                )
        if self.code == FIXED_TOTAL_NUMBER:
            pairs = n_source * n_target - (0 if self.allow_autapses else overlap)
            most = pairs if not self.allow_multapses else (2**62 if pairs else 0)
            if self.degree > most:
                raise ValueError(
                    f"{owner}: fixed_total_number is {self.degree}, but there are {pairs} pairs; "
                    f"it must be in [0, {most}]"
                )
            partly = overlap and not (overlap == n_source == n_target)
            if partly and not self.allow_autapses and not self.allow_multapses:
                raise ValueError(
                    f"{owner}: fixed_total_number without autapses and multapses between overlapping slices "
                    f"({overlap} neurons on both sides) is not possible; use the same slice on both sides, "
                    "or explicit()"
                )
        if self.lists is not None and self.shape != (n_source, n_target):
            raise ValueError(
                f"{owner}: it joins {n_source} sources to {n_target} targets; the {self.name} is one of (sources, "
                f"targets) = {self.shape}"
            )
        if self.code == EXPLICIT:
            if self.shape is not None and self.shape != (n_source, n_target):
                raise ValueError(
                    f"{owner}: the matrix has shape {self.shape}; it must have shape "
                    f"({n_source}, {n_target}), sources by targets"
                )
            assert self.pre is not None
            assert self.post is not None
            checks.indices(owner, "pre", self.pre, n_source)
            checks.indices(owner, "post", self.post, n_target)


def all_to_all(allow_autapses: bool = True) -> Rule:
    """Every source to every target. Weights and delays may be arrays (n_source, n_target)."""
    return Rule("all_to_all", ALL_TO_ALL, allow_autapses=allow_autapses)


def one_to_one() -> Rule:
    """Source i to target i. Weights and delays may be arrays (n,)."""
    return Rule("one_to_one", ONE_TO_ONE)


def fixed_indegree(indegree: int, allow_autapses: bool = True, allow_multapses: bool = True) -> Rule:
    """Each target receives exactly `indegree` synapses from random sources."""
    degree = checks.size("fixed_indegree", "indegree", indegree)
    return Rule("fixed_indegree", FIXED_INDEGREE, degree, 0.0, allow_autapses, allow_multapses)


def fixed_outdegree(outdegree: int, allow_autapses: bool = True, allow_multapses: bool = True) -> Rule:
    """Each source makes exactly `outdegree` synapses to random targets."""
    degree = checks.size("fixed_outdegree", "outdegree", outdegree)
    return Rule("fixed_outdegree", FIXED_OUTDEGREE, degree, 0.0, allow_autapses, allow_multapses)


def fixed_total_number(number: int, allow_autapses: bool = True, allow_multapses: bool = True) -> Rule:
    """Exactly `number` synapses, each between a random source and a random target."""
    degree = checks.size("fixed_total_number", "number", number, high=2**62)
    return Rule("fixed_total_number", FIXED_TOTAL_NUMBER, degree, 0.0, allow_autapses, allow_multapses)


def pairwise_bernoulli(probability: float, allow_autapses: bool = True) -> Rule:
    """Each pair is joined with `probability`, by its own draw: building takes time n_source * n_target."""
    p = checks.number("pairwise_bernoulli", "probability", probability)
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"pairwise_bernoulli: probability is {p}; it must be in [0, 1]")
    return Rule("pairwise_bernoulli", PAIRWISE_BERNOULLI, 0, p, allow_autapses)


def explicit(pre: Any, post: Any) -> Rule:
    """Synapse k joins source pre[k] to target post[k]: indices within the populations or slices.

    Weights and delays may be arrays with one entry a synapse.
    """
    pre = checks.indices("explicit", "pre", pre, 2**31)
    post = checks.indices("explicit", "post", post, 2**31)
    if pre.shape != post.shape:
        raise ValueError(f"explicit: {pre.size} pre and {post.size} post; there must be as many of each")
    return Rule("explicit", EXPLICIT, pre=pre, post=post)


def shared(name: str, lists: Lists, n_target: int) -> Rule:
    """Lists of targets with weights that several sources share, as those of a convolution do.

    Weights are one number, or an array with one entry for each entry of the lists; the delay is one number.
    """
    return Rule(name, SHARED, lists=lists, shape=(lists.of_source.size, n_target))


def from_sparse(matrix: Any) -> Rule:
    """The stored entries of a scipy.sparse matrix (n_source, n_target); its data are the weights."""
    entries = matrix.tocoo()
    return Rule(
        "scipy.sparse",
        EXPLICIT,
        pre=np.asarray(entries.row, np.int64),
        post=np.asarray(entries.col, np.int64),
        weight=entries.data,
        shape=(int(matrix.shape[0]), int(matrix.shape[1])),
    )
