"""``speechgru classify``: labels recordings with a trained model, as they come."""

from __future__ import annotations

import argparse
import contextlib
import csv
import dataclasses
import json
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from speechgru.audio import read_audio
from speechgru.commands.recordings import (
    brief,
    find_recordings,
    load_recognizer,
    one_field,
    printable,
    progress,
    standard_output,
)
from speechgru.compiled import disabled
from speechgru.errors import ConfigError, SpeechGRUError

if TYPE_CHECKING:  # imported when they are needed: a mistyped option is answered without waiting for torch
    import torch

    from speechgru.recognizer import Classification, Recognizer

FORMATS = ("txt", "json", "jsonl", "csv")

# A batch also ends at this much audio, so that 32 long recordings do not fill the memory.
_BATCH_S = 600.0
# Within a batch a clip is padded to at most this multiple of its length: longer ones are computed apart.
_MOST_PADDING = 1.5

_EPILOG = """\
A folder is searched at any depth; a glob in quotes may contain **; - reads one whole audio file from standard input.
Without -m the model that ships inside is used (speechgru models tells what it knows).

output formats, one record for each recording in the order of the arguments:
  txt    PATH <tab> LABEL <tab> CONFIDENCE, with -k as many more pairs; failures go to standard error;
         a tab or line break in a path is written \\t, \\n or \\r
  json   one array, written line by line; keys audio, label, confidence, scores (label: probability), duration_s,
         or audio and error
  jsonl  the same records, one object a line, nothing around them
  csv    a header, then audio, label, confidence (label_2, confidence_2, ...), duration_s, error; text is quoted

With -o the records go to OUTPUT_DIR/classify.FORMAT and its path is printed.
The exit code is 0, 1 when a recording failed (the others are done all the same), 2 when nothing could be tried.

examples:
  speechgru classify clip.wav
  speechgru classify recordings/ -m runs/synth_digits/model -f csv -o results
  arecord -d 1 -r 16000 -f S16_LE | speechgru classify - -k 3
"""


@dataclasses.dataclass(frozen=True)
class Record:
    """What became of one recording: its classification, or why there is none."""

    audio: str
    result: Classification | None = None
    error: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``speechgru classify``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("audio", nargs="+", metavar="AUDIO", help="files, folders, globs or -")
    parser.add_argument("-m", "--model", help="model folder, or the name of a shipped model")
    parser.add_argument("-o", "--output_dir", help="write OUTPUT_DIR/classify.FORMAT instead of standard output")
    parser.add_argument("-f", "--output_format", choices=FORMATS, default="txt", help="default: txt")
    parser.add_argument("-k", "--top_k", type=int, default=1, help="labels for each recording (default: 1)")
    parser.add_argument("--batch_size", type=int, default=32, help="recordings computed together (default: 32)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.add_argument("--threads", type=int, help="processor threads (default: torch's choice)")


@disabled()  # its start would delay the first answer longer than compiled code saves
def run(arguments: argparse.Namespace) -> int:
    """Classifies what the arguments name; 0, or 1 when a recording failed.

    Raises:
        ConfigError: an option is out of range, or no recording was found at all.
        ModelError: the model folder cannot be loaded.
    """
    for name in ("top_k", "batch_size", "threads"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise ConfigError(f"--{name} {value}: at least 1")
    items = find_recordings(arguments.audio)
    recognizer = load_recognizer(arguments.model, arguments.device, arguments.threads, "classification")
    failed = 0
    with _output(arguments.output_dir, arguments.output_format) as (stream, path):
        writer = _writer(arguments.output_format, stream, min(arguments.top_k, len(recognizer.tokens)))
        try:
            records = _records(recognizer, items, arguments.top_k, arguments.batch_size)
            # A bar between the lines of results on the same terminal would tear both.
            for record in progress(records, len(items), "classify", hidden=path is None and sys.stdout.isatty()):
                failed += bool(record.error)
                writer.write(record)
        finally:  # what was written before Ctrl-C can be read
            writer.close()
    if path:
        print(path)
    if failed:
        print(f"speechgru classify: {failed} of {len(items)} failed", file=sys.stderr)
    return int(failed > 0)


def _records(recognizer: Recognizer, items: list[tuple[str, str]], top_k: int, batch_size: int) -> Iterator[Record]:
    """The records of ``items`` in their order; at most one batch of waveforms is held."""
    batch: list[tuple[str, str, torch.Tensor | None]] = []
    waiting, samples = 0, 0
    for path, error in items:
        waveform = None
        if not error:
            try:
                waveform = read_audio(path, recognizer.sample_rate)[0]
            except SpeechGRUError as failure:
                error = str(failure)
        new = 0 if waveform is None else len(waveform)
        if batch and samples + new > _BATCH_S * recognizer.sample_rate:
            yield from _classify(recognizer, batch, top_k)
            batch, waiting, samples = [], 0, 0
        batch.append((path, error, waveform))
        waiting, samples = waiting + 1, samples + new
        if waiting >= batch_size:
            yield from _classify(recognizer, batch, top_k)
            batch, waiting, samples = [], 0, 0
    yield from _classify(recognizer, batch, top_k)


def _classify(recognizer: Recognizer, batch: list[tuple[str, str, Any]], top_k: int) -> Iterator[Record]:
    """Computes clips of similar length together and gives the records in the order of ``batch``."""
    done: dict[int, Record] = {i: Record(path, error=brief(path, error)) for i, (path, error, _) in enumerate(batch)}
    group: list[int] = []
    by_length = sorted((i for i in done if batch[i][2] is not None), key=lambda i: len(batch[i][2]))
    for i in by_length:
        if group and len(batch[i][2]) > _MOST_PADDING * len(batch[group[0]][2]):
            _classify_group(recognizer, batch, group, top_k, done)
            group = []
        group.append(i)
    if group:
        _classify_group(recognizer, batch, group, top_k, done)
    for i in range(len(batch)):
        yield done[i]


def _classify_group(
    recognizer: Recognizer, batch: list[tuple[str, str, Any]], group: list[int], top_k: int, done: dict[int, Record]
) -> None:
    try:
        results = recognizer.classify_waveforms([batch[i][2] for i in group], top_k)
    except (SpeechGRUError, RuntimeError) as error:  # RuntimeError: torch is out of memory, for one
        if len(group) == 1:
            path = batch[group[0]][0]
            reason = brief(path, str(error)) or type(error).__name__
            done[group[0]] = Record(path, error=reason)
        else:  # one by one: the clip at fault fails alone
            for i in group:
                _classify_group(recognizer, batch, [i], top_k, done)
        return
    for i, result in zip(group, results, strict=True):
        done[i] = Record(batch[i][0], result)


@contextlib.contextmanager
def _output(folder: str | None, output_format: str) -> Iterator[tuple[TextIO, str | None]]:
    if folder is None:
        yield standard_output(), None
        return
    path = os.path.join(folder, f"classify.{output_format}")
    try:
        os.makedirs(folder, exist_ok=True)
        stream = open(path, "w", encoding="utf-8", errors="surrogateescape", newline="")  # noqa: SIM115  closed below
    except OSError as error:
        raise ConfigError(f"-o {folder}: cannot be written ({error.strerror}); choose another folder") from error
    with stream:
        yield stream, path


class Writer(Protocol):
    """Writes records one by one, each at once, so that a reader of the stream sees it."""

    def write(self, record: Record) -> None:
        """Writes one record."""

    def close(self) -> None:
        """Writes what comes after the last one."""


def _writer(output_format: str, stream: TextIO, top_k: int) -> Writer:
    if output_format == "txt":
        return TextWriter(stream)
    return CSVWriter(stream, top_k) if output_format == "csv" else JSONWriter(stream, lines=output_format == "jsonl")


class TextWriter:
    """Tab-separated lines for eyes and ``cut``; failures go to standard error."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, record: Record) -> None:
        """Writes one line."""
        name = one_field(record.audio)
        if record.result is None:
            print(f"{printable(name)}\terror: {printable(record.error)}", file=sys.stderr, flush=True)
            return
        pairs = [part for label, score in record.result.scores.items() for part in (label, f"{score:.4f}")]
        self.stream.write("\t".join([name, *pairs]) + "\n")
        self.stream.flush()

    def close(self) -> None:
        """Nothing follows the last line."""


class JSONWriter:
    """One JSON array with a record a line, or the bare records (``lines``)."""

    def __init__(self, stream: TextIO, lines: bool) -> None:
        self.stream, self.lines = stream, lines
        self.written = 0

    def write(self, record: Record) -> None:
        """Writes one object."""
        values: dict[str, Any] = {"audio": record.audio}
        if record.result is None:
            values["error"] = record.error
        else:
            result = record.result
            values |= {
                "label": result.label,
                "confidence": round(result.confidence, 6),
                "scores": {label: round(score, 6) for label, score in result.scores.items()},
                "duration_s": round(result.duration_s, 6),
            }
        text = json.dumps(values, ensure_ascii=False)
        if printable(text) != text:  # a name that is not UTF-8 stays valid JSON as \udc.. escapes
            text = json.dumps(values)
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

    def __init__(self, stream: TextIO, top_k: int) -> None:
        self.stream, self.top_k = stream, top_k
        self.rows = csv.writer(stream, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        more = [f"{name}_{rank}" for rank in range(2, top_k + 1) for name in ("label", "confidence")]
        self.rows.writerow(["audio", "label", "confidence", *more, "duration_s", "error"])

    def write(self, record: Record) -> None:
        """Writes one row."""
        if record.result is None:
            values: list[Any] = [""] * (2 * self.top_k + 1)
        else:
            values = [value for label, score in record.result.scores.items() for value in (label, round(score, 6))]
            values.append(round(record.result.duration_s, 6))
        self.rows.writerow([record.audio, *values, record.error])
        self.stream.flush()

    def close(self) -> None:
        """Nothing follows the last row."""
