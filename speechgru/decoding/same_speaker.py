"""When two recordings are of one speaker: the threshold that a model folder keeps."""

from __future__ import annotations

import dataclasses
import math

from speechgru.decoding.operating_point import check_chosen_on
from speechgru.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class SameSpeakerConfig:
    """How close the vectors of two recordings of one speaker are.

    Attributes:
        threshold: threshold on the cosine of the two vectors, -1 to 1: from this value on they are of one speaker.
        chosen_on: what the threshold was chosen on, such as the number of trials; texts and numbers, kept only as a
            note.
    """

    threshold: float
    chosen_on: dict[str, str | float] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.threshold) and -1 <= self.threshold <= 1):
            raise ConfigError(f"threshold={self.threshold}: from -1 to 1")
        check_chosen_on(self.chosen_on)
