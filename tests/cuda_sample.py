"""A small cooperative kernel of a random network, its CPU twin, and a program that runs it on the CUDA simulator:
NUMBA_ENABLE_CUDASIM=1 python cuda_sample.py FILE.npz THREADS
"""

import sys
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evsim import dynamics
from evsim.cuda_kernels.target import (
    compile_cuda_kernel,
    compile_device_function,
    configure_launch,
    cuda,
    grid_sync,
    largest_grid,
)
from evsim.jit import compile_kernel, leading_zeros, register_jitable
from evsim.philox import philox

f32, i32, i64, u32, u64 = np.float32, np.int32, np.int64, np.uint32, np.uint64
N_NEURONS, N_STEPS, N_TARGETS, THREADS = 100, 6, 5, 32


class Network(NamedTuple):
    """Read-only."""

    leak: NDArray[np.float32]  # (n,)
    coefficient: NDArray[np.float32]  # (5,) decay, gain, coupling, jump, unit
    reset: NDArray[np.float32]  # (3,) v_threshold, v_reset, v_min
    threshold: NDArray[np.uint32]  # (4,)
    target: NDArray[np.uint32]  # (n, N_TARGETS)
    empty: NDArray[np.int64]  # (0, 2)
    key: NDArray[np.uint64]  # (2,)


class Variables(NamedTuple):
    """What a step changes."""

    v: NDArray[np.float32]  # (n,)
    current: NDArray[np.float32]  # (n,)
    refractory: NDArray[np.int32]  # (n,)
    arriving: NDArray[np.int32]  # (n,) fixed-point
    received: NDArray[np.int64]  # (n,)
    spike: NDArray[np.uint32]  # (N_STEPS * n,) in no order within a step
    n_spikes: NDArray[np.int64]  # (N_STEPS + 1,) up to each step
    histogram: NDArray[np.int64]  # (33,) spikes by the leading zeros of a random word


def make_network():
    rng = np.random.default_rng(5)
    network = Network(
        leak=rng.uniform(0.8, 1.0, N_NEURONS).astype(f32),
        coefficient=np.array([0.7, 1.3, 0.11, 0.37, 2.0**-10], f32),
        reset=np.array([1.0, 0.1, -0.5], f32),
        threshold=rng.integers(0, 2**32, 4, dtype=u32),
        target=rng.integers(0, N_NEURONS, (N_NEURONS, N_TARGETS), dtype=u32),
        empty=np.zeros((0, 2), i64),
        key=np.array([42, 2**32 - 1], u64),
    )
    variables = Variables(
        v=rng.uniform(0.0, 1.0, N_NEURONS).astype(f32),
        current=np.zeros(N_NEURONS, f32),
        refractory=np.zeros(N_NEURONS, i32),
        arriving=rng.integers(-2000, 2000, N_NEURONS, dtype=i32),
        received=np.zeros(N_NEURONS, i64),
        spike=np.zeros(N_STEPS * N_NEURONS, u32),
        n_spikes=np.zeros(N_STEPS + 1, i64),
        histogram=np.zeros(33, i64),
    )
    return network, variables


@register_jitable
def advance_neuron(network, variables, i, step):
    """One neuron over one step: whether it spikes, and the leading zeros of its random word."""
    decay, gain, coupling = network.coefficient[u64(0)], network.coefficient[u64(1)], network.coefficient[u64(2)]
    words = philox(u64(i), u64(step), u64(0), u64(1), network.key[u64(0)], network.key[u64(1)])
    n_passed = dynamics.count_passed(
        u32(words[0]),
        network.threshold[u64(0)],
        network.threshold[u64(1)],
        network.threshold[u64(2)],
        network.threshold[u64(3)],
    )
    x = f32(variables.arriving[i] + i32(100) * n_passed) * network.coefficient[u64(4)]
    variables.arriving[i] = i32(0)
    drive = dynamics.receive(f32(0.01), variables.current[i], x, coupling, network.coefficient[u64(3)])
    v = dynamics.integrate(variables.v[i], drive, network.leak[i], network.reset[u64(2)], variables.refractory[i])
    variables.current[i] = dynamics.decay_current(variables.current[i], x, decay, gain)
    spikes = dynamics.fire(v, network.reset[u64(0)], variables.refractory[i])
    if spikes:
        v = dynamics.reset(v, network.reset[u64(1)], i % u64(2) == u64(0), i32(1))
        variables.refractory[i] = i32(2)
    elif variables.refractory[i] > i32(0):
        variables.refractory[i] -= i32(1)
    variables.v[i] = v
    return spikes, leading_zeros(words[1]) - u64(32)


@compile_kernel
def advance_cpu(network, variables, n_steps):
    for step in range(n_steps):
        n = variables.n_spikes[step]
        for i in range(u64(variables.v.size)):
            spikes, zeros = advance_neuron(network, variables, i, step)
            if spikes:
                variables.spike[n] = i
                variables.histogram[zeros] += i64(1)
                n += i64(1)
        variables.n_spikes[step + 1] = n
        for s in range(variables.n_spikes[step], n):
            for k in range(network.target.shape[1]):
                target = network.target[variables.spike[s], k]
                variables.arriving[target] += i32(64)
                variables.received[target] += i64(2) ** i64(40)


@compile_device_function
def this_thread():
    return u64(cuda.grid(1))


@compile_cuda_kernel(launch_bounds=THREADS)
def advance_cuda(network, variables, n_steps):
    histogram = cuda.shared.array(33, i64)
    n_block = cuda.shared.array(1, i32)
    n_neurons, n_threads, lane = u64(variables.v.size), u64(cuda.gridsize(1)), u64(cuda.threadIdx.x)
    for k in range(lane, u64(33), u64(cuda.blockDim.x)):
        histogram[k] = i64(0)
    for step in range(u64(n_steps)):
        if lane == u64(0):
            n_block[u64(0)] = i32(0)
        cuda.syncthreads()
        first = variables.n_spikes[step]
        for i in range(this_thread(), n_neurons, n_threads):
            spikes, zeros = advance_neuron(network, variables, u64(i), step)
            if spikes:
                cuda.atomic.add(n_block, u64(0), i32(1))
                cuda.atomic.add(histogram, zeros, i64(1))
                place = cuda.atomic.add(variables.n_spikes, u64(step) + u64(1), i64(1))
                variables.spike[u64(first + place)] = u32(i)
        grid_sync()
        n = variables.n_spikes[u64(step) + u64(1)]
        for s in range(this_thread(), u64(n), n_threads):
            source = u64(variables.spike[u64(first) + u64(s)])
            for k in range(u64(network.target.shape[1])):
                target = network.target[source, k]
                cuda.atomic.add(variables.arriving, target, i32(64))
                cuda.atomic.add(variables.received, target, i64(1099511627776))
        grid_sync()
        if this_thread() == u64(0):
            variables.n_spikes[u64(step) + u64(1)] += first
        grid_sync()
    for k in range(lane, u64(33), u64(cuda.blockDim.x)):
        cuda.atomic.add(variables.histogram, k, histogram[k])


def main(path, threads):
    network, variables = (type(arrays)(*map(cuda.to_device, arrays)) for arrays in make_network())
    arguments = (network, variables, i64(N_STEPS))
    blocks = largest_grid(advance_cuda, arguments, threads)
    configure_launch(advance_cuda, blocks, threads)(*arguments)
    np.savez(path, **{name: array.copy_to_host() for name, array in variables._asdict().items()})


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
