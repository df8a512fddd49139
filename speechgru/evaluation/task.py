"""What a head is for: its targets, its answers, what is watched in validation, and how an evaluation is judged.

Each task is one file here, and its result another; ``tasks.py`` says which head has which. The training loop,
``evaluate``, the card and the tables ask the task; they never ask which head it is.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import ClassVar, Generic, NamedTuple, TypeVar

from torch import Tensor

from speechgru.contracts import Decoder
from speechgru.data.batching import Batch
from speechgru.data.corpora.corpus import Corpus
from speechgru.data.target import Target
from speechgru.data.utterance import Utterance
from speechgru.errors import ConfigError
from speechgru.plain import Record
from speechgru.recognizer import Recognizer
from speechgru.text import Units
from speechgru.tokens import Tokens


class Measure(NamedTuple):
    """What an evaluation is judged by.

    Attributes:
        key: its name in ``results.json``.
        short: what tables call it.
        name: in words.
        higher_is_better: true for accuracies, false for error rates.
    """

    key: str
    short: str
    name: str
    higher_is_better: bool

    @property
    def title(self) -> str:
        """``short`` as the head of a column."""
        return self.short[:1].upper() + self.short[1:]


class Result(abc.ABC):
    """All results of one evaluation.

    Attributes:
        task: the name of the task, as ``results.json`` has it.
        errors: one line for each file that could not be used.
    """

    task: ClassVar[str]
    errors: list[str]

    @abc.abstractmethod
    def measures(self) -> Record:
        """Plain rounded values in a fixed order: the middle of a ``results.json``."""

    @abc.abstractmethod
    def headline(self) -> str:
        """The result in a line."""

    @abc.abstractmethod
    def figures(self) -> dict[str, float]:
        """What a validation gives: the loss, and all figures that may choose the best epoch."""

    def columns(self) -> dict[str, float]:
        """What else the row of an epoch in the log holds."""
        return {}


Found = TypeVar("Found", bound=Result)


class Task(abc.ABC, Generic[Found]):
    """What heads of one kind are for; without a state of its own.

    Attributes:
        name: as ``results.json`` has it.
        verb: the verb of the heads with this task (:class:`speechgru.contracts.Head`).
        monitors: the validation figures that may choose the best epoch, the default first; True where more is better.
        judged_by: what is averaged over the seeds; the first is what models are compared by.
        outputs_are: what the tokens of a model are called.
        hub: type and name of the task on the Hugging Face Hub.
        tag: to find models by.
        decodes: whether a decoder makes the answers; then another decoder gives another result.
    """

    name: ClassVar[str]
    verb: ClassVar[str]
    monitors: ClassVar[dict[str, bool]]
    judged_by: ClassVar[tuple[Measure, ...]]
    outputs_are: ClassVar[str]
    hub: ClassVar[dict[str, str]]
    tag: ClassVar[str]
    decodes: ClassVar[bool] = False

    def monitor(self, chosen: str | None, head: str) -> str:
        """The figure that chooses the best epoch: the chosen one, or the default.

        Raises:
            ConfigError: a validation gives no such figure.
        """
        if chosen is not None and chosen not in self.monitors:
            raise ConfigError(f"trainer.monitor={chosen}: with head={head} it is one of {', '.join(self.monitors)}")
        return chosen or next(iter(self.monitors))

    @abc.abstractmethod
    def outputs(
        self, corpus: Corpus, extra: Sequence[Corpus], learn: Sequence[Utterance], units: Units | None
    ) -> tuple[Tokens, Tokens | None]:
        """The tokens that a new model scores, and those that the finished one keeps (None: all).

        Raises:
            ConfigError: the corpus has nothing of the kind.
        """

    def classes(self, tokens: Tokens) -> list[str]:
        """The classes that a card lists."""
        return []

    @abc.abstractmethod
    def target(self, recognizer: Recognizer) -> Callable[[Utterance], Target]:
        """What to learn from an utterance; raises DataError for nothing, or for something the model does not know."""

    def reasons(self, recognizer: Recognizer, utterances: Sequence[Utterance]) -> list[str]:
        """Why each utterance cannot be learned from; empty where it can."""
        return [""] * len(utterances)

    @abc.abstractmethod
    def answer(
        self,
        recognizer: Recognizer,
        batches: Iterable[Batch],
        decoder: Decoder | None = None,
        *,
        with_loss: bool = False,
    ) -> Found:
        """The result of a model on utterances.

        Args:
            recognizer: the model; it answers in eval mode, on its device.
            batches: the utterances, with targets where a loss is wanted.
            decoder: what ``recognizer.decoder()`` gave; None means the model's own.
            with_loss: also compute the mean of the head's loss.

        Raises:
            DataError: nothing to measure: no usable utterance, or none with a reference.
        """

    def remark(self, result: Found, recognizer: Recognizer, epoch: int, epochs: int, utterances: int) -> str:
        """What to print on stderr about a validation, after ``epoch`` of ``epochs`` over this many utterances."""
        return ""

    def finish(self, recognizer: Recognizer, batches: Iterable[Batch]) -> bool:
        """Sets what a finished model learns from the validation set; returns whether to save the model again."""
        return False

    @abc.abstractmethod
    def write_report(
        self, result: Found, folder: Path, record: Record, curves: Sequence[Record] = (), settings: str = ""
    ) -> None:
        """Writes ``report.html`` and pictures.

        Args:
            result: the evaluation.
            folder: where to write.
            record: what ``results.json`` keeps of it.
            curves: rows of ``metrics.jsonl``, for the learning curves; none leaves them out.
            settings: of the run, as text (YAML); empty leaves them out.
        """

    @abc.abstractmethod
    def row(self, summary: Record) -> dict[str, str]:
        """What was measured, for a row of the table in a README: cells by the heads of their columns."""

    @abc.abstractmethod
    def summary(self, classes: Sequence[str]) -> str:
        """The summary on the card of a model whose recipe gives none."""

    @abc.abstractmethod
    def hub_metrics(self, record: Record) -> list[Record]:
        """The metrics of a record as the Hub's model-index has them."""

    @abc.abstractmethod
    def card_result(self, record: Record) -> list[str]:
        """The lines of a card below the heading of an evaluation."""


def scored(recognizer: Recognizer, batch: Batch, with_loss: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, frames and losses (none without ``with_loss``) of a batch, whatever mode the model is in."""
    device = recognizer.device
    scores, frames = recognizer(batch.waveforms.to(device), batch.lengths.to(device))
    if not with_loss:
        return scores, frames, scores.new_zeros(0)
    targets, lengths = batch.targets.to(device), batch.target_lengths.to(device)
    return scores, frames, recognizer.head.loss(scores, frames, targets, lengths)
