"""What is gathered around the way back: weights of linear layers for it, gradients from its sums, spikes of a run."""

import numpy as np

from evsim.jit import compile_kernel
from evsim.lanes import LANES
from evsim.training.backward_kernels import PANEL

i64 = np.int64
u64 = np.uint64


@compile_kernel
def fill_panels(weight, order, scale, panels):
    """Weights (targets, sources), scaled, as panels (panel of sources, target, PANEL sources of it).

    order : the number of each source in the order of the panels. What panels have beyond the sources stays as it is.
    """
    n = u64(order.size)
    for first in range(u64(0), n, u64(PANEL)):
        panel = panels[first // u64(PANEL)]
        for target in range(weight.shape[0]):
            for i in range(min(u64(PANEL), n - first)):
                panel[target, i] = weight[target, order[first + i]] * scale


@compile_kernel
def collect_weights(sums, order, scale, gradient):
    """gradient (targets, sources) = the sum of the groups' sums (groups, sources, n_row), scaled.

    order : the number of each source of the sums in the gradient.
    """
    n_out = u64(gradient.shape[0])
    for source in range(u64(order.size)):
        for group in range(u64(1), u64(sums.shape[0])):
            total, part = sums[0, source], sums[group, source]
            for i in range(n_out):
                total[i] += part[i]
    for first in range(u64(0), n_out, u64(LANES)):  # rows that are written to at a time stay in the nearest cache
        for source in range(u64(order.size)):
            for target in range(first, min(first + u64(LANES), n_out)):
                gradient[target, order[source]] = sums[0, source, target] * scale


@compile_kernel
def count_spikes(frames, total):
    """total (n,) int64 += the spikes of each unit in frames (T, B, n) uint8."""
    for t in range(frames.shape[0]):
        for b in range(frames.shape[1]):
            frame = frames[t, b]
            for i in range(u64(total.size)):
                total[i] += i64(frame[i])
