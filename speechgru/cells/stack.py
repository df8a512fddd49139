"""Stacked cells in one call of compiled code, for cases where getting to the loop takes as long as the loop itself."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from speechgru import compiled
from speechgru.cells.cell import Cell, Weights, is_changed
from speechgru.cells.kernels import FAST
from speechgru.cells.loop import Given, Left, copy, nothing, part, run
from speechgru.cells.product import project
from speechgru.cells.rows import RowFunctions
from speechgru.cells.vectors import floats_at
from speechgru.compiled import kernel

_Run = Callable[[np.ndarray, np.ndarray, np.ndarray, int, int, int, bool, np.ndarray, np.ndarray], None]


class _Stack(NamedTuple):
    """What is known of a stack from the last call.

    Attributes:
        places: the address of each weight, by layer, direction and weight.
        addresses: the same as an array, (layers, directions, 4).
        weights: the tensors at these addresses: as long as they are held here, nothing else can be stored there.
        run: the compiled loop.
        inputs: values of a frame.
        size: of a cell's output.
        rows: rows of each weight of the inputs.
        across: rows of each recurrent weight.
        kept: see :class:`Row`.
    """

    places: list[int]
    addresses: np.ndarray
    weights: list[Tensor]
    run: _Run
    inputs: int
    size: int
    rows: int
    across: int
    kept: int


_stacks: weakref.WeakKeyDictionary[nn.Module, _Stack] = weakref.WeakKeyDictionary()


def run_stack(
    layers: nn.ModuleList,
    names: Sequence[str],
    frames: Tensor,
    lengths: Tensor | None,
    states: Sequence[Tensor] | None = None,
    threads: bool = False,
) -> tuple[Tensor, np.ndarray] | None:
    """Runs each layer over the outputs of the one below it, without a gradient.

    Args:
        layers: layers of the same cells and sizes, which do nothing but run their cells.
        names: of each layer's cells; one, or two, of which the second reads each row from its end.
        frames: (batch, time, input), which compiled code may read.
        lengths: (batch,), or None if all rows are full.
        states: the outputs that each layer's only cell begins with, (batch, hidden); None means zeros.
        threads: whether the second cell of each layer has a thread of its own.

    Returns:
        The outputs of the last layer, those of its cells side by side, (batch, time, cells * hidden), with zeros beyond
        the lengths, and the last outputs of all cells, (layers, cells, batch, hidden). None where a cell has no
        :meth:`Cell.weights`, or something that is read is not float32 on a CPU.
    """
    if states is not None and not compiled.usable(*states):
        return None
    stack = _looked_up(layers, names)
    if stack is None or stack.inputs != frames.shape[2]:
        return None
    batch, time, _ = frames.shape
    # Arrays, because torch takes several times as long to make a tensor.
    last = np.zeros((stack.addresses.shape[0], len(names), batch, stack.size), np.float32)
    for layer, state in enumerate(states or ()):
        last[layer, 0] = state.detach().numpy()
    ends = _full(batch, time) if lengths is None else lengths.numpy()
    found = frames.detach().contiguous().numpy()
    if threads and len(names) > 1:
        return torch.from_numpy(_in_two_threads(stack, found, ends, last)), last
    hidden = np.empty((batch, time, len(names) * stack.size), np.float32)
    stack.run(found, ends, stack.addresses, stack.rows, stack.across, stack.kept, False, last, hidden)
    return torch.from_numpy(hidden), last


def _in_two_threads(stack: _Stack, frames: np.ndarray, lengths: np.ndarray, last: np.ndarray) -> np.ndarray:
    """The outputs of the last layer; every value is the same as in one thread.

    The thread is a new one, because a new thread treats subnormal numbers as the caller does.
    """

    def run(layer: int, direction: int) -> np.ndarray:
        own, state = stack.addresses[layer, direction], np.zeros((1, 1, *last.shape[2:]), np.float32)
        found = np.empty((*frames.shape[:2], stack.size), np.float32)
        read = frames, lengths, own.reshape(1, 1, -1), stack.rows, stack.across, stack.kept, direction == 1
        stack.run(*read, state, found)
        last[layer, direction] = state
        return found

    with ThreadPoolExecutor(1) as pool:
        for layer in range(len(last)):
            other = pool.submit(run, layer, 1)
            frames = np.concatenate((run(layer, 0), other.result()), 2)
    return frames


def _looked_up(layers: nn.ModuleList, names: Sequence[str]) -> _Stack | None:
    """The stack of these layers; a weight that was moved since the last call is found at its new address."""
    cells: list[Weights] = []
    for layer in layers._modules.values():
        if layer is None or is_changed(layer):
            return None
        for name in names:
            cell = layer._modules.get(name)  # torch takes a microsecond for layer.forward_cell
            found = cell.weights() if isinstance(cell, Cell) and not is_changed(cell) else None
            if found is None:
                return None
            cells.append(found)
    places = [0 if weight is None else weight.data_ptr() for cell in cells for weight in cell[1:5]]
    stack = _stacks.get(layers)
    if stack is None or stack.places != places:
        stack = _made(cells, places, len(names))
        if stack is not None:
            _stacks[layers] = stack
    return stack


def _made(cells: Sequence[Weights], places: list[int], directions: int) -> _Stack | None:
    """None where the cells differ in kind or their sizes do not fit, or a weight is not contiguous float32 on a CPU."""
    held = [weight.detach() for cell in cells for weight in cell[1:5] if weight is not None]
    if not compiled.usable(*held) or not all(weight.is_contiguous() for weight in held):
        return None
    kind, (rows, inputs) = cells[0].cell, cells[0].input_weight.shape
    size = cells[0].size
    across = 0 if cells[0].weight is None else len(cells[0].weight)
    for place, cell in enumerate(cells):
        wanted = (rows, inputs if place < directions else directions * size), (rows,), (across, size), (across,)
        shapes = [shape if one is None else tuple(one.shape) for one, shape in zip(cell[1:5], wanted, strict=True)]
        if cell.cell is not kind or cell.size != size or shapes != list(wanted):
            return None
    addresses = np.array(places).reshape(-1, directions, 4)
    return _Stack(places, addresses, held, stacked(kind), inputs, size, rows, across, kind.kept(size))


@functools.lru_cache(64)
def _full(batch: int, time: int) -> np.ndarray:
    return np.full(batch, time)


@functools.cache
def stacked(cell: RowFunctions) -> _Run:
    """The loop over frames of each layer and direction, with the products of their inputs before it.

    ``reverse`` is for one direction only: whether each row is read from its end.
    """
    # numba tells kernels on disk apart by the names of these functions: each has to stand at the top of a module.
    forward, reset, recurrent, resets = cell.forward, cell.reset or nothing, cell.recurrent, cell.reset is not None
    for function in cell.functions():
        part(function)

    def loop(
        frames: np.ndarray,
        lengths: np.ndarray,
        addresses: np.ndarray,
        rows: int,
        across: int,
        kept: int,
        reverse: bool,
        states: np.ndarray,
        hidden: np.ndarray,
    ) -> None:
        batch, time, _ = frames.shape
        layers, directions, _, size = states.shape
        no_matrix, starts = np.empty((0, 0), np.float32), np.arange(batch) * time
        memory, width = np.empty((batch, 0), np.float32), across - size if resets else across
        for layer in range(layers):
            joined = hidden if layer == layers - 1 else np.empty((batch, time, directions * size), np.float32)
            inputs = np.empty((batch * time, rows), np.float32)
            for direction in range(directions):
                at_input, at_input_bias, at_weight, at_bias = addresses[layer, direction]
                input_weight = floats_at(at_input, (rows, frames.shape[2]))
                input_bias = floats_at(at_input_bias, (rows,))
                weight, bias = floats_at(at_weight, (across, size)), floats_at(at_bias, (across if at_bias else 0,))
                for index in range(batch):
                    of_row = slice(starts[index], starts[index] + lengths[index])
                    project(frames[index, : lengths[index]], input_weight, input_bias, inputs[of_row])
                given = Given(
                    inputs,
                    starts,
                    lengths,
                    reverse or direction == 1,
                    no_matrix,
                    weight[:width],
                    weight[width:],
                    (bias,),
                    np.empty(0, np.int64),
                    np.empty(0, np.float32),
                )
                found = joined if directions == 1 else np.empty((batch, time, size), np.float32)
                left = Left(False, found, no_matrix, np.empty((0, kept), np.float32), no_matrix, no_matrix, no_matrix)
                run(forward, reset, recurrent, resets, given, states[layer, direction], memory, left)
                if directions > 1:
                    for index in range(batch):
                        for frame in range(time):
                            copy(found[index, frame], joined[index, frame, direction * size : (direction + 1) * size])
            frames = joined

    return kernel(fastmath=FAST, error_model="numpy", nogil=True, parts=tuple(cell.functions()))(loop)
