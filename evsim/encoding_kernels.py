"""Random spikes of encoded samples: which inputs spike in a step, as a pure function of seed, sample, step and input.

Nothing is stored between steps, so any thread or device draws any frame (one sample at one step) in any order. All
whole numbers are uint64; the seed is key0 + 2^32 * key1.
"""

import numpy as np
from numpy.typing import NDArray

from evsim.jit import compile_kernel, register_jitable
from evsim.lanes import count_ones, store_set
from evsim.philox import PURPOSE_ENCODER, philox

f64 = np.float64
i64 = np.int64
u32 = np.uint32
u64 = np.uint64


@register_jitable(forceinline=True)
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


def drawing_scratch(n: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint32]]:
    """What drawing frames of n inputs needs: lit, spiking and room for a frame, see list_lit and draw_poisson_frame."""
    n_groups = n // 4 + 9  # whole vectors of 8, and one more that is written than kept
    return np.zeros((5, n_groups), np.uint64), np.zeros(n_groups, np.uint64), np.zeros(4 * n_groups, np.uint32)


@compile_kernel
def fill_thresholds(x, threshold):
    """threshold (n,) uint64 becomes round(x * 2^32), x (n,); whether all x are in [0, 1]."""
    fine = True
    for i in range(u64(x.size)):
        fine &= x[i] >= 0 and x[i] <= 1
        threshold[i] = u64(i64(np.rint(f64(x[i]) * f64(2.0**32))))  # by int64, which vectors can be made of
    return fine


@compile_kernel
def make_room(threshold, n_steps, start):
    """How many entries the spikes of all samples may need, with 4 more each that are written than kept.

    start (B * (n_steps + 1),) becomes, at the first entry of each sample, where its spikes begin.
    """
    at = i64(0)
    for b in range(threshold.shape[0]):
        row, n_lit = threshold[b], i64(0)
        for i in range(u64(row.size)):
            n_lit += i64(row[i] != u64(0))
        start[b * (n_steps + 1)] = at
        at += n_lit * n_steps + 4
    return at


@register_jitable
def list_lit(threshold_row, lit):
    """The groups of 4 inputs of a sample that may spike: lit[0] is their number, lit[1:5] are the inputs' thresholds.

    Groups that may not follow, to a multiple of 8: whole vectors, whose loop has no remainder.

    Parameters
    ----------
    threshold_row
        (n,) uint64 in [0, 2^32].
    lit
        (5, n_groups) uint64, of drawing_scratch.

    Returns
    -------
    How many there are (uint64).
    """
    n = u64(threshold_row.size)
    n_lit = u64(0)
    for group in range((n + u64(3)) >> u64(2)):
        lit[0, n_lit] = group
        any_lit = u64(0)
        for lane in range(u64(4)):
            i = (group << u64(2)) + lane
            threshold = threshold_row[i] if i < n else u64(0)
            lit[lane + u64(1), n_lit] = threshold
            any_lit |= threshold
        n_lit += u64(any_lit != u64(0))
    while n_lit % u64(8) != u64(0):
        for row in range(5):
            lit[row, n_lit] = u64(0)
        n_lit += u64(1)
    return n_lit


@register_jitable
def draw_poisson_frame(lit, n_lit, step, sample, key0, key1, spiking, index, at):
    """The inputs of a sample that spike in one step, ascending; returns how many (uint64).

    An input spikes with probability threshold / 2^32: never at 0, always at 2^32.

    Parameters
    ----------
    lit, n_lit
        Of the sample, from list_lit.
    step, sample
        In [0, 2^32) and [0, 2^56).
    spiking
        (n_groups,) uint64, scratch.
    index, at
        uint32: index[at:] becomes the inputs, as many as are returned; 4 entries behind them are written to as well.
    """
    for g in range(n_lit):
        x0, x1, x2, x3 = encoder_words(lit[0, g], step, sample, key0, key1)
        spiking[g] = (
            u64(x0 < lit[1, g])
            | (u64(x1 < lit[2, g]) << u64(1))
            | (u64(x2 < lit[3, g]) << u64(2))
            | (u64(x3 < lit[4, g]) << u64(3))
        )
    stored = at
    for g in range(n_lit):
        store_set(index, stored, u32(lit[0, g] << u64(2)), spiking[g])
        stored += count_ones(spiking[g])
    return stored - at


@compile_kernel
def draw_poisson(threshold, n_steps, first, stop, first_sample, key0, key1, lit, spiking, start, index):
    """The spikes of samples [first, stop) of a batch.

    Parameters
    ----------
    threshold
        (B, n) uint64, row b of which belongs to sample first_sample + b.
    lit, spiking
        Scratch, see draw_poisson_frame.
    start, index
        Filled: those of sample b in step t are index[start[b * (n_steps + 1) + t] : start[b * (n_steps + 1) + t + 1]].
        start has the first entry of each sample, see make_room.
    """
    for b in range(first, stop):
        n_lit, at = list_lit(threshold[b], lit), u64(b) * (n_steps + u64(1))
        stored = u64(start[at])
        for step in range(n_steps):
            stored += draw_poisson_frame(lit, n_lit, step, first_sample + u64(b), key0, key1, spiking, index, stored)
            start[at + step + u64(1)] = stored
