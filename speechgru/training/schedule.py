"""Learning rate schedules: functions of the step alone, so that a resumed run needs to remember nothing."""

from __future__ import annotations

import dataclasses
import math

from speechgru.errors import ConfigError
from speechgru.registry import register


@dataclasses.dataclass
class ConstantConfig:
    """The peak learning rate, from the end of the warm-up on.

    Attributes:
        warmup: share of all steps over which the rate climbs linearly from near 0, 0 to 1.
    """

    warmup: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.warmup <= 1:
            raise ConfigError(f"warmup={self.warmup}: from 0 to 1")


@register("schedule", "constant", ConstantConfig)
class Constant:
    """Linear warm-up, then the peak.

    Args:
        steps: optimizer steps of the whole run.
    """

    def __init__(self, steps: int, config: ConstantConfig) -> None:
        self.steps = max(1, steps)
        self.config = config
        self.warmup_steps = round(config.warmup * self.steps)

    def __call__(self, step: int) -> float:
        """The factor on the peak learning rate at ``step``, counted from 0."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        return self.decay(min(1.0, (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)))

    def decay(self, progress: float) -> float:
        """The factor after the warm-up, at ``progress`` from 0 to 1 through the rest."""
        return 1.0


@dataclasses.dataclass
class CosineConfig(ConstantConfig):
    """Half a cosine from the peak down (1608.03983, eq. 5).

    Attributes:
        floor: the last factor on the peak, 0 to 1.
    """

    warmup: float = 0.05
    floor: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.floor <= 1:
            raise ConfigError(f"floor={self.floor}: from 0 to 1")


@register("schedule", "cosine", CosineConfig)
class Cosine(Constant):
    """Linear warm-up, then half a cosine down to ``floor``."""

    config: CosineConfig

    def decay(self, progress: float) -> float:
        return self.config.floor + (1 - self.config.floor) * (1 + math.cos(math.pi * progress)) / 2


@dataclasses.dataclass
class OneCycleConfig(CosineConfig):
    """The one-cycle policy (Smith, 1708.07120): a long cosine climb from ``start``, a cosine fall to ``floor``.

    Attributes:
        start: the first factor on the peak, 0 to 1.
    """

    warmup: float = 0.3
    floor: float = 1e-4
    start: float = 0.04

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.start <= 1:
            raise ConfigError(f"start={self.start}: from 0 to 1")


@register("schedule", "one_cycle", OneCycleConfig)
class OneCycle(Cosine):
    """A cosine climb over the warm-up, then a cosine fall."""

    config: OneCycleConfig

    def __call__(self, step: int) -> float:
        if step < self.warmup_steps:
            climb = (1 - math.cos(math.pi * step / self.warmup_steps)) / 2
            return self.config.start + (1 - self.config.start) * climb
        return super().__call__(step)


@dataclasses.dataclass
class ExponentialConfig(ConstantConfig):
    """A constant ratio from step to step.

    Attributes:
        floor: the last factor on the peak, above 0 up to 1.
    """

    warmup: float = 0.05
    floor: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.floor <= 1:
            raise ConfigError(f"floor={self.floor}: above 0 up to 1")


@register("schedule", "exponential", ExponentialConfig)
class Exponential(Constant):
    """Linear warm-up, then an exponential fall to ``floor``."""

    config: ExponentialConfig

    def decay(self, progress: float) -> float:
        return self.config.floor**progress
