"""Counter-based random numbers: Philox4x32-10 and what is drawn from it.

Every number is a pure function of (seed, purpose, entity, step or index): there is no stream and no state, so any
thread, process or device draws the same numbers in any order. Source: Salmon et al. 2011, "Parallel random
numbers: as easy as 1, 2, 3". Words are 32-bit values carried in uint64, which lets the loops around them vectorise.
"""

import numpy as np

from evsim.jit import fma, leading_zeros, register_jitable

# What a number is for: the last word of the counter, so that no two uses ever share a draw.
PURPOSE_POISSON = 1  # counter: neuron group, step, stimulus
PURPOSE_PAIR = 2  # counter: synapse index (low, high), projection
PURPOSE_ATTRIBUTE = 3  # counter: synapse index (low, high), projection; words: weight, delay
PURPOSE_PERMUTATION = 4  # counter: row, -, projection
PURPOSE_INITIAL = 5  # counter: neuron, parameter, population
PURPOSE_ENCODER = 6  # counter: group of 4 inputs, step, sample

u32 = np.uint32
u64 = np.uint64
_LOW = u64(0xFFFFFFFF)
_SHIFT = u64(32)
_M0, _M1 = u64(0xD2511F53), u64(0xCD9E8D57)
_W0, _W1 = u64(0x9E3779B9), u64(0xBB67AE85)


@register_jitable
def _round(c0, c1, c2, c3, k0, k1):
    p0 = _M0 * c0
    p1 = _M1 * c2
    return (p1 >> _SHIFT) ^ c1 ^ k0, p1 & _LOW, (p0 >> _SHIFT) ^ c3 ^ k1, p0 & _LOW


@register_jitable
def philox(c0, c1, c2, c3, k0, k1):
    """Four independent uniform 32-bit words for the counter (c0..c3) under the key (k0, k1); all uint64 < 2^32.

    Written out without a loop: only then does the caller's loop vectorise.
    """
    c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
    c0, c1, c2, c3 = _round(c0, c1, c2, c3, (k0 + _W0) & _LOW, (k1 + _W1) & _LOW)
    c0, c1, c2, c3 = _round(c0, c1, c2, c3, (k0 + u64(2) * _W0) & _LOW, (k1 + u64(2) * _W1) & _LOW)
    c0, c1, c2, c3 = _round(c0, c1, c2, c3, (k0 + u64(3) * _W0) & _LOW, (k1 + u64(3) * _W1) & _LOW)
    c0, c1, c2, c3 = _round(c0, c1, c2, c3, (k0 + u64(4) * _W0) & _LOW, (k1 + u64(4) * _W1) & _LOW)
    c0, c1, c2, c3 = _round(c0, c1, c2, c3, (k0 + u64(5) * _W0) & _LOW, (k1 + u64(5) * _W1) & _LOW)
    c0, c1, c2, c3 = _round(c0, c1, c2, c3, (k0 + u64(6) * _W0) & _LOW, (k1 + u64(6) * _W1) & _LOW)
    c0, c1, c2, c3 = _round(c0, c1, c2, c3, (k0 + u64(7) * _W0) & _LOW, (k1 + u64(7) * _W1) & _LOW)
    c0, c1, c2, c3 = _round(c0, c1, c2, c3, (k0 + u64(8) * _W0) & _LOW, (k1 + u64(8) * _W1) & _LOW)
    c0, c1, c2, c3 = _round(c0, c1, c2, c3, (k0 + u64(9) * _W0) & _LOW, (k1 + u64(9) * _W1) & _LOW)
    return c0, c1, c2, c3


@register_jitable
def uniform_integer(high, low, n):
    """An integer in [0, n), n < 2^32, from the 64-bit fraction high.low; the bias is below n / 2^64."""
    return (high * n + ((low * n) >> _SHIFT)) >> _SHIFT


@register_jitable
def _mix(x, key):
    x = ((x ^ key) * u64(0x85EBCA6B)) & _LOW
    x ^= x >> u64(13)
    x = (x * u64(0xC2B2AE35)) & _LOW
    return x ^ (x >> u64(16))


@register_jitable
def permute(index, n, half_bits, k0, k1, k2, k3):
    """Where a keyed pseudo-random permutation of [0, n) sends `index`: draws without replacement, any one alone.

    Eight Feistel rounds on 2 * half_bits bits, walked along the cycle until the value is below n.
    """
    mask = (u64(1) << half_bits) - u64(1)
    while True:
        left = index >> half_bits
        right = index & mask
        left ^= _mix(right, k0) & mask
        right ^= _mix(left, k1) & mask
        left ^= _mix(right, k2) & mask
        right ^= _mix(left, k3) & mask
        left ^= _mix(right, k1 ^ _W0) & mask
        right ^= _mix(left, k0 ^ _W1) & mask
        left ^= _mix(right, k3 ^ _W0) & mask
        right ^= _mix(left, k2 ^ _W1) & mask
        index = (left << half_bits) | right
        if index < n:
            return index


def permutation_half_bits(n: int) -> int:
    """Half the bits `permute` works on for a domain of size n (at least 2^8, so that small domains mix too)."""
    return max(4, (max(n - 1, 1).bit_length() + 1) // 2)


# A distribution is carried as its quantile function, tabulated by the host: 64 octaves (32 for each tail, each half
# as wide as the one before) of 16 cubic pieces. Evaluating it needs integers and fma only.
QUANTILE_PIECES = 16
QUANTILE_OCTAVES = 32


@register_jitable
def quantile(table, word):
    """The value at probability (word + 1/2) / 2^32 of a distribution; `table` is its quantile_table()."""
    tail = word >> u64(31)
    from_end = word ^ (_LOW * tail)  # the distance from the nearer end, in [0, 2^31)
    bits = (from_end << u64(1)) | u64(1)  # and that as a probability, times 2^33
    octave = leading_zeros(bits) - u64(32)
    bits <<= octave
    piece = (bits >> u64(27)) & u64(15)
    x = np.float64(bits & u64(0x7FFFFFF)) * (1.0 / 134217728.0)
    at = ((tail * u64(32) + octave) * u64(16) + piece) * u64(4)
    c3, c2, c1, c0 = table[at + u64(3)], table[at + u64(2)], table[at + u64(1)], table[at]
    return fma(fma(fma(c3, x, c2), x, c1), x, c0)
