"""Speed: the recording played faster or slower, which moves tempo, pitch and formants together."""

from __future__ import annotations

import dataclasses

import numpy as np

from speechgru.augment.draw import check_probability, check_range, happens


@dataclasses.dataclass
class SpeedConfig:
    """Settings of :class:`Speed`.

    Attributes:
        probability: of changing the speed of a clip, 0 to 1.
        min_factor, max_factor: the speed is drawn uniformly between the two, 0.5 to 2; above 1 is faster, higher and
            shorter.
    """

    probability: float = 0.0
    min_factor: float = 0.9
    max_factor: float = 1.1

    def __post_init__(self) -> None:
        check_probability("speed", self)
        check_range("speed", self, "min_factor", "max_factor", 0.5, 2.0)


def change_speed(samples: np.ndarray, factor: float) -> np.ndarray:
    """The samples ``(samples,)`` played ``factor`` times as fast: ``samples / factor`` of them, rounded (soxr HQ)."""
    import soxr

    # Only the ratio of the two rates counts. The quicker presets save a third of the time, but they alias.
    changed = soxr.resample(np.ascontiguousarray(samples), factor, 1.0, quality="HQ")
    return changed if len(changed) else samples


class Speed:
    """Speed perturbation by resampling (Ko et al., Audio Augmentation for Speech Recognition, Interspeech 2015)."""

    def __init__(self, config: SpeedConfig) -> None:
        self.config = config

    def __call__(self, samples: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
        """The clip at the drawn speed, its length changed accordingly; see :class:`SpeedConfig`."""
        if not happens(rng, self.config.probability):
            return samples
        return change_speed(samples, rng.uniform(self.config.min_factor, self.config.max_factor))
