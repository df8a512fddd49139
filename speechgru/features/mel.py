"""Mel filterbanks of the three conventions."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from speechgru.features.convention import Convention

# Slaney's scale (Auditory Toolbox, 1998): linear below 1 kHz, logarithmic above.
_SLANEY_HZ_PER_MEL = 200.0 / 3
_SLANEY_BREAK_HZ = 1000.0
_SLANEY_LOG_STEP = math.log(6.4) / 27


def hz_to_mel(hz: Tensor, convention: Convention) -> Tensor:
    """Mel of a frequency: Slaney's scale for librosa, 2595 log10(1 + f / 700) (HTK; Kaldi's 1127 ln) otherwise."""
    if convention is Convention.librosa:
        above = _SLANEY_BREAK_HZ / _SLANEY_HZ_PER_MEL + (hz / _SLANEY_BREAK_HZ).clamp(min=1).log() / _SLANEY_LOG_STEP
        return torch.where(hz < _SLANEY_BREAK_HZ, hz / _SLANEY_HZ_PER_MEL, above)
    if convention is Convention.kaldi:
        return 1127.0 * torch.log(1 + hz / 700)
    return 2595.0 * torch.log10(1 + hz / 700)


def mel_to_hz(mel: Tensor, convention: Convention) -> Tensor:
    """The inverse of :func:`hz_to_mel`."""
    if convention is Convention.librosa:
        break_mel = _SLANEY_BREAK_HZ / _SLANEY_HZ_PER_MEL
        above = _SLANEY_BREAK_HZ * torch.exp(_SLANEY_LOG_STEP * (mel - break_mel))
        return torch.where(mel < break_mel, mel * _SLANEY_HZ_PER_MEL, above)
    if convention is Convention.kaldi:
        return 700 * (torch.exp(mel / 1127.0) - 1)
    return 700 * (10 ** (mel / 2595.0) - 1)


@functools.lru_cache(maxsize=32)
def mel_filters(
    convention: Convention, sample_rate: int, fft_size: int, mels: int, low_hz: float, high_hz: float
) -> Tensor:
    """Triangular filters, float64 ``(fft_size // 2 + 1, mels)``; do not write into the result, it is shared.

    librosa: triangles in Hz on Slaney's scale, each of unit area (``norm="slaney"``). torchaudio: triangles in Hz on
    the HTK scale with peak 1. Kaldi: triangles in mel with peak 1.
    """
    bins = fft_size // 2 + 1
    if convention is Convention.torchaudio:
        bin_hz = torch.linspace(0, sample_rate // 2, bins, dtype=torch.float64)
    else:
        bin_hz = torch.arange(bins, dtype=torch.float64) * (sample_rate / fft_size)
    edges_hz = torch.tensor([low_hz, high_hz], dtype=torch.float64)
    low, high = hz_to_mel(edges_hz, convention).tolist()
    corners = torch.linspace(low, high, mels + 2, dtype=torch.float64)
    if convention is Convention.kaldi:
        place = hz_to_mel(bin_hz, convention)
    else:
        place, corners = bin_hz, mel_to_hz(corners, convention)
    left, centre, right = corners[:-2], corners[1:-1], corners[2:]
    rise = (place[:, None] - left) / (centre - left)
    fall = (right - place[:, None]) / (right - centre)
    filters = torch.minimum(rise, fall).clamp(min=0)
    if convention is Convention.librosa:
        filters = filters * (2 / (right - left))
    return filters


def empty_filters(filters: Tensor) -> int:
    """Number of filters that no FFT bin falls into."""
    return int((filters.amax(0) <= 0).sum())


def most_mels(convention: Convention, sample_rate: int, fft_size: int, mels: int, low_hz: float, high_hz: float) -> int:
    """A number of filters, below ``mels``, with none empty, while with one filter more some are empty."""
    most, least = mels, 1
    while most - least > 1:
        middle = (least + most) // 2
        if empty_filters(mel_filters.__wrapped__(convention, sample_rate, fft_size, middle, low_hz, high_hz)):
            most = middle
        else:
            least = middle
    return least
