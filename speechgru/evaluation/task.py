"""What is asked of a model by its head: answers to a corpus, the figures that choose an epoch, a result, a report.

A new head brings a class of these, under its own name in ``tasks.py``; training, ``speechgru evaluate`` and the lab
ask no further.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from speechgru.contracts import Decoder
from speechgru.data.batching import Batch
from speechgru.errors import ConfigError
from speechgru.recognizer import Recognizer


class Result(Protocol):
    """What an evaluation found out.

    Attributes:
        task: what kind it is, in ``results.json``.
        errors: one line for each file that could not be used.
    """

    task: ClassVar[str]
    errors: list[str]

    def headline(self) -> str:
        """It in a line."""


Answers = TypeVar("Answers")
Found = TypeVar("Found", bound=Result)


class Task(abc.ABC, Generic[Answers, Found]):
    """One kind of answer.

    Attributes:
        monitors: the figures that may choose the best epoch, the default first, and whether more is better.
        decodes: whether a decoder makes the answers.
    """

    monitors: ClassVar[dict[str, bool]]
    decodes: ClassVar[bool]

    @abc.abstractmethod
    def answers(self, recognizer: Recognizer, batches: Iterable[Batch], decoder: Decoder | None = None) -> Answers:
        """What the model says of every utterance, on its device; its mode is put back after.

        Args:
            recognizer: the model.
            batches: with targets, for the loss.
            decoder: what ``recognizer.decoder()`` gave; None means the model's own.
        """

    @abc.abstractmethod
    def figures(self, answers: Answers) -> dict[str, float]:
        """The figures of ``monitors``, in the order in which the log has them."""

    def columns(self, answers: Answers) -> dict[str, float]:
        """What else the log of the training keeps of a validation."""
        return {}

    @abc.abstractmethod
    def result(self, recognizer: Recognizer, answers: Answers) -> Found:
        """The answers, measured.

        Raises:
            DataError: there are none.
        """

    @abc.abstractmethod
    def write(
        self, result: Found, folder: Path, record: dict[str, Any], curves: Sequence[dict[str, Any]], settings: str
    ) -> None:
        """Writes ``report.html`` and pictures into ``folder``.

        Args:
            result: what :meth:`result` gave.
            folder: where.
            record: what ``results.json`` keeps of it.
            curves: rows of ``metrics.jsonl``.
            settings: of the run, as YAML.
        """

    def monitor(self, chosen: str | None) -> str:
        """The figure that decides: the chosen one, or the default.

        Raises:
            ConfigError: there is no such figure.
        """
        if chosen is not None and chosen not in self.monitors:
            raise ConfigError(f"trainer.monitor={chosen}: with this head it is one of {', '.join(self.monitors)}")
        return chosen or next(iter(self.monitors))
