"""What is gathered around the way back: weights of linear layers for it, gradients from its sums, spikes of a run."""

import numpy as np

from evsim.jit import compile_kernel, disjoint
from evsim.lanes import LANES
from evsim.training.backward_kernels import PANEL

f32 = np.float32
i64 = np.int64
u32 = np.uint32
u64 = np.uint64


@compile_kernel
def fill_panels(weight, order, is_identity, scale, panels):
    """Weights (targets, sources), scaled, as panels (panel of sources, target, PANEL sources of it).

    order : the number of each source in the order of the panels. What panels have beyond the sources becomes 0.
    is_identity : whether that is its own number.
    """
    disjoint()
    n = u64(order.size)
    for first in range(u64(0), n, u64(PANEL)):
        panel, some = panels[first // u64(PANEL)], min(u64(PANEL), n - first)
        for target in range(u64(weight.shape[0])):
            if is_identity:
                for i in range(some):
                    panel[target, i] = weight[target, first + i] * scale
            else:
                for i in range(some):
                    panel[target, i] = weight[target, order[first + i]] * scale
            for i in range(some, u64(PANEL)):
                panel[target, i] = f32(0.0)


@compile_kernel
def collect_weights(sums, order, scale, first, stop, gradient):
    """gradient (targets, sources) = the sum of the groups' sums (groups, sources, n_row), scaled.

    order : the number of each source of the sums in the gradient.
    first, stop : the sources that are collected.
    """
    disjoint()
    n_out = u64(gradient.shape[0])
    for source in range(first, stop):
        for group in range(u64(1), u64(sums.shape[0])):
            total, part = sums[0, source], sums[group, source]
            for i in range(n_out):
                total[i] += part[i]
    for target in range(u64(0), n_out, u64(LANES)):  # rows that are written to at a time stay in the nearest cache
        for source in range(first, stop):
            to = u64(order[source])
            for i in range(target, min(target + u64(LANES), n_out)):
                gradient[i, to] = sums[0, source, i] * scale


@compile_kernel
def count_spikes(frames, part, total):
    """total (n,) int64 += the spikes of each unit in frames (T, B, n) uint8.

    part : (B * n,) uint32, scratch.
    """
    n_steps, n_samples, n = frames.shape
    for i in range(part.size):
        part[i] = u32(0)
    for t in range(n_steps):
        frame = frames[t].reshape(-1)
        for i in range(u64(part.size)):
            part[i] += u32(frame[i])
    for b in range(u64(n_samples)):
        for i in range(u64(n)):
            total[i] += i64(part[b * u64(n) + i])
