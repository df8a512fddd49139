"""Cells on top of each other over a few frames of streams, for which the way to the loop takes longer than the loop."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from speechgru import compiled
from speechgru.cells import loop
from speechgru.cells.cell import Cell

_NO_VECTOR, _NO_MATRIX, _NO_BLOCKS = np.empty(0, np.float32), np.empty((0, 0), np.float32), np.empty(0, np.int64)


class _Arrays(NamedTuple):
    """The weights as arrays, which share their memory: a weight that changes in its place changes here too.

    A weight that is moved lies elsewhere, for the memory where it lay is held here.
    """

    places: tuple[int, ...]
    run: Callable[..., None]
    input_weight: np.ndarray
    input_bias: np.ndarray
    weight: np.ndarray
    vectors: tuple[np.ndarray, ...]
    unused: list[np.ndarray]


_arrays: weakref.WeakKeyDictionary[Cell, _Arrays] = weakref.WeakKeyDictionary()


def run_stack(
    cells: Sequence[Cell], frames: Tensor, states: Sequence[Tensor]
) -> tuple[Tensor, tuple[Tensor, ...]] | None:
    """Each cell over what the one below it gave, without a gradient; all rows are full, and read forwards.

    Args:
        cells: whose outputs are their states.
        frames: (batch, time, input).
        states: of each cell the first outputs, (batch, hidden).

    Returns:
        The outputs of the last cell, (batch, time, hidden), and the last states. None where a cell has no
        :meth:`Cell.weights`, or not all that is read is float32 on a CPU.
    """
    if not compiled.usable(frames, *states):
        return None
    batch, time, _ = frames.shape
    lengths, memory = _full(batch, time)
    found, last = frames.detach().contiguous().numpy(), []
    for cell, state in zip(cells, states, strict=True):
        arrays = _looked_up(cell)
        if arrays is None:
            return None
        given = loop.Given(
            found,
            arrays.input_weight,
            arrays.input_bias,
            lengths,
            False,
            _NO_MATRIX,
            arrays.weight,
            _NO_MATRIX,
            arrays.vectors,
            _NO_BLOCKS,
            _NO_VECTOR,
        )
        after = state.detach().numpy().copy()
        found = np.empty((batch, time, after.shape[1]), np.float32)
        arrays.run(given, after, memory, loop.Left(False, found, *arrays.unused))
        last.append(torch.from_numpy(after))
    return torch.from_numpy(found), tuple(last)


def _looked_up(cell: Cell) -> _Arrays | None:
    weights = cell.weights()
    if weights is None:
        return None
    places = weights.places()
    arrays = _arrays.get(cell)
    if arrays is None or arrays.places != places:
        tensors = weights.input_weight, weights.input_bias, weights.weight, *weights.vectors
        if not compiled.usable(*tensors) or not all(one.is_contiguous() for one in tensors):
            return None
        input_weight, input_bias, weight, *vectors = (one.detach().numpy() for one in tensors)
        unused = [np.empty((0, 0, size), np.float32) for size in (0, weights.cell.kept(weight.shape[1]), 0, 0, 0)]
        run = loop.states(weights.cell)
        arrays = _Arrays(places, run, input_weight, input_bias, weight, tuple(vectors), unused)
        _arrays[cell] = arrays
    return arrays


@functools.lru_cache(64)
def _full(batch: int, time: int) -> tuple[np.ndarray, np.ndarray]:
    """The lengths of full rows, and a memory of nothing."""
    return np.full(batch, time), np.empty((batch, 0), np.float32)
