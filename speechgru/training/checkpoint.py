"""The checkpoint: everything a killed run needs to go on bit for bit, in one safetensors file.

Tensors (weights, averages, optimizer state) are stored as ``group/name``, plain numbers as JSON in the file's metadata.
The file is written beside its place and then renamed: a kill leaves the old checkpoint or the new one.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import torch
from torch import Tensor

from speechgru.errors import ModelError
from speechgru.files import write_atomically
from speechgru.plain import Record

NAME = "checkpoint.safetensors"


def save_checkpoint(folder: Path, tensors: dict[str, dict[str, Tensor]], state: Record) -> None:
    """Writes ``folder/checkpoint.safetensors``.

    Args:
        tensors: groups of named tensors, such as {"model": state_dict}.
        state: plain values that JSON can hold.
    """
    from safetensors.torch import save

    flat = {
        f"{group}/{name}": tensor.detach().cpu().contiguous()
        for group, named in tensors.items()
        for name, tensor in named.items()
    }
    write_atomically(folder / NAME, save(flat, {"state": json.dumps(state)}))


def checksum(folder: Path) -> int:
    """The CRC-32 of ``folder/checkpoint.safetensors``; 0 where there is none."""
    path = folder / NAME
    return zlib.crc32(path.read_bytes()) if path.is_file() else 0


def read_state(path: Path) -> Record:
    """The plain values of a checkpoint; its tensors are not read.

    Raises:
        ModelError: the file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            return json.loads(file.metadata()["state"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error


def load_checkpoint(path: Path) -> tuple[dict[str, dict[str, Tensor]], Record]:
    """Reads what :func:`save_checkpoint` wrote: the groups of tensors and the plain values.

    Raises:
        ModelError: the file is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise ModelError(f"{path} is not there; nothing to resume from; leave resume= out")
    groups: dict[str, dict[str, Tensor]] = {}
    try:
        with safe_open(path, "pt") as file:
            state = json.loads(file.metadata()["state"])
            for key in file.keys():  # noqa: SIM118  a safetensors file is no dict
                group, name = key.split("/", 1)
                groups.setdefault(group, {})[name] = file.get_tensor(key)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error
    return groups, state


def _damaged(path: Path, error: Exception) -> ModelError:
    return ModelError(f"{path} is damaged ({error}); begin again with overwrite=true")


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The running statistics of an optimizer by ``<parameter number>.<name>``."""
    return {
        f"{number}.{name}": torch.as_tensor(value)
        for number, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
        if value is not None
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Puts back what :func:`optimizer_tensors` took; the settings stay those of the optimizer."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
