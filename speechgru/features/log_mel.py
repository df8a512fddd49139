"""Log-mel frames, and everything MFCC shares with them: batches, deltas, normalisation."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from speechgru.errors import ConfigError, ModelError
from speechgru.features.convention import RULES, Convention, LogScale, Padding, Window
from speechgru.features.deltas import with_deltas
from speechgru.features.normalization import (
    SMALLEST_STD,
    Normalization,
    normalize_sliding,
    normalize_utterance,
)
from speechgru.features.spectrum import MelSpectrum
from speechgru.lengths import valid_frames
from speechgru.registry import register

if TYPE_CHECKING:
    from speechgru.features.stream import FeatureStream

# Frames computed at once on a CPU: their windows and spectra stay in the cache (about 1.6 MB at 25 ms and 16 kHz).
BLOCK_FRAMES = 512


def _check(legal: bool, key: str, value: object, range_: str) -> None:
    if not legal:
        raise ConfigError(f"{key}={value}: must be {range_}")


@dataclasses.dataclass
class LogMelConfig:
    """Settings of :class:`LogMel`; whatever is None is decided by ``convention`` (see convention.py for the table).

    Attributes:
        sample_rate: of the waveforms, in Hz, 8000 or more.
        convention: whose values to reproduce: mel scale and filter shape, window, ends, logarithm.
        mels: number of mel bands.
        window_ms: length of the analysis window.
        hop_ms: from one frame to the next.
        fft_size: samples of the FFT, at least the window's. None: the window's own size (librosa, torchaudio), or
            the next power of two (kaldi).
        low_hz: lower edge of the lowest band. None: 0, Kaldi 20.
        high_hz: upper edge of the highest band. None: half the sampling rate.
        window: shape of the window. None: hann (periodic), Kaldi povey.
        padding: what frames see beyond an utterance's ends. None: zeros (librosa), reflect (torchaudio), none (kaldi).
        preemphasis: s[t] - preemphasis * s[t-1] inside each window, 0 to 1. None: 0, Kaldi 0.97.
        dither: standard deviation of Gaussian noise added to the samples, in training mode only.
        scale: the samples are multiplied by it; 32768 gives what Kaldi's own programs give for 16-bit files.
        log: natural, db or none. None: db, Kaldi natural.
        log_floor: smallest power whose logarithm is taken. None: 1e-10, Kaldi 2^-23.
        top_db: features lower than the utterance's highest by more than this are raised to it; .inf switches it off.
            Only where log is db. None: 80, which depends on the whole utterance and so cannot be streamed.
        deltas: 0, 1 (append slopes) or 2 (and slopes of slopes).
        delta_window: frames of the regression, odd, 3 or more.
        normalization: none, utterance (each utterance by itself), sliding (statistics of the last seconds; can be
            streamed), global (statistics of the training set, see :meth:`LogMel.fit`; can be streamed).
        normalize_variance: divide by the standard deviation, and not only subtract the mean.
        sliding_window_ms: how far back the sliding window reaches.
        sliding_lookahead_ms: how far ahead it reaches: the lag it adds to a stream.
        sliding_minimum_ms: the first so many ms are normalised together: the lag it adds to a stream's beginning.
    """

    sample_rate: int = 16000
    convention: Convention = Convention.kaldi
    mels: int = 40
    window_ms: float = 25.0
    hop_ms: float = 10.0
    fft_size: int | None = None
    low_hz: float | None = None
    high_hz: float | None = None
    window: Window | None = None
    padding: Padding | None = None
    preemphasis: float | None = None
    dither: float = 0.0
    scale: float = 1.0
    log: LogScale | None = None
    log_floor: float | None = None
    top_db: float | None = None
    deltas: int = 0
    delta_window: int = 5
    normalization: Normalization = Normalization.utterance
    normalize_variance: bool = True
    sliding_window_ms: float = 3000.0
    sliding_lookahead_ms: float = 0.0
    sliding_minimum_ms: float = 500.0

    def __post_init__(self) -> None:
        _check(self.sample_rate >= 8000, "sample_rate", self.sample_rate, "8000 Hz or more")
        nyquist_hz = self.sample_rate / 2
        _check(self.mels >= 1, "mels", self.mels, "1 or more")
        _check(0 < self.hop_ms < math.inf, "hop_ms", self.hop_ms, "positive")
        _check(self.samples(self.hop_ms) >= 1, "hop_ms", self.hop_ms, f"one sample at {self.sample_rate} Hz or more")
        _check(0 < self.window_ms < math.inf, "window_ms", self.window_ms, "positive")
        size = self.samples(self.window_ms)
        _check(size >= 16, "window_ms", self.window_ms, f"16 samples at {self.sample_rate} Hz or more")
        if self.fft_size is not None:
            _check(self.fft_size >= size, "fft_size", self.fft_size, f"at least the window's {size} samples")
        low_hz, high_hz = self.band_hz()
        _check(
            0 <= low_hz < nyquist_hz, "low_hz", self.low_hz, f"from 0 to below {nyquist_hz:g} (half the sampling rate)"
        )
        _check(
            low_hz < high_hz <= nyquist_hz,
            "high_hz",
            self.high_hz,
            f"above low_hz={low_hz:g} and at most {nyquist_hz:g} (half the sampling rate), or null for that",
        )
        if self.preemphasis is not None:
            _check(0 <= self.preemphasis <= 1, "preemphasis", self.preemphasis, "from 0 to 1")
        _check(0 <= self.dither < math.inf, "dither", self.dither, "0 or more")
        _check(0 < self.scale < math.inf, "scale", self.scale, "positive")
        if self.log_floor is not None:
            _check(0 < self.log_floor < math.inf, "log_floor", self.log_floor, "positive")
        if self.top_db is not None:
            _check(self.top_db > 0, "top_db", self.top_db, "positive, or .inf for no limit")
        _check(self.deltas in (0, 1, 2), "deltas", self.deltas, "0, 1 or 2")
        _check(
            self.delta_window >= 3 and self.delta_window % 2 == 1, "delta_window", self.delta_window, "odd, 3 or more"
        )
        _check(0 < self.sliding_window_ms < math.inf, "sliding_window_ms", self.sliding_window_ms, "positive")
        _check(
            0 <= self.sliding_lookahead_ms < math.inf, "sliding_lookahead_ms", self.sliding_lookahead_ms, "0 or more"
        )
        _check(0 <= self.sliding_minimum_ms < math.inf, "sliding_minimum_ms", self.sliding_minimum_ms, "0 or more")

    def samples(self, duration_ms: float) -> int:
        """Whole samples in a duration, rounded down as Kaldi does (forgiving 1e-4 of a sample of rounding error)."""
        return int(self.sample_rate * duration_ms / 1000 + 1e-4)

    def frames(self, duration_ms: float) -> int:
        """Whole frames in a duration."""
        return int(duration_ms / self.hop_ms + 1e-6)

    def resolved_fft_size(self) -> int:
        """Size of the FFT in samples."""
        if self.fft_size is not None:
            return self.fft_size
        size = self.samples(self.window_ms)
        return 1 << (size - 1).bit_length() if RULES[self.convention].power_of_two_fft else size

    def band_hz(self) -> tuple[float, float]:
        """Edges of the mel bands in Hz."""
        low_hz = RULES[self.convention].low_hz if self.low_hz is None else self.low_hz
        nyquist = self.sample_rate // 2 if self.convention is Convention.torchaudio else self.sample_rate / 2
        return float(low_hz), float(nyquist if self.high_hz is None else self.high_hz)


@register("features", "log_mel", LogMelConfig)
class LogMel(nn.Module):
    """Log-mel filterbank frames of padded batches of waveforms.

    Equal on real speech (tests/test_features.py) to

    - librosa.feature.melspectrogram + power_to_db: 1e-3 dB,
    - torchaudio.transforms.MelSpectrogram + AmplitudeToDB("power", 80): 2e-3 dB,
    - torchaudio.compliance.kaldi.fbank with dither=0: 2e-3 (natural logarithm; the default convention),

    for the ``convention`` of that name with ``normalization=none``. An utterance's frames depend on no other utterance
    and on no padding of the batch. Samples are expected in [-1, 1]. Differentiable in the waveforms. On a CPU the
    frames are computed utterance by utterance in blocks that stay in the cache, elsewhere all at once. On a CPU
    where no gradient is asked for a compiled kernel does it (fused_spectrum.py), outside of ``compiled.disabled()``.

    Args:
        config: the settings.

    Shape:
        waveforms ``(batch, samples)``, lengths ``(batch,)`` -> features ``(batch, time, output_size)``, frame lengths
        ``(batch,)``. An utterance of n samples has ``output_lengths(n)`` frames: with ``padding=none``,
        1 + (n - window) // hop; with zeros or reflect, 1 + n // hop (even FFT size). The shortest non-empty utterance
        has one frame (completed with what the padding says), an empty one has none. Padded frames are 0.
    """

    def __init__(self, config: LogMelConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or LogMelConfig()
        self.sample_rate = config.sample_rate
        self.spectrum = MelSpectrum(config)
        self.framing, self.top_db, self._log_unit = self.spectrum.framing, self.spectrum.top_db, self.spectrum.log_unit
        if config.normalization is Normalization["global"]:
            self.register_buffer("mean", torch.zeros(self.output_size))
            self.register_buffer("std", torch.ones(self.output_size))
            self.register_buffer("fitted", torch.tensor(False))

    mean: Tensor
    std: Tensor
    fitted: Tensor

    @property
    def static_size(self) -> int:
        """Features per frame before deltas."""
        return self.config.mels

    @property
    def output_size(self) -> int:
        """Features per frame."""
        return self.static_size * (1 + self.config.deltas)

    @property
    def needs_fit(self) -> bool:
        """Whether statistics of the training set are still to be taken by :meth:`fit`."""
        return self.config.normalization is Normalization["global"] and not bool(self.fitted)

    @property
    def hop_s(self) -> float:
        """Seconds from one frame to the next."""
        return self.framing.hop / self.sample_rate

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Frames of utterances of so many samples, ``(batch,)``."""
        return self.framing.count(lengths)

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Features and their lengths; ``lengths=None`` means that no waveform is padded. See the class.

        Raises:
            ModelError: ``normalization=global`` and neither :meth:`fit` nor a loaded state gave its statistics.
        """
        if lengths is None:
            lengths = torch.full((len(waveforms),), waveforms.shape[1], device=waveforms.device)
        # Powers span twelve decades: no half precision here, whatever the model around it is run in.
        if torch.is_autocast_enabled(waveforms.device.type):
            with torch.autocast(waveforms.device.type, enabled=False):
                return self.forward(waveforms, lengths)
        features, frame_lengths = self.unnormalized(waveforms, lengths)
        return self.normalize(features, frame_lengths), frame_lengths

    def fit(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Take the mean and standard deviation of every feature from training batches ``(waveforms, lengths)``.

        Raises:
            ConfigError: the normalisation is not ``global``, or there was no frame.
        """
        if self.config.normalization is not Normalization["global"]:
            raise ConfigError(
                f"normalization={self.config.normalization.name}: only normalization=global can be fitted"
            )
        count = 0
        total = torch.zeros(self.output_size, dtype=torch.float64)
        squares = torch.zeros(self.output_size, dtype=torch.float64)
        with torch.no_grad():
            for waveforms, lengths in batches:
                features, frames = self.unnormalized(waveforms.to(self.mean.device), lengths.to(self.mean.device))
                valid = features[valid_frames(frames, features.shape[1])].double().cpu()
                count += len(valid)
                total += valid.sum(0)
                squares += valid.square().sum(0)
        if count == 0:
            raise ConfigError("normalization=global: there was no frame to take the statistics from")
        mean = total / count
        self.mean.copy_(mean)
        if self.config.normalize_variance:
            self.std.copy_((squares / count - mean.square()).clamp(min=SMALLEST_STD**2).sqrt())
        self.fitted.fill_(True)

    def stream(self) -> FeatureStream:
        """A new stream: the same features, computed from chunks as they arrive (see stream.py).

        Raises:
            ConfigError: a setting needs the whole utterance (``normalization=utterance``, a finite ``top_db``).
        """
        from speechgru.features.stream import FeatureStream

        return FeatureStream(self)

    def unnormalized(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """What :meth:`forward` normalises: static features and their deltas, padded frames 0."""
        waveforms = waveforms.to(self.spectrum.weights.dtype)
        if self.training and self.config.dither > 0:
            waveforms = waveforms + self.config.dither * torch.randn_like(waveforms)
        time = self.framing.count(waveforms.shape[1])
        if waveforms.numel() == 0:
            return waveforms.new_zeros(len(waveforms), time, self.output_size), self.output_lengths(lengths)
        padded = True
        if waveforms.device.type == "cpu":
            samples = lengths.tolist()
            counts = [self.framing.count(length) for length in samples]
            assert len(samples) == len(waveforms), f"{len(samples)} lengths of {len(waveforms)} waveforms"
            assert max(samples) <= waveforms.shape[1], f"lengths {samples} of waveforms {tuple(waveforms.shape)}"
            frame_lengths, padded = torch.tensor(counts), min(counts) < time
            if self.spectrum.fuses(waveforms):
                features = self.spectrum.of_batch(waveforms, lengths, frame_lengths, time)
                features = features if self.top_db < math.inf else self._project(features)
            else:
                features = self._in_blocks(waveforms, samples, time)
        else:
            frame_lengths = self.output_lengths(lengths)
            features = self._all_at_once(waveforms, lengths, time)
        padding = ~valid_frames(frame_lengths, time)[..., None] if padded else None
        if self.top_db < math.inf:
            features = self._project(self._clip(features, padding))
        if self.config.deltas:
            features = with_deltas(features, frame_lengths, self.config.deltas, self.config.delta_window)
        return features if padding is None else features.masked_fill(padding, 0.0), frame_lengths

    def normalize(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Features ``(batch, time, output_size)`` normalised over their own lengths, padded frames 0."""
        config = self.config
        if config.normalization is Normalization.none:
            return features
        if config.normalization is Normalization.utterance:
            return normalize_utterance(features, lengths, config.normalize_variance)
        if config.normalization is Normalization.sliding:
            features = normalize_sliding(features, lengths, *self.sliding_frames(), config.normalize_variance)
        else:
            features = self.normalize_globally(features)
        return features.masked_fill(~valid_frames(lengths, features.shape[1])[..., None], 0.0)

    def sliding_frames(self) -> tuple[int, int, int]:
        """Frames before, frames after, and least number of frames of the sliding normalisation."""
        config = self.config
        return (
            config.frames(config.sliding_window_ms),
            config.frames(config.sliding_lookahead_ms),
            config.frames(config.sliding_minimum_ms),
        )

    def normalize_globally(self, features: Tensor) -> Tensor:
        """Features ``(..., output_size)`` by the statistics of the training set."""
        if not self.fitted:
            raise ModelError(
                "normalization=global has no statistics: call features.fit(training batches) or load a trained model"
            )
        return (features - self.mean) / self.std

    def static(self, pieces: list[Tensor]) -> Tensor:
        """Static features ``(frames, static_size)`` under the samples that the pieces ``(..., samples)`` make together.

        Before clipping and projection if ``top_db`` is finite: ``(frames, mels)``. A frame's values are the same to the
        bit in whatever company it is computed, with the linear algebra library of PyTorch's x86 wheels: there a product
        with a single row is rounded otherwise than one with several, and so a lone frame is computed twice.
        """
        samples = sum(piece.shape[-1] for piece in pieces)
        lone = samples < self.framing.window + self.framing.hop and pieces[0].shape[:-1].numel() == 1
        if lone:
            pieces = [piece.reshape(1, -1).expand(2, -1) for piece in pieces]
        rows = self.spectrum.of_pieces(pieces)
        if self.top_db == math.inf:
            rows = self._project(rows)
        return rows[:1] if lone else rows

    def _project(self, log_mel: Tensor) -> Tensor:
        """Natural logarithms ``(..., mels)`` -> ``(..., static_size)``: their unit; MFCC: the cosine transform."""
        unit = self._log_unit
        return log_mel * unit if unit != 1 else log_mel

    def _clip(self, log_mel: Tensor, padding: Tensor | None) -> Tensor:
        """``(batch, time, mels)`` raised to ``top_db`` below the loudest valid value of each utterance."""
        audible = log_mel if padding is None else log_mel.masked_fill(padding, -math.inf)
        loudest = audible.amax((1, 2), keepdim=True)
        return torch.maximum(log_mel, loudest - self.top_db / self._log_unit)

    def _in_blocks(self, waveforms: Tensor, lengths: list[int], time: int) -> Tensor:
        """Static features ``(batch, time, static_size)`` of padded waveforms, a few hundred frames at once."""
        framing = self.framing
        if len(lengths) * time <= BLOCK_FRAMES and min(lengths) == waveforms.shape[1]:
            rows = self.static(framing.stretch(waveforms, 0, lengths[0], 0, time))
            return rows.view(len(lengths), time, -1)
        width = self.static_size if self.top_db == math.inf else self.config.mels
        features = waveforms.new_zeros(len(waveforms), time, width)
        begin = 0
        for length, group in itertools.groupby(lengths):
            end = begin + len(list(group))
            count = framing.count(length)
            together = max(1, BLOCK_FRAMES // max(1, count))  # short utterances of equal length share a block
            for first in range(begin, end, together):
                equal = waveforms[first : min(end, first + together), :length]
                for start in range(0, count, BLOCK_FRAMES):
                    stop = min(count, start + BLOCK_FRAMES)
                    rows = self.static(framing.stretch(equal, 0, length, start, stop))
                    features[first : first + len(equal), start:stop] = rows.view(len(equal), stop - start, width)
            begin = end
        return features

    def _all_at_once(self, waveforms: Tensor, lengths: Tensor, time: int) -> Tensor:
        """The same in one go, for devices on which every operation has a price of its own."""
        framing = self.framing
        stop = framing.first + (time - 1) * framing.hop + framing.window
        index = torch.arange(framing.first, stop, device=waveforms.device)
        source = framing.source(index[None], lengths[:, None])
        signal = waveforms.gather(1, source.clamp(min=0)).masked_fill(source < 0, 0.0)
        rows = self.spectrum.of_pieces([signal]).unflatten(0, (len(waveforms), time))
        return rows if self.top_db < math.inf else self._project(rows)
