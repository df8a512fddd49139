"""Gain: the same utterance louder or softer."""

from __future__ import annotations

import dataclasses

import numpy as np

from speechgru.augment.draw import check_probability, check_range, happens


@dataclasses.dataclass
class GainConfig:
    """Settings of :class:`Gain`.

    Attributes:
        probability: of changing the gain of a clip, 0 to 1.
        min_db, max_db: the gain is drawn uniformly, in dB, between the two, -80 to 40. Nothing is clipped.
    """

    probability: float = 0.0
    min_db: float = -10.0
    max_db: float = 6.0

    def __post_init__(self) -> None:
        check_probability("gain", self)
        check_range("gain", self, "min_db", "max_db", -80, 40)


class Gain:
    """Multiplies a clip by a drawn gain."""

    def __init__(self, config: GainConfig) -> None:
        self.config = config

    def __call__(self, samples: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
        """The clip times the drawn gain; see :class:`GainConfig`."""
        if not happens(rng, self.config.probability):
            return samples
        gain_db = rng.uniform(self.config.min_db, self.config.max_db)
        return samples * np.float32(10 ** (gain_db / 20))
