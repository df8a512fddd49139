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
    """Mel powers of every frame of a signal, or their natural logarithms, as the settings' convention has them.

    Args:
        config: the settings.

    Attributes:
        framing: where the frames lie.
        log_unit: what a natural logarithm is to be multiplied by: 10 / ln 10 for decibels, else 1.
        top_db: as in the settings, resolved; infinite where nothing is clipped.
    """

    weights: Tensor
    _low_filters: Tensor
    _high_filters: Tensor

    def __init__(self, config: LogMelConfig) -> None:
        super().__init__()
        rules = config.resolved()
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
        self._log_floor = rules.log_floor
        self._take_log = rules.log is not LogScale.none
        self._preemphasis = rules.preemphasis
        self._remove_dc = rules.remove_dc

        weights = window_weights(rules.window, self.framing.window, rules.periodic_window) * config.scale
        self._first_weight = float(weights[0])
        weights = nn.functional.pad(weights, (0, self._fft_size - self.framing.window))
        self.register_buffer("weights", weights.float(), persistent=False)

        self._band = band = (config.convention, config.sample_rate, self._fft_size, config.mels, *config.band_hz())
        filters = mel_filters(*band)
        if empty := empty_filters(filters):
            warnings.warn(
                f"mels={config.mels}: {empty} mel bands are narrower than the FFT's resolution and stay empty; use "
                f"mels={most_mels(*band)} or fewer, or a larger fft_size than {self._fft_size}",
                stacklevel=3,
            )
        # Each filter twice over, because a power is the sum of two squares: the real and the imaginary part's. The
        # lower three fifths of the filters touch few bins, the upper two many: two products do half the work of one.
        filters = filters.repeat_interleave(2, 0).float()
        lower = 8 * round(0.6 * config.mels / 8) or config.mels
        self._low_bins, low = _used_rows(filters[:, :lower])
        self._high_bins, high = _used_rows(filters[:, lower:])
        self.register_buffer("_low_filters", low, persistent=False)
        self.register_buffer("_high_filters", high, persistent=False)
        self._fused: FusedSpectrum | None = None

    def of_pieces(self, pieces: list[Tensor]) -> Tensor:
        """Of all frames under the samples that the pieces ``(..., samples)`` make together: ``(frames, mels)``."""
        if self.fuses(*pieces):
            signals = torch.cat(pieces, dim=-1).reshape(-1, sum(piece.shape[-1] for piece in pieces))
            return self._log(self._kernel().of_signals(signals).flatten(0, 1))
        if reach := self._fft_size - self.framing.window:
            pieces = [*pieces, pieces[0].new_zeros(*pieces[0].shape[:-1], reach)]
        return self.forward(torch.cat(pieces, dim=-1) if len(pieces) > 1 else pieces[0])

    def of_batch(self, waveforms: Tensor, lengths: Tensor, counts: Tensor, time: int) -> Tensor:
        """Of utterances ``(batch, samples)``, ends and all: ``(batch, time, mels)``; padded frames are 0 or 1.

        Compiled, and so only for waveforms that :meth:`fuses` takes.

        Args:
            waveforms: the samples.
            lengths: samples of each, ``(batch,)``.
            counts: frames of each, ``(batch,)``.
            time: frames of the longest.
        """
        return self._log(self._kernel().of_batch(waveforms, lengths, counts, time))

    def fuses(self, *waveforms: Tensor) -> bool:
        """Whether the compiled path applies: it may run, has such a transform, and no gradient is asked for."""
        wanted = torch.is_grad_enabled() and any(waveform.requires_grad for waveform in waveforms)
        return self._is_smooth and compiled.usable(*waveforms, self.weights) and not wanted

    def _log(self, mel: Tensor) -> Tensor:
        return mel.log_() if self._take_log else mel

    def _kernel(self) -> FusedSpectrum:
        if self._fused is None:
            # Imported where it is needed: numba takes half a second.
            from speechgru.features.fused_spectrum import FusedSpectrum

            self._fused = FusedSpectrum(
                self.framing,
                self._fft_size,
                self.weights[: self.framing.window],
                mel_filters(*self._band),
                self._preemphasis,
                self._remove_dc,
                self._log_floor if self._take_log else 0.0,
            )
        return self._fused

    def forward(self, signal: Tensor) -> Tensor:
        """``(..., samples)`` -> ``(frames of all, mels)``.

        The frames are those of ``fft_size`` samples that lie inside the signal; the window is their first part.
        """
        hop, window, size = self.framing.hop, self.framing.window, self._fft_size
        source = signal
        if self._preemphasis:
            signal = nn.functional.pad(torch.sub(source[..., 1:], source[..., :-1], alpha=self._preemphasis), (1, 0))
        frames = signal.unfold(-1, size, hop) * self.weights
        keep = 1 - self._preemphasis
        if self._preemphasis and self._first_weight:
            # There is no sample before a window's first one: pre-emphasis takes that sample itself in its place.
            frames[..., 0] = source.unfold(-1, size, hop)[..., 0] * (keep * self._first_weight)
        if self._remove_dc:
            # The mean m is subtracted before pre-emphasis, which turns a constant m into (1 - preemphasis) * m.
            mean = source.unfold(-1, size, hop)[..., :window].mean(-1, keepdim=True)
            frames.addcmul_(mean, self.weights, value=-keep)
        spectrum = torch.fft.rfft(frames.flatten(0, -2))
        # Squares of the parts as a plain matrix: several times faster than the modulus of complex numbers.
        power = torch.view_as_real(spectrum).flatten(1).square_()
        low, high = power[:, self._low_bins] @ self._low_filters, power[:, self._high_bins] @ self._high_filters
        mel = torch.cat([low, high], dim=1)
        return self._log(mel.clamp_(min=self._log_floor) if self._take_log else mel)


def _used_rows(matrix: Tensor) -> tuple[slice, Tensor]:
    """The rows from the first to the last that is not zero, and where they lie."""
    used = matrix.abs().sum(1).nonzero()[:, 0].tolist() or [0]
    rows = slice(used[0], used[-1] + 1)
    return rows, matrix[rows].clone()
