"""Random numbers: known answers, textbook definitions, and the distributions they are turned into."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from evsim.distributions import lognormal, normal, uniform
from evsim.jit import compile_kernel
from evsim.philox import permutation_half_bits, permute, philox, quantile, uniform_integer

WORD = 2**32
words = st.integers(0, WORD - 1)


@compile_kernel
def fill_philox(counter, key, out):
    for i in range(counter.shape[0]):
        words = philox(counter[i, 0], counter[i, 1], counter[i, 2], counter[i, 3], key[0], key[1])
        out[i, 0], out[i, 1], out[i, 2], out[i, 3] = words


@compile_kernel
def fill_quantile(table, word, out):
    for i in range(word.size):
        out[i] = quantile(table, word[i])


@compile_kernel
def fill_permutation(n, half_bits, key, out):
    for k in range(key.shape[0]):
        for i in range(out.shape[1]):
            out[k, i] = permute(np.uint64(i), n, half_bits, key[k, 0], key[k, 1], key[k, 2], key[k, 3])


@compile_kernel
def fill_integers(high, low, n, out):
    for i in range(high.size):
        out[i] = uniform_integer(high[i], low[i], n)


def draw_words(counter, key=(0, 0)):
    """Philox words (n, 4) of the counters (n, 4)."""
    counter = np.atleast_2d(np.array(counter, np.uint64))
    out = np.zeros((len(counter), 4), np.uint64)
    fill_philox(counter, np.array(key, np.uint64), out)
    return out


def counters(n, **fixed):
    """n counters that differ in their first entry."""
    counter = np.zeros((n, 4), np.uint64)
    counter[:, 0] = np.arange(n)
    for name, value in fixed.items():
        counter[:, int(name[1])] = value
    return counter


def permutations(n, keys, length=None):
    """Where each key's permutation of [0, n) sends 0, 1, ..."""
    out = np.zeros((len(keys), length or n), np.uint64)
    fill_permutation(np.uint64(n), np.uint64(permutation_half_bits(n)), np.array(keys, np.uint64), out)
    return out.astype(np.int64)


# --- Philox -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_known_answers(counter, key, answer):
    """Those of Random123's kat_vectors for philox4x32-10."""
    counter, key, answer = ([int(word, 16) for word in text.split()] for text in (counter, key, answer))
    assert draw_words(counter, key)[0].tolist() == answer


def textbook_philox(counter, key):
    """Philox4x32-10 as Salmon et al. 2011 define it."""
    (c0, c1, c2, c3), (k0, k1) = counter, key
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * c0, WORD)
        high1, low1 = divmod(0xCD9E8D57 * c2, WORD)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) % WORD, (k1 + 0xBB67AE85) % WORD
    return [c0, c1, c2, c3]


@settings(deadline=None)
@given(counter=st.tuples(words, words, words, words), key=st.tuples(words, words))
def test_philox_is_the_textbook_one(counter, key):
    assert draw_words(counter, key)[0].tolist() == textbook_philox(counter, key)


@pytest.mark.parametrize("fixed", [{}, {"c1": 12345, "c2": 7, "c3": 1}])
def test_words_of_consecutive_counters_are_uniform_and_uncorrelated(fixed):
    drawn = draw_words(counters(100_000, **fixed), (42, 0)) / WORD
    for column in drawn.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3
    series = np.concatenate([drawn, np.roll(drawn, -1, axis=0)], axis=1)  # the words of a call and of the next
    correlations = np.corrcoef(series.T)[np.triu_indices(8, 1)]
    assert (np.abs(correlations) < 4.5 / np.sqrt(len(drawn))).all()


def test_any_change_of_counter_or_key_changes_half_the_bits():
    def bits(counter, key):
        return np.unpackbits(draw_words(counter, key).astype(np.uint32).view(np.uint8))

    rng = np.random.default_rng(0)
    flipped = []
    for bit in range(192):
        words = rng.integers(0, WORD, 6, dtype=np.uint64)
        changed = words.copy()
        changed[bit // 32] ^= np.uint64(1 << bit % 32)
        flipped.append((bits(words[:4], words[4:]) != bits(changed[:4], changed[4:])).sum())
    assert min(flipped) > 64 - 6 * math.sqrt(32)
    assert max(flipped) < 64 + 6 * math.sqrt(32)
    assert abs(np.mean(flipped) - 64.0) < 4 * math.sqrt(32 / 192)


# --- integers -----------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(high=words, low=words, n=st.integers(1, WORD - 1))
def test_uniform_integer_is_the_floor_of_the_fraction_times_n(high, low, n):
    out = np.zeros(1, np.uint64)
    fill_integers(np.array([high], np.uint64), np.array([low], np.uint64), np.uint64(n), out)
    assert int(out[0]) == (high * WORD + low) * n // WORD**2


# --- permutations -------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 3000), key=st.tuples(words, words, words, words))
def test_permute_is_a_permutation(n, key):
    assert np.sort(permutations(n, [key])[0]).tolist() == list(range(n))


@pytest.mark.parametrize("n", [2**16 - 1, 2**16, 2**16 + 1])
def test_permute_is_a_permutation_around_a_power_of_two(n):
    assert np.array_equal(np.sort(permutations(n, [(1, 2, 3, 4)])[0]), np.arange(n))


def test_permute_of_a_huge_domain_stays_inside_and_never_repeats():
    n = 6_000_000_000
    drawn = permutations(n, [(5, 6, 7, 8)], 100_000)[0]
    assert drawn.min() >= 0
    assert drawn.max() < n
    assert np.unique(drawn).size == drawn.size
    assert stats.kstest(drawn / n, "uniform").pvalue > 1e-3


def test_all_permutations_are_equally_likely():
    """Of 5 things, over keys drawn from Philox as the construction draws them."""
    drawn = permutations(5, draw_words(counters(60_000, c3=4), (1, 0)))
    _, count = np.unique(drawn @ 5 ** np.arange(5), return_counts=True)
    assert count.size == 120
    assert stats.chisquare(count).pvalue > 1e-3


@pytest.mark.parametrize("n", [17, 300])
def test_draws_without_replacement_are_uniform(n):
    """Each of the first places takes each value equally often, and so does each pair of them."""
    drawn = permutations(n, draw_words(counters(200 * n, c3=4), (2, 0)), 3)
    for place in drawn.T:
        assert stats.chisquare(np.bincount(place, minlength=n)).pvalue > 1e-3
    for a, b in ((0, 1), (1, 2), (0, 2)):
        distance = (drawn[:, b] - drawn[:, a]) % n
        assert distance.min() > 0
        assert stats.chisquare(np.bincount(distance, minlength=n)[1:]).pvalue > 1e-3


# --- distributions ------------------------------------------------------------------------------------------------

DISTRIBUTIONS = {
    "normal": (normal(3.0, 2.0), stats.norm(3.0, 2.0)),
    "half": (normal(0.0, 1.0, low=0.0), stats.truncnorm(0.0, np.inf, 0.0, 1.0)),
    "band": (normal(10.0, 2.0, low=9.0, high=13.0), stats.truncnorm(-0.5, 1.5, 10.0, 2.0)),
    "tail": (normal(0.0, 1.0, low=2.5), stats.truncnorm(2.5, np.inf, 0.0, 1.0)),
    "delay": (normal(1.5, 0.75, low=0.05), stats.truncnorm(-1.45 / 0.75, np.inf, 1.5, 0.75)),
    "lognormal": (lognormal(-1.0, 0.8), stats.lognorm(0.8, 0.0, math.exp(-1.0))),
    "uniform": (uniform(-2.0, 5.0), stats.uniform(-2.0, 7.0)),
}
distributions = pytest.mark.parametrize(("drawn", "exact"), DISTRIBUTIONS.values(), ids=DISTRIBUTIONS)


def values(distribution, word):
    out = np.zeros(len(word))
    fill_quantile(distribution.quantile_table(), np.asarray(word, np.uint64), out)
    return out


def edge_words():
    """The words on either side of every piece of the table, the extremes and the middle, ascending."""
    edges = (1 << np.arange(32)[:, None]) * (16 + np.arange(16)) // 16  # in the lower tail
    edges = np.concatenate([edges.ravel() + shift for shift in (-2, -1, 0, 1)])
    low = np.unique(edges[(edges >= 0) & (edges < WORD // 2)])
    return np.concatenate([low, WORD - 1 - low[::-1]])


@distributions
def test_values_are_the_quantiles(drawn, exact):
    """Everywhere, far tails included: to 1e-6 of the standard deviation."""
    word = np.concatenate([edge_words(), np.random.default_rng(1).integers(0, WORD, 20_000)])
    lower, upper = (word + 0.5) / WORD, (WORD - word - 0.5) / WORD
    expected = np.where(word < WORD // 2, exact.ppf(lower), exact.isf(upper))
    error = np.abs(values(drawn, word) - expected) / exact.std()
    assert error.max() < 1e-6


@distributions
def test_values_ascend_and_stay_between_the_bounds(drawn, exact):
    """What is computed from bounds() at build time, the shortest delay and the largest weight, holds for all draws."""
    v = values(drawn, edge_words())
    low, high = drawn.bounds()
    assert v[0] == pytest.approx(low, rel=1e-12)
    assert v[-1] == pytest.approx(high, rel=1e-12)
    assert (np.diff(v) >= 0.0).all()
    assert (v >= drawn.low).all()
    assert (v <= drawn.high).all()


@distributions
def test_draws_follow_the_distribution(drawn, exact):
    sample = values(drawn, draw_words(counters(50_000, c3=3), (7, 0))[:, 0])
    assert stats.kstest(sample, exact.cdf).pvalue > 1e-3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: normal(0.0, 0.0), "normal: std is 0.0; it must be finite and above 0"),
        (lambda: normal(np.nan, 1.0), "normal: mean is nan"),
        (lambda: normal(0.0, 1.0, low=2.0, high=1.0), "low must be below high"),
        (lambda: normal(0.0, 1.0, low=5.0), "only .* of the distribution lies within its bounds"),
        (lambda: lognormal(0.0, np.inf), "lognormal: std_log is inf"),
        (lambda: uniform(1.0, 1.0), r"uniform\(low=1.0, high=1.0\)"),
    ],
)
def test_impossible_distributions_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
