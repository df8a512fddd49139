"""The recurrence of a cell on a GPU: one Triton kernel that runs all frames, and one for its gradient.

A program of the kernel has sixteen rows of the batch and goes through their frames by itself, so that nothing waits for
Python or for another program. It reads the recurrent weight at each frame, out of the GPU's cache. triton_rows.py
writes what happens to a row in a frame, from the same functions that are compiled into the CPU's loop (loop.py).
"""

from __future__ import annotations

import functools
import linecache
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, cast

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from speechgru.cells.rows import At, Row, RowFunctions, standardize, standardize_backward
from speechgru.cells.triton_rows import Array, KernelText

ROWS = 16  # of a program: the fewest that tl.dot accepts
COLUMNS, INNER, WARPS = 64, 64, 8
Arrays = dict[str, np.ndarray]  # what stands for arrays while a kernel is written
Tensors = dict[str, Tensor]  # (batch, time, values), (batch, values) or, the same for all rows, (values,)


class _Choices(NamedTuple):
    """The arguments that are not tensors.

    Attributes:
        cell: its row functions.
        reverse: whether rows are read from their end.
        blocks: sizes of the parts of the recurrent product that have a layer norm of their own.
        precision: of the recurrent products' factors; they are summed in float32.
    """

    cell: RowFunctions
    reverse: bool
    blocks: tuple[int, ...]
    precision: torch.dtype


class _Context(Protocol):
    choices: _Choices
    left: Tensors
    saved_tensors: tuple[Tensor, ...]

    def save_for_backward(self, *tensors: Tensor) -> None: ...


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
    """As :func:`speechgru.cells.recurrence.recur`, on a GPU; inputs and state may have any precision.

    Under autocast the recurrent products have factors of its precision; everything else is float32, as are the results.
    """
    size = state.shape[1] // 2 if cell.memory else state.shape[1]
    weight = state.new_empty(0, size, dtype=torch.float32) if weight is None else weight
    gain = torch.ones_like(weight[: sum(blocks), 0]) if gain is None else gain
    device = inputs.device.type
    precision = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
    choices = _Choices(cell, reverse, tuple(blocks), precision)
    tensors = [tensor.float() for tensor in (inputs, state, weight, gain, *vectors)]
    lengths = lengths.to(inputs.device, torch.int64)
    with torch.autocast(device, enabled=False):
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
            return _Recurrence.apply(choices, lengths, *tensors)
        return _run(choices, lengths, tensors, learning=False)[:2]


def _run(
    choices: _Choices, lengths: Tensor, tensors: Sequence[Tensor], learning: bool
) -> tuple[Tensor, Tensor, Tensors]:
    """The outputs, the last states, and what the gradient reads."""
    inputs, state, weight, gain, *vectors = tensors
    cell, blocks, (rows, size) = choices.cell, choices.blocks, weight.shape
    batch, time, _ = inputs.shape
    remembered, resets = size if cell.memory else 0, size if cell.reset else 0
    frames = (batch, time) if learning else (batch,)
    left = {
        "inputs": inputs.contiguous(),
        "hidden": inputs.new_zeros(batch, time, size),
        "kept": inputs.new_empty(*frames, cell.kept(size)),
        "memory_before": inputs.new_empty(*frames, remembered),
        "normal": inputs.new_empty(*frames, sum(blocks)),
        "scale": inputs.new_empty(*frames, len(blocks)),
        # Zeros, because a product over all frames multiplies these by gradients of zero: a NaN here would make it NaN.
        "before": inputs.new_zeros(*frames, size),
        "reset_state": inputs.new_zeros(*frames, resets),
        **_numbered("vector", vectors),
        "gain": gain.contiguous(),
        "lengths": lengths,
    }
    states = {
        "state": state[:, :size].clone(memory_format=torch.contiguous_format),
        "memory": state[:, size : size + remembered].clone(memory_format=torch.contiguous_format),
        "product": inputs.new_empty(batch, rows - resets),
        "candidate": inputs.new_empty(batch, resets),
    }
    across = [part.to(choices.precision).t().contiguous() for part in weight.tensor_split([rows - resets])]
    _launch(_write_states, choices, left | states, across)
    return left["hidden"], torch.cat((states["state"], states["memory"]), 1), left


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _Context, choices: _Choices, lengths: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        hidden, final, left = _run(choices, lengths, tensors, learning=True)
        ctx.choices, ctx.left = choices, {name: tensor for name, tensor in left.items() if tensor is not hidden}
        ctx.save_for_backward(tensors[2], hidden)
        return hidden, final

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        weight, hidden = ctx.saved_tensors
        choices, left, (rows, size) = ctx.choices, ctx.left, weight.shape
        width = rows - size if choices.cell.reset else rows
        batch = len(hidden)
        apart = bool(choices.blocks) or not choices.cell.adds_product
        vectors = [tensor for name, tensor in left.items() if name.startswith("vector")]
        at_vectors = [tensor.new_zeros(batch, len(tensor)) for tensor in vectors]
        state, memory = (
            part.clone(memory_format=torch.contiguous_format) for part in gradients[1].tensor_split([size], 1)
        )
        at = {
            "at_hidden": gradients[0].contiguous(),
            "at_inputs": torch.zeros_like(left["inputs"]),
            "at_product": hidden.new_zeros(*hidden.shape[:2], rows if apart else 0),
            "state": state,
            "memory": memory,
            "through": torch.empty_like(state),
            **_numbered("at_vector", at_vectors),
            "at_gain": hidden.new_zeros(batch, len(left["gain"])),
        }
        across = [part.to(choices.precision).contiguous() for part in weight.tensor_split([width])]
        _launch(_write_gradients, choices, left | {"hidden": hidden} | at, across)
        at_product = at["at_product" if apart else "at_inputs"].flatten(0, 1)
        seen = (left["before"], left["reset_state"]) if choices.cell.reset else (left["before"],)
        parts = zip(at_product[:, :rows].split([width, size][: len(seen)], 1), seen, strict=True)
        at_weight = torch.cat([part.t() @ one.flatten(0, 1) for part, one in parts])
        totals = (one.sum(0) for one in (at["at_gain"], *at_vectors))
        return None, None, at["at_inputs"], torch.cat((state, memory), 1), at_weight, *totals


def _numbered(name: str, tensors: Sequence[Tensor]) -> Tensors:
    return {f"{name}{index}": tensor.contiguous() for index, tensor in enumerate(tensors)}


def _launch(
    writer: Callable[[KernelText, _Choices, Arrays], None],
    choices: _Choices,
    tensors: Tensors,
    weights: Sequence[Tensor],
) -> None:
    """Runs the kernel that ``writer`` writes over tensors; the kernel writes to some of them."""
    lengths = tensors["lengths"].contiguous()
    arrays = {name: tensor for name, tensor in tensors.items() if name != "lengths"}
    batch, time, _ = arrays["hidden"].shape
    if not batch or not time:
        return
    kernel = _kernel(writer, choices, tuple((name, one.dim(), one.shape[-1]) for name, one in arrays.items()))
    exact = torch.get_float32_matmul_precision() == "highest"  # then as near to float32 as tensor cores come
    sizes = {"ROWS": ROWS, "COLUMNS": COLUMNS, "INNER": INNER, "PRECISION": "tf32x3" if exact else "tf32"}
    programs = -(-batch // ROWS)
    with torch.cuda.device_of(lengths):
        kernel[(programs,)](*arrays.values(), *weights, lengths, batch, time, **sizes, num_warps=WARPS)


@functools.cache
def _kernel(
    writer: Callable[[KernelText, _Choices, Arrays], None],
    choices: _Choices,
    places: tuple[tuple[str, int, int], ...],
):
    """The compiled kernel; ``places`` has each array's name, axes, and values of a row."""
    import triton
    import triton.language as tl

    text = KernelText(depth=2)
    begin = {3: "at", 2: "row", 1: "row * 0"}
    text.write(*(f"{name} = {name}_ + ({begin[axes]}) * {size}" for name, axes, size in places))
    writer(text, choices, {name: cast(np.ndarray, Array(text, name, size)) for name, _, size in places})
    names = ", ".join(f"{name}_" for name, _, _ in places)
    sizes = ", ".join(f"{name}: tl.constexpr" for name in ("ROWS", "COLUMNS", "INNER", "PRECISION"))
    lines = [
        f"def kernel({names}, weight, candidate_weight, lengths, batch, time, {sizes}):",
        "    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]",
        "    length = tl.load(lengths + row, row < batch, 0)",
        "    number = 0",
        "    while number < time:",
        f"        step = {'time - 1 - number' if writer is _write_gradients else 'number'}",
        "        alive = step < length",
        f"        at = row * time + {'length - 1 - step' if choices.reverse else 'step'}",
        *text.lines,
        "        number += 1",
    ]
    # Triton reads a function's source where Python's debugger would.
    source = "\n".join(lines) + "\n"
    file = f"<{writer.__name__} of {choices.cell.forward.__module__}, {hash(source)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    namespace = {"tl": tl, "__name__": __name__}
    exec(compile(source, file, "exec"), namespace)
    return triton.jit(namespace["kernel"], do_not_specialize=["batch", "time"])


def _write_states(text: KernelText, choices: _Choices, arrays: Arrays) -> None:
    """What a frame does to the state of a row."""
    cell, product = choices.cell, arrays["product"]
    row = _row(arrays, arrays["state"])
    text.run(copy, arrays["state"], arrays["before"])
    text.run(copy, arrays["memory"], arrays["memory_before"])
    if cell.recurrent:
        text.multiply(arrays["state"], "weight", product)
    if cell.reset:
        text.run(cell.reset, row, product, arrays["reset_state"])
        product = arrays["candidate"]
        text.multiply(arrays["reset_state"], "candidate_weight", product)
    for index, of in _blocks(choices):
        text.run(normalize, product[of], arrays["normal"][of], arrays["gain"][of], arrays["scale"][index : index + 1])
    text.run(cell.forward, row, product)
    text.run(copy, arrays["hidden"], arrays["state"])


def _write_gradients(text: KernelText, choices: _Choices, arrays: Arrays) -> None:
    """The chain rule through :func:`_write_states`, for the last frame first."""
    cell, at_x, state, through = choices.cell, arrays["at_inputs"], arrays["state"], arrays["through"]
    at_product = at_x if cell.adds_product else arrays["at_product"]
    row = _row(arrays, arrays["before"])._replace(memory=arrays["memory_before"])
    at = At(at_x, at_product, state, arrays["memory"], _vectors("at_vector", arrays))
    text.run(add, state, arrays["at_hidden"])
    text.run(cell.backward, row, at)
    for index, of in _blocks(choices):
        scale = arrays["scale"][index : index + 1]
        parts = (arrays[name][of] for name in ("normal", "gain", "at_gain", "at_product"))
        text.run(normalize_backward, at_product[of], scale, *parts)
    if choices.blocks:
        at_product = arrays["at_product"]
    if cell.reset_backward:
        text.multiply(at_x[-len(state) :], "candidate_weight", through)
        text.run(cell.reset_backward, row, at, through)
        at_product = at_product[: -len(state)]
    if cell.recurrent:
        text.multiply(at_product, "weight", through)
        text.run(add, state, through)


def _row(arrays: Arrays, old: np.ndarray) -> Row:
    new, memory, kept = arrays["hidden"], arrays["memory"], arrays["kept"]
    return Row(arrays["inputs"], old, new, memory, kept, _vectors("vector", arrays))


def _vectors(name: str, arrays: Arrays) -> tuple[np.ndarray, ...]:
    return tuple(array for key, array in arrays.items() if key.startswith(name))


def _blocks(choices: _Choices) -> list[tuple[int, slice]]:
    ends = np.cumsum(choices.blocks).tolist()
    return [(index, slice(end - choices.blocks[index], end)) for index, end in enumerate(ends)]


def copy(source: np.ndarray, target: np.ndarray) -> None:
    for j in range(len(source)):
        target[j] = source[j]


def add(target: np.ndarray, more: np.ndarray) -> None:
    for j in range(len(target)):
        target[j] += more[j]


def normalize(product: np.ndarray, normal: np.ndarray, gain: np.ndarray, scale: np.ndarray) -> None:
    scale[0] = standardize(product)
    for j in range(len(product)):
        normal[j] = product[j]
        product[j] *= gain[j]


def normalize_backward(
    at_normal: np.ndarray,
    scale: np.ndarray,
    normal: np.ndarray,
    gain: np.ndarray,
    at_gain: np.ndarray,
    at_product: np.ndarray,
) -> None:
    for j in range(len(normal)):
        at_gain[j] += at_normal[j] * normal[j]
        at_product[j] = at_normal[j] * gain[j]
    standardize_backward(at_product, normal, scale[0], at_product)
