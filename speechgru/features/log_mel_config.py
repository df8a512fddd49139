"""Settings of log-mel frames: sizes, band, convention, normalisation."""

from __future__ import annotations

import dataclasses

from speechgru.errors import ConfigError
from speechgru.features.convention import RULES, Convention, LogScale, Padding, Rules, Window
from speechgru.features.normalization import Normalization

# Far more than is useful; the filterbank at both limits takes 70 MB.
MOST_MELS, MOST_FFT_SIZE = 512, 32_768
MOST_SLIDING_MS = 3_600_000
MOST_LEVEL = 1e9


def _check(legal: bool, key: str, value: object, range_: str) -> None:
    if not legal:
        raise ConfigError(f"{key}={value}: must be {range_}")


@dataclasses.dataclass
class LogMelConfig:
    """Settings of :class:`LogMel`; whatever is None is decided by ``convention`` (see convention.py for the table).

    Attributes:
        sample_rate: of the waveforms, in Hz, 8000 to 768000.
        convention: whose values to reproduce: mel scale and filter shape, window, ends, logarithm.
        mels: number of mel bands, 1 to 512.
        window_ms: length of the analysis window, at most 1000 ms and 32768 samples.
        hop_ms: from one frame to the next, at most 1000 ms.
        fft_size: samples of the FFT, at least the window's, at most 32768. None: the window's own size (librosa,
            torchaudio), or the next power of two (kaldi). Fastest if it is even and 2, 3 and 5
            are its only prime factors.
        low_hz: lower edge of the lowest band. None: 0, Kaldi 20.
        high_hz: upper edge of the highest band. None: half the sample rate.
        window: shape of the window. None: hann (periodic), Kaldi povey.
        padding: what frames see beyond an utterance's ends. None: zeros (librosa), reflect (torchaudio), none (kaldi).
        preemphasis: s[t] - preemphasis * s[t-1] inside each window, 0 to 1. None: 0, Kaldi 0.97.
        dither: standard deviation of Gaussian noise added to the samples, in training mode only.
        scale: the samples are multiplied by it; 32768 gives what Kaldi's own programs give for 16-bit files.
        log: natural, db or none. None: db, Kaldi natural.
        log_floor: smallest power whose logarithm is taken. None: 1e-10, Kaldi 2^-23.
        top_db: features more than this below the utterance's highest are raised to that limit; .inf switches it off.
            Only where log is db. None: 80, which depends on the whole utterance and so cannot be streamed.
        deltas: 0, 1 (append slopes) or 2 (and slopes of slopes).
        delta_window: frames of the regression, odd, 3 to 999.
        normalization: none, utterance (each utterance by itself), sliding (statistics of the last seconds; can be
            streamed), global (statistics of the training set, see :meth:`LogMel.fit`; can be streamed).
        normalize_variance: divide by the standard deviation, and not only subtract the mean.
        sliding_window_ms: how far back the sliding window reaches, at most an hour like the next two settings.
        sliding_lookahead_ms: how far ahead the sliding window reaches: the lag it adds to a stream.
        sliding_minimum_ms: this many ms at the beginning are normalised together: the lag this adds to a stream's
            beginning.
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
        _check(8000 <= self.sample_rate <= 768_000, "sample_rate", self.sample_rate, "from 8000 to 768000 Hz")
        nyquist_hz = self.sample_rate / 2
        _check(1 <= self.mels <= MOST_MELS, "mels", self.mels, f"from 1 to {MOST_MELS}")
        _check(0 < self.hop_ms <= 1000, "hop_ms", self.hop_ms, "positive and at most 1000")
        _check(self.samples(self.hop_ms) >= 1, "hop_ms", self.hop_ms, f"one sample at {self.sample_rate} Hz or more")
        _check(0 < self.window_ms <= 1000, "window_ms", self.window_ms, "positive and at most 1000")
        size = self.samples(self.window_ms)
        _check(size >= 16, "window_ms", self.window_ms, f"16 samples at {self.sample_rate} Hz or more")
        if self.fft_size is not None:
            _check(self.fft_size >= size, "fft_size", self.fft_size, f"at least the window's {size} samples")
            _check(self.fft_size <= MOST_FFT_SIZE, "fft_size", self.fft_size, f"at most {MOST_FFT_SIZE}")
        _check(size <= MOST_FFT_SIZE, "window_ms", self.window_ms, f"at most {MOST_FFT_SIZE} samples")
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
        _check(0 <= self.dither <= MOST_LEVEL, "dither", self.dither, f"0 to {MOST_LEVEL:g}")
        _check(0 < self.scale <= MOST_LEVEL, "scale", self.scale, f"positive and at most {MOST_LEVEL:g}")
        if self.log_floor is not None:
            _check(
                0 < self.log_floor <= MOST_LEVEL, "log_floor", self.log_floor, f"positive and at most {MOST_LEVEL:g}"
            )
        if self.top_db is not None:
            _check(self.top_db > 0, "top_db", self.top_db, "positive, or .inf for no limit")
        _check(self.deltas in (0, 1, 2), "deltas", self.deltas, "0, 1 or 2")
        _check(
            3 <= self.delta_window <= 999 and self.delta_window % 2 == 1,
            "delta_window",
            self.delta_window,
            "odd, 3 to 999",
        )
        _check(self.sliding_window_ms > 0, "sliding_window_ms", self.sliding_window_ms, "positive")
        for name in ("sliding_window_ms", "sliding_lookahead_ms", "sliding_minimum_ms"):
            value = getattr(self, name)
            _check(0 <= value <= MOST_SLIDING_MS, name, value, f"at least 0 and at most {MOST_SLIDING_MS} (an hour)")

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

    def resolved(self) -> Rules:
        """The convention's rules, overridden by the settings that are not None."""
        rules = RULES[self.convention]
        given = {field.name: getattr(self, field.name, None) for field in dataclasses.fields(rules)}
        return dataclasses.replace(rules, **{name: value for name, value in given.items() if value is not None})

    def band_hz(self) -> tuple[float, float]:
        """Edges of the mel bands in Hz."""
        nyquist = self.sample_rate // 2 if self.convention is Convention.torchaudio else self.sample_rate / 2
        return float(self.resolved().low_hz), float(nyquist if self.high_hz is None else self.high_hz)
