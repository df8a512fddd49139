"""Chunks of one recording, of any type and at any rate, as a waveform at the rate of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from speechgru.audio.decoder import check_rate
from speechgru.audio.samples import full_scale_one, mono
from speechgru.errors import AudioError

if TYPE_CHECKING:
    import soxr

_MOST_CHANNELS = 8


class Samples:
    """The chunks of one stream, in order; together they give what ``read_audio`` gives for the whole, to the bit.

    Args:
        sample_rate: of the waveform, in Hz.

    Attributes:
        rate: of the chunks, in Hz; 0 before the first.
        taken: samples of each channel so far.
    """

    def __init__(self, sample_rate: int) -> None:
        self.rate = 0
        self.taken = 0
        self._wanted = sample_rate
        self._channels = 0
        self._resampler: soxr.ResampleStream | None = None

    def check(self, samples: np.ndarray | Tensor, rate: int) -> np.ndarray:
        """A chunk as float32 ``(channels, samples)``, a copy, for :meth:`take`; the stream does not change.

        Args:
            samples: ``(samples,)`` or ``(channels, samples)``, which are averaged; float, or int8, int16, int32 or
                uint8 at full scale. It may be empty.
            rate: samples per second and channel, the same for all chunks.

        Raises:
            AudioError: another rate or other channels than before, a wrong shape, NaN, floats far beyond full scale.
        """
        if not isinstance(samples, (np.ndarray, Tensor)):
            raise AudioError(f"chunk of type {type(samples).__name__}: give a numpy array or a tensor")
        check_rate(rate, "rate", "chunk")
        if self.rate and rate != self.rate:
            raise AudioError(f"chunk: rate={rate} after {self.rate} Hz; a stream has one rate, begin another stream")
        if isinstance(samples, Tensor):
            samples = samples.detach().cpu()
            values = (samples.float() if samples.is_floating_point() else samples).numpy()
        else:
            values = samples
        if values.ndim not in (1, 2):
            raise AudioError(f"chunk of shape {values.shape}: give (samples,) or (channels, samples)")
        values = values[None] if values.ndim == 1 else values
        if not values.shape[1]:  # nothing new; it says nothing of the channels
            values = np.zeros((self._channels or 1, 0), np.float32)
        channels = len(values)
        if not 1 <= channels <= _MOST_CHANNELS:
            hint = "; transpose it to (channels, samples)" if values.shape[1] <= _MOST_CHANNELS else ""
            raise AudioError(f"chunk of shape {values.shape}: {channels} channels, 1 to {_MOST_CHANNELS} do{hint}")
        if self._channels and channels != self._channels:
            raise AudioError(
                f"chunk of shape {values.shape}: {channels} channels after {self._channels}; give (channels, samples), "
                "always as many channels"
            )
        integers, values = values.dtype.kind in "iu", full_scale_one(values, "chunk")
        if integers or not values.size:
            return values
        if not np.isfinite(values).all():
            at_s = (self.taken + int(np.argmin(np.isfinite(values).all(axis=0)))) / rate
            raise AudioError(f"chunk: NaN or infinite samples, the first {at_s:.3f} s into the stream; leave it out")
        mono(values, "chunk", rate, self.taken)
        return values

    def take(self, values: np.ndarray, rate: int) -> Tensor:
        """The waveform ``(samples,)``, possibly empty, that a checked chunk adds."""
        heard = values[0] if len(values) == 1 else values.mean(axis=0, dtype=np.float32)
        if values.size:
            self._channels = len(values)
        if not self.rate:
            self.rate = rate
            if rate != self._wanted:
                import soxr

                self._resampler = soxr.ResampleStream(rate, self._wanted, 1, dtype="float32", quality="HQ")
        self.taken += len(heard)
        if self._resampler is not None:
            heard = self._resampler.resample_chunk(np.ascontiguousarray(heard))
        return torch.from_numpy(heard)

    def flush(self) -> Tensor:
        """The samples left at the end."""
        if self._resampler is None:
            return torch.zeros(0)
        return torch.from_numpy(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))
