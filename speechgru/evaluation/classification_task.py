"""What is asked of a classifier: the best label of every utterance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from speechgru.contracts import Decoder
from speechgru.data.batching import Batch
from speechgru.evaluation.classification import ClassificationResult
from speechgru.evaluation.pictures import confusion_picture, recall_picture
from speechgru.evaluation.prediction import Predictions, predict
from speechgru.evaluation.report import write_report
from speechgru.evaluation.task import Task
from speechgru.recognizer import Recognizer


class ClassificationTask(Task[Predictions, ClassificationResult]):
    """Labels: judged by accuracy."""

    monitors = {"accuracy": True, "loss": False}  # noqa: RUF012
    decodes = False

    def answers(self, recognizer: Recognizer, batches: Iterable[Batch], decoder: Decoder | None = None) -> Predictions:
        """See :func:`speechgru.evaluation.prediction.predict`."""
        return predict(recognizer, batches)

    def figures(self, answers: Predictions) -> dict[str, float]:
        """Mean loss and accuracy."""
        return {"loss": answers.loss, "accuracy": answers.accuracy}

    def result(self, recognizer: Recognizer, answers: Predictions) -> ClassificationResult:
        """Accuracy, classes, confusions, speakers, calibration."""
        return ClassificationResult(
            answers.references,
            answers.predictions,
            answers.scores,
            recognizer.tokens.names,
            answers.utterances,
            answers.errors,
        )

    def write(
        self,
        result: ClassificationResult,
        folder: Path,
        record: dict[str, Any],
        curves: Sequence[dict[str, Any]],
        settings: str,
    ) -> None:
        """The report, the confusion matrix and the recall of each class."""
        confusion_picture(result, folder / "confusion.png")
        recall_picture(result, folder / "recall.png")
        write_report(folder / "report.html", result, record, curves=curves, settings=settings)
