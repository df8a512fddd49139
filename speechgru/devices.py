"""Which processor a model computes on: a name such as ``auto`` or ``cuda:1`` becomes a device that is there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from speechgru.errors import ConfigError

if TYPE_CHECKING:
    import torch

LEGAL = "auto, cpu, cuda, cuda:<number> or mps"


def find_device(name: str | torch.device, setting: str = "device=") -> torch.device:
    """The device that ``name`` means on this machine.

    Args:
        name: ``auto`` (CUDA where torch sees some, else the CPU), ``cpu``, ``cuda``, ``cuda:<number>`` or ``mps``.
        setting: how the user gave it, for the message: ``trainer.device=`` or ``--device ``.

    Raises:
        ConfigError: no such device, or torch sees none here.
    """
    text = str(name)
    if not re.fullmatch(r"auto|(cpu|mps)(:0)?|cuda(:\d{1,4})?", text):
        raise ConfigError(f"{setting}{text}: {LEGAL}")
    import torch

    if text == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(text)
    seen = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}[device.type]
    if (device.index or 0) >= seen:
        raise ConfigError(f"{setting}{text}: torch sees {seen} {device.type.upper()} devices here; use cpu or auto")
    return device
