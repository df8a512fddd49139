"""How far a run has come, as plain numbers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from speechgru.errors import ModelError
from speechgru.plain import Record


@dataclasses.dataclass
class Progress:
    """The plain numbers of a run, kept in its checkpoint.

    Attributes:
        epoch: epochs completed.
        batch: batches done of the epoch in progress.
        step: optimizer updates done.
        examples: utterances seen, over all processes.
        seconds: wall clock spent, over all its resumptions.
        best: the best validation figure so far, negated where less is better; None before the first.
        best_epoch: the epoch it belongs to.
        trained: whether the last epoch is over.
        finished: whether everything the run writes is written; the mark is the last thing it writes.
        nonfinite: steps skipped because their gradient was not finite.
        nonfinite_run: how many of those came in a row.
        clipped: steps whose gradient was clipped, this epoch.
        loss_sum: sum of the training losses, this epoch.
        loss_count: utterances in that sum.
        norm_sum: sum of the gradient norms, this epoch.
        steps_in_epoch: updates, this epoch.
        unreadable: files that could not be used, this epoch.
        infeasible: transcripts that augmentation left too few frames for, this epoch; their loss did not count.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    examples: int = 0
    seconds: float = 0.0
    best: float | None = None
    best_epoch: int = 0
    trained: bool = False
    finished: bool = False
    nonfinite: int = 0
    nonfinite_run: int = 0
    clipped: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    norm_sum: float = 0.0
    steps_in_epoch: int = 0
    unreadable: int = 0
    infeasible: int = 0

    @classmethod
    def read(cls, state: Record, path: Path) -> Progress:
        """That of a checkpoint.

        Raises:
            ModelError: the checkpoint has none, or one of another version.
        """
        try:
            return cls(**state["progress"])
        except (KeyError, TypeError):
            raise ModelError(f"{path}: is damaged or of another version of speechgru; begin the run anew") from None

    @property
    def best_figure(self) -> float | None:
        """The best validation figure as it is reported: never negated."""
        return None if self.best is None else abs(self.best)

    def begin_epoch(self) -> None:
        """Sets the sums of the epoch to zero."""
        self.clipped = self.loss_count = self.steps_in_epoch = self.unreadable = self.infeasible = 0
        self.loss_sum = self.norm_sum = 0.0

    def row(self) -> Record:
        """What the log says of the training in this epoch."""
        return {
            "train_loss": self.loss_sum / max(1, self.loss_count),
            "gradient_norm": self.norm_sum / max(1, self.steps_in_epoch),
            "clipped": self.clipped / max(1, self.steps_in_epoch),
            "nonfinite": self.nonfinite,
            "unreadable": self.unreadable,
            "examples": self.examples,
            "seconds": round(self.seconds, 2),
        }
