"""Neurons backwards on the GPU: from the gradient of what they give to that of their input, a thread each.

A surrogate's derivative is a kernel of its own, made from the surrogate's `curve`; the rest is one kernel for all. The
equations are those of `training.neuron_kernels` and, of what neurons learn, `training.stepwise`.
"""

import functools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evsim.cuda_kernels.batch_frames import divide
from evsim.cuda_kernels.phases import THREADS
from evsim.cuda_kernels.target import compile_cuda_kernel, compile_device_function, cuda
from evsim.dynamics import bound_below
from evsim.jit import fma, product
from evsim.model import COUPLING, DECAY, DRIVE, F4, GAIN, I8, JUMP, LEAK, V_MIN, V_RESET, V_THRESHOLD
from evsim.surrogates import FromFunction, Surrogate
from evsim.training.reset_gradient import after_reset, through_spike

f32, f64, i64 = np.float32, np.float64, np.int64


class Neurons(NamedTuple):
    """The neurons of a node in some steps of a run: T steps, B samples, n neurons."""

    pre: F4  # (T, B, n) v before the reset
    count: Any  # (T, B, n) spikes, uint8
    current: F4  # (T, B, n) the synaptic current; of filtered neurons that learn
    given: F4  # (T, B, n) the gradient of what they give
    gradient: F4  # (T, B, n) the surrogate's derivative; becomes the gradient of their input
    v_first: F4  # (B, ...) v before the first step, from entry v_at of a sample
    i_first: F4  # (B, ...) and the synaptic current, from entry i_at
    v_at: int
    i_at: int
    dv: F4  # (B, n) the gradient of v behind the last step; becomes that before the first one
    di: F4  # (B, n) of the synaptic current
    sums: NDArray[np.float64]  # (B, JUMP + 1, n) gradients of coefficients, added to; of neurons that learn
    value: F4  # coefficients: j of neuron i is value[start[j] + step[j] * i]
    start: I8  # (JUMP + 1,)
    step: I8
    spiking: bool
    soft: bool
    detach: bool
    filtered: bool
    learns: bool


@functools.cache
def _make_slope_kernel(function: Any, is_scalar: bool) -> Any:
    """The kernel of a surrogate's curve, compiled for numbers; or of a function of one number."""
    curve = compile_device_function(function)

    @compile_cuda_kernel(THREADS, cache=False)
    def fill_slopes(parameters, pre, value, start, step, slope):
        """slope (rows, n) becomes the surrogate's derivative at pre (rows, n); a block a row."""
        row = i64(cuda.blockIdx.x)
        for i in range(i64(cuda.threadIdx.x), pre.shape[1], i64(THREADS)):
            threshold = value[start[V_THRESHOLD] + step[V_THRESHOLD] * i64(i)]
            x = pre[row, i] - threshold
            slope[row, i] = f32(curve(x)) if is_scalar else f32(curve(parameters, x, threshold))

    return fill_slopes


def slope_kernel(surrogate: Surrogate) -> tuple[Any, Any]:
    """The kernel that fills in a surrogate's derivative, and the numbers of the surrogate for it."""
    if isinstance(surrogate, FromFunction):
        return _make_slope_kernel(surrogate.of_number, True), ()
    return _make_slope_kernel(type(surrogate).curve, False), surrogate.numbers()


def check_surrogate(label: str, surrogate: Surrogate) -> None:
    """Compile the kernel of a surrogate; where that cannot be, names it.

    Raises
    ------
    NotImplementedError : its curve cannot be compiled for numbers.
    """
    example = np.zeros((1, 1), np.float32), np.zeros(1, np.float32), np.zeros(10, np.int64), np.zeros(10, np.int64)
    try:
        kernel, parameters = slope_kernel(surrogate)
        if hasattr(kernel, "compile"):  # the simulator does not
            arrays = (example[0], *example[1:], example[0])
            kernel.compile(tuple(kernel.typeof_pyval(each) for each in (parameters, *arrays)))
    except Exception as error:  # whatever numba makes of it
        reason = str(error).strip().split("\n")[0]
        raise NotImplementedError(
            f"{label}: its surrogate, {surrogate!r}, cannot be compiled for the GPU "
            f"({type(error).__name__}: {reason}); "
            "make it with Surrogate.from_function, of operations of Python and math, or train with backend='cpu'"
        ) from error


@compile_device_function
def _coefficient(run, j, i):
    return run.value[run.start[j] + run.step[j] * i]


@compile_device_function
def _add_sums(run, t, b, i, ds, slope, dv, dh, di):
    """Add what step t says of the gradients of the coefficients of neuron i of sample b; see `training.stepwise`."""
    h, v_reset, v_min = run.pre[t, b, i], _coefficient(run, V_RESET, i), _coefficient(run, V_MIN, i)
    v = run.v_first[b, run.v_at + i]
    if t > 0:
        before = f32(run.count[t - i64(1), b, i]) if run.spiking else f32(0.0)
        v = bound_below(after_reset(run.pre[t - i64(1), b, i], before, v_reset, run.spiking, run.soft), v_min)
    sums, s = run.sums, f32(run.count[t, b, i]) if run.spiking else f32(0.0)
    dv = dv if after_reset(h, s, v_reset, run.spiking, run.soft) > v_min else f32(0.0)
    if run.spiking:
        if not run.detach:
            ds = ds + product(dv, -v_reset if run.soft else v_reset - h)
        sums[b, V_THRESHOLD, i] -= f64(product(ds, slope))
        by_reset = -s if run.soft else (f32(1.0) if s > f32(0.0) else f32(0.0))
        sums[b, V_RESET, i] += f64(product(dv, by_reset))
    sums[b, LEAK, i] += f64(product(dh, v))
    sums[b, DRIVE, i] += f64(dh)
    if not run.filtered:
        charge = h - product(_coefficient(run, LEAK, i), v) - _coefficient(run, DRIVE, i)
        sums[b, JUMP, i] += f64(product(dh, charge) / _coefficient(run, JUMP, i))
        return
    current = run.current[t - i64(1), b, i] if t > 0 else run.i_first[b, run.i_at + i]
    x = (run.current[t, b, i] - product(_coefficient(run, DECAY, i), current)) / _coefficient(run, GAIN, i)
    sums[b, JUMP, i] += f64(product(dh, x))
    sums[b, COUPLING, i] += f64(product(dh, current))
    sums[b, DECAY, i] += f64(product(di, current))
    sums[b, GAIN, i] += f64(product(di, x))


@compile_device_function
def _go_back(run, b, i, first, stop, is_new):
    """Neuron i of sample b through steps [first, stop), the last one first; `is_new`: nothing comes from behind."""
    v_reset, v_min, leak = _coefficient(run, V_RESET, i), _coefficient(run, V_MIN, i), _coefficient(run, LEAK, i)
    jump, gain = _coefficient(run, JUMP, i), _coefficient(run, GAIN, i)
    coupling, decay = _coefficient(run, COUPLING, i), _coefficient(run, DECAY, i)
    dv, di = f32(0.0) if is_new else run.dv[b, i], f32(0.0) if is_new else run.di[b, i]
    if is_new and run.learns:
        for j in range(JUMP + 1):
            run.sums[b, j, i] = f64(0.0)
    for back in range(stop - first):
        t = stop - i64(1) - i64(back)
        h, ds, s, slope = run.pre[t, b, i], run.given[t, b, i], f32(0.0), f32(1.0)
        if run.spiking:
            s, slope = f32(run.count[t, b, i]), run.gradient[t, b, i]
        dh = through_spike(h, s, slope, ds, dv, v_reset, v_min, run.spiking, run.soft, run.detach)
        if run.learns:
            _add_sums(run, t, b, i, ds, slope, dv, dh, di)
        dx = product(jump, dh)
        dv = product(leak, dh)
        if run.filtered:
            dx = dx + product(gain, di)
            di = product(decay, di) + product(coupling, dh)
        run.gradient[t, b, i] = dx
    run.dv[b, i], run.di[b, i] = dv, di


@compile_cuda_kernel(THREADS)
def through_neurons(run, is_new):
    """All steps of neurons that do not meet, a thread each."""
    n_steps, n_samples, n = run.pre.shape
    at = i64(cuda.blockIdx.x) * i64(THREADS) + i64(cuda.threadIdx.x)
    if at < n_samples * n:
        b, i = divide(at, n)
        _go_back(run, i64(b), i64(i), i64(0), i64(n_steps), is_new)


@compile_cuda_kernel(THREADS)
def through_recurrent(run, weight, after, is_new):
    """All steps of recurrent neurons, a block a sample; what their spikes give to the next step is part of `given`.

    Parameters
    ----------
    weight : (n, n) from source (second) to target.
    after : (B, n) what the step behind the last one adds to `given`; becomes that of the first one.
    """
    n_steps, n = i64(run.pre.shape[0]), i64(run.pre.shape[2])
    b = i64(cuda.blockIdx.x)
    for back in range(n_steps):
        t = n_steps - i64(1) - i64(back)
        is_first = is_new and back == 0
        for at in range(i64(cuda.threadIdx.x), n, i64(THREADS)):
            i = i64(at)
            if not is_first:
                run.given[t, b, i] += after[b, i]
            _go_back(run, b, i, t, t + i64(1), is_first)
        cuda.syncthreads()
        for j in range(i64(cuda.threadIdx.x), n, i64(THREADS)):
            total = f32(0.0)
            for i in range(n):
                total = fma(run.gradient[t, b, i], weight[i, j], total)
            after[b, j] = total
