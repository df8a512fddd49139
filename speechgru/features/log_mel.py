"""Log-mel frames, and everything MFCC shares with them: batches, deltas, normalisation."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from speechgru.errors import ConfigError, ModelError
from speechgru.features.deltas import with_deltas
from speechgru.features.log_mel_config import LogMelConfig
from speechgru.features.normalization import (
    SMALLEST_STD,
    Normalization,
    normalize_sliding,
    normalize_utterance,
)
from speechgru.features.spectrum import MelSpectrum
from speechgru.features.stream import FeatureStream
from speechgru.lengths import valid_frames
from speechgru.registry import register


@register("features", "log_mel", LogMelConfig)
class LogMel(nn.Module):
    """Log-mel filterbank frames of padded batches of waveforms.

    Equal on real speech (tests/test_features.py) to

    - librosa.feature.melspectrogram + power_to_db: 1e-3 dB,
    - torchaudio.transforms.MelSpectrogram + AmplitudeToDB("power", 80): 2e-3 dB,
    - torchaudio.compliance.kaldi.fbank with dither=0: 2e-3 (natural logarithm; the default convention),

    for the ``convention`` of that name with ``normalization=none``. An utterance's frames do not depend on the other
    utterances or the padding of the batch. Samples are expected in [-1, 1]. Differentiable in the waveforms. On a CPU,
    where no gradient is asked for, compiled loops compute the frames (fused_spectrum.py), except inside
    ``compiled.disabled()``.

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
        """Whether :meth:`fit` still has to take the statistics of the training set."""
        return self.config.normalization is Normalization["global"] and not bool(self.fitted)

    @property
    def hop_s(self) -> float:
        """Seconds from one frame to the next."""
        return self.framing.hop / self.sample_rate

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Number of frames of utterances of ``lengths`` samples, ``(batch,)``."""
        return self.framing.count(lengths)

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Features and their lengths; ``lengths=None`` means that no waveform is padded. See the class.

        Raises:
            ModelError: ``normalization=global`` and neither :meth:`fit` nor a loaded state gave its statistics.
        """
        if lengths is None:
            lengths = torch.full(waveforms.shape[:1], waveforms.shape[1], device=waveforms.device)
        # Powers span twelve decades: no half precision here, whatever precision the model around it runs in.
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
        return FeatureStream(self)

    def unnormalized(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """What :meth:`forward` normalises: static features and their deltas, padded frames 0."""
        waveforms = waveforms.to(self.spectrum.weights.dtype)
        if self.training and self.config.dither > 0:
            waveforms = waveforms + self.config.dither * torch.randn_like(waveforms)
        time = self.framing.count(waveforms.shape[1])
        if waveforms.numel() == 0:
            return waveforms.new_zeros(waveforms.shape[0], time, self.output_size), self.output_lengths(lengths)
        padded = True
        # An exported graph can hold no loop over the lengths of its rows.
        samples: list[int] = []
        if waveforms.is_cpu and not torch.compiler.is_exporting():
            samples = lengths.tolist()
            counts = [self.framing.count(length) for length in samples]
            assert len(samples) == len(waveforms), f"{len(samples)} lengths of {len(waveforms)} waveforms"
            assert max(samples) <= waveforms.shape[1], f"lengths {samples} of waveforms {tuple(waveforms.shape)}"
            frame_lengths, padded = torch.tensor(counts), min(counts) < time
        else:
            frame_lengths = self.output_lengths(lengths)
        if self.spectrum.fuses(waveforms):
            features = self._project(self.spectrum.of_batch(waveforms, samples, counts, time))
        else:
            features = self._all_at_once(waveforms, lengths, frame_lengths, time)
        if self.config.deltas:
            features = with_deltas(features, frame_lengths, self.config.deltas, self.config.delta_window)
        if padded:
            features = features.masked_fill(~valid_frames(frame_lengths, time)[..., None], 0.0)
        return features, frame_lengths

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
        """Features ``(..., output_size)`` normalised by the statistics of the training set."""
        if not torch.compiler.is_exporting() and not self.fitted:
            raise ModelError(
                "normalization=global has no statistics: call features.fit(training batches) or load a trained model"
            )
        return (features - self.mean) / self.std

    def static(self, signals: Tensor) -> Tensor:
        """Static features ``(frames of all, static_size)`` under the samples ``(batch, samples)``; nothing is clipped.

        With the linear algebra library of PyTorch's x86 wheels, a frame's values are the same to the bit whether it is
        computed alone or with others. That library rounds a product with a single row differently from one with
        several, so a lone frame is computed twice.
        """
        lone = len(signals) == 1 and signals.shape[1] < self.framing.window + self.framing.hop
        rows = self._project(self.spectrum.of_signals(signals.expand(2, -1) if lone else signals))
        return rows[:1] if lone else rows

    def _project(self, log_mel: Tensor) -> Tensor:
        """Natural logarithms ``(..., mels)`` -> ``(..., static_size)``: in their unit; MFCC: the cosine transform."""
        unit = self._log_unit
        return log_mel * unit if unit != 1 else log_mel

    def _all_at_once(self, waveforms: Tensor, lengths: Tensor, counts: Tensor, time: int) -> Tensor:
        """Static features ``(batch, time, static_size)`` by torch's operators: the definition, which has gradients."""
        framing = self.framing
        stop = framing.first + (time - 1) * framing.hop + framing.window
        index = torch.arange(framing.first, stop, device=waveforms.device)
        source = framing.source(index[None], lengths[:, None])
        signal = waveforms.gather(1, source.clamp(min=0)).masked_fill(source < 0, 0.0)
        rows = self.spectrum.of_signals(signal).unflatten(0, (waveforms.shape[0], time))
        if self.top_db < math.inf:
            audible = rows.masked_fill(~valid_frames(counts, time)[..., None], -math.inf)
            rows = torch.maximum(rows, audible.amax((1, 2), keepdim=True) - self.top_db / self._log_unit)
        return self._project(rows)
