"""Additive noise at a drawn signal-to-noise ratio: recorded, or synthetic between white and brown."""

from __future__ import annotations

import dataclasses

import numpy as np

from speechgru.augment.draw import check_probability, check_range, happens
from speechgru.augment.recordings import Recordings
from speechgru.errors import ConfigError

_LOWEST_HZ = 20.0  # steep noise below would have all the noise power and not be heard


@dataclasses.dataclass
class NoiseConfig:
    """Settings of :class:`Noise`.

    Attributes:
        probability: of adding noise to a clip, 0 to 1.
        folder: recordings of noise (a folder, a file or a glob); empty: synthetic noise.
        min_snr_db, max_snr_db: the ratio of the power of the whole clip to that of the noise is drawn uniformly, in dB,
            between the two, -30 to 100.
        min_slope, max_slope: the power density of synthetic noise falls with 1 / frequency^slope, the slope drawn
            uniformly between the two, 0 to 3; 0 is white, 1 pink, 2 brown.
        synthetic: fraction of the noisy clips that get synthetic noise although there is a folder, 0 to 1.
        cache_mb: memory for decoded recordings in each worker process, 0 or more.
    """

    probability: float = 0.0
    folder: str = ""
    min_snr_db: float = 0.0
    max_snr_db: float = 20.0
    min_slope: float = 0.0
    max_slope: float = 2.0
    synthetic: float = 0.0
    cache_mb: float = 64.0

    def __post_init__(self) -> None:
        check_probability("noise", self)
        check_range("noise", self, "min_snr_db", "max_snr_db", -30, 100)
        check_range("noise", self, "min_slope", "max_slope", 0, 3)
        if not 0 <= self.synthetic <= 1:
            raise ConfigError(f"noise.synthetic={self.synthetic}: from 0 to 1")
        if not self.cache_mb >= 0:
            raise ConfigError(f"noise.cache_mb={self.cache_mb}: at least 0")


def add_noise(samples: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """``samples + g * noise``, g such that the powers over the whole clip are ``snr_db`` apart; both ``(samples,)``.

    Where either is all zeros no ratio exists, and the samples come back as they are.
    """
    signal_energy, noise_energy = float(samples @ samples), float(noise @ noise)
    if signal_energy <= 0 or noise_energy <= 0:
        return samples
    return samples + noise * np.float32(np.sqrt(signal_energy / noise_energy) * 10 ** (-snr_db / 20))


def coloured_noise(samples: int, sample_rate: int, slope: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise ``(samples,)`` float32 whose power density is 1 / frequency^slope from 20 Hz up, and 0 below.

    A random spectrum shaped and transformed back (Timmer and Koenig, On generating power law noise, 1995).
    """
    import scipy.fft

    size = scipy.fft.next_fast_len(samples, real=True)
    frequency_hz = np.arange(size // 2 + 1, dtype=np.float32) * np.float32(sample_rate / size)
    lowest = min(int(np.ceil(_LOWEST_HZ * size / sample_rate)), len(frequency_hz) - 1)
    parts = rng.standard_normal((len(frequency_hz), 2), dtype=np.float32)
    spectrum = parts.view(np.complex64)[:, 0]
    spectrum[:lowest] = 0
    spectrum[lowest:] *= np.exp(np.float32(-slope / 2) * np.log(np.maximum(frequency_hz[lowest:], 1)))
    return scipy.fft.irfft(spectrum, size)[:samples]


class Noise:
    """Adds noise at a drawn signal-to-noise ratio.

    Raises:
        AudioError: ``config.folder`` is missing or holds no audio; later also a recording that cannot be used, with its
            name.
    """

    def __init__(self, config: NoiseConfig) -> None:
        self.config = config
        self.recordings = Recordings(config.folder, config.cache_mb) if config.folder and config.probability else None

    def __call__(self, samples: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
        """The noisy clip, of the same length; see :class:`NoiseConfig`."""
        config = self.config
        if not happens(rng, config.probability) or not len(samples):
            return samples
        snr_db = rng.uniform(config.min_snr_db, config.max_snr_db)
        if self.recordings is None or happens(rng, config.synthetic):
            noise = coloured_noise(len(samples), sample_rate, rng.uniform(config.min_slope, config.max_slope), rng)
        else:
            noise = self.recordings.excerpt(int(rng.integers(len(self.recordings))), sample_rate, len(samples), rng)
        return add_noise(samples, noise, snr_db)
