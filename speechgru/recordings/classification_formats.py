"""Labels of recordings as text, JSON and CSV; each record is written at once, for a reader of the stream."""

from __future__ import annotations

import csv
import json
import sys
from typing import Protocol, TextIO

from speechgru.recordings.classification import ClassifiedRecording
from speechgru.recordings.lines import one_field, printable

FORMATS = ("txt", "json", "jsonl", "csv")


class Writer(Protocol):
    """Writes records one by one."""

    def write(self, record: ClassifiedRecording) -> None:
        """Writes one record."""

    def close(self) -> None:
        """Writes what comes after the last one."""


def classification_writer(output_format: str, stream: TextIO, top_k: int, judged: bool = False) -> Writer:
    """The writer of a format: txt, json, jsonl or csv.

    Args:
        output_format: its name.
        stream: where to write; for JSON, its error handler is :data:`~speechgru.recordings.lines.JSON_ESCAPES`.
        top_k: labels of each record.
        judged: whether there is a threshold: if so, CSV has a column ``rejected``.
    """
    if output_format == "txt":
        return TextWriter(stream)
    return (
        CSVWriter(stream, top_k, judged)
        if output_format == "csv"
        else JSONWriter(stream, lines=output_format == "jsonl")
    )


class TextWriter:
    """Tab-separated lines for people and ``cut``; failures go to standard error."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, record: ClassifiedRecording) -> None:
        """Writes one line."""
        name = one_field(record.audio)
        if record.result is None:
            print(f"{printable(name)}\terror: {printable(record.error)}", file=sys.stderr, flush=True)
            return
        pairs = [part for label, score in record.result.scores.items() for part in (label, f"{score:.4f}")]
        pairs[0] = record.result.label
        self.stream.write("\t".join([name, *pairs]) + "\n")
        self.stream.flush()

    def close(self) -> None:
        """Nothing follows the last line."""


def record_values(record: ClassifiedRecording) -> dict[str, object]:
    """The values of the JSON: audio, label, confidence, scores, duration_s; or audio and error."""
    if record.result is None:
        return {"audio": record.audio, "error": record.error}
    result = record.result
    values: dict[str, object] = {
        "audio": record.audio,
        "label": result.label,
        "confidence": round(result.confidence, 6),
        "scores": {label: round(score, 6) for label, score in result.scores.items()},
        "duration_s": round(result.duration_s, 6),
    }
    if record.rejected:
        values["rejected"] = record.rejected
    if record.windows > 1:
        values["windows"] = record.windows
    return values


class JSONWriter:
    """One JSON array with one record per line, or only the records (``lines``)."""

    def __init__(self, stream: TextIO, lines: bool) -> None:
        self.stream, self.lines = stream, lines
        self.written = 0

    def write(self, record: ClassifiedRecording) -> None:
        """Writes one object."""
        text = json.dumps(record_values(record), ensure_ascii=False, allow_nan=False)
        self.stream.write(text + "\n" if self.lines else ("[\n" if not self.written else ",\n") + text)
        self.stream.flush()
        self.written += 1

    def close(self) -> None:
        """Closes the array."""
        if not self.lines:
            self.stream.write("\n]\n" if self.written else "[]\n")
            self.stream.flush()


class CSVWriter:
    """A header and rows; every text is quoted, every number is not."""

    def __init__(self, stream: TextIO, top_k: int, judged: bool = False) -> None:
        self.stream, self.top_k, self.judged = stream, top_k, judged
        self.rows = csv.writer(stream, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        more = [f"{name}_{rank}" for rank in range(2, top_k + 1) for name in ("label", "confidence")]
        self.rows.writerow(["audio", "label", "confidence", *more, "duration_s", "error", *["rejected"] * judged])

    def write(self, record: ClassifiedRecording) -> None:
        """Writes one row."""
        if record.result is None:
            values: list[str | float] = [""] * (2 * self.top_k + 1)
        else:
            values = [value for label, score in record.result.scores.items() for value in (label, round(score, 6))]
            values[0] = record.result.label
            values.append(round(record.result.duration_s, 6))
        self.rows.writerow([record.audio, *values, record.error, *[record.rejected] * self.judged])
        self.stream.flush()

    def close(self) -> None:
        """Nothing follows the last row."""
