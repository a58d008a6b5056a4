"""Vectors of the processor's, whatever their width, on parts of arrays: dense additions, masks.

A loop over entries would do the same, but the compiler would have to prove that its arrays do not overlap, and to treat
what is left over at its end. What these read and write must lie within the arrays. A variable of kernels may be
LANES numbers; it then stays in a register:

    total = load_lanes(sums, at)
    for e in range(n):
        total = plus(total, load_lanes(weight, row[e]))
    store_lanes(sums, at, total)
"""

from typing import Any

import numba
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

from evsim.jit import element_pointer

LANES = 16  # int32 or float32: a cache line
MASK = 64  # entries that a mask has bits for

__all__ = [
    "LANES", "MASK", "add_lanes", "add_rounded_lanes", "load_lanes", "mask_above", "mask_nonzero", "plus",
    "plus_times", "pool_lanes", "store_lanes", "trailing_zeros",
]  # fmt: skip


class Lanes(numba.types.Type):
    """LANES int32 or float32."""

    def __init__(self, dtype: Any) -> None:
        super().__init__(name=f"Lanes({dtype})")
        self.dtype = dtype


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, lanes: Lanes) -> None:
        super().__init__(manager, lanes, _vector_of(lanes.dtype))


def _vector_of(dtype: Any) -> Any:
    return ir.VectorType(ir.FloatType() if isinstance(dtype, numba.types.Float) else ir.IntType(32), LANES)


@intrinsic
def load_lanes(_typing_context, array, at):  # type: ignore[no-untyped-def]
    """array[at : at + LANES]."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        pointer = _lanes(context, builder, signature, arguments, 0, arguments[1], _vector_of(array.dtype))
        return builder.load(pointer, align=4)

    return Lanes(array.dtype)(array, numba.types.uint64), codegen


@intrinsic
def store_lanes(_typing_context, array, at, x):  # type: ignore[no-untyped-def]
    """array[at : at + LANES] = x."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        pointer = _lanes(context, builder, signature, arguments, 0, arguments[1], _vector_of(array.dtype))
        builder.store(arguments[2], pointer, align=4)
        return context.get_dummy_value()

    return numba.types.void(array, numba.types.uint64, x), codegen


@intrinsic
def plus(_typing_context, x, y):  # type: ignore[no-untyped-def]
    """x + y, both LANES int32."""

    def codegen(_context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        return builder.add(*arguments)

    return x(x, y), codegen


@intrinsic
def plus_times(_typing_context, x, factor, y):  # type: ignore[no-untyped-def]
    """x + factor * y for a number factor; float32 are rounded once."""
    is_float = isinstance(x.dtype, numba.types.Float)

    def codegen(_context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        x, factor, y = arguments
        factors = _in_all_lanes(builder, factor, x.type)
        if not is_float:
            return builder.add(x, builder.mul(factors, y))
        fma = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(x.type, [x.type] * 3), f"llvm.fma.v{LANES}f32"
        )
        return builder.call(fma, [factors, y, x])

    return x(x, x.dtype, y), codegen


@intrinsic
def add_lanes(_typing_context, total, at, weight, rows, times, offset):  # type: ignore[no-untyped-def]
    """total[at:] += the sum over j of times[j] * weight[rows[j] + offset:], LANES int32; without times, once each."""
    vector = ir.VectorType(ir.IntType(32), LANES)
    is_counted = len(times) > 0

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        _, at, _, rows, times, offset = arguments
        target = _lanes(context, builder, signature, arguments, 0, at, vector)
        sums = builder.load(target, align=4)
        for j in range(len(signature.args[3])):
            row = builder.add(builder.extract_value(rows, j), offset)
            terms = builder.load(_lanes(context, builder, signature, arguments, 2, row, vector), align=4)
            if is_counted:
                terms = builder.mul(terms, _in_all_lanes(builder, builder.extract_value(times, j), vector))
            sums = builder.add(sums, terms)
        builder.store(sums, target, align=4)
        return context.get_dummy_value()

    index = numba.types.uint64
    return numba.types.void(total, index, weight, rows, times, index), codegen


@intrinsic
def add_rounded_lanes(_typing_context, total, at, source, rows, factor, offset):  # type: ignore[no-untyped-def]
    """total[at:] += the sum over j of round(factor * source[rows[j] + offset:]), LANES float32 to int32 or int64."""
    integer = ir.IntType(total.dtype.bitwidth)
    vector, integers = ir.VectorType(ir.FloatType(), LANES), ir.VectorType(integer, LANES)

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        _, at, _, rows, factor, offset = arguments
        kind = ir.FunctionType(integers, [vector])
        name = f"llvm.lrint.v{LANES}i{integer.width}.v{LANES}f32"
        to_integers = cgutils.get_or_insert_function(builder.module, kind, name)
        target = _lanes(context, builder, signature, arguments, 0, at, integers)
        sums = builder.load(target, align=4)
        factors = _in_all_lanes(builder, factor, vector)
        for j in range(len(signature.args[3])):
            row = builder.add(builder.extract_value(rows, j), offset)
            terms = builder.load(_lanes(context, builder, signature, arguments, 2, row, vector), align=4)
            sums = builder.add(sums, builder.call(to_integers, [builder.fmul(terms, factors)]))
        builder.store(sums, target, align=4)
        return context.get_dummy_value()

    index = numba.types.uint64
    return numba.types.void(total, index, source, rows, factor, index), codegen


@intrinsic
def pool_lanes(_typing_context, target, at, source, first, is_first, maximum, n):  # type: ignore[no-untyped-def]
    """target[at:] becomes source[first:] (is_first), or the larger of both (maximum), or their sum: n (a literal)."""
    if not isinstance(n, numba.types.IntegerLiteral):
        return None
    is_float = isinstance(target.dtype, numba.types.Float)
    element = ir.FloatType() if is_float else ir.IntType(target.dtype.bitwidth)
    vector, align = ir.VectorType(element, n.literal_value), target.dtype.bitwidth // 8

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        _, at, _, first, is_first, maximum, _ = arguments
        here = _lanes(context, builder, signature, arguments, 0, at, vector)
        y = builder.load(here, align=align)
        x = builder.load(_lanes(context, builder, signature, arguments, 2, first, vector), align=align)
        above = builder.fcmp_ordered(">", x, y) if is_float else builder.icmp_unsigned(">", x, y)
        largest = builder.select(above, x, y)
        total = builder.fadd(x, y) if is_float else builder.add(x, y)
        both = builder.select(builder.trunc(maximum, ir.IntType(1)), largest, total)
        builder.store(builder.select(builder.trunc(is_first, ir.IntType(1)), x, both), here, align=align)
        return context.get_dummy_value()

    index, flag = numba.types.uint64, numba.types.boolean
    return numba.types.void(target, index, source, index, flag, flag, n), codegen


@intrinsic
def mask_nonzero(_typing_context, array, at):  # type: ignore[no-untyped-def]
    """A uint64 whose bit i says whether the integer array[at + i] is not zero."""
    vector = ir.VectorType(ir.IntType(array.dtype.bitwidth), MASK)

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        entries = builder.load(_lanes(context, builder, signature, arguments, 0, arguments[1], vector), align=2)
        return builder.bitcast(builder.icmp_unsigned("!=", entries, ir.Constant(vector, None)), ir.IntType(64))

    return numba.types.uint64(array, numba.types.uint64), codegen


@intrinsic
def mask_above(_typing_context, x, at, y, at_y):  # type: ignore[no-untyped-def]
    """A uint64 whose bit i says whether x[at + i] > y[at_y + i], of uint32."""
    vector = ir.VectorType(ir.IntType(32), MASK)

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        entries, limits = (
            builder.load(_lanes(context, builder, signature, arguments, array, arguments[array + 1], vector), align=4)
            for array in (0, 2)
        )
        return builder.bitcast(builder.icmp_unsigned(">", entries, limits), ir.IntType(64))

    index = numba.types.uint64
    return numba.types.uint64(x, index, y, index), codegen


@intrinsic
def trailing_zeros(_typing_context, x):  # type: ignore[no-untyped-def]
    """The number of trailing zero bits of a uint64 that is not zero."""

    def codegen(_context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return numba.types.uint64(numba.types.uint64), codegen


def _lanes(context, builder, signature, arguments, array, index, vector):  # type: ignore[no-untyped-def]
    """Where the vector at `index` of an array among the arguments lies."""
    pointer = element_pointer(context, builder, signature.args[array], arguments[array], index)
    return builder.bitcast(pointer, vector.as_pointer())


def _in_all_lanes(builder, value, vector):  # type: ignore[no-untyped-def]
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.IntType(32)(0))
    return builder.shuffle_vector(
        first, first, ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    )
