"""The task of a classification head: one label for an utterance."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from speechgru.contracts import Decoder
from speechgru.data.batching import Batch
from speechgru.data.corpora.corpus import Corpus
from speechgru.data.target import label_target
from speechgru.data.utterance import Utterance
from speechgru.errors import ConfigError
from speechgru.evaluation.classification import ClassificationResult, classification_result
from speechgru.evaluation.classification_report import write_report
from speechgru.evaluation.pictures import confusion_picture, recall_picture
from speechgru.evaluation.rounding import spread
from speechgru.evaluation.task import Measure, Task, scored
from speechgru.plain import Record
from speechgru.recognizer import Recognizer
from speechgru.text import Units
from speechgru.tokens import Tokens
from speechgru.wording import markdown_cell


class ClassificationTask(Task[ClassificationResult]):
    """Labels: accuracy, classes, confusions."""

    name = "classification"
    verb = "classify"
    monitors: ClassVar = {"accuracy": True, "loss": False}
    judged_by = (Measure("accuracy", "accuracy", "accuracy", True),)
    outputs_are = "labels"
    hub: ClassVar = {"type": "audio-classification", "name": "Audio classification"}
    tag = "keyword-spotting"

    def outputs(
        self, corpus: Corpus, extra: Sequence[Corpus], learn: Sequence[Utterance], units: Units | None
    ) -> tuple[Tokens, Tokens | None]:
        """The labels of the corpus, which are kept, then those that only the extra corpora have."""
        own = corpus.labels()
        if not own:
            raise ConfigError(
                "data: this corpus has transcripts but no labels; a classification head needs labels, "
                "head=ctc units=characters learns transcripts"
            )
        every = list(dict.fromkeys([*own, *(label for one in extra for label in one.labels() or [])]))
        return Tokens(every), Tokens(own) if len(own) < len(every) else None

    def classes(self, tokens: Tokens) -> list[str]:
        """All labels."""
        return tokens.names

    def target(self, recognizer: Recognizer) -> Callable[[Utterance], int]:
        """The index of the label."""
        return functools.partial(label_target, tokens=recognizer.tokens)

    def answer(
        self,
        recognizer: Recognizer,
        batches: Iterable[Batch],
        decoder: Decoder | None = None,
        *,
        with_loss: bool = False,
    ) -> ClassificationResult:
        """The label with the highest score for every utterance."""
        names = recognizer.tokens.names
        references: list[str] = []
        utterances: list[Utterance] = []
        errors: list[str] = []
        scores, losses = [np.zeros((0, len(names)), np.float32)], [np.zeros(0, np.float32)]
        with torch.no_grad(), recognizer.in_eval_mode():
            for batch in batches:
                errors += batch.errors
                if not batch.utterances:
                    continue
                raw, _, loss = scored(recognizer, batch, with_loss)
                losses.append(loss.float().cpu().numpy())
                scores.append(raw.float().log_softmax(1).cpu().numpy())
                references += [names[label_target(one, recognizer.tokens)] for one in batch.utterances]
                utterances += batch.utterances
        every = np.concatenate(losses)
        mean = float(every.mean()) if len(every) else 0.0
        return classification_result(references, np.concatenate(scores), names, utterances, errors, mean)

    def write_report(
        self,
        result: ClassificationResult,
        folder: Path,
        record: Record,
        curves: Sequence[Record] = (),
        settings: str = "",
    ) -> None:
        """``report.html``; ``confusion.png`` and ``recall.png`` where there are few classes."""
        if result.shows_classes:
            confusion_picture(result, folder / "confusion.png")
            recall_picture(result, folder / "recall.png")
        write_report(folder / "report.html", result, record, curves=curves, settings=settings)

    def row(self, summary: Record) -> dict[str, str]:
        """Clips and accuracy."""
        return {"Clips": f"{summary['n']:,}", "Accuracy, %": spread(summary, "accuracy", summary["interval"])}

    def summary(self, classes: Sequence[str]) -> str:
        """How many labels."""
        return f"A recurrent classifier of recordings into {len(classes)} labels."

    def hub_metrics(self, record: Record) -> list[Record]:
        """Accuracy and F1."""
        metrics = [{"type": "accuracy", "value": record["accuracy"], "name": "Accuracy"}]
        if record.get("macro_f1") is not None:
            metrics.append({"type": "f1", "value": record["macro_f1"], "name": "F1, mean over classes"})
        return metrics

    def card_result(self, record: Record) -> list[str]:
        """The accuracy, and a row for each class."""
        interval = "; 95 % interval {:.2f} to {:.2f} %".format(*(100 * end for end in record["interval"]))
        failed = f"; failed files: {record['failed']:,}" if record.get("failed") else ""
        lines = [f"Accuracy **{100 * record['accuracy']:.2f} %** of {record['n']:,} clips{interval}{failed}.", ""]
        if "per_class" not in record:
            return lines
        lines += ["| Class | Clips | Precision, % | Recall, % | F1, % |", "| --- | ---: | ---: | ---: | ---: |"]
        for label, score in record["per_class"].items():
            shares = " | ".join(
                "–" if score[key] is None else f"{100 * score[key]:.1f}" for key in ("precision", "recall", "f1")
            )
            lines.append(f"| {markdown_cell(label)} | {score['support']:,} | {shares} |")
        return lines
