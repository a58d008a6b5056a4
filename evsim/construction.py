"""How connection rules become sorted CSR rows: the draws, which every backend shares, and the kernels of the CPU.

Synapse candidate k of a projection is a pure function of (seed, projection, k), so the kernels run over disjoint
ranges of k in parallel, twice: once to count, once to fill. Then each row is sorted, which makes the result
independent of how the work was divided. `cuda_kernels.construction` holds the same kernels for the GPU.
"""

import math

import numpy as np

from evsim.connectivity import (
    ALL_TO_ALL,
    FIXED_INDEGREE,
    FIXED_OUTDEGREE,
    FIXED_TOTAL_NUMBER,
    ONE_TO_ONE,
    PAIRWISE_BERNOULLI,
)
from evsim.jit import compile_kernel, prefetch, register_jitable
from evsim.philox import (
    PURPOSE_ATTRIBUTE,
    PURPOSE_INITIAL,
    PURPOSE_PAIR,
    PURPOSE_PERMUTATION,
    permute,
    philox,
    quantile,
    u64,
    uniform_integer,
)

# entries of the `rule` argument, int64
CODE, DEGREE, N_SOURCE, N_TARGET, SELF_OFFSET, SAME, AUTAPSES, MULTAPSES = range(8)
THRESHOLD, PROJECTION, HALF_BITS, KEY0, KEY1, INPUT, TARGET_BITS, TARGET_START = range(8, 16)
WEIGHT_KIND, DELAY_KIND, DELAY = range(16, 19)  # DELAY: steps, where it is UNIFORM
N_RULE = 19

UNIFORM, LISTED, DRAWN, EQUAL = range(4)  # how a projection's weights or delays are given; EQUAL: one, kept for each


@register_jitable
def _philox(rule, k, purpose):
    low, high = u64(k) & u64(0xFFFFFFFF), u64(k) >> u64(32)
    return philox(low, high, u64(rule[PROJECTION]), u64(purpose), u64(rule[KEY0]), u64(rule[KEY1]))


@register_jitable
def _one_of(rule, k, row, rank, n, self_index):
    """The partner of `row` in its synapse number `rank`: one of n, never self_index unless autapses are allowed."""
    excluded = rule[SAME] == 1 and rule[AUTAPSES] == 0 and 0 <= self_index < n
    if excluded:
        n -= 1
    if rule[MULTAPSES] == 1:
        x0, x1, x2, x3 = _philox(rule, k >> 1, PURPOSE_PAIR)
        partner = np.int64(uniform_integer(x0, x1, u64(n)) if k & 1 == 0 else uniform_integer(x2, x3, u64(n)))
    else:
        k0, k1, k2, k3 = _philox(rule, row, PURPOSE_PERMUTATION)
        partner = np.int64(permute(u64(rank), u64(n), u64(rule[HALF_BITS]), k0, k1, k2, k3))
    return partner + 1 if excluded and partner >= self_index else partner


@register_jitable
def _any_pair(rule, k):
    """Pair k of fixed_total_number."""
    n_source, n_target = rule[N_SOURCE], rule[N_TARGET]
    no_autapse = rule[SAME] == 1 and rule[AUTAPSES] == 0
    if rule[MULTAPSES] == 0:
        per_source = n_target - 1 if no_autapse else n_target
        k0, k1, k2, k3 = _philox(rule, 0, PURPOSE_PERMUTATION)
        pair = np.int64(permute(u64(k), u64(n_source * per_source), u64(rule[HALF_BITS]), k0, k1, k2, k3))
        source, target = pair // per_source, pair % per_source
        return source, target + 1 if no_autapse and target >= source else target
    attempt = 0
    while True:
        x0, x1, x2, x3 = _philox(rule, k, PURPOSE_PAIR + (attempt << 8))
        source = np.int64(uniform_integer(x0, x1, u64(n_source)))
        target = np.int64(uniform_integer(x2, x3, u64(n_target)))
        if not no_autapse or target + rule[SELF_OFFSET] != source:
            return source, target
        attempt += 1


@register_jitable
def draw_pair(rule, pre, post, k, place):
    """(is it a synapse, source, target) of candidate k, which explicit lists hold at `place`.

    Indices within the source and target slices.
    """
    code = rule[CODE]
    if code == FIXED_INDEGREE:
        target = k // rule[DEGREE]
        rank = k % rule[DEGREE]
        return True, _one_of(rule, k, target, rank, rule[N_SOURCE], target + rule[SELF_OFFSET]), target
    if code == FIXED_OUTDEGREE:
        source = k // rule[DEGREE]
        rank = k % rule[DEGREE]
        return True, source, _one_of(rule, k, source, rank, rule[N_TARGET], source - rule[SELF_OFFSET])
    if code == FIXED_TOTAL_NUMBER:
        source, target = _any_pair(rule, k)
        return True, source, target
    if code == ONE_TO_ONE:
        return True, k, k
    if code == ALL_TO_ALL or code == PAIRWISE_BERNOULLI:
        source = k // rule[N_TARGET]
        target = k % rule[N_TARGET]
        wanted = not (rule[SAME] == 1 and rule[AUTAPSES] == 0 and target + rule[SELF_OFFSET] == source)
        if code == PAIRWISE_BERNOULLI and wanted:
            x0, x1, x2, x3 = _philox(rule, k >> 2, PURPOSE_PAIR)
            word = k & 3
            x = x0 if word == 0 else x1 if word == 1 else x2 if word == 2 else x3
            wanted = np.int64(x) < rule[THRESHOLD]
        return wanted, source, target
    return True, pre[place], post[place]


@register_jitable
def draw_words(k, projection, k0, k1):
    """The words that the weight and the delay of candidate k are drawn from; all uint64."""
    x0, x1, x2, x3 = philox(k & u64(0xFFFFFFFF), k >> u64(32), projection, u64(PURPOSE_ATTRIBUTE), k0, k1)
    return x0, x1


@register_jitable
def draw_weight(table, word):
    """A weight, float32."""
    return np.float32(quantile(table, word))


@register_jitable
def draw_delay(table, word, dt):
    """A delay in steps, uint64."""
    return max(u64(1), u64(round(quantile(table, word) / dt)))


@register_jitable
def join_bits(rule, steps, target):
    """The synapse (see `model`) with a delay of `steps` onto `target`."""
    return np.uint32((steps << rule[TARGET_BITS]) | (rule[INPUT] + target))


@register_jitable
def round_up(weight, scale):
    """|weight| * scale, rounded up to an integer: exact, as scale is a power of two, and so are sums of them."""
    return np.int64(math.ceil(abs(np.float64(weight)) * scale))


@register_jitable
def count_units(weight, unit):
    """The nearest whole number of units."""
    return np.int32(round(np.float64(weight) / unit))


@compile_kernel
def count_synapses(rule, pre, post, k_first, k_stop, group_thread, n_threads, count):
    """Count the synapses of candidates [k_first, k_stop) per (source, thread of the target)."""
    for k in range(k_first, k_stop):
        wanted, source, target = draw_pair(rule, pre, post, k, k)
        if wanted:
            thread = group_thread[(target + rule[TARGET_START]) >> 7]
            count[source * n_threads + thread] += 1


@compile_kernel
def draw_weights(rule, table, k_first, weight):
    """Draw the weights (float32) of candidates k_first, k_first + 1, ...."""
    k0, k1 = u64(rule[KEY0]), u64(rule[KEY1])
    projection = u64(rule[PROJECTION])
    for j in range(u64(weight.size)):
        word, _ = draw_words(u64(k_first) + j, projection, k0, k1)
        weight[j] = draw_weight(table, word)


@register_jitable
def _draw_attributes(rule, k_first, n, weight_table, delay_table, dt, word, delay, weight):
    """Weights and delays (steps) of candidates k_first ... k_first + n, drawn; loops that vectorise."""
    k0, k1 = u64(rule[KEY0]), u64(rule[KEY1])
    projection = u64(rule[PROJECTION])
    for j in range(n):
        k = u64(k_first) + j
        word[j], delay[j] = draw_words(k, projection, k0, k1)
    if weight_table.size > 1:
        for j in range(n):
            weight[j] = draw_weight(weight_table, word[j])
    if delay_table.size > 1:
        for j in range(n):
            delay[j] = draw_delay(delay_table, delay[j], dt)


@compile_kernel
def fill_synapses(
    rule,
    pre,
    post,
    k_first,
    k_stop,
    group_thread,
    n_threads,
    weight_list,
    weight_table,
    delay_list,
    delay_table,
    dt,
    batch_row,
    batch_target,
    batch_word,
    batch_delay,
    batch_weight,
    cursor,
    synapse,
    weight,
    weight_shift,
):
    """Write the synapses of candidates [k_first, k_stop), row segment by row segment at `cursor`.

    `delay_list` (steps) and `weight_list` hold one value a candidate where LISTED; the tables are quantile tables
    where DRAWN. The weight (float32) of synapse s goes to weight[s + weight_shift] unless it is UNIFORM. The batch
    arrays (n,) are scratch: row and target int64, word and delay uint64, weight float32.
    """
    weight_kind, delay_kind = rule[WEIGHT_KIND], rule[DELAY_KIND]
    drawn = weight_kind == DRAWN or delay_kind == DRAWN
    for first in range(k_first, k_stop, batch_row.size):
        n = min(batch_row.size, k_stop - first)
        if drawn:
            _draw_attributes(rule, first, u64(n), weight_table, delay_table, dt, batch_word, batch_delay, batch_weight)
        for j in range(n):
            wanted, source, target = draw_pair(rule, pre, post, first + j, first + j)
            batch_row[j] = source * n_threads + group_thread[(target + rule[TARGET_START]) >> 7] if wanted else -1
            batch_target[j] = target
            prefetch(cursor, u64(batch_row[j]))
        for j in range(n):  # rows lie far apart: fetch where the batch goes before it is written
            if batch_row[j] >= 0:
                prefetch(synapse, u64(cursor[batch_row[j]]))
                prefetch(weight, u64(cursor[batch_row[j]] + weight_shift))
        for j in range(n):
            row = batch_row[j]
            if row < 0:
                continue
            if delay_kind == DRAWN:
                steps = np.int64(batch_delay[j])
            else:
                steps = delay_list[first + j] if delay_kind == LISTED else rule[DELAY]
            at = cursor[row]
            cursor[row] = at + 1
            synapse[at] = join_bits(rule, steps, batch_target[j])
            if weight_kind == LISTED:
                weight[at + weight_shift] = np.float32(weight_list[first + j])
            elif weight_kind == DRAWN:
                weight[at + weight_shift] = batch_weight[j]
            elif weight_kind == EQUAL:
                weight[at + weight_shift] = np.float32(weight_list[0])


@register_jitable
def _sort_short(key, start, stop, value, shift, keys_only):
    """Insertion sort; stable."""
    for i in range(start + u64(1), stop):
        moving = key[i]
        moving_value = np.uint32(0) if keys_only else value[i + shift]
        j = i
        while j > start and key[j - u64(1)] > moving:
            key[j] = key[j - u64(1)]
            if not keys_only:
                value[j + shift] = value[j - u64(1) + shift]
            j -= u64(1)
        key[j] = moving
        if not keys_only:
            value[j + shift] = moving_value


@register_jitable
def _sort_by_digit(key, start, stop, value, shift, keys_only, digit, count, keys, values):
    """One pass of a stable radix sort, by the 8 bits from bit `digit`."""
    count[:] = 0
    for i in range(start, stop):
        count[(u64(key[i]) >> digit) & u64(255)] += 1
    if count[(u64(key[start]) >> digit) & u64(255)] == np.int64(stop - start):
        return
    at = np.int64(0)
    for d in range(u64(256)):
        n = count[d]
        count[d] = at
        at += n
    for i in range(start, stop):
        d = (u64(key[i]) >> digit) & u64(255)
        to = u64(count[d])
        count[d] += 1
        keys[to] = key[i]
        if not keys_only:
            values[to] = value[i + shift]
    for i in range(stop - start):
        key[start + i] = keys[i]
        if not keys_only:
            value[start + i + shift] = values[i]


@register_jitable
def _sort(key, start, stop, value, shift, keys_only, n_bits, count, keys, values):
    """Sort key[start:stop], of n_bits each; value[start + shift : stop + shift] goes along unless keys_only."""
    if stop - start <= u64(24):
        _sort_short(key, start, stop, value, shift, keys_only)
        return
    for digit in range(u64(0), n_bits, u64(8)):
        _sort_by_digit(key, start, stop, value, shift, keys_only, digit, count, keys, values)


@compile_kernel
def sort_rows(row_start, first_row, last_row, n_bits, synapse, weight, weight_shift, uniform, count, keys, values):
    """Sort each row segment [first_row, last_row) by synapse: by delay, then target; equal ones by their weights' bits.

    The weight of synapse s, its bits as uint32, is weight[s + weight_shift]. `count` (256,), `keys` and `values`
    (longest row,) are scratch.
    """
    shift = u64(weight_shift)
    for row in range(first_row, last_row):
        start, stop = u64(row_start[row]), u64(row_start[row + 1])
        _sort(synapse, start, stop, weight, shift, uniform, u64(n_bits), count, keys, values)
        if uniform:
            continue
        first = start
        for i in range(start + u64(1), stop + u64(1)):
            if i == stop or synapse[i] != synapse[first]:
                if i - first > u64(1):
                    _sort(weight, first + shift, i + shift, weight, u64(0), True, u64(32), count, keys, values)
                first = i


@compile_kernel
def sum_weights(
    row_start, thread, n_threads, synapse, weight, weight_shift, uniform, value, scale, mask, most, least
):  # fmt: skip
    """Add each input's largest possible arriving sums of positive and of negative weights to most and least (int64).

    Only the targets of one thread, so that threads do not meet. The sums are of |weight| * scale, rounded up.
    `mask` cuts the input index out of a synapse.
    """
    for row in range(thread, row_start.size - 1, n_threads):
        for s in range(row_start[row], row_start[row + 1]):
            w = value if uniform else np.float64(weight[s + weight_shift])
            at = synapse[s] & mask
            if w > 0.0:
                most[at] += round_up(w, scale)
            else:
                least[at] += round_up(w, scale)


@compile_kernel
def sum_lists(of_source, first_target, start, target, weight, weight_step, scale, most, least):
    """The same for sources that share lists of targets (see connectivity.Lists), each with its weights (float64).

    The weights of a list are the same for all sources, or follow those of the source before after `weight_step`.
    """
    for source in range(of_source.size):
        n = of_source[source]
        for s in range(start[n], start[n + 1]):
            w = weight[s + source * weight_step]
            at = first_target[source] + target[s]
            if w > 0.0:
                most[at] += round_up(w, scale)
            else:
                least[at] += round_up(w, scale)


@compile_kernel
def to_fixed_point(weight, bits, first, stop, unit):
    """Replace float32 weights by the nearest whole number of units, in place (`bits` is the int32 view)."""
    for s in range(first, stop):
        bits[s] = count_units(weight[s], unit)


@compile_kernel
def draw_values(table, n, parameter, population, key0, key1, out):
    """n draws of a distribution for the neurons of a population: initial values and parameters."""
    for i in range(n):
        x0, x1, x2, x3 = philox(u64(i), u64(parameter), u64(population), u64(PURPOSE_INITIAL), u64(key0), u64(key1))
        out[i] = quantile(table, x0)
