"""Bandwidth: telephones, codecs and cheap microphones pass no high frequencies."""

from __future__ import annotations

import dataclasses

import numpy as np

from speechgru.augment.draw import check_probability, check_range, happens


@dataclasses.dataclass
class BandwidthConfig:
    """Settings of :class:`Bandwidth`.

    Attributes:
        probability: of cutting the high frequencies of a clip, 0 to 1.
        min_hz, max_hz: the highest frequency that is left is drawn uniformly between the two, 1000 to 384000 Hz.
    """

    probability: float = 0.0
    min_hz: float = 3400.0
    max_hz: float = 7000.0

    def __post_init__(self) -> None:
        check_probability("bandwidth", self)
        check_range("bandwidth", self, "min_hz", "max_hz", 1000, 384_000)


def cut_above(samples: np.ndarray, sample_rate: int, hz: float) -> np.ndarray:
    """The samples ``(samples,)`` without frequencies above ``hz``; from ``0.9 hz`` on they fade out as a cosine."""
    import scipy.fft

    spectrum = scipy.fft.rfft(samples)
    frequencies = np.arange(len(spectrum)) * (sample_rate / max(len(samples), 1))
    beyond = np.clip((frequencies - 0.9 * hz) / (0.1 * hz), 0, 1)
    kept = (0.5 + 0.5 * np.cos(np.pi * beyond)).astype(np.float32)
    return scipy.fft.irfft(spectrum * kept, len(samples)).astype(np.float32)


class Bandwidth:
    """Cuts a clip's frequencies above a drawn one."""

    def __init__(self, config: BandwidthConfig) -> None:
        self.config = config

    def __call__(self, samples: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
        """The clip without its high frequencies; see :class:`BandwidthConfig`."""
        if not happens(rng, self.config.probability) or not len(samples):
            return samples
        hz = rng.uniform(self.config.min_hz, self.config.max_hz)
        return cut_above(samples, sample_rate, hz) if hz < sample_rate / 2 else samples
