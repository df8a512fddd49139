"""The compiled loop over frames of every cell, and its gradient.

A cell gives its row functions (rows.py). The loop does the rest: which frame of a row comes next, forwards or
backwards, the products with the state, their layer norm, and zeros beyond the lengths. The key idea: in each frame
there is one product for all rows that have this frame, and then the row function runs for one row after the other.
Without a product a row is run to its end before the next begins, so that it stays in the cache.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from speechgru.cells.kernels import FAST, part
from speechgru.cells.product import multiply
from speechgru.cells.rows import (
    ZERO,
    At,
    Row,
    RowFunctions,
    standardize,
    standardize_backward,
)
from speechgru.compiled import kernel


class Given(NamedTuple):
    """What the loop and its gradient read.

    Attributes:
        inputs: the input's part of the gates, (frames, rows), which the row functions may overwrite.
        starts: where in ``inputs`` the frames of each row of the batch begin, (batch,).
        lengths: (batch,).
        reverse: whether rows are read from their end.
        first: the outputs before the first frame, (batch, hidden).
        weight: of the recurrent product, (gate rows, hidden); with a reset gate before the candidate's product, only
            that of the other gates.
        candidate_weight: with a reset gate before the candidate's product, that of the candidate; otherwise empty.
        vectors: see :class:`Row`.
        blocks: where each block of the product with a layer norm of its own begins, and the end; or empty.
        gain: of these layer norms; or empty.
    """

    inputs: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    reverse: bool
    first: np.ndarray
    weight: np.ndarray
    candidate_weight: np.ndarray
    vectors: tuple[np.ndarray, ...]
    blocks: np.ndarray
    gain: np.ndarray


class Left(NamedTuple):
    """What the loop writes; all but ``hidden`` is for the gradient, in the order of the inputs.

    Attributes:
        learning: whether there will be a gradient; else the other arrays have no rows and give only the size of their
            last axis.
        hidden: (batch, time, hidden), zeros beyond the lengths.
        memory: the memory before each frame, (frames, memory).
        kept: see :class:`Row`.
        normal: the products after their layer norm and before its gain, (frames, gate rows).
        scale: what each block was multiplied with, (frames, blocks).
        reset_state: what the candidate saw of the state, (frames, hidden), with a reset gate before its product.
    """

    learning: bool
    hidden: np.ndarray
    memory: np.ndarray
    kept: np.ndarray
    normal: np.ndarray
    scale: np.ndarray
    reset_state: np.ndarray


class Gradients(NamedTuple):
    """The gradients: ``hidden`` is read, the others are written, those of frames in the order of the inputs.

    Attributes:
        hidden: at the outputs, (batch, time, hidden).
        state: before the call at the last outputs, after it at the first ones, (batch, hidden).
        memory: likewise, (batch, memory).
        inputs: at the input's part of the gates.
        products: at the recurrent products before their layer norm; empty where these gradients are those at
            ``inputs``.
        vectors: at each of them.
        gain: at the gain.
        before: not a gradient: the outputs before each frame, from which the products were made.
    """

    hidden: np.ndarray
    state: np.ndarray
    memory: np.ndarray
    inputs: np.ndarray
    products: np.ndarray
    vectors: tuple[np.ndarray, ...]
    gain: np.ndarray
    before: np.ndarray


@functools.cache
def states(cell: RowFunctions) -> Callable[[Given, np.ndarray, np.ndarray, Left], None]:
    """The loop over frames with a cell's functions in it."""
    # numba tells kernels on disk apart by the names of these functions: each has to stand at the top of a module.
    forward, reset, recurrent, resets = cell.forward, cell.reset or nothing, cell.recurrent, cell.reset is not None
    for function in cell.functions():
        part(function)

    def loop(given: Given, state: np.ndarray, memory: np.ndarray, left: Left) -> None:
        run(forward, reset, recurrent, resets, given, state, memory, left)

    return kernel(fastmath=FAST, error_model="numpy", nogil=True, parts=tuple(cell.functions()))(loop)


@functools.cache
def gradients(cell: RowFunctions) -> Callable[[Given, Left, Gradients], None]:
    """The chain rule through :func:`states`, last step first."""
    backward, reset_backward, recurrent = cell.backward, cell.reset_backward or nothing, cell.recurrent
    resets, adds_product = cell.reset is not None, cell.adds_product
    for function in cell.functions():
        part(function)

    def loop(given: Given, left: Left, at: Gradients) -> None:
        batch, _, size = left.hidden.shape
        width = given.weight.shape[0]
        at_products, through = np.empty((batch, width), np.float32), np.empty((batch, size), np.float32)
        weight, candidate_weight = transposed(given.weight), transposed(given.candidate_weight)
        at_candidates, at_normal = np.empty((batch, size), np.float32), np.empty(width, np.float32)
        order = longest_first(given.lengths)
        together = batch if recurrent else 1
        for begin in range(0, batch, together):
            active = 0
            for step in range(given.lengths[order[begin]] - 1, -1, -1):
                while active < together and given.lengths[order[begin + active]] > step:
                    active += 1
                for slot in range(active):
                    index = order[begin + slot]
                    frame, place = frame_at(given, index, step)
                    row, at_x = row_before(given, left, index, step), at.inputs[place]
                    at_product = at_x
                    if not adds_product:
                        at_product = at_normal if len(given.blocks) else at.products[place]
                    add(at.state[index], at.hidden[index, frame])
                    backward(row, At(at_x, at_product, at.state[index], at.memory[index], at.vectors))
                    if len(given.blocks):
                        at_product = normalize_backward(given, left, at, place, at_product)
                    if resets:
                        copy(at_x[width:], at_candidates[slot])
                    elif recurrent:
                        copy(at_product, at_products[slot])
                    if recurrent:
                        copy(row.old, at.before[place])
                if resets:
                    multiply(at_candidates[:active], candidate_weight, through[:active])
                    for slot in range(active):
                        index = order[slot]
                        row, at_x = row_before(given, left, index, step), at.inputs[frame_at(given, index, step)[1]]
                        at_row = At(at_x, at_x, at.state[index], at.memory[index], at.vectors)
                        reset_backward(row, at_row, through[slot])
                        copy(at_x[:width], at_products[slot])
                if recurrent:
                    multiply(at_products[:active], weight, through[:active])
                    for slot in range(active):
                        add(at.state[order[slot]], through[slot])

    return kernel(fastmath=FAST, error_model="numpy", nogil=True, parts=tuple(cell.functions()))(loop)


@part
def run(
    forward: Callable[[Row, np.ndarray], None],
    reset: Callable[[Row, np.ndarray, np.ndarray], None],
    recurrent: bool,
    resets: bool,
    given: Given,
    state: np.ndarray,
    memory: np.ndarray,
    left: Left,
) -> None:
    """Runs a cell from ``state`` (batch, hidden) and ``memory``, which are overwritten with the last ones."""
    batch, time, size = left.hidden.shape
    left = left if left.learning else one_frame(left)
    products, candidates = np.empty((batch, len(given.weight)), np.float32), np.empty((batch, size), np.float32)
    states, reset_states = np.empty((batch, size), np.float32), np.empty((batch, size), np.float32)
    order = longest_first(given.lengths)
    for slot in range(batch):
        index = order[slot]
        copy(state[index], states[slot])
        for frame in range(given.lengths[index], time):
            clear(left.hidden[index, frame])
    together = batch if recurrent else 1
    for begin in range(0, batch, together):
        active = together
        for step in range(given.lengths[order[begin]]):
            while given.lengths[order[begin + active - 1]] <= step:
                active -= 1
            if recurrent:
                multiply(states[:active], given.weight, products[:active])
            if resets:
                for slot in range(active):
                    index = order[slot]
                    row = row_at(given, left, states[slot], memory[index], index, step)
                    reset(row, products[slot], reset_states[slot])
                    if left.learning:
                        copy(reset_states[slot], left.reset_state[frame_at(given, index, step)[1]])
                multiply(reset_states[:active], given.candidate_weight, candidates[:active])
            for slot in range(begin, begin + active):
                index = order[slot]
                row = row_at(given, left, states[slot], memory[index], index, step)
                product = candidates[slot] if resets else products[slot if recurrent else 0]
                place = frame_at(given, index, step)[1] if left.learning else 0
                if len(given.blocks):
                    normalize(given, left, place, product)
                if left.learning:
                    copy(memory[index], left.memory[place])
                forward(row, product)
                copy(row.new, states[slot])
    for slot in range(batch):
        copy(states[slot], state[order[slot]])


@part
def nothing(*arguments: object) -> None:
    """Stands in for a function that a cell does not have; it is never called."""


@part
def longest_first(lengths: np.ndarray) -> np.ndarray:
    """The rows by length, longest first, so that those with frames left are always the first ones."""
    return np.argsort(-lengths, kind="mergesort")


@part
def frame_at(given: Given, index: int, step: int) -> tuple[int, int]:
    """The frame that a row reads in a step, and its place in the inputs."""
    frame = given.lengths[index] - 1 - step if given.reverse else step
    return frame, given.starts[index] + frame


@part
def row_at(given: Given, left: Left, old: np.ndarray, memory: np.ndarray, index: int, step: int) -> Row:
    frame, place = frame_at(given, index, step)
    kept = left.kept[place if left.learning else 0]
    return Row(given.inputs[place], old, left.hidden[index, frame], memory, kept, given.vectors)


@part
def one_frame(left: Left) -> Left:
    """Without a gradient: one frame of what :func:`states` writes for it, which every frame overwrites."""
    kept, normal = np.empty((1, left.kept.shape[1]), np.float32), np.empty((1, left.normal.shape[1]), np.float32)
    scale = np.empty((1, left.scale.shape[1]), np.float32)
    return Left(left.learning, left.hidden, left.memory, kept, normal, scale, left.reset_state)


@part
def row_before(given: Given, left: Left, index: int, step: int) -> Row:
    """The row of :func:`row_at` as the row function saw it."""
    frame, place = frame_at(given, index, step)
    old = left.hidden[index, frame + 1 if given.reverse else frame - 1] if step else given.first[index]
    return Row(given.inputs[place], old, left.hidden[index, frame], left.memory[place], left.kept[place], given.vectors)


@part
def transposed(matrix: np.ndarray) -> np.ndarray:
    rows, columns = matrix.shape
    found = np.empty((columns, rows), np.float32)
    for i in range(rows):
        for j in range(columns):
            found[j, i] = matrix[i, j]
    return found


# Loops: an assignment between arrays first checks whether they overlap, which takes longer than the assignment.
@part
def copy(source: np.ndarray, target: np.ndarray) -> None:
    for j in range(len(source)):
        target[j] = source[j]


@part
def clear(target: np.ndarray) -> None:
    for j in range(len(target)):
        target[j] = ZERO


@part
def add(target: np.ndarray, more: np.ndarray) -> None:
    for j in range(len(target)):
        target[j] += more[j]


@part
def normalize(given: Given, left: Left, place: int, product: np.ndarray) -> None:
    """The layer norm of a product, in place."""
    for block in range(len(given.blocks) - 1):
        left.scale[place, block] = standardize(product[given.blocks[block] : given.blocks[block + 1]])
    copy(product, left.normal[place])
    gain = given.gain
    for j in range(len(gain)):
        product[j] *= gain[j]


@part
def normalize_backward(given: Given, left: Left, at: Gradients, place: int, at_normal: np.ndarray) -> np.ndarray:
    """The gradient before the layer norm of a product, from the gradient after the layer norm and its gain."""
    normal, at_product, at_gain, gain = left.normal[place], at.products[place], at.gain, given.gain
    for j in range(len(gain)):
        at_gain[j] += at_normal[j] * normal[j]
    copy(at_normal, at_product)
    for j in range(len(gain)):
        at_product[j] *= gain[j]
    for block in range(len(given.blocks) - 1):
        of = slice(given.blocks[block], given.blocks[block + 1])
        standardize_backward(at_product[of], normal[of], left.scale[place, block], at_product[of])
    return at_product
