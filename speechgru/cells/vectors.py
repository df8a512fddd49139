"""Eight float32 numbers in one register, for a compiled loop whose sums must stay there.

The compiler makes such vectors of an innermost loop by itself. In a matrix product the sums run along another loop, and
would go through memory at every step. This file has only what product.py needs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.core.datamodel.models import PrimitiveModel
from numba.extending import intrinsic, register_jitable, register_model

LANES = 8
_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_MAY_FUSE = ("contract",)


class _Vector(types.Type):
    def __init__(self) -> None:
        super().__init__(name="eight float32")


@register_model(_Vector)
class _Model(PrimitiveModel):
    def __init__(self, manager, kind) -> None:
        super().__init__(manager, kind, _VECTOR)


Vector = np.ndarray  # for annotations; it is not really an array
_vector = _Vector()
# Inside of compiled code a caller leaves out the first argument, which numba's own types require.
_inside: Callable[[Callable[..., object]], Callable[..., Any]] = intrinsic


@_inside
def zeros(typing):
    """() -> vector"""
    return _vector(), lambda context, builder, signature, arguments: ir.Constant(_VECTOR, [0.0] * LANES)


@register_jitable
def floats_at(address: int, shape: tuple[int, ...]) -> np.ndarray:
    """The contiguous float32 numbers at an address."""
    found: np.ndarray = carray(_pointer(address), shape)
    return found


@_inside
def _pointer(typing, address):
    """(address) -> a pointer to float32"""

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], ir.FloatType().as_pointer())

    return types.CPointer(types.float32)(types.intp), generate


@_inside
def load(typing, array, index):
    """(contiguous array, index as if it had one axis) -> the vector that begins there"""

    def generate(context, builder, signature, arguments):
        address = builder.bitcast(_address(context, builder, array, *arguments), _VECTOR.as_pointer())
        return builder.load(address, align=4)

    return _vector(array, types.intp), generate


@_inside
def add_product(typing, total, left, right):
    """(vector, vector, vector) -> total + left * right"""

    def generate(context, builder, signature, arguments):
        total, left, right = arguments
        return builder.fadd(total, builder.fmul(left, right, flags=_MAY_FUSE), flags=_MAY_FUSE)

    return _vector(_vector, _vector, _vector), generate


@_inside
def store_sums(typing, array, index, a, b, c, d):
    """(array, index as above, four vectors): stores the sums of their numbers side by side"""

    def generate(context, builder, signature, arguments):
        a, b, c, d = arguments[2:]
        # The four vectors are folded into halves, quarters and eighths of themselves, side by side in one vector.
        pairs = _folded(builder, a, b, 1), _folded(builder, c, d, 1)
        halves = _folded(builder, *pairs, 2)
        low, high = (_shuffled(builder, halves, halves, range(start, start + 4)) for start in (0, 4))
        sums = builder.fadd(low, high)
        address = _address(context, builder, array, *arguments[:2])
        builder.store(sums, builder.bitcast(address, sums.type.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, *[_vector] * 4), generate


def _folded(builder, left, right, block):
    """Blocks of left beside those of right, each added to the one after it in its half of the register."""
    if block == 1:
        first, second = [0, 8, 1, 9, 4, 12, 5, 13], [2, 10, 3, 11, 6, 14, 7, 15]
    else:
        first, second = [0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15]
    return builder.fadd(_shuffled(builder, left, right, first), _shuffled(builder, left, right, second))


def _shuffled(builder, left, right, lanes):
    places = list(lanes)
    return builder.shuffle_vector(left, right, ir.Constant(ir.VectorType(ir.IntType(32), len(places)), places))


def _address(context, builder, kind, array, index):
    return builder.gep(context.make_array(kind)(context, builder, array).data, [index])
