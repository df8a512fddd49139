"""Which epoch is kept: each is validated, and the run's folder has the best model so far, or the last one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from speechgru.data.batching import BatchLoader
from speechgru.evaluation.task import Result, Task
from speechgru.plain import Record
from speechgru.recognizer import Recognizer
from speechgru.tokens import Tokens
from speechgru.training.average import snapshot
from speechgru.training.progress import Progress


class Selection:
    """Validates weights and keeps the best in ``folder/model``.

    Args:
        recognizer: the model whose weights are validated.
        task: what the model is for.
        loader: the validation set.
        monitor: the figure that decides, one of the task's.
        folder: of the run; None where another process writes.
        keep_last: keep the last weights as the best, whatever their figures.
        kept: the labels of the finished model, which are the first of the recognizer's; None means all of them.

    Attributes:
        found: the result of the last validation.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        task: Task[Any],
        loader: BatchLoader,
        monitor: str,
        keep_last: bool,
        folder: Path | None,
        kept: Tokens | None,
    ) -> None:
        self.recognizer, self.task, self.loader, self.monitor = recognizer, task, loader, monitor
        self.keep_last, self.folder, self.kept = keep_last, folder, kept
        self.found: Result | None = None

    def validate(self, progress: Progress, average: dict[str, Tensor] | None) -> Record:
        """Measures the current weights, or their ``average``, and returns the columns of the epoch's row in the log."""
        with self._weights(average):
            # The model as it is kept: without the labels that were learned only to help.
            finished = self.recognizer if self.kept is None else self.recognizer.narrowed(self.kept)
            self.found = found = self.task.answer(finished, self.loader.epoch(0), with_loss=True)
            figures = found.figures()
            figure = figures[self.monitor] * (1 if self.task.monitors[self.monitor] else -1)
            # Among equals the later epoch is kept: it has seen more, at a lower learning rate.
            improved = self.keep_last or progress.best is None or figure >= progress.best
            if improved:
                progress.best, progress.best_epoch = figure, progress.epoch + 1
                if self.folder is not None:
                    finished.save(self.folder / "model")
        return {f"valid_{name}": figure for name, figure in figures.items()} | found.columns() | {"best": improved}

    @contextlib.contextmanager
    def _weights(self, tensors: dict[str, Tensor] | None) -> Iterator[None]:
        """Puts other weights into the recognizer for a while."""
        if tensors is None:
            yield
            return
        own = snapshot(self.recognizer)
        self.recognizer.load_state_dict(tensors)
        try:
            yield
        finally:
            self.recognizer.load_state_dict(own)
