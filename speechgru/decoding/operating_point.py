"""When a score is a detection: the settings of keyword spotting that a model folder keeps."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from reprlib import repr as shown

from speechgru.errors import ConfigError

# For every word, where no threshold was chosen.
DEFAULT_THRESHOLD = 0.5


@dataclasses.dataclass(frozen=True)
class KeywordConfig:
    """How scores over time become detections (:class:`speechgru.streaming.keywords.KeywordSpotter`).

    Attributes:
        smoothing_ms: scores are averaged over this many milliseconds, at least 0; 0 takes each score as it is.
        refractory_s: after a detection the same word is not detected again for this many seconds, at least 0.
        thresholds: the threshold on the smoothed score of each word, above 0 and at most 1. Words without a threshold
            are not detected; where there are no thresholds at all, every word is detected, at 0.5.
        chosen_on: what the thresholds were chosen on, such as hours of background and its alarms; texts and numbers,
            kept only as a note.
    """

    smoothing_ms: float = 100.0
    refractory_s: float = 1.0
    thresholds: dict[str, float] = dataclasses.field(default_factory=dict)
    chosen_on: dict[str, str | float] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("smoothing_ms", "refractory_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{name}={value}: a finite number of at least 0")
        if not isinstance(self.thresholds, Mapping):
            raise ConfigError(f"thresholds={shown(self.thresholds)}: a table")
        for label, threshold in self.thresholds.items():
            if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not 0 < threshold <= 1:
                raise ConfigError(f"thresholds.{label}={shown(threshold)}: a number above 0 and at most 1")
        check_chosen_on(self.chosen_on)

    def threshold(self, label: str) -> float:
        """The threshold of one word; infinite where it is not detected."""
        return self.thresholds.get(label, math.inf) if self.thresholds else DEFAULT_THRESHOLD


def check_chosen_on(chosen_on: object) -> None:
    """Raises ConfigError unless what a threshold was chosen on is a table of texts and numbers."""
    if not isinstance(chosen_on, Mapping):
        raise ConfigError(f"chosen_on={shown(chosen_on)}: a table")
    for name, value in chosen_on.items():
        if not isinstance(value, (str, int, float)):
            raise ConfigError(f"chosen_on.{name}={shown(value)}: a text or a number")
