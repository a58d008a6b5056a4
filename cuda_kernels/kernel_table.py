"""Every kernel with the arguments of a run, and what the GPU compiler makes of it for each compute capability.

A new kernel is added to `example_kernels`; a test finds those that are missing there.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from evsim.batch_build import BatchBuilt, build_batch
from evsim.batch_call import input_arrays
from evsim.build import build
from evsim.construction import N_RULE
from evsim.cuda_kernels import columns, construction
from evsim.cuda_kernels.advance import advance
from evsim.cuda_kernels.backward_frames import Window, add_rows, pool_back, read_frames, scale_and_add
from evsim.cuda_kernels.backward_neurons import Neurons, slope_kernel, through_neurons, through_recurrent
from evsim.cuda_kernels.backward_weights import add_groups, add_weights, multiply_back
from evsim.cuda_kernels.batch import advance_samples
from evsim.cuda_kernels.batch_frames import Frames, Records
from evsim.cuda_kernels.learn import Notes, advance_learning
from evsim.cuda_kernels.machine_code import MachineCode, compile_machine_code
from evsim.cuda_kernels.phases import Tasks
from evsim.layers import Linear
from evsim.learning import nothing_plastic
from evsim.reference_networks import brunel
from evsim.spikingjelly import LIFNode
from evsim.surrogates import (
    ATan,
    FastSigmoid,
    PiecewiseQuadratic,
    Sigmoid,
    SingleExponential,
    SoftSign,
    StraightThrough,
    Surrogate,
    Triangle,
)

__all__ = ["compile_all", "example_kernels", "format_markdown"]


def example_kernels() -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """(what is special about the arguments, kernel, arguments); the types of arguments decide what is compiled."""
    built = build(brunel(200), 1, lambda done: None)
    tasks = Tasks(np.zeros(2, np.int64), np.zeros((2, 3), np.int32), np.zeros((2, 3), np.int32))
    for sums, ring in (("32-bit sums", np.zeros(2, np.int32)), ("64-bit sums", np.zeros(2, np.int64))):
        state: Any = built.state._replace(ring=ring)
        yield sums, advance, (built.model, state, tasks, np.int64(0), np.int64(0))
        notes = Notes(np.zeros(1, np.int64), np.zeros(2, np.uint64), np.zeros(1, np.int64), np.zeros(1, np.int64))
        learned = *nothing_plastic(), notes
        yield sums, advance_learning, (built.model, state, tasks, *learned, np.int64(0), np.int64(0))
    plastic = built.model, *nothing_plastic()
    yield "plastic synapses", columns.settle_all, (*plastic, np.int64(1), np.int64(0))
    yield "plastic synapses", columns.apply_changes, (*plastic, np.int64(0))
    yield "plastic synapses", columns.normalize, (*plastic, np.int64(0), np.zeros(1), 1.0)
    rules, integers, reals = np.zeros((2, N_RULE), np.int64), np.zeros(2, np.int64), np.zeros(2)
    left, synapse, weight = np.zeros(2, np.int32), np.zeros(2, np.uint32), np.zeros(2, np.float32)
    yield "", construction.count_synapses, (rules, 0, integers, integers, 0, 2, 0, left)
    lists = integers, integers, reals, reals, integers, reals
    places = 0, integers, left, synapse, weight, 0
    yield "", construction.fill_synapses, (rules, 0, *lists, 0.1, 0, 2, *places)
    yield "", construction.sort_rows, (0, integers, synapse, weight.view(np.uint32), 0, False, 2)
    sums_of_inputs = np.zeros((2, 2), np.int64)
    yield "", construction.sum_weights, (0, 2, synapse, weight, 0, False, 0.0, 1.0, np.uint32(1), sums_of_inputs)
    yield "", construction.to_fixed_point, (weight, weight.view(np.int32), 0, 2, 1.0)
    batch = build_batch([Linear(2, 2, weight=np.ones((2, 2))), LIFNode()], (2,), 1.0, 0)
    words = np.zeros(2, np.uint32)
    frames, records = (
        Frames(words.view(np.uint16), words, weight, integers),
        Records(integers, integers, integers, weight, words.view(np.uint8)),
    )
    for kind, tensor in (("values", np.zeros((1, 1, 2), np.float32)), ("bytes", np.zeros((1, 1, 2), np.uint8))):
        run = (
            batch.model,
            batch.new_state(1),
            input_arrays(tensor),
            1,
            frames,
            records,
            2,
            1,
            0,
            0,
            1,
            np.zeros((1, 3), int),
        )
        yield f"input of {kind}", advance_samples, run
        reading = input_arrays(tensor), frames, 1, 0, 1, np.zeros((1, 2), np.float32)
        yield f"input of {kind}", read_frames, reading
    yield from _backward_kernels(batch)


def _backward_kernels(batch: BatchBuilt) -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """Those of gradients."""
    x, flat, sums = np.zeros((1, 1, 2), np.float32), np.zeros(2, np.float32), np.zeros((1, 2), np.float32)
    count, row, edges = np.zeros((1, 1, 2), np.uint8), np.zeros((1, 2), np.float32), np.zeros(2, np.int64)
    coefficients = batch.model.parameter_value, batch.model.parameter_start[0], batch.model.parameter_step[0]
    state = row, row, 0, 0, row, row, x.astype(np.float64)
    run = Neurons(x, count, x, x, x, *state, *coefficients, True, True, True, True, True)
    yield "", through_neurons, (run, True)
    yield "", through_recurrent, (run, sums, row, True)
    for surrogate in (
        ATan(), FastSigmoid(), PiecewiseQuadratic(), Sigmoid(), SingleExponential(), SoftSign(), StraightThrough(),
        Triangle(), Surrogate.from_function(lambda x: 1.0 / (1.0 + x * x)),
    ):  # fmt: skip
        kernel, numbers = slope_kernel(surrogate)
        yield type(surrogate).__name__, kernel, (numbers, row, *coefficients, row)
    window = Window(*(1,) * 15)
    no_back = np.zeros((1, 2), np.uint16)
    for kind, frames in (("spikes", count), ("values", x)):
        sources = frames, no_back, 0, 0
        yield f"from {kind}", add_weights, (window, *sources, flat, 1, 1, edges, 1, True, sums)
        yield f"of {kind}", pool_back, (window, True, frames[0], row, row, row)
        yield f"of {kind}", add_rows, (frames, edges, 0, True, sums.astype(np.float64))
    yield "of sums", add_rows, (x.astype(np.float64), edges, 0, True, sums.astype(np.float64))
    yield "", add_groups, (sums, flat)
    yield "", multiply_back, (window, flat, flat, 1, flat)
    yield "", scale_and_add, (row, np.float32(1.0), row)


def compile_all() -> list[tuple[str, MachineCode]]:
    """(what is special, code) of every kernel for every compute capability."""
    return [
        (special, code)
        for special, kernel, arguments in example_kernels()
        for code in compile_machine_code(kernel, arguments)
    ]


def format_markdown(rows: list[tuple[str, MachineCode]]) -> str:
    """A line for each, with a heading; bytes of a thread, and of shared memory of a block."""
    lines = [
        "| kernel | | compute capability | registers | spilled | loaded again | stack | shared memory |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {code.kernel} | {special} | {code.compute_capability[0]}.{code.compute_capability[1]} | {code.registers} | "
        f"{code.spill_stores} | {code.spill_loads} | {code.stack} | {code.shared} |"
        for special, code in rows
    ]
    return "\n".join(lines)
