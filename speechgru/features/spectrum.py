"""Samples to mel powers: window, Fourier transform, squares, filterbank; the part that takes the time."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from speechgru import compiled
from speechgru.features.convention import Convention, LogScale
from speechgru.features.frames import Framing, window_weights
from speechgru.features.log_mel_config import LogMelConfig
from speechgru.features.mel import empty_filters, mel_filters, most_mels

if TYPE_CHECKING:
    from speechgru.features.fused_spectrum import FusedSpectrum


class MelSpectrum(nn.Module):
    """Mel powers of every frame of a signal, or their natural logarithms, as the convention of the settings has them.

    Args:
        config: the settings.

    Attributes:
        framing: where the frames lie.
        filters: the filterbank, ``(fft_size // 2 + 1, mels)``.
        log_unit: what a natural logarithm is to be multiplied by: 10 / ln 10 for decibels, else 1.
        top_db: as in the settings, resolved; infinite where nothing is clipped.
    """

    weights: Tensor
    filters: Tensor

    def __init__(self, config: LogMelConfig) -> None:
        super().__init__()
        self._rules = rules = config.resolved()
        self._fft_size = size = config.resolved_fft_size()
        self._is_smooth = size % 2 == 0 and 30**15 % size == 0  # 2, 3 and 5 are its prime factors, and none 16 times
        self.framing = Framing.of(
            config.samples(config.window_ms),
            config.samples(config.hop_ms),
            self._fft_size,
            rules.padding,
            window_is_centred_in_fft=config.convention is not Convention.kaldi,
        )
        self.log_unit = 10 / math.log(10) if rules.log is LogScale.db else 1.0
        self.top_db = rules.top_db if rules.log is LogScale.db else math.inf
        weights = window_weights(rules.window, self.framing.window, rules.periodic_window) * config.scale
        self._first_weight = float(weights[0])
        weights = nn.functional.pad(weights, (0, self._fft_size - self.framing.window))
        self.register_buffer("weights", weights.float(), persistent=False)

        band = (config.convention, config.sample_rate, self._fft_size, config.mels, *config.band_hz())
        filters = mel_filters(*band)
        if empty := empty_filters(filters):
            warnings.warn(
                f"mels={config.mels}: {empty} mel bands are narrower than the FFT's resolution and stay empty; use "
                f"mels={most_mels(*band)} or fewer, or a larger fft_size than {self._fft_size}",
                stacklevel=3,
            )
        self.register_buffer("filters", filters.float(), persistent=False)
        self._fused: FusedSpectrum | None = None

    def of_signals(self, signals: Tensor) -> Tensor:
        """Values of all frames under the samples ``(batch, samples)``: ``(frames of all, mels)``, not clipped."""
        if self.fuses(signals):
            return self._kernel().of_signals(signals).flatten(0, 1)
        return self.forward(nn.functional.pad(signals, (0, self._fft_size - self.framing.window)))

    def of_batch(self, waveforms: Tensor, lengths: list[int], counts: list[int], time: int) -> Tensor:
        """Values of utterances ``(batch, samples)``, ends included: ``(batch, time, mels)``; padded frames are 0.

        This is the compiled path, with clipping, and so only for waveforms that :meth:`fuses` accepts.

        Args:
            waveforms: the samples.
            lengths: samples of each.
            counts: frames of each.
            time: frames of the longest.
        """
        return self._kernel().of_batch(waveforms, lengths, counts, time)

    def fuses(self, *waveforms: Tensor) -> bool:
        """Whether the compiled path applies: it may run, has a transform of this size, and no gradient is asked for."""
        wanted = torch.is_grad_enabled() and any(waveform.requires_grad for waveform in waveforms)
        return self._is_smooth and compiled.usable(*waveforms, self.weights) and not wanted

    def _kernel(self) -> FusedSpectrum:
        if self._fused is None:
            # Imported where it is needed: numba takes half a second.
            from speechgru.features.fused_spectrum import FusedSpectrum

            self._fused = FusedSpectrum(self.framing, self._rules, self.weights, self.filters)
        return self._fused

    def forward(self, signal: Tensor) -> Tensor:
        """``(..., samples)`` -> ``(frames of all, mels)``.

        The frames are those of ``fft_size`` samples that lie inside the signal; the window is their first part.
        """
        hop, window, size = self.framing.hop, self.framing.window, self._fft_size
        source, preemphasis = signal, self._rules.preemphasis
        if preemphasis:
            signal = nn.functional.pad(torch.sub(source[..., 1:], source[..., :-1], alpha=preemphasis), (1, 0))
        frames = signal.unfold(-1, size, hop) * self.weights
        keep = 1 - preemphasis
        if preemphasis and self._first_weight:
            # No sample comes before a window's first one: pre-emphasis takes the first one in its place.
            frames[..., 0] = source.unfold(-1, size, hop)[..., 0] * (keep * self._first_weight)
        if self._rules.remove_dc:
            # The mean m is subtracted before pre-emphasis, which turns a constant m into (1 - preemphasis) * m.
            mean = source.unfold(-1, size, hop)[..., :window].mean(-1, keepdim=True)
            frames.addcmul_(mean, self.weights, value=-keep)
        spectrum = torch.fft.rfft(frames.flatten(0, -2))
        # Squares of the parts: several times faster than the modulus of complex numbers.
        mel = torch.view_as_real(spectrum).square().sum(-1) @ self.filters
        return mel if self._rules.log is LogScale.none else mel.clamp_(min=self._rules.log_floor).log_()
