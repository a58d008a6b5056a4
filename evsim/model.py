"""The flat arrays a network is compiled into: `Model` (read-only) and `State` (what a step changes).

Both are tuples of arrays, so that a kernel takes each whole. Neurons of all populations share one index: population
p owns neurons [population_start[p], population_start[p] + population_size[p]), its start a multiple of 128. The
*input index* numbers what can receive: population p's receptor k starts at population_input[p] + k * padded size.

A synapse is one uint32, `delay_steps << target_bits | input index`: sorting a row sorts it by delay, then target,
and adding `step << target_bits` to it gives its place in the ring of arriving input. Sources can share rows: those of a
convolution count targets from a place of each source, and share the weights too; a dense projection's row is all of its
targets, which follow one another, with weights of each source. Weights and ring are
fixed-point: `weight = (fixed << shift) * input_unit[population, receptor]`; sums do not depend on the order of spikes.
The ring is 32-bit (and shift 0) unless the smallest weights would then be rounded by more than 1e-5.

All are NumPy arrays, but for `synapse` and `synapse_weight` of a network built on the GPU: they lie there.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

I8 = NDArray[np.int64]
I4 = NDArray[np.int32]
U4 = NDArray[np.uint32]
U8 = NDArray[np.uint64]
F4 = NDArray[np.float32]
F8 = NDArray[np.float64]
U1 = NDArray[np.uint8]

GROUP = 128  # neurons that share Philox calls: 32 calls give the numbers of one group, word w to neurons 32 w ...
BLOCK = 512  # neurons that one thread advances at a time, so that a block's state stays in the nearest cache

# Rows of Model.parameter_start: where a coefficient of a population lies in Model.parameter_value.
LEAK, DRIVE, V_THRESHOLD, V_RESET, V_MIN, REFRACTORY_STEPS = range(6)
DECAY, COUPLING, GAIN, JUMP = range(6, 10)  # of receptor 0; those of receptor k lie 4 k further on

# Entries of Model.scalars.
N_THREADS, WINDOW, TARGET_BITS, RING_MASK, KEY0, KEY1, N_STAGES = range(7)


class Model(NamedTuple):
    """Read-only. n_pop populations, n_neurons neuron places, n_threads threads."""

    # populations
    population_start: I8  # (n_pop + 1,) first neuron
    population_size: I8  # (n_pop,)
    population_input: I8  # (n_pop,) first input index; -1 for a spike source
    population_n_receptors: I8  # (n_pop,)
    population_soft_reset: U1  # (n_pop,)
    population_stage: I8  # (n_pop,) in which part of a step it is updated: after what reaches it over delays of 0
    population_multi_spike: U1  # (n_pop,) 1: neurons can spike several times in a step
    population_one_winner: U1  # (n_pop,) 1: one spike a step at most; then one thread has the whole population
    population_poisson: I8  # (n_pop,) the one Poisson stimulus that all spikes come from, or -1; v then is always 0
    population_theta: (
        F8  # (n_pop, 3) what a spike adds to the threshold (0: nothing), its decay in a step, 1: a reset takes it off v
    )
    slice_start: I8  # (n_pop, n_threads) the thread's neurons, within the population
    slice_stop: I8  # (n_pop, n_threads)
    # coefficients: entry j of population p for its neuron i is value[start[p, j] + step[p, j] * i]; where step is 0
    # the value stands Layout.block times, so that one block's loop reads both kinds alike
    parameter_value: F4
    parameter_start: I8  # (n_pop, 6 + 4 * max receptors)
    parameter_step: I8  # (n_pop, 6 + 4 * max receptors) 0: one value for all; 1: one value a neuron
    input_unit: F4  # (n_pop, max receptors) a power of two: what one unit of the ring is worth
    # synapses
    outgoing_start: I8  # (n_pop + 1,) projections that leave population p: start..start of p + 1
    projection_source: I8  # (n_proj, 2) source neurons [first, stop)
    projection_index: I8  # (n_proj,) its number in the network
    projection_same_step: U1  # (n_proj,) 1: its delay is 0
    projection_row: I8  # (n_proj,) its first entry in row_start
    projection_row_step: I8  # (n_proj,) entries from a source to the next: n_threads; n_threads + 1 where rows are
    # shared, of which row_start has each source's beginnings and end; 0 where all sources have the same row, a run
    projection_target: I8  # (n_proj,) its first entry in source_target; -1: targets count from 0
    projection_weight: I8  # (n_proj,) weight of source i's synapse s is synapse_weight[s + this + i * step]; where
    projection_weight_step: I8  # (n_proj,) uniform: not used. The step is 0 but for runs
    projection_uniform: U1  # (n_proj,) 1: one weight for all
    projection_fixed_weight: I8  # (n_proj,) that weight
    projection_shift: I8  # (n_proj,) a 64-bit ring takes synapse_weight << this; 0 with a 32-bit ring
    row_start: I8  # source i of a projection has, for thread t, synapses row_start[row + i * row_step + t] ... + 1
    source_target: U4  # what is added to the input indices of a source's row, of projections whose sources share rows
    synapse: U4  # (synapses, shared ones once,) delay_steps << target_bits | input index
    synapse_weight: I4  # (synapses of projections with a weight each, shared ones once,)
    # Poisson stimuli, in the order of populations
    poisson_start: I8  # (n_pop + 1,) stimuli of population p
    poisson_range: I8  # (n_poisson, 2) neurons [first, stop) within the population
    poisson_receptor: I8  # (n_poisson,)
    poisson_weight: I8  # (n_poisson,)
    poisson_index: I8  # (n_poisson,) its number in the network: part of the Philox counter
    poisson_change: I8  # (n_poisson + 1,) rows of change_step
    poisson_change_step: I8  # first step of each interval
    poisson_class_start: I8  # (n_poisson,) in poisson_class: [interval, 1 or n_targets]
    poisson_class_step: I8  # (n_poisson, 2) strides over intervals and neurons (0: the same for all)
    poisson_class: U4  # which row of thresholds
    poisson_first: U4  # the first threshold of that row: a word above it gives a spike
    poisson_base: I4  # (n_classes,) spikes that are always there
    poisson_n_thresholds: I8  # (n_classes,) a multiple of 4
    poisson_threshold: U4  # (n_classes, most thresholds) the number is base + how many thresholds a word is above
    # injected currents, in the order of populations
    current_start: I8  # (n_pop + 1,)
    current_range: I8  # (n_current, 2)
    current_change: I8  # (n_current + 1,)
    current_change_step: I8
    current_value_start: I8  # (n_current,)
    current_value_step: I8  # (n_current, 2)
    current_value: F4  # what is added to v in a step
    # explicit spike trains
    train_start: I8  # (n_pop + 1,) spikes of source population p
    train_step: I8  # ascending within a population
    train_neuron: U4  # neuron
    # recording
    neuron_recorded: U1  # (n_neurons,) 1: its spikes are recorded
    probe_start: I8  # (n_probes + 1,) entries of probe_neuron of each probe
    probe_variable: I8  # (n_probes,) -1: v, -2: v before the reset, k >= 0: current of receptor k
    probe_population: I8  # (n_probes,)
    probe_every: I8  # (n_probes,) steps between frames
    probe_neuron: I8  # ascending within a probe, within the population
    scalars: I8  # (7,) indexed by N_THREADS ... N_STAGES


class State(NamedTuple):
    """What a step changes."""

    neuron_v: F4  # (n_neurons,)
    neuron_refractory: I4  # (n_neurons,) steps left
    neuron_theta: F8  # (n_neurons,) what spikes have added to the threshold; (0,) where none do
    neuron_spikes: I8  # (n_neurons,) spikes so far
    learning: U1  # (1,) 1: weights and thresholds change
    input_current: F4  # (n_inputs,) synaptic current of exponential receptors
    ring: I4 | I8  # (slots << target_bits,) arriving input, fixed-point
    # spikes of one window, two sets in turn, for thread t and step w of the window
    window_spike: U4  # (2, window, most spikes of a step) neuron; thread t's part starts at spike_offset[t]
    window_count: I8  # (2, window, n_threads * 8) how many at 8 t, the first to deliver at 8 t + 1; two sets, which
    # take turns at each exchange; 8 apart, so that threads do not share a cache line
    spike_offset: I8  # (n_threads + 1,)
    # recording of one chunk
    record_neuron: U4  # (n_threads, capacity) in order of step
    record_per_step: I8  # (n_threads, steps a chunk can have) how many of record_neuron belong to each
    record_step: I8  # (1, capacity) the step of each; on a GPU only, where they come in no order
    record_count: I8  # (2, n_threads * 8) how many there are
    frame_value: F4  # all probes' frames: [frame, neuron of the probe]
    frame_start: I8  # (n_probes,)
    # totals
    population_spikes: I8  # (n_threads, n_pop)
    thread_total: U8  # (n_threads, 8): synaptic events, checksum of spikes
    barrier: U8  # (1,) arrivals so far


class SpikeRecord(NamedTuple):
    """The spikes recorded in a chunk of n_steps."""

    neuron: U4  # as State.record_neuron
    per_step: I8  # as State.record_per_step, (n_threads, n_steps or more)
    population_most: I8  # (n_pop,) spikes of each population, recorded or not


def row_bounds(model: Model, q: int) -> I8:
    """Where in Model.synapse the row of each source of projection q begins for each thread, and ends.

    (n_source, n_threads + 1).
    """
    first, stop = model.projection_source[q]
    source = np.arange(stop - first)[:, np.newaxis] * model.projection_row_step[q]
    bounds: I8 = model.row_start[model.projection_row[q] + source + np.arange(model.scalars[N_THREADS] + 1)]
    return bounds
