"""Where frames lie in an utterance, and what surrounds its ends."""

from __future__ import annotations

import dataclasses
import math
from typing import TypeVar

import torch
from torch import Tensor

from speechgru.features.convention import Padding, Window

Count = TypeVar("Count", int, Tensor)


@dataclasses.dataclass(frozen=True)
class Framing:
    """The geometry of frames: window t covers the samples ``[first + t * hop, first + t * hop + window)``.

    Samples outside the utterance are what ``padding`` says. An utterance of n samples has
    ``max(1, (n + slack) // hop)`` frames, none if n = 0: the shortest sound still has one frame.

    Attributes:
        window: samples of a window.
        hop: samples from one frame to the next.
        padding: what lies outside the utterance.
        first: sample at which the first window begins; negative where frames are centred.
        slack: see the formula above.
    """

    window: int
    hop: int
    padding: Padding
    first: int
    slack: int

    @staticmethod
    def of(window: int, hop: int, fft_size: int, padding: Padding, window_is_centred_in_fft: bool) -> Framing:
        """The geometry of librosa and torch.stft (windows centred in ``fft_size`` samples) or of Kaldi (not)."""
        inset = (fft_size - window) // 2
        if padding is Padding.mirror:
            return Framing(window, hop, padding, hop // 2 - window // 2, hop // 2)
        if padding is Padding.none:
            span = fft_size if window_is_centred_in_fft else window
            return Framing(window, hop, padding, inset if window_is_centred_in_fft else 0, hop - span)
        half = fft_size // 2
        return Framing(window, hop, padding, inset - half, hop + 2 * half - fft_size)

    def count(self, samples: Count) -> Count:
        """Number of frames of utterances of ``samples`` samples (int or integer tensor)."""
        if isinstance(samples, Tensor):
            frames = torch.div(samples + self.slack, self.hop, rounding_mode="floor")
            return torch.minimum(frames.clamp_(min=1), samples)  # at least one frame, none without samples
        return max(1, (samples + self.slack) // self.hop) if samples > 0 else 0

    def ready(self, samples: int) -> int:
        """Number of frames that no later sample can change, once ``samples`` samples are known."""
        if self.padding in (Padding.reflect, Padding.mirror) and samples <= -self.first:
            return 0
        inside = (samples - self.first - self.window) // self.hop + 1
        return max(0, min(inside, (samples + self.slack) // self.hop))

    def source(self, index: Tensor, samples: int | Tensor) -> Tensor:
        """Which of an utterance's ``samples`` samples stands at ``index``, also outside of it; -1 means zero."""
        if self.padding is Padding.reflect:
            last = torch.as_tensor(samples - 1, device=index.device)
            period = 2 * last.clamp(min=1)
            index = torch.remainder(index, period)
            return torch.minimum(torch.minimum(index, period - index), last)
        if self.padding is Padding.mirror:
            period = 2 * torch.as_tensor(samples, device=index.device).clamp(min=1)
            index = torch.remainder(index, period)
            return torch.minimum(index, period - 1 - index)
        return torch.where((index >= 0) & (index < samples), index, -1)

    def stretch(self, kept: Tensor, origin: int, samples: int, start: int, stop: int) -> list[Tensor]:
        """The ``(stop - start - 1) * hop + window`` samples under frames ``start .. stop``, in pieces to concatenate.

        Args:
            kept: ``(..., samples)`` from ``origin`` on, as far as these frames need them.
            origin: index of the first kept sample.
            samples: length of the utterance.
            start: first frame.
            stop: one beyond the last frame, ``start < stop <= count(samples)``.
        """
        first = self.first + start * self.hop
        last = self.first + (stop - 1) * self.hop + self.window
        pieces = []
        if first < 0:
            pieces.append(self._before(kept, origin, samples, -first)[..., : last - first])
        if first < samples and last > 0:
            pieces.append(kept[..., max(0, first) - origin : min(samples, last) - origin])
        if last > samples:
            pieces.append(self._after(kept, origin, samples, last - samples)[..., -(last - first) :])
        return pieces

    def _before(self, kept: Tensor, origin: int, samples: int, count: int) -> Tensor:
        if self.padding in (Padding.none, Padding.zeros):
            return kept.new_zeros(*kept.shape[:-1], count)
        begin = 1 if self.padding is Padding.reflect else 0
        if begin + count <= samples:
            return kept[..., begin - origin : begin + count - origin].flip(-1)
        index = torch.arange(-count, 0, device=kept.device)
        return kept[..., self.source(index, samples) - origin]

    def _after(self, kept: Tensor, origin: int, samples: int, count: int) -> Tensor:
        if self.padding in (Padding.none, Padding.zeros):
            return kept.new_zeros(*kept.shape[:-1], count)
        end = samples - (1 if self.padding is Padding.reflect else 0)
        if count <= end:
            return kept[..., end - count - origin : end - origin].flip(-1)
        index = torch.arange(samples, samples + count, device=kept.device)
        return kept[..., self.source(index, samples) - origin]


def window_weights(shape: Window, size: int, periodic: bool) -> Tensor:
    """Analysis window of ``size`` samples, float64 ``(size,)``; Kaldi's windows are symmetric, the others' periodic."""
    phase = 2 * math.pi * torch.arange(size, dtype=torch.float64) / max(1, size if periodic else size - 1)
    if shape is Window.rectangular:
        return torch.ones(size, dtype=torch.float64)
    if shape is Window.hamming:
        return 0.54 - 0.46 * torch.cos(phase)
    if shape is Window.blackman:
        return 0.42 - 0.5 * torch.cos(phase) + 0.08 * torch.cos(2 * phase)
    hann = 0.5 - 0.5 * torch.cos(phase)
    return hann.clamp(min=0) ** 0.85 if shape is Window.povey else hann
