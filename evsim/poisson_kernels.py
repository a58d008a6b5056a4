"""Poisson input and Poisson sources on the CPU: a block of neurons at a time."""

import numpy as np

from evsim.dynamics import count_passed
from evsim.jit import register_jitable
from evsim.lanes import MASK, mask_nonzero, trailing_zeros
from evsim.model import GROUP, KEY0, KEY1
from evsim.philox import PURPOSE_POISSON, philox
from evsim.tally import spike_hash

u8 = np.uint8
i32 = np.int32
i64 = np.int64
u32 = np.uint32
u64 = np.uint64

PART = 16  # calls of Philox that are made together: two vectors of the widest processors
PARTS = 2  # of the 32 calls of a group


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
def _fill_words(word, place, group, part, step, stimulus, key0, key1):
    """Uniform 32-bit words for a part of a group's neurons, PART calls of Philox, at one step; the group is at `place`.

    Call c gives those of neurons c, c + 32, c + 64 and c + 96 of the group.
    """
    for c in range(part * u64(PART), part * u64(PART) + u64(PART)):
        x0, x1, x2, x3 = philox(
            group * u64(32) + c,
            step & u64(0xFFFFFFFF),
            stimulus,
            (step >> u64(32)) << u64(8) | u64(PURPOSE_POISSON),
            key0,
            key1,
        )
        word[place + c] = u32(x0)
        word[place + u64(32) + c] = u32(x1)
        word[place + u64(64) + c] = u32(x2)
        word[place + u64(96) + c] = u32(x3)


@register_jitable
def _add_poisson(x, word, start, stop, base, threshold, row, n_thresholds, weight):
    """x += weight * Poisson number of each neuron in [start, stop), all with the same row of thresholds."""
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
            for part in range(u64(PARTS)):
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


@register_jitable(forceinline=True)
def note_lit(model, thread, lit):
    """Note which parts of Poisson sources' groups can spike at all: of an image, most pixels are black."""
    for p in range(model.population_size.size):
        s = model.population_poisson[p]
        if s < 0:
            continue
        start = model.population_start[p]
        for part in range(start * PARTS // GROUP, model.population_start[p + 1] * PARTS // GROUP):
            lit[part] = 0
        for i in range(model.slice_start[p, thread], model.slice_stop[p, thread]):
            at = model.poisson_class_start[s] + model.poisson_class_step[s, 1] * i
            if model.poisson_first[at] < u32(0xFFFFFFFF):
                lit[((start + i) >> 7) * PARTS + ((i & 31) // PART)] = 1


@register_jitable(forceinline=True)
def emit_poisson(model, state, scratch, p, first, stop, first_step, n_steps, counts, spikes, checksum):
    """Advance neurons [first, stop) of population p, which spike whenever their only Poisson stimulus does."""
    word, fired, lit = scratch[2], scratch[3], scratch[4]
    s = model.population_poisson[p]
    key0, key1, stimulus = u64(model.scalars[KEY0]), u64(model.scalars[KEY1]), u64(model.poisson_index[s])
    population_start = u64(model.population_start[p])
    one_rate = model.poisson_class_step[s, 1] == 0
    at = u64(model.poisson_class_start[s] + (0 if one_rate else first))
    n = u64(stop - first)
    first_part = ((population_start + u64(first)) >> u64(7)) * u64(PARTS)
    for w in range(u64(n_steps)):
        step = u64(first_step + i64(w))
        for group in range((n + u64(127)) >> u64(7)):
            for part in range(u64(PARTS)):
                if lit[first_part + group * u64(PARTS) + part] != u8(0):
                    _fill_words(word, group << u64(7), u64(first >> 7) + group, part, step, stimulus, key0, key1)
        if one_rate:
            threshold = model.poisson_first[at]
            for i in range(n):
                fired[i] = u8(word[i] > threshold)
        else:
            for i in range(n):
                fired[i] = u8(word[i] > model.poisson_first[at + i])
        count = counts[w]
        for begin in range(u64(0), n, u64(MASK)):
            spiking = spiking_of(fired, begin, n)
            while spiking != u64(0):
                neuron = population_start + u64(first) + begin + trailing_zeros(spiking)
                spiking &= spiking - u64(1)
                spikes[w, u64(count)] = u32(neuron)
                count += 1
                state.neuron_spikes[neuron] += 1
                checksum += spike_hash(step, neuron - population_start, u64(p))
        counts[w] = count
    return checksum
