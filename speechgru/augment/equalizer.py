"""Equalizer: every microphone, loudspeaker and place in a room colours the sound in its own way."""

from __future__ import annotations

import dataclasses

import numpy as np

from speechgru.augment.draw import check_probability, happens
from speechgru.errors import ConfigError

_LOWEST_HZ = 62.5


@dataclasses.dataclass
class EqualizerConfig:
    """Settings of :class:`Equalizer`.

    Attributes:
        probability: of colouring a clip, 0 to 1.
        max_db: the gain at each point is drawn uniformly from -max_db to max_db, 0 to 40 dB.
        points: number of frequencies that have a gain of their own, 2 to 32, from 62.5 Hz to half of the sample rate
            and evenly apart in octaves; between them the gain is a straight line in dB over octaves.
    """

    probability: float = 0.0
    max_db: float = 10.0
    points: int = 6

    def __post_init__(self) -> None:
        check_probability("equalizer", self)
        if not 0 <= self.max_db <= 40:
            raise ConfigError(f"equalizer.max_db={self.max_db}: from 0 to 40")
        if not 2 <= self.points <= 32:
            raise ConfigError(f"equalizer.points={self.points}: from 2 to 32")


def equalize(samples: np.ndarray, sample_rate: int, gains_db: np.ndarray) -> np.ndarray:
    """The samples ``(samples,)`` with these gains in dB at frequencies evenly apart in octaves; no phase is changed.

    The first gain holds at 62.5 Hz and below, the last at half of ``sample_rate``.
    """
    import scipy.fft

    spectrum = scipy.fft.rfft(samples)
    frequencies = np.arange(len(spectrum)) * (sample_rate / max(len(samples), 1))
    octaves = np.log2(np.maximum(frequencies, _LOWEST_HZ) / _LOWEST_HZ)
    points = np.linspace(0, np.log2(sample_rate / 2 / _LOWEST_HZ), len(gains_db))
    gain = 10 ** (np.interp(octaves, points, gains_db) / 20)
    return scipy.fft.irfft(spectrum * gain.astype(np.float32), len(samples)).astype(np.float32)


class Equalizer:
    """Colours a clip by a drawn curve of gains over frequency; its power changes with it."""

    def __init__(self, config: EqualizerConfig) -> None:
        self.config = config

    def __call__(self, samples: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
        """The coloured clip; see :class:`EqualizerConfig`."""
        if not happens(rng, self.config.probability) or not len(samples):
            return samples
        gains_db = rng.uniform(-self.config.max_db, self.config.max_db, self.config.points)
        return equalize(samples, sample_rate, gains_db)
