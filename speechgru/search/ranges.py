"""What a search may try of a setting: numbers between two ends, or one of several values."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from speechgru.errors import ConfigError

if TYPE_CHECKING:
    from optuna.trial import Trial


@dataclasses.dataclass(frozen=True)
class WholeNumbers:
    """The whole numbers ``low, low + step, ...`` up to ``high``.

    Attributes:
        low: the first.
        high: the last.
        step: between two of them, at least 1; 1 where ``log`` is true.
        log: whether their logarithms are drawn evenly; then ``low`` is at least 1.
    """

    low: int
    high: int
    step: int = 1
    log: bool = False

    def draw(self, trial: Trial, key: str) -> str:
        """The value that a trial has, as a command line has it."""
        return str(trial.suggest_int(key, self.low, self.high, step=self.step, log=self.log))

    def samples(self) -> list[str]:
        """Values to check before a search begins: where these are legal, the others are."""
        return [str(self.low), str(self.high)]

    def values_in_order(self) -> list[Any]:
        """All of them, as a trial keeps them."""
        return list(range(self.low, self.high + 1, self.step))


@dataclasses.dataclass(frozen=True)
class Numbers:
    """The numbers from ``low`` to ``high``.

    Attributes:
        low: the least.
        high: the greatest.
        step: between two of them; None: all are tried. None where ``log`` is true.
        log: whether their logarithms are drawn evenly; then ``low`` is above 0.
    """

    low: float
    high: float
    step: float | None = None
    log: bool = False

    def draw(self, trial: Trial, key: str) -> str:
        """The value that a trial has, as a command line has it."""
        value = trial.suggest_float(key, self.low, self.high, step=self.step, log=self.log)
        return repr(value if self.step is None else round(value, 12))  # 0.3 and not 0.30000000000000004

    def samples(self) -> list[str]:
        """Values to check before a search begins: where these are legal, the others are."""
        return [repr(self.low), repr(self.high)]

    def values_in_order(self) -> list[Any]:
        """All of them, as a trial keeps them.

        Raises:
            ConfigError: there is no step between them.
        """
        if self.step is None:
            raise ConfigError(
                f"sampler=coordinate takes lists of values, not all from {self.low} to {self.high}: KEY=0.1,0.2,0.4"
            )
        return [self.low + number * self.step for number in range(round((self.high - self.low) / self.step) + 1)]


@dataclasses.dataclass(frozen=True)
class Choices:
    """One of several values.

    Attributes:
        values: each as a command line has it.
    """

    values: tuple[str, ...]

    def draw(self, trial: Trial, key: str) -> str:
        """The value that a trial has, as a command line has it."""
        return trial.suggest_categorical(key, self.values)

    def samples(self) -> list[str]:
        """Values to check before a search begins: all of them."""
        return list(self.values)

    def values_in_order(self) -> list[Any]:
        """All of them, as a trial keeps them."""
        return list(self.values)


Range = WholeNumbers | Numbers | Choices
