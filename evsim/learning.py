"""Plastic projections as flat arrays: `Rules` (read-only) and `Traces` (what changes), one of each for a thread.

Weights are brought up to date when they are used. A spike of the source of a row changes its weights when it arrives,
together with what the postsynaptic spikes since the arrival before it add; the spikes of a target are remembered
until then, the last HISTORY of them. Should a target spike more often than that between two arrivals, its column
(all synapses into it) is settled: brought up to date at once, but for the last LEFT spikes, so that only the weights
at which no spike has arrived for so long are looked at. So the work is rows at presynaptic spikes, and the sources of
a column at most every DUE - LEFT postsynaptic ones.
"""

from typing import Any, NamedTuple

import numpy as np

from evsim.model import F4, I8, U1, U4

HISTORY = 32  # spikes of a target that are remembered; a power of two
DUE = HISTORY - 2  # of these, how many a column may be behind
LEFT = 8  # and how many it may still be behind once it is settled
TABLE = 1024  # pieces of a tabulated weight dependence
NEVER = -(2**60)  # the step of a spike that has not been

# columns of Rules.value
A_PLUS, A_MINUS, X_TARGET, W_MIN, W_MAX, PLUS_0, PLUS_1, MINUS_0, MINUS_1 = range(9)
# columns of Rules.option
TOGETHER, NEAREST, FROZEN = range(3)


class Rules(NamedTuple):
    """Read-only. n_plastic projections; sources and targets are numbered through all of them."""

    number: I8  # (n_proj,) number of a projection among the plastic ones, or -1
    projection: I8  # (n_plastic,)
    value: F4  # (n_plastic, 9) A_PLUS ... MINUS_1
    option: U1  # (n_plastic, 3) TOGETHER ... FROZEN
    table_start: I8  # (n_plastic, 2) in table: f_plus, f_minus at TABLE + 1 points between the bounds; -1: straight
    table: F4
    pre_decay_start: I8  # (n_plastic + 1,) in pre_decay: what is left of a trace after 0, 1, ... steps
    pre_decay: F4
    post_decay_start: I8
    post_decay: F4
    delay_start: I8  # (n_plastic + 1,) in delay
    delay: I8  # the delays that occur, in steps, ascending
    source_start: I8  # (n_plastic + 1,) first of its sources
    pre_start: I8  # (n_plastic + 1,) in Traces.pre_step: each source's remembered spikes
    pre_bits: I8  # (n_plastic,) log2 of how many spikes of a source are remembered
    log_start: I8  # (n_plastic + 1,) in Traces.log_source
    log_bits: I8  # (n_plastic,) log2 of the spikes the log holds
    slot_bits: I8  # (1,) log2 of the steps the log holds
    target_start: I8  # (n_plastic + 1,) first of its targets
    population: I8  # (n_plastic,) of its targets
    receptor: I8  # (n_plastic,)
    first_input: I8  # (n_plastic,) input index of its first target
    first_neuron: I8  # (n_plastic,) neuron of its first target
    source_neuron: I8  # (n_plastic, 2) neurons [first, stop) of its sources
    first_synapse: I8  # (n_plastic,)
    column_start: I8  # (n_targets + 1,) synapses of this thread into each target: entries of
    column_synapse: U4  # counted from the projection's first
    column_source: U4  # counted from the projection's first
    own_target: I8  # (n_plastic, 2) this thread's targets [first, stop)
    dense: U1  # (n_plastic,) 1: a row holds each of these targets once, in order, over one delay
    learns: U1  # (n_pop,) 1: target of a plastic projection


class Traces(NamedTuple):
    """What changes."""

    weight: F4  # Model.synapse_weight read as float32
    change: F4  # likewise, for rules that apply changes at the end of a run: what has added up
    pre_count: I8  # (n_sources,) spikes so far
    pre_step: I8  # remembered spikes of each source: step of emission
    pre_value: F4  # and the trace right after it
    log_source: U4  # sources that spiked, by step
    log_first: I8  # (n_plastic, steps) where a step begins in the log
    log_count: I8  # (n_plastic,) spikes so far
    # (DUE, n_targets) the last spikes, the latest first: the first row is post_last. Those that all weights of the
    # column know of are not among them, or are before settled_all. A GPU leaves it as it is; it stands before post_last
    # so that what is copied back last is right
    post_due: I8
    post_last: I8  # (n_targets,) step of the last spike
    post_trace: F4  # (n_targets,) the trace right after it
    post_count: I8  # (n_targets,) spikes so far
    post_step: I8  # (n_targets, HISTORY)
    post_value: F4  # (n_targets, HISTORY)
    settled: I8  # (n_targets,) spikes before this step have changed the weights of the column
    settled_count: I8  # (n_targets,) how many there were
    settled_all: I8  # (1,) spikes before this step have changed all weights
    active: I8  # (n_targets,) of dense projections the targets that have spiked since the traces were reset, the latest
    # first; those of projection k from own_target[k, 0] on
    active_count: I8  # (n_plastic,)
    touched: U1  # (n_targets,) 1: weights of the column may have changed since they were normalised


def nothing_plastic() -> tuple[Rules, Traces]:
    """Of a network without plastic projections."""
    dtypes: dict[Any, Any] = {I8: np.int64, F4: np.float32, U1: np.uint8, U4: np.uint32}
    tables = ("value", "option", "table_start", "source_neuron", "own_target")

    def fill(kind: Any) -> Any:
        return kind(*(np.zeros((0, 2) if name in tables else 0, dtypes[t]) for name, t in kind.__annotations__.items()))

    return fill(Rules), fill(Traces)
