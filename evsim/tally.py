"""Counting spikes: the checksum, and the totals of an engine that counts afterwards."""

import numpy as np

from evsim.jit import compile_kernel, register_jitable

u64 = np.uint64


@register_jitable
def spike_hash(step, neuron, population):
    """A 64-bit hash of one spike; summed over all spikes it is the run's checksum, whatever their order."""
    h = step * u64(0x9E3779B97F4A7C15) + neuron * u64(0xC2B2AE3D27D4EB4F) + population * u64(0x165667B19E3779F9)
    h = (h ^ (h >> u64(30))) * u64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> u64(27))) * u64(0x94D049BB133111EB)
    return h ^ (h >> u64(31))


@compile_kernel
def tally_spikes(step, neuron, group_population, population_start, out_degree, population_spikes, neuron_spikes):
    """Add spikes to population_spikes and neuron_spikes; returns their synaptic events and the sum of their hashes."""
    events, checksum = u64(0), u64(0)
    for j in range(step.size):
        p = group_population[neuron[j] >> 7]
        population_spikes[p] += 1
        neuron_spikes[neuron[j]] += 1
        events += u64(out_degree[neuron[j]])
        checksum += spike_hash(u64(step[j]), u64(neuron[j]) - u64(population_start[p]), u64(p))
    return events, checksum
