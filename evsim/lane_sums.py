"""Dense additions and pools on the processor's vectors (see `lanes`)."""

import numba
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from evsim.lanes import LANES, in_all_lanes, lanes_pointer

__all__ = ["add_lanes", "add_rounded_lanes", "pool_lanes"]


@intrinsic
def add_lanes(_typing_context, total, at, weight, rows, times, offset):  # type: ignore[no-untyped-def]
    """total[at:] += the sum over j of times[j] * weight[rows[j] + offset:], LANES int32; without times, once each."""
    vector = ir.VectorType(ir.IntType(32), LANES)
    is_counted = len(times) > 0

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        _, at, _, rows, times, offset = arguments
        target = lanes_pointer(context, builder, signature, arguments, 0, at, vector)
        sums = builder.load(target, align=4)
        for j in range(len(signature.args[3])):
            row = builder.add(builder.extract_value(rows, j), offset)
            terms = builder.load(lanes_pointer(context, builder, signature, arguments, 2, row, vector), align=4)
            if is_counted:
                terms = builder.mul(terms, in_all_lanes(builder, builder.extract_value(times, j), vector))
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
        target = lanes_pointer(context, builder, signature, arguments, 0, at, integers)
        sums = builder.load(target, align=4)
        factors = in_all_lanes(builder, factor, vector)
        for j in range(len(signature.args[3])):
            row = builder.add(builder.extract_value(rows, j), offset)
            terms = builder.load(lanes_pointer(context, builder, signature, arguments, 2, row, vector), align=4)
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
        here = lanes_pointer(context, builder, signature, arguments, 0, at, vector)
        y = builder.load(here, align=align)
        x = builder.load(lanes_pointer(context, builder, signature, arguments, 2, first, vector), align=align)
        above = builder.fcmp_ordered(">", x, y) if is_float else builder.icmp_unsigned(">", x, y)
        largest = builder.select(above, x, y)
        total = builder.fadd(x, y) if is_float else builder.add(x, y)
        both = builder.select(builder.trunc(maximum, ir.IntType(1)), largest, total)
        builder.store(builder.select(builder.trunc(is_first, ir.IntType(1)), x, both), here, align=align)
        return context.get_dummy_value()

    index, flag = numba.types.uint64, numba.types.boolean
    return numba.types.void(target, index, source, index, flag, flag, n), codegen
