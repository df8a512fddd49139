"""Pauses: silence, or the clip's own background, before and after what is said."""

from __future__ import annotations

import dataclasses

import numpy as np

from speechgru.augment.draw import check_probability, happens
from speechgru.errors import ConfigError


@dataclasses.dataclass
class PauseConfig:
    """Settings of :class:`Pause`.

    Attributes:
        probability: of adding pauses to a clip, 0 to 1.
        max_s: longest pause on either side, in seconds, 0 to 60; the square root of a pause is drawn uniformly, so
            short pauses are more frequent.
        silence: share of the pauses that are digital silence, 0 to 1; the others sound like the clip's background.
    """

    probability: float = 0.0
    max_s: float = 2.0
    silence: float = 0.5

    def __post_init__(self) -> None:
        check_probability("pause", self)
        if not 0 <= self.max_s <= 60:
            raise ConfigError(f"pause.max_s={self.max_s}: from 0 to 60")
        if not 0 <= self.silence <= 1:
            raise ConfigError(f"pause.silence={self.silence}: from 0 to 1")


def background(samples: np.ndarray, sample_rate: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Noise ``(count,)`` with level and spectrum of the quietest 100 ms of ``samples``.

    White noise through a filter whose taps are that stretch itself has, on average, the stretch's power spectrum.
    """
    import scipy.signal

    size = max(1, min(len(samples), sample_rate // 10))
    energy = np.cumsum(np.concatenate([[0.0], samples.astype(np.float64) ** 2]))
    start = int((energy[size:] - energy[:-size])[:: max(1, size // 4)].argmin()) * max(1, size // 4)
    stretch = samples[start : start + size] / np.float32(np.sqrt(size))
    white = rng.standard_normal(count + size - 1, dtype=np.float32)
    return scipy.signal.fftconvolve(white, stretch, mode="valid").astype(np.float32)


class Pause:
    """Puts drawn pauses around a clip: a recording does not begin and end with the speech."""

    def __init__(self, config: PauseConfig) -> None:
        self.config = config

    def __call__(self, samples: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
        """The clip between two pauses, longer by both; see :class:`PauseConfig`."""
        if not happens(rng, self.config.probability) or not len(samples):
            return samples
        before, after = self.draw(samples, sample_rate, rng), self.draw(samples, sample_rate, rng)
        return np.concatenate([before, samples, after])

    def draw(self, samples: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
        """A pause for the clip ``samples``."""
        count = round(self.config.max_s * rng.random() ** 2 * sample_rate)
        if not count or happens(rng, self.config.silence):
            return np.zeros(count, np.float32)
        return background(samples, sample_rate, count, rng)
