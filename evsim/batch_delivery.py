"""What the spikes or values of one frame add to the input of the next node: vector adds over runs of weights.

Spikes add fixed-point weights to `total` (int32: their order is irrelevant); analog values add to `analog` (float32),
in ascending order of their units. A frame's units that are not zero are listed in `index`, ascending.
"""

import numpy as np

from evsim import batch_model as bm
from evsim.jit import fma, register_jitable
from evsim.lane_sums import add_lanes
from evsim.lanes import LANES, load_lanes, store_lanes

f32 = np.float32
i32 = np.int32
i64 = np.int64
u64 = np.uint64

# How a unit's row of weights is added: once, as often as it spiked, or as often as its value says.
ONCE, COUNTED_TIMES, ANALOG = range(3)


@register_jitable(forceinline=True)
def add_rows(how, total, analog, at, n, weight, row, stride, index, first, stop, base, count, value, at_frame):
    """Add to n inputs from `at` the rows of the units index[first:stop]: unit u's is at row + (u - base) * stride."""
    if how == ONCE:
        _add_once(total, at, n, weight, row, stride, index, first, stop, base)
    elif how == COUNTED_TIMES:
        _add_counted(total, at, n, weight, row, stride, index, first, stop, base, count, at_frame)
    else:
        for e in range(first, stop):
            unit = u64(index[e])
            start, x = row + (unit - base) * stride, value[at_frame + unit]
            for i in range(n):
                analog[at + i] = fma(x, f32(weight[start + i]), analog[at + i])


@register_jitable(forceinline=True)
def _add_once(total, at, n, weight, row, stride, index, first, stop, base):
    """Rows of units that spiked once, four at a time."""
    e = first
    while e + u64(4) <= stop:
        a, b = row + (u64(index[e]) - base) * stride, row + (u64(index[e + u64(1)]) - base) * stride
        c, d = row + (u64(index[e + u64(2)]) - base) * stride, row + (u64(index[e + u64(3)]) - base) * stride
        _add(total, at, n, weight, (a, b, c, d), ())
        e += u64(4)
    if e + u64(2) <= stop:
        a, b = row + (u64(index[e]) - base) * stride, row + (u64(index[e + u64(1)]) - base) * stride
        _add(total, at, n, weight, (a, b), ())
        e += u64(2)
    if e < stop:
        _add(total, at, n, weight, (row + (u64(index[e]) - base) * stride,), ())


@register_jitable(forceinline=True)
def _add_counted(total, at, n, weight, row, stride, index, first, stop, base, count, at_frame):
    """Rows of units as often as they spiked, four at a time."""
    e = first
    while e + u64(4) <= stop:
        ua, ub, uc, ud = u64(index[e]), u64(index[e + u64(1)]), u64(index[e + u64(2)]), u64(index[e + u64(3)])
        rows = (
            row + (ua - base) * stride, row + (ub - base) * stride, row + (uc - base) * stride,
            row + (ud - base) * stride,
        )  # fmt: skip
        times = (
            i32(count[at_frame + ua]), i32(count[at_frame + ub]), i32(count[at_frame + uc]), i32(count[at_frame + ud]),
        )  # fmt: skip
        _add(total, at, n, weight, rows, times)
        e += u64(4)
    if e + u64(2) <= stop:
        ua, ub = u64(index[e]), u64(index[e + u64(1)])
        rows_of_two = row + (ua - base) * stride, row + (ub - base) * stride
        _add(total, at, n, weight, rows_of_two, (i32(count[at_frame + ua]), i32(count[at_frame + ub])))
        e += u64(2)
    if e < stop:
        ua = u64(index[e])
        _add(total, at, n, weight, (row + (ua - base) * stride,), (i32(count[at_frame + ua]),))


@register_jitable(forceinline=True)
def _add(total, at, n, weight, rows, times):
    """Add to n inputs from `at` what lies at `rows`, as often as `times` says (empty: once)."""
    whole = n - n % u64(LANES)
    for i in range(u64(0), whole, u64(LANES)):
        add_lanes(total, at + i, weight, rows, times, i)
    for i in range(whole, n):
        for j in range(len(rows)):
            total[at + i] += (times[j] if len(times) > 0 else i32(1)) * weight[rows[j] + i]


@register_jitable(forceinline=True)
def _add_listed(total, at, n, weight, row, stride, index, first, stop):
    """Rows of many units that spiked once, filled up to whole vectors: some vectors' sums stay in registers."""
    i = u64(0)
    while i + u64(4 * LANES) <= n:
        _add_wide(total, at + i, weight, row + i, stride, index, first, stop)
        i += u64(4 * LANES)
    while i < n:
        _add_narrow(total, at + i, weight, row + i, stride, index, first, stop)
        i += u64(LANES)


@register_jitable(forceinline=True)
def _add_wide(total, at, weight, row, stride, index, first, stop):
    """Add 4 * LANES entries of rows that are added once."""
    at1, at2, at3 = at + u64(LANES), at + u64(2 * LANES), at + u64(3 * LANES)
    a, b, c, d = load_lanes(total, at), load_lanes(total, at1), load_lanes(total, at2), load_lanes(total, at3)
    for e in range(first, stop):
        start = row + u64(index[e]) * stride
        a = a + load_lanes(weight, start)
        b = b + load_lanes(weight, start + u64(LANES))
        c = c + load_lanes(weight, start + u64(2 * LANES))
        d = d + load_lanes(weight, start + u64(3 * LANES))
    store_lanes(total, at, a)
    store_lanes(total, at1, b)
    store_lanes(total, at2, c)
    store_lanes(total, at3, d)


@register_jitable(forceinline=True)
def _add_narrow(total, at, weight, row, stride, index, first, stop):
    """Add LANES entries of rows that are added once."""
    a = load_lanes(total, at)
    for e in range(first, stop):
        a = a + load_lanes(weight, row + u64(index[e]) * stride)
    store_lanes(total, at, a)


@register_jitable(forceinline=True)
def add_linear(
    node, start, n_sources, how, total, analog, at, first, weight, index, begin, end, count, value, at_frame
):  # fmt: skip
    """Add to total[at:] what a linear layer's sources give the targets of the tile from `first`."""
    tile = u64(node[bm.TILE_SIZE])
    row = u64(start) + (first // tile) * u64(n_sources) * tile
    if how == ONCE:
        _add_listed(total, at, tile, weight, row, tile, index, begin, end)
    else:
        add_rows(how, total, analog, at, tile, weight, row, tile, index, begin, end, u64(0), count, value, at_frame)


@register_jitable
def add_convolution(node, start, how, total, analog, at, weight, index, begin, end, count, value, at_frame):
    """Add to total[at:] what a convolution's sources give all targets, place by place."""
    channels, columns = u64(node[bm.IN_CHANNELS]), u64(node[bm.IN_COLUMNS])
    out_rows, out_columns, out_channels = node[bm.OUT_ROWS], node[bm.OUT_COLUMNS], u64(node[bm.OUT_CHANNELS])
    kernel_rows, kernel_columns, run = node[bm.KERNEL_ROWS], node[bm.KERNEL_COLUMNS], u64(node[bm.RUN])
    stride_rows, stride_columns = node[bm.STRIDE_ROWS], node[bm.STRIDE_COLUMNS]
    padding_rows, padding_columns = node[bm.PADDING_ROWS], node[bm.PADDING_COLUMNS]
    dilation_rows, dilation_columns = node[bm.DILATION_ROWS], node[bm.DILATION_COLUMNS]
    group_in, group_out = channels // u64(node[bm.GROUPS]), out_channels // u64(node[bm.GROUPS])
    one_run = stride_columns == 1 and dilation_columns == 1 and group_in == channels
    stride = u64(kernel_rows) * run  # from one source channel's kernel to the next's
    e = begin
    while e < end:
        place = u64(index[e]) // channels
        base = place * channels
        first, stop = e, e + u64(1)
        while stop < end and u64(index[stop]) < base + channels:
            stop += u64(1)
        e = stop
        y = i64(place // columns)
        x = i64(place) - y * i64(columns)
        left = x + padding_columns - (kernel_columns - 1)
        low, high = max(i64(0), -left), min(kernel_columns, out_columns - left)
        n = u64(max(high - low, i64(0))) * out_channels
        if high == kernel_columns:  # zeros follow
            n += (u64(LANES) - n % u64(LANES)) % u64(LANES)
        for a in range(kernel_rows):
            below = y + padding_rows - a * dilation_rows
            i = below if stride_rows == 1 else below // stride_rows
            if below < 0 or i * stride_rows != below or i >= out_rows:
                continue
            at_row, kernel_row = i * out_columns, u64(start) + u64(a) * run
            if one_run:
                target, row = at + u64(at_row + left + low) * out_channels, kernel_row + u64(low) * out_channels
                add_rows(
                    how, total, analog, target, n, weight, row, stride, index, first, stop, base, count, value, at_frame
                )  # fmt: skip
                continue
            for q in range(kernel_columns):
                right = x + padding_columns - (kernel_columns - 1 - q) * dilation_columns
                j = right // stride_columns
                if right < 0 or j * stride_columns != right or j >= out_columns:
                    continue
                row = kernel_row + u64(q) * group_out
                for one in range(first, stop):
                    group = (u64(index[one]) - base) // group_in
                    target = at + u64(at_row + j) * out_channels + group * group_out
                    add_rows(
                        how, total, analog, target, group_out, weight, row, stride, index, one, one + u64(1), base,
                        count, value, at_frame,
                    )  # fmt: skip
