"""The recurrence of every cell on a CPU in float32, with its gradient: the compiled loop for torch.

torch spends a backward pass in small operators, and needs copies to reverse and mask rows of different lengths. Here
every row is read at its own places, forwards or backwards, and nothing is copied.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from speechgru.cells import loop, side_by_side
from speechgru.cells.kernels import Context
from speechgru.cells.rows import RowFunctions
from speechgru.errors import ConfigError

with torch.inference_mode(False):  # this file may be imported in that mode, whose tensors cannot be used in training
    _NOTHING = torch.empty(0)
_NO_VECTOR, _NO_MATRIX, _NO_BLOCKS = np.empty(0, np.float32), np.empty((0, 0), np.float32), np.empty(0, np.int64)


class _Choices(NamedTuple):
    """The arguments that are not tensors.

    Attributes:
        cell: its row functions.
        reverse: whether rows are read from their end.
        blocks: sizes of the parts of the recurrent product that have a layer norm of their own.
    """

    cell: RowFunctions
    reverse: bool
    blocks: tuple[int, ...]


class _Context(Context, Protocol):
    choices: _Choices
    shape: torch.Size
    given: loop.Given
    left: loop.Left


def recur(
    cell: RowFunctions,
    inputs: Tensor,
    lengths: Tensor,
    state: Tensor,
    reverse: bool,
    weight: Tensor | None = None,
    vectors: Sequence[Tensor] = (),
    blocks: Sequence[int] = (),
    gain: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """All outputs of a cell over rows of different lengths, and the last state of each row.

    Args:
        cell: its row functions.
        inputs: the input's part of the gates, (batch, time, rows), which the row functions may overwrite; or that of
            the valid frames alone, all rows one after the other, (1, frames, rows), in float32 on a CPU.
        lengths: (batch,).
        state: the states to begin with, (batch, state), the outputs first.
        reverse: run from each row's own last valid frame to its first.
        weight: of the recurrent product, (gate rows, hidden); the last ``hidden`` rows are the candidate's where the
            cell has ``reset``. None for a cell that is not ``recurrent``.
        vectors: what the row functions see as ``vectors``, each with one axis.
        blocks: sizes of the parts of the recurrent product that have a layer norm of their own; none: no layer norm.
        gain: of the layer norms, (gate rows,).

    Returns:
        hidden (batch, time, hidden), zeros beyond the lengths, and the final state (batch, state). Where only the valid
        frames were given, the time is that of the longest row.
    """
    if inputs.device.type == "cuda":
        from speechgru.cells.triton_loop import recur as recur_on_gpu

        return recur_on_gpu(cell, inputs, lengths, state, reverse, weight, vectors, blocks, gain)
    choices = _Choices(cell, reverse, tuple(blocks))
    size = state.shape[1] // 2 if cell.memory else state.shape[1]
    weight = _NOTHING.view(0, size) if weight is None else weight
    tensors = state, weight, _NOTHING if gain is None else gain, *vectors
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (inputs, *tensors)):
        return _Recurrence.apply(choices, lengths, inputs, *tensors)
    return _run(choices, lengths, (inputs, *tensors), learning=False)[:2]


def _run(
    choices: _Choices, lengths: Tensor, tensors: Sequence[Tensor], learning: bool
) -> tuple[Tensor, Tensor, loop.Given, loop.Left]:
    """The outputs, the last states, and the loop's ``Given`` and ``Left``."""
    inputs, state, weight, gain, *vectors = tensors
    cell, (rows, size) = choices.cell, weight.shape
    ends, (batch, time) = lengths.numpy(), inputs.shape[:2]
    starts = np.arange(batch) * time
    if batch < len(ends):
        if ends.sum() != time:
            raise ConfigError(f"{time} valid frames for rows of {ends.tolist()}: each frame is one of a row's")
        batch, time, starts = len(ends), int(ends.max()), np.cumsum(ends) - ends
    frames = _array(inputs).reshape(-1, inputs.shape[2])
    hidden = torch.empty(batch, time, size)
    last = (state[:, :size] if cell.memory else state).clone(memory_format=torch.contiguous_format)
    memory = np.array(state[:, size:].detach().numpy()) if cell.memory else np.empty((batch, 0), np.float32)
    norm = (rows, len(choices.blocks)) if choices.blocks else (0, 0)
    sizes = memory.shape[1], cell.kept(size), *norm, size if cell.reset else 0
    arrays = [_by_frame(one, frames, ends) for one in sizes] if learning else _no_frames(sizes)
    left = loop.Left(learning, hidden.numpy(), *arrays)
    values = _array(weight) if rows else _NO_MATRIX
    width = rows - size if cell.reset else rows
    given = loop.Given(
        frames,
        starts,
        ends,
        choices.reverse,
        last.numpy().copy() if learning else _NO_MATRIX,
        values[:width],
        values[width:],
        tuple(_array(vector) for vector in vectors),
        np.cumsum((0, *choices.blocks)) if choices.blocks else _NO_BLOCKS,
        _array(gain) if choices.blocks else _NO_VECTOR,
    )
    run = functools.partial(loop.states(cell), given, last.numpy(), memory, left)
    if learning or cell.memory:  # the results are read at once
        run()
    else:
        side_by_side.run(run)
    return hidden, torch.cat((last, torch.from_numpy(memory)), 1) if cell.memory else last, given, left


@functools.cache
def _no_frames(sizes: tuple[int, ...]) -> list[np.ndarray]:
    return [np.empty((0, one), np.float32) for one in sizes]


def _by_frame(size: int, frames: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """One row for each frame; zeros where no row of the batch has a frame, because they go into products."""
    make = np.empty if lengths.sum() == len(frames) else np.zeros
    return make((len(frames), size), np.float32)


def _array(tensor: Tensor) -> np.ndarray:
    """The values of a tensor, not copied where they are contiguous."""
    return tensor.detach().contiguous().numpy()


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _Context, choices: _Choices, lengths: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        hidden, final, ctx.given, ctx.left = _run(choices, lengths, tensors, learning=True)
        ctx.choices, ctx.shape = choices, tensors[0].shape
        ctx.save_for_backward(tensors[2], hidden, *tensors[3:])
        return hidden, final

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        weight, _, gain, *vectors = ctx.saved_tensors  # read, so that torch checks whether one was changed
        cell, (rows, size) = ctx.choices.cell, weight.shape
        width = rows - size if cell.reset else rows
        given = ctx.given
        state, memory = (
            part.clone(memory_format=torch.contiguous_format) for part in gradients[1].tensor_split([size], 1)
        )
        apart = bool(ctx.choices.blocks) or not cell.adds_product
        at_inputs, at_products, before = (
            torch.from_numpy(_by_frame(one, given.inputs, given.lengths))
            for one in (given.inputs.shape[1], rows if apart else 0, size if rows else 0)
        )
        at_vectors, at_gain = [torch.zeros_like(vector) for vector in vectors], torch.zeros_like(gain)
        at = loop.Gradients(
            gradients[0].contiguous().numpy(),
            state.numpy(),
            memory.numpy(),
            at_inputs.numpy(),
            at_products.numpy(),
            tuple(vector.numpy() for vector in at_vectors),
            at_gain.numpy(),
            before.numpy(),
        )
        loop.gradients(cell)(given, ctx.left, at)
        at_weight = None
        if rows:
            of_gates, of_candidate = (at_products if apart else at_inputs).tensor_split([width], 1)
            at_weight = of_gates.t() @ before
            if cell.reset:
                at_weight = torch.cat((at_weight, of_candidate.t() @ torch.from_numpy(ctx.left.reset_state)))
        at_state = torch.cat((state, memory), 1) if cell.memory else state
        return None, None, at_inputs.view(ctx.shape), at_state, at_weight, at_gain, *at_vectors
