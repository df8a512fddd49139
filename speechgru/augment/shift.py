"""Shift in time: the utterance begins earlier or later inside its clip."""

from __future__ import annotations

import dataclasses

import numpy as np

from speechgru.augment.draw import check_probability, happens
from speechgru.errors import ConfigError


@dataclasses.dataclass
class ShiftConfig:
    """Settings of :class:`Shift`.

    Attributes:
        probability: of shifting a clip, 0 to 1.
        max_ms: the shift is drawn uniformly from -max_ms (earlier) to +max_ms (later), 0 to 10000, and is at
            most half the clip.
    """

    probability: float = 0.0
    max_ms: float = 100.0

    def __post_init__(self) -> None:
        check_probability("shift", self)
        if not 0 <= self.max_ms <= 10_000:
            raise ConfigError(f"shift.max_ms={self.max_ms}: from 0 to 10000")


def shifted(samples: np.ndarray, by: int) -> np.ndarray:
    """The samples ``(samples,)`` moved later by ``by`` (negative: earlier), same length, zeros where nothing was."""
    by = max(-len(samples), min(len(samples), by))
    moved = np.zeros_like(samples)
    moved[max(0, by) : len(samples) + min(0, by)] = samples[max(0, -by) : len(samples) - max(0, by)]
    return moved


class Shift:
    """Moves a clip by a drawn time, as in Warden, Speech Commands (1804.03209) and kws_streaming."""

    def __init__(self, config: ShiftConfig) -> None:
        self.config = config

    def __call__(self, samples: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
        """The shifted clip, of the same length; see :class:`ShiftConfig`."""
        if not happens(rng, self.config.probability):
            return samples
        most = min(round(self.config.max_ms * sample_rate / 1000), len(samples) // 2)
        return shifted(samples, int(rng.integers(-most, most + 1)))
