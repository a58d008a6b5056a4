"""Vectors of the processor's, whatever their width, on parts of arrays.

A loop over entries would do the same, but the compiler would have to prove that its arrays do not overlap, and to treat
what is left over at its end. What these read and write must lie within the arrays. A variable of kernels may be
LANES numbers; it then stays in a register, and is added, multiplied and compared as numbers are, entry by entry:

    total = load_lanes(sums, at)
    for e in range(n):
        total = total + load_lanes(weight, row[e])
    store_lanes(sums, at, total)

So one function of the physics serves numbers and vectors; a number among vectors stands for a vector of it.
"""

import operator
from typing import Any

import numba
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

from evsim.jit import choose, element_pointer, exp, positive

LANES = 16  # int32 or float32: a cache line
MASK = 64  # entries that a mask has bits for
_FLAGS = ir.VectorType(ir.IntType(1), LANES)

__all__ = [
    "LANES", "MASK", "count_ones", "in_all_lanes", "lanes_pointer", "load_lanes", "load_some", "mask_above",
    "mask_nonzero", "plus_times", "store_lanes", "store_set", "store_some", "trailing_zeros",
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


class Choice(numba.types.Type):
    """LANES booleans: what a comparison gives."""

    def __init__(self) -> None:
        super().__init__(name="Choice")


@register_model(Choice)
class _ChoiceModel(models.PrimitiveModel):
    def __init__(self, manager: Any, choice: Choice) -> None:
        super().__init__(manager, choice, _FLAGS)


def _vector_of(dtype: Any) -> Any:
    return ir.VectorType(ir.FloatType() if isinstance(dtype, numba.types.Float) else ir.IntType(32), LANES)


@intrinsic
def load_lanes(_typing_context, array, at):  # type: ignore[no-untyped-def]
    """array[at : at + LANES]."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        pointer = lanes_pointer(context, builder, signature, arguments, 0, arguments[1], _vector_of(array.dtype))
        return builder.load(pointer, align=4)

    return Lanes(array.dtype)(array, numba.types.uint64), codegen


@intrinsic
def store_lanes(_typing_context, array, at, x):  # type: ignore[no-untyped-def]
    """array[at : at + LANES] = x."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        pointer = lanes_pointer(context, builder, signature, arguments, 0, arguments[1], _vector_of(array.dtype))
        builder.store(arguments[2], pointer, align=4)
        return context.get_dummy_value()

    return numba.types.void(array, numba.types.uint64, x), codegen


@intrinsic
def load_some(_typing_context, array, at, n):  # type: ignore[no-untyped-def]
    """array[at : at + n] and zeros, n up to LANES; of uint8 as float32."""
    is_byte = array.dtype == numba.types.uint8
    made = Lanes(numba.types.float32 if is_byte else array.dtype)

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        vector = ir.VectorType(ir.IntType(8), LANES) if is_byte else _vector_of(array.dtype)
        pointer = lanes_pointer(context, builder, signature, arguments, 0, arguments[1], vector)
        kind = ir.FunctionType(vector, [pointer.type, ir.IntType(32), _FLAGS, vector])
        load = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.load.{_suffix(vector)}.p0")
        align, zeros = ir.IntType(32)(vector.element.width // 8 if is_byte else 4), ir.Constant(vector, None)
        entries = builder.call(load, [pointer, align, _first(builder, arguments[2]), zeros])
        return builder.uitofp(entries, _vector_of(made.dtype)) if is_byte else entries

    return made(array, numba.types.uint64, numba.types.uint64), codegen


@intrinsic
def store_some(_typing_context, array, at, n, x):  # type: ignore[no-untyped-def]
    """array[at : at + n] becomes the first n entries of x."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        vector = arguments[3].type
        pointer = lanes_pointer(context, builder, signature, arguments, 0, arguments[1], vector)
        kind = ir.FunctionType(ir.VoidType(), [vector, pointer.type, ir.IntType(32), _FLAGS])
        store = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.store.{_suffix(vector)}.p0")
        builder.call(store, [arguments[3], pointer, ir.IntType(32)(4), _first(builder, arguments[2])])
        return context.get_dummy_value()

    return numba.types.void(array, numba.types.uint64, numba.types.uint64, x), codegen


def _first(builder, n):  # type: ignore[no-untyped-def]
    """Flags of the first n entries."""
    numbers = ir.VectorType(ir.IntType(64), LANES)
    return builder.icmp_unsigned("<", ir.Constant(numbers, list(range(LANES))), in_all_lanes(builder, n, numbers))


def _suffix(vector):  # type: ignore[no-untyped-def]
    return f"v{LANES}" + ("f32" if isinstance(vector.element, ir.FloatType) else f"i{vector.element.width}")


def _is_lanes(*kinds: Any) -> bool:
    return any(isinstance(kind, Lanes | Choice) for kind in kinds)


def _as_lanes(context: Any, builder: Any, kinds: Any, values: Any, lanes: Lanes) -> list[Any]:
    """Numbers become vectors."""
    return [
        value
        if isinstance(kind, Lanes)
        else in_all_lanes(builder, context.cast(builder, value, kind, lanes.dtype), _vector_of(lanes.dtype))
        for kind, value in zip(kinds, values, strict=True)
    ]


def _lanes_of(*kinds: Any) -> Lanes:
    """What vectors make with numbers, which take their type, or numbers alone."""
    found = [kind for kind in kinds if isinstance(kind, Lanes)]
    return found[0] if found else Lanes(kinds[0])


@intrinsic
def _choose_lanes(_typing_context, condition, a, b):  # type: ignore[no-untyped-def]
    lanes = _lanes_of(a, b)

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        x, y = _as_lanes(context, builder, signature.args[1:], arguments[1:], lanes)
        return builder.select(arguments[0], x, y)

    return lanes(condition, a, b), codegen


@overload(choose, target="cpu")
def _overload_choose(condition, a, b):  # type: ignore[no-untyped-def]
    if _is_lanes(condition, a, b):
        return lambda condition, a, b: _choose_lanes(condition, a, b)
    return None


def _define(function: Any, for_integers: Any, for_floats: Any, is_choice: bool = False) -> None:
    """Give vectors an operator: two functions (builder, x, y) of LLVM vectors."""

    @intrinsic
    def apply(_typing_context, x, y):  # type: ignore[no-untyped-def]
        lanes = _lanes_of(x, y)
        make = for_floats if isinstance(lanes.dtype, numba.types.Float) else for_integers

        def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            return make(builder, *_as_lanes(context, builder, signature.args, arguments, lanes))

        return (Choice() if is_choice else lanes)(x, y), codegen

    @overload(function)
    def overload_function(x, y):  # type: ignore[no-untyped-def]
        return (lambda x, y: apply(x, y)) if _is_lanes(x, y) else None


_define(operator.add, ir.IRBuilder.add, ir.IRBuilder.fadd)
_define(operator.sub, ir.IRBuilder.sub, ir.IRBuilder.fsub)
_define(operator.mul, ir.IRBuilder.mul, ir.IRBuilder.fmul)
_define(operator.truediv, None, ir.IRBuilder.fdiv)
for _operator, _sign in ((operator.gt, ">"), (operator.lt, "<"), (operator.eq, "==")):
    _define(
        _operator,
        lambda builder, x, y, sign=_sign: builder.icmp_signed(sign, x, y),
        lambda builder, x, y, sign=_sign: builder.fcmp_ordered(sign, x, y),
        is_choice=True,
    )


def _define_unary(function: Any, name: str) -> None:
    """Give vectors of float32 a function that LLVM has, by its name there."""

    @intrinsic
    def apply(_typing_context, x):  # type: ignore[no-untyped-def]
        def codegen(_context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
            kind = ir.FunctionType(arguments[0].type, [arguments[0].type])
            full = f"llvm.{name}.{_suffix(arguments[0].type)}"
            return builder.call(cgutils.get_or_insert_function(builder.module, kind, full), arguments)

        return x(x), codegen

    @overload(function, target="cpu")
    def overload_function(x):  # type: ignore[no-untyped-def]
        return (lambda x: apply(x)) if _is_lanes(x) else None


def _rint(x):  # type: ignore[no-untyped-def]
    """The nearest whole number, of two the even one."""
    return float(round(x))


_define_unary(abs, "fabs")
_define_unary(_rint, "rint")


@overload(operator.neg)
def _overload_neg(x):  # type: ignore[no-untyped-def]
    return (lambda x: 0 - x) if _is_lanes(x) else None


@overload(operator.pow)
def _overload_pow(x, y):  # type: ignore[no-untyped-def]
    """Squares."""
    return (lambda x, y: x * x) if _is_lanes(x) and getattr(y, "literal_value", None) == 2 else None


@overload(positive, target="cpu")
def _overload_positive(x):  # type: ignore[no-untyped-def]
    return (lambda x: choose(x > 0, x, 0)) if _is_lanes(x) else None


@intrinsic
def _times_power_of_two(_typing_context, x, n):  # type: ignore[no-untyped-def]
    """x * 2^n for whole numbers n, both float32."""

    def codegen(_context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        x, n = arguments
        words = ir.VectorType(ir.IntType(32), LANES)
        biased = builder.add(builder.fptosi(n, words), ir.Constant(words, [127] * LANES))
        power = builder.shl(biased, ir.Constant(words, [23] * LANES))
        return builder.fmul(x, builder.bitcast(power, x.type))

    return x(x, n), codegen


@overload(exp, target="cpu")
def _overload_exp(x):  # type: ignore[no-untyped-def]
    """2^n e^r with n = round(x / ln 2), r = x - n ln 2, ln 2 in two parts, and e^r by a polynomial, as Cephes' expf."""
    if not _is_lanes(x):
        return None

    def exp_lanes(x):  # type: ignore[no-untyped-def]
        x = choose(x < -87.0, -87.0, choose(x > 88.0, 88.0, x))
        n = _rint(x * 1.44269504088896341)
        r = x - n * 0.693359375 + n * 2.12194440e-4
        y = r * 1.9875691500e-4 + 1.3981999507e-3
        y = y * r + 8.3334519073e-3
        y = y * r + 4.1665795894e-2
        y = y * r + 1.6666665459e-1
        y = y * r + 5.0000001201e-1
        return _times_power_of_two(y * r * r + r + 1, n)

    return exp_lanes


@intrinsic
def plus_times(_typing_context, x, factor, y):  # type: ignore[no-untyped-def]
    """x + factor * y for a number factor; float32 are rounded once."""
    is_float = isinstance(x.dtype, numba.types.Float)

    def codegen(_context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        x, factor, y = arguments
        factors = in_all_lanes(builder, factor, x.type)
        if not is_float:
            return builder.add(x, builder.mul(factors, y))
        fma = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(x.type, [x.type] * 3), f"llvm.fma.v{LANES}f32"
        )
        return builder.call(fma, [factors, y, x])

    return x(x, x.dtype, y), codegen


@intrinsic
def mask_nonzero(_typing_context, array, at):  # type: ignore[no-untyped-def]
    """A uint64 whose bit i says whether array[at + i], whole numbers or float32, is not zero."""
    is_float = isinstance(array.dtype, numba.types.Float)
    bits = array.dtype.bitwidth
    vector = ir.VectorType(ir.FloatType() if is_float else ir.IntType(bits), MASK)

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        pointer = lanes_pointer(context, builder, signature, arguments, 0, arguments[1], vector)
        entries, zeros = builder.load(pointer, align=bits // 8), ir.Constant(vector, None)
        differs = builder.fcmp_unordered if is_float else builder.icmp_unsigned
        return builder.bitcast(differs("!=", entries, zeros), ir.IntType(64))

    return numba.types.uint64(array, numba.types.uint64), codegen


@intrinsic
def mask_above(_typing_context, x, at, y, at_y):  # type: ignore[no-untyped-def]
    """A uint64 whose bit i says whether x[at + i] > y[at_y + i], of uint32."""
    vector = ir.VectorType(ir.IntType(32), MASK)

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        places = (
            lanes_pointer(context, builder, signature, arguments, array, arguments[array + 1], vector)
            for array in (0, 2)
        )
        entries, limits = (builder.load(place, align=4) for place in places)
        return builder.bitcast(builder.icmp_unsigned(">", entries, limits), ir.IntType(64))

    index = numba.types.uint64
    return numba.types.uint64(x, index, y, index), codegen


@intrinsic
def trailing_zeros(_typing_context, x):  # type: ignore[no-untyped-def]
    """The number of trailing zero bits of a uint64 that is not zero."""

    def codegen(_context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return numba.types.uint64(numba.types.uint64), codegen


@intrinsic
def count_ones(_typing_context, x):  # type: ignore[no-untyped-def]
    """The number of bits of a uint64 that are one."""

    def codegen(_context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        return builder.ctpop(arguments[0])

    return numba.types.uint64(numba.types.uint64), codegen


@intrinsic
def store_set(_typing_context, array, at, first, bits):  # type: ignore[no-untyped-def]
    """array[at:] becomes first + i for each of 4 bits i that is one, ascending. All 4 entries are written to.

    Without a branch, or a step for each bit: from a table of what each set of bits gives.
    """
    four, word = ir.VectorType(ir.IntType(32), 4), ir.IntType(32)
    sets = [[i for i in range(4) if number >> i & 1] for number in range(16)]

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        rows = [ir.Constant(four, (each + [0] * 4)[:4]) for each in sets]
        table = cgutils.global_constant(builder.module, "evsim_sets", ir.Constant(ir.ArrayType(four, 16), rows))
        row = builder.load(builder.gep(table, [word(0), builder.trunc(arguments[3], word)]), align=16)
        firsts = builder.insert_element(ir.Constant(four, ir.Undefined), arguments[2], word(0))
        firsts = builder.shuffle_vector(firsts, firsts, ir.Constant(ir.VectorType(word, 4), [0] * 4))
        to = lanes_pointer(context, builder, signature, arguments, 0, arguments[1], four)
        builder.store(builder.add(row, firsts), to, align=4)
        return context.get_dummy_value()

    return numba.types.void(array, numba.types.uint64, numba.types.uint32, numba.types.uint64), codegen


def lanes_pointer(context, builder, signature, arguments, array, index, vector):  # type: ignore[no-untyped-def]
    """Where the vector at `index` of an array among the arguments lies."""
    pointer = element_pointer(context, builder, signature.args[array], arguments[array], index)
    return builder.bitcast(pointer, vector.as_pointer())


def in_all_lanes(builder, value, vector):  # type: ignore[no-untyped-def]
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.IntType(32)(0))
    return builder.shuffle_vector(
        first, first, ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    )
