"""Samples as float32 of full scale 1: arrays of any type, channels averaged, checked for impossible values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from speechgru.audio.decoder import MOST_CHANNELS, check_rate
from speechgru.errors import AudioError

if TYPE_CHECKING:
    import torch

# Floats may exceed full scale, as decoded mp3 and loud mixes do. Above 24 dB they are integers that were not divided:
# 16-bit samples turned into floats reach thousands.
LOUDEST = 16.0


def mono(values: np.ndarray, name: str, rate: int, before: int = 0) -> np.ndarray:
    """The mean of ``(channels, samples)``. ``before``: samples that came earlier.

    Raises:
        AudioError: samples that are no numbers, or far beyond full scale.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        mean = values[0] if len(values) == 1 else values.mean(axis=0, dtype=np.float32)
    finite = np.isfinite(mean)
    if not finite.all():
        bad_s = (before + int(np.argmin(finite))) / rate
        raise AudioError(f"{name}: NaN or infinite samples, the first after {bad_s:.3f} s; repair the file")
    peak = max(float(mean.max()), -float(mean.min())) if len(mean) else 0.0
    if peak > LOUDEST:
        raise AudioError(
            f"{name}: floating point samples up to {peak:g}, but full scale is 1; divide them by 32768 (if they were "
            "16 bits), or give them as integers"
        )
    return mean


def from_array(array: np.ndarray | torch.Tensor, rate: int | None) -> tuple[np.ndarray, str, int]:
    """An array ``(samples,)`` or ``(channels, samples)`` as ``(channels, samples)``, its name and its rate.

    Raises:
        AudioError: no rate, another shape, or no samples.
    """
    import torch

    name = f"array of shape {tuple(array.shape)}"
    if isinstance(array, torch.Tensor):
        values = (array.detach().float() if array.is_floating_point() else array.detach()).cpu().numpy()
    else:
        values = array
    if rate is None:
        raise AudioError(f"{name}: an array does not know its rate; give source_rate in Hz")
    check_rate(rate, "source_rate", name)
    if values.ndim not in (1, 2):
        raise AudioError(f"{name}: {values.ndim} dimensions; give (samples,) or (channels, samples)")
    values = values[None] if values.ndim == 1 else values
    if len(values) > MOST_CHANNELS:
        hint = "; transpose it to (channels, samples)" if values.shape[1] <= MOST_CHANNELS else ""
        raise AudioError(f"{name}: {len(values)} channels, at most {MOST_CHANNELS}{hint}")
    if not values.size:
        raise AudioError(f"{name}: no samples")
    return values, name, rate


def full_scale_one(values: np.ndarray, name: str) -> np.ndarray:
    """Samples of any type as float32, integers divided by their full scale.

    Raises:
        AudioError: a type that has no full scale.
    """
    kind, width = values.dtype.kind, values.dtype.itemsize
    if kind == "f":
        with np.errstate(over="ignore"):  # becomes infinite and is refused as that
            return values.astype(np.float32)
    if kind == "i" and width <= 4:
        return values.astype(np.float32) / np.float32(2 ** (8 * width - 1))
    if kind == "u" and width == 1:
        return (values.astype(np.float32) - 128) / 128
    raise AudioError(f"{name}: samples of type {values.dtype}; give floating point, int8, int16, int32 or uint8")
