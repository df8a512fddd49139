"""Which epoch is kept: validation after each, and the best model so far in the run's folder."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from speechgru.data.batching import BatchLoader
from speechgru.evaluation.prediction import predict
from speechgru.recognizer import Recognizer
from speechgru.tokens import Tokens
from speechgru.training.average import mean_of, snapshot
from speechgru.training.progress import Progress


class Monitor(enum.Enum):
    """The validation figure by which the best epoch is chosen."""

    accuracy = "accuracy"
    loss = "loss"


class Selection:
    """Validates weights and keeps the best in ``folder/model``.

    Args:
        recognizer: whose weights they are.
        loader: the validation set.
        monitor: the figure that decides.
        average_last: how many epochs' weights to remember for :meth:`try_mean_of_last`; 0 means none.
        folder: of the run; None where another process writes.
        kept: the labels of the finished model, the first of the recognizer's; None means all of them.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        loader: BatchLoader,
        monitor: Monitor,
        average_last: int,
        folder: Path | None,
        kept: Tokens | None,
    ) -> None:
        self.recognizer, self.loader, self.monitor = recognizer, loader, monitor
        self.average_last, self.folder, self.kept = average_last, folder, kept
        self.last: list[dict[str, Tensor]] = []

    def validate(self, progress: Progress, average: dict[str, Tensor] | None) -> dict[str, object]:
        """Measures the weights of now, or their ``average``, and returns the columns of the epoch's row in the log."""
        loss, accuracy, improved = self._measure(progress, average, progress.epoch + 1)
        if self.average_last:
            kept = average if average is not None else self.recognizer.state_dict()
            self.last.append({name: tensor.detach().clone() for name, tensor in kept.items()})
            self.last = self.last[-self.average_last :]
        return {"valid_loss": loss, "valid_accuracy": accuracy, "best": improved}

    def try_mean_of_last(self, progress: Progress) -> dict[str, object]:
        """Measures the mean of the remembered weights and keeps it if it is the best; its columns in the log."""
        if len(self.last) < 2:
            return {}
        loss, accuracy, improved = self._measure(progress, mean_of(self.last), progress.epoch)
        return {"averaged_valid_accuracy": accuracy, "averaged_valid_loss": loss, "averaged_kept": improved}

    def _measure(self, progress: Progress, weights: dict[str, Tensor] | None, epoch: int) -> tuple[float, float, bool]:
        with self._weights(weights):
            # As it is kept: without the labels that were learned only to help.
            finished = self.recognizer if self.kept is None else self.recognizer.narrowed(self.kept)
            found = predict(finished, self.loader.epoch(0))
            figure = found.accuracy if self.monitor is Monitor.accuracy else -found.loss
            # Among equals the later epoch is kept: it has seen more, at a lower learning rate.
            improved = progress.best is None or figure >= progress.best
            if improved:
                progress.best, progress.best_epoch = figure, epoch
                if self.folder is not None:
                    finished.save(self.folder / "model")
        return found.loss, found.accuracy, improved

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
