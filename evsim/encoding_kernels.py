"""Random spikes of encoded samples: which inputs spike in a step, as a pure function of seed, sample, step and input.

Nothing is stored between steps, so any thread or device draws any frame (one sample at one step) in any order. All
whole numbers are uint64; the seed is key0 + 2^32 * key1.
"""

import numpy as np

from evsim.jit import compile_kernel, register_jitable
from evsim.philox import PURPOSE_ENCODER, philox

u32 = np.uint32
u64 = np.uint64


@register_jitable
def encoder_words(group, step, sample, key0, key1):
    """The words of inputs 4 * group to 4 * group + 3."""
    high = (sample >> u64(32)) << u64(8)
    return philox(group, step, sample & u64(0xFFFFFFFF), high | u64(PURPOSE_ENCODER), key0, key1)


@register_jitable
def encoder_word(pixel, step, sample, key0, key1):
    """The uniform 32-bit word of one input of one frame: it spikes where the word is below its threshold."""
    x0, x1, x2, x3 = encoder_words(pixel >> u64(2), step, sample, key0, key1)
    lane = pixel & u64(3)
    return x0 if lane == u64(0) else x1 if lane == u64(1) else x2 if lane == u64(2) else x3


@register_jitable
def draw_poisson_frame(threshold_row, step, sample, key0, key1, n, out_index):
    """The inputs of a sample that spike in one step, ascending; returns how many (uint64).

    An input spikes with probability threshold / 2^32: never at 0, always at 2^32.

    Parameters
    ----------
    threshold_row
        (n,) uint64 in [0, 2^32].
    step, sample
        In [0, 2^32) and [0, 2^56).
    out_index
        (n,) uint32, of which the first entries, as many as are returned, are the inputs; the rest is scratch.
    """
    count = u64(0)
    whole = n >> u64(2)
    for group in range(whole):
        i = group << u64(2)
        t0, t1 = threshold_row[i], threshold_row[i + u64(1)]
        t2, t3 = threshold_row[i + u64(2)], threshold_row[i + u64(3)]
        if (t0 | t1 | t2 | t3) == u64(0):
            continue
        x0, x1, x2, x3 = encoder_words(group, step, sample, key0, key1)
        # written whether it spikes or not, which is faster than a branch that is taken at random
        out_index[count] = u32(i)
        count += u64(x0 < t0)
        out_index[count] = u32(i + u64(1))
        count += u64(x1 < t1)
        out_index[count] = u32(i + u64(2))
        count += u64(x2 < t2)
        out_index[count] = u32(i + u64(3))
        count += u64(x3 < t3)
    for i in range(whole << u64(2), n):
        if encoder_word(i, step, sample, key0, key1) < threshold_row[i]:
            out_index[count] = u32(i)
            count += u64(1)
    return count


@compile_kernel
def draw_poisson(threshold, n_steps, first_sample, key0, key1, frame, start, index):
    """The spikes of some samples: fills start, and index as far as it has room.

    Parameters
    ----------
    threshold
        (B, n) uint64, row b of which belongs to sample first_sample + b.
    frame
        (n,) uint32, scratch.
    start, index
        (B * n_steps + 1,) int64 and uint32, as those of EventInput.
    """
    n = u64(threshold.shape[1])
    at = u64(0)
    stored = u64(0)
    start[0] = 0
    for b in range(u64(threshold.shape[0])):
        for step in range(n_steps):
            count = draw_poisson_frame(threshold[b], step, first_sample + b, key0, key1, n, frame)
            if stored + count <= u64(index.size):
                for k in range(count):
                    index[stored + k] = frame[k]
            stored += count
            at += u64(1)
            start[at] = stored
