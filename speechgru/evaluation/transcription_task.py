"""What is asked of a CTC model: the text of every utterance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from speechgru.contracts import Decoder
from speechgru.data.batching import Batch
from speechgru.evaluation.prediction import Transcripts, predict_transcripts
from speechgru.evaluation.task import Task
from speechgru.evaluation.transcript_report import write_transcript_report
from speechgru.evaluation.transcription import TranscriptionResult
from speechgru.recognizer import Recognizer


class TranscriptionTask(Task[Transcripts, TranscriptionResult]):
    """Texts: judged by word errors."""

    monitors = {"wer": False, "cer": False, "loss": False}  # noqa: RUF012
    decodes = True

    def answers(self, recognizer: Recognizer, batches: Iterable[Batch], decoder: Decoder | None = None) -> Transcripts:
        """See :func:`speechgru.evaluation.prediction.predict_transcripts`."""
        return predict_transcripts(recognizer, batches, decoder)

    def figures(self, answers: Transcripts) -> dict[str, float]:
        """Mean loss, word and character error rate."""
        return {"loss": answers.loss, "wer": answers.wer, "cer": answers.cer}

    def columns(self, answers: Transcripts) -> dict[str, float]:
        """How much of the time nothing is heard."""
        return {"blank_share": answers.blank_share}

    def result(self, recognizer: Recognizer, answers: Transcripts) -> TranscriptionResult:
        """Word and character errors, speakers, confidences."""
        return TranscriptionResult(
            answers.references, answers.hypotheses, answers.utterances, answers.confidences, answers.errors
        )

    def write(
        self,
        result: TranscriptionResult,
        folder: Path,
        record: dict[str, Any],
        curves: Sequence[dict[str, Any]],
        settings: str,
    ) -> None:
        """The report."""
        write_transcript_report(folder / "report.html", result, record, curves=curves, settings=settings)
