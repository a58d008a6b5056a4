"""Poisson input and Poisson sources on the CPU: a block of neurons at a time."""

from typing import NamedTuple

import numpy as np

from evsim.aligned import aligned_zeros
from evsim.dynamics import count_passed
from evsim.jit import compile_kernel, disjoint, register_jitable
from evsim.lanes import MASK, mask_above, mask_nonzero, trailing_zeros
from evsim.model import GROUP, KEY0, KEY1, U4, U8
from evsim.philox import PURPOSE_POISSON, philox
from evsim.tally import spike_hash

i32 = np.int32
i64 = np.int64
u32 = np.uint32
u64 = np.uint64

CALLS = 32  # of Philox, that give the numbers of a group
PART = 16  # calls that are made together: two vectors of the widest processors


@register_jitable
def interval(change_step, first, stop, step):
    """Which of the intervals that begin at change_step[first:stop] holds `step`; -1 before the first."""
    low, high = first, stop
    while low < high:
        middle = (low + high) >> 1
        if change_step[middle] <= step:
            low = middle + 1
        else:
            high = middle
    return low - first - 1


@register_jitable(forceinline=True)
def _draw(call, step, stimulus, key0, key1):
    """The four words of a call of Philox at a step."""
    counter = (step >> u64(32)) << u64(8) | u64(PURPOSE_POISSON)
    return philox(call & u64(0xFFFFFFFF), step & u64(0xFFFFFFFF), stimulus, counter, key0, key1)


@register_jitable(forceinline=True)
def _fill_words(word, place, group, part, step, stimulus, key0, key1):
    """Uniform 32-bit words for a part of a group's neurons, PART calls of Philox, at one step; the group is at `place`.

    Call c gives those of neurons c, c + 32, c + 64 and c + 96 of the group.
    """
    for c in range(part * u64(PART), part * u64(PART) + u64(PART)):
        x0, x1, x2, x3 = _draw(group * u64(CALLS) + c, step, stimulus, key0, key1)
        word[place + c] = u32(x0)
        word[place + u64(32) + c] = u32(x1)
        word[place + u64(64) + c] = u32(x2)
        word[place + u64(96) + c] = u32(x3)


@register_jitable
def _add_poisson(x, word, start, stop, base, threshold, row, n_thresholds, weight):
    """x += weight * Poisson number of each neuron in [start, stop), all with the same row of thresholds."""
    disjoint()
    for i in range(start, stop):
        x[i] += base * weight
    for j in range(u64(0), n_thresholds, u64(4)):
        t0, t1 = threshold[row, j], threshold[row, j + u64(1)]
        t2, t3 = threshold[row, j + u64(2)], threshold[row, j + u64(3)]
        for i in range(start, stop):
            x[i] += weight * count_passed(word[i], t0, t1, t2, t3)


@register_jitable
def _add_poisson_classes(x, word, start, stop, rate_class, at, base, n_thresholds, threshold, weight):
    """The same where each neuron has thresholds of its own: row rate_class[at + i - start]."""
    disjoint()
    for i in range(start, stop):
        row = u64(rate_class[at + (i - start)])
        n = base[row]
        j = u64(0)
        while j < u64(n_thresholds[row]) and word[i] > threshold[row, j]:
            n += i32(1)
            j += u64(1)
        x[i] += n * weight


@register_jitable(forceinline=True)
def add_poissons(model, p, k, first, stop, step, word, x):
    """Add the Poisson input of receptor k to x, for neurons [first, stop) of population p in this step."""
    for s in range(model.poisson_start[p], model.poisson_start[p + 1]):
        row = interval(model.poisson_change_step, model.poisson_change[s], model.poisson_change[s + 1], step)
        a, b = max(first, model.poisson_range[s, 0]), min(stop, model.poisson_range[s, 1])
        if model.poisson_receptor[s] != k or row < 0 or a >= b:
            continue
        key0, key1, stimulus = u64(model.scalars[KEY0]), u64(model.scalars[KEY1]), u64(model.poisson_index[s])
        for group in range(u64((stop - first + 127) >> 7)):
            for part in range(u64(CALLS // PART)):
                _fill_words(word, group << u64(7), u64(first >> 7) + group, part, u64(step), stimulus, key0, key1)
        start, end = u64(a - first), u64(b - first)
        at = model.poisson_class_start[s] + row * model.poisson_class_step[s, 0]
        if model.poisson_class_step[s, 1] == 0:
            one = u64(model.poisson_class[u64(at)])
            n_thresholds = u64(model.poisson_n_thresholds[one])
            base, threshold = model.poisson_base[one], model.poisson_threshold
            _add_poisson(x, word, start, end, base, threshold, one, n_thresholds, model.poisson_weight[s])
        else:
            _add_poisson_classes(
                x, word, start, end, model.poisson_class, u64(at + a - model.poisson_range[s, 0]),
                model.poisson_base, model.poisson_n_thresholds, model.poisson_threshold, model.poisson_weight[s],
            )  # fmt: skip


@register_jitable
def spiking_of(fired, first, n):
    """Which of the neurons from `first`, MASK of them or as many as there are of n, have fired: a bit for each."""
    spiking = mask_nonzero(fired, first)
    if n - first < u64(MASK):
        spiking &= (u64(1) << (n - first)) - u64(1)
    return spiking


class Lit(NamedTuple):
    """A thread's notes of the neurons of Poisson sources that can spike at all: of an image, most pixels are black.

    A group's calls of Philox that are needed are listed, and filled up to whole vectors; its lane i + 32 w has word w
    of call i of the list.
    """

    call: U8  # (n_neurons / 4,) numbered within the population
    n_calls: U8  # (n_neurons / GROUP,)
    neuron: U4  # (n_neurons,) of each lane
    threshold: U4  # (n_neurons,) a word above it is a spike


def make_lit(n_neurons: int) -> Lit:
    """Of a thread."""
    return Lit(
        call=aligned_zeros(n_neurons // 4, np.uint64),
        n_calls=aligned_zeros(n_neurons // GROUP, np.uint64),
        neuron=aligned_zeros(n_neurons, np.uint32),
        threshold=aligned_zeros(n_neurons, np.uint32),
    )


@register_jitable(forceinline=True)
def note_lit(model, thread, lit):
    """Fill in the Lit of a thread."""
    for p in range(model.population_size.size):
        s = model.population_poisson[p]
        if s >= 0:
            first, stop = model.slice_start[p, thread], model.slice_stop[p, thread]
            at, stride = u64(model.poisson_class_start[s]), u64(model.poisson_class_step[s, 1])
            _note_lit(lit, model.poisson_first, at, stride, u64(model.population_start[p]), u64(first), u64(stop))


@compile_kernel
def _note_lit(lit, threshold, at, stride, start, first, stop):
    """Of neurons [first, stop) of a population, which begins at `start` and has threshold[at + stride * neuron]."""
    for begin in range(first, stop, u64(GROUP)):
        n, lane = u64(0), start + begin
        for c in range(u64(CALLS)):
            needed = False
            for neuron in range(begin + c, begin + u64(GROUP) + c, u64(CALLS)):
                own = threshold[at + stride * neuron] if neuron < stop else u32(0xFFFFFFFF)
                needed = needed or own < u32(0xFFFFFFFF)
                to = lane + n + (neuron - begin - c)
                lit.neuron[to], lit.threshold[to] = u32(start + neuron), own
            lit.call[(lane >> u64(2)) + n] = (begin >> u64(2)) + c
            n += u64(needed)
        lit.n_calls[lane >> u64(7)] = (n + u64(7)) & ~u64(7)
        for i in range(n, u64(CALLS)):
            for to in range(lane + i, lane + u64(GROUP), u64(CALLS)):
                lit.threshold[to] = u32(0xFFFFFFFF)


@compile_kernel
def _draw_lit(word, at, call, first, n, step, stimulus, key0, key1):
    """The words of a group's lanes, from word[at] on: those of call[first:first + n]."""
    disjoint()
    for i in range(n):
        x0, x1, x2, x3 = _draw(call[first + i], step, stimulus, key0, key1)
        word[at + i] = u32(x0)
        word[at + u64(32) + i] = u32(x1)
        word[at + u64(64) + i] = u32(x2)
        word[at + u64(96) + i] = u32(x3)


@register_jitable(forceinline=True)
def emit_poisson(model, state, scratch, p, first, stop, first_step, n_steps, counts, spikes, checksum):
    """Advance neurons [first, stop) of population p, which spike whenever their only Poisson stimulus does."""
    word, lit = scratch[2], scratch[4]
    s = model.population_poisson[p]
    key0, key1, stimulus = u64(model.scalars[KEY0]), u64(model.scalars[KEY1]), u64(model.poisson_index[s])
    start = u64(model.population_start[p])
    begin, end = start + u64(first), start + u64(stop)
    for w in range(u64(n_steps)):
        step, count = u64(first_step + i64(w)), counts[w]
        for group in range(begin, end, u64(GROUP)):
            n_calls = lit.n_calls[group >> u64(7)]
            _draw_lit(word, group - begin, lit.call, group >> u64(2), n_calls, step, stimulus, key0, key1)
        for lane in range(begin, end, u64(MASK)):
            if lit.n_calls[lane >> u64(7)] == u64(0):
                continue
            spiking = mask_above(word, lane - begin, lit.threshold, lane)
            while spiking != u64(0):
                neuron = u64(lit.neuron[lane + trailing_zeros(spiking)])
                spiking &= spiking - u64(1)
                spikes[w, u64(count)] = u32(neuron)
                count += 1
                state.neuron_spikes[neuron] += 1
                checksum += spike_hash(step, neuron - start, u64(p))
        counts[w] = count
    return checksum
