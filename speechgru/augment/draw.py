"""Whether an augmentation is applied to an utterance, and the legal ranges of its strength."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from speechgru.errors import ConfigError


class Drawn(Protocol):
    """Settings of an augmentation that is applied with a probability."""

    probability: float


def check_probability(name: str, config: Drawn) -> None:
    """Raises ConfigError where ``config.probability`` is not between 0 and 1."""
    if not 0 <= config.probability <= 1:
        raise ConfigError(f"{name}.probability={config.probability}: from 0 (never) to 1 (always)")


def check_range(name: str, config: object, low_key: str, high_key: str, lowest: float, highest: float) -> None:
    """Raises ConfigError unless lowest <= low <= high <= highest for the two fields of ``config``."""
    low, high = getattr(config, low_key), getattr(config, high_key)
    for key, value in ((low_key, low), (high_key, high)):
        if not lowest <= value <= highest:
            raise ConfigError(f"{name}.{key}={value}: from {lowest:g} to {highest:g}")
    if low > high:
        raise ConfigError(f"{name}.{low_key}={low}: at most {name}.{high_key}={high}")


def happens(rng: np.random.Generator, probability: float) -> bool:
    """True with the given probability; 0 draws nothing, so switching something off does not change the other draws."""
    return probability > 0 and rng.random() < probability
