"""``model.safetensors``: its header is read and checked before anything is built."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from speechgru.errors import ModelError, one_line

# A tensor takes about a hundred bytes of the header.
_MOST_HEADER_BYTES = 4 << 20
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "BOOL": torch.bool,
}


class Outline(NamedTuple):
    """The shape and type of a tensor, without its numbers."""

    shape: tuple[int, ...]
    dtype: torch.dtype


def read_outlines(path: Path) -> dict[str, Outline]:
    """The tensors of a weights file by name; only its header is read.

    Raises:
        ModelError: it is not a weights file, is cut short, or holds a type of numbers that models do not have.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with path.open("rb") as file:
            header_bytes = int.from_bytes(file.read(8), "little")
        if header_bytes > _MOST_HEADER_BYTES:
            raise ModelError(f"{path} is damaged: a header of {header_bytes} bytes; copy it again")
        outlines = {}
        with safe_open(path, "pt") as opened:
            for name in opened.keys():  # noqa: SIM118  it is no dict
                one = opened.get_slice(name)
                if one.get_dtype() not in _DTYPES:
                    raise ModelError(f"{path}: {name} is of type {one.get_dtype()}; known: {', '.join(_DTYPES)}")
                outlines[name] = Outline(tuple(one.get_shape()), _DTYPES[one.get_dtype()])
    except (SafetensorError, OSError, OverflowError) as error:
        raise ModelError(f"{path} is damaged: {one_line(error)}; copy it again") from error
    return outlines


def check_outlines(path: Path, found: Mapping[str, Outline], described: Mapping[str, Tensor]) -> None:
    """Compares the tensors of a weights file with those of the model that is to be built.

    Raises:
        ModelError: a tensor is missing, is not in the model, or has another shape or kind of numbers.
    """
    wrong = [f"{name} is missing" for name in described if name not in found]
    wrong += [f"{name} is not in the model" for name in found if name not in described]
    for name, tensor in described.items():
        if name not in found:
            continue
        shape, dtype = found[name]
        if shape != tuple(tensor.shape):
            wrong.append(f"{name} is {shape}, the model's {tuple(tensor.shape)}")
        elif dtype != tensor.dtype and not (dtype.is_floating_point and tensor.is_floating_point()):
            wrong.append(f"{name} is {dtype}, the model's {tensor.dtype}")
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise ModelError(f"{path} does not fit config.yaml and tokens.txt: {one_line(wrong[0])}{more}")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Parameters and statistics, floats of any width as float32.

    Raises:
        ModelError: the file is damaged, or a number is NaN or infinite.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is damaged: {one_line(error)}; copy it again") from error
    for name, tensor in tensors.items():
        if tensor.is_floating_point():
            tensors[name] = tensor.float()
            if not tensors[name].isfinite().all():
                raise ModelError(f"{path}: {name} holds a number that is NaN or infinite; train the model again")
    return tensors
