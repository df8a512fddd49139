"""When a score is a detection: the settings of keyword spotting that a model folder keeps."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from reprlib import repr as shown

from speechgru.errors import ConfigError, ModelError

# Of a word that has no threshold of its own.
DEFAULT_THRESHOLD = 0.5


@dataclasses.dataclass(frozen=True)
class KeywordConfig:
    """How scores over time become detections (:class:`speechgru.streaming.keywords.KeywordSpotter`).

    Attributes:
        smoothing_ms: a score is the mean over so many milliseconds, at least 0; 0 takes each score as it is.
        refractory_s: after a detection the same word is not detected again for so many seconds, at least 0.
        thresholds: of the smoothed score of each word, above 0 and at most 1; a word that is not here has 0.5.
    """

    smoothing_ms: float = 300.0
    refractory_s: float = 1.0
    thresholds: dict[str, float] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("smoothing_ms", "refractory_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{name}={value}: a finite number of at least 0")
        for label, threshold in self.thresholds.items():
            if not 0 < threshold <= 1:
                raise ConfigError(f"thresholds: {label}={threshold}: a number above 0 and at most 1")

    def threshold(self, label: str) -> float:
        """The threshold of one word."""
        return self.thresholds.get(label, DEFAULT_THRESHOLD)

    def to_plain(self) -> dict[str, object]:
        """Plain values for a settings file."""
        return dataclasses.asdict(self)

    @classmethod
    def from_plain(cls, plain: object, where: str = "keywords") -> KeywordConfig:
        """What :meth:`to_plain` gave.

        Raises:
            ModelError: a key is unknown, or a value is no legal number; ``where`` names the place.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(plain, Mapping) or not set(plain) <= set(names):
            raise ModelError(f"{where}: {shown(plain)}: a table of {', '.join(names)}")
        thresholds = plain.get("thresholds", {})
        if not isinstance(thresholds, Mapping) or not all(isinstance(label, str) for label in thresholds):
            raise ModelError(f"{where}: thresholds={shown(thresholds)}: a table of labels and numbers")
        for name, value in [*plain.items(), *thresholds.items()]:
            if name != "thresholds" and (isinstance(value, bool) or not isinstance(value, (int, float))):
                raise ModelError(f"{where}: {name}={shown(value)}: a number")
        numbers = {name: float(value) for name, value in plain.items() if name != "thresholds"}
        try:
            return cls(thresholds={label: float(value) for label, value in thresholds.items()}, **numbers)
        except ConfigError as error:
            raise ModelError(f"{where}: {error}") from None
