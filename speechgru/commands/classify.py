"""``speechgru classify``: labels recordings with a trained model, as they come."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TextIO

from speechgru.commands.checks import at_least_one
from speechgru.commands.part import EPILOG, Answers, add_part_arguments, is_in_parts, run_part
from speechgru.commands.recordings import listed_recordings, load_recognizer, on_terminal, progress, standard_output
from speechgru.errors import ConfigError
from speechgru.recordings.classification import ClassifiedRecording, classify_recordings, threshold_of
from speechgru.recordings.classification_formats import FORMATS, classification_writer, record_values
from speechgru.recordings.lines import JSON_ESCAPES, one_field, printable
from speechgru.recordings.parts import Stretch

# Loading compiled code takes a second of a processor; with the shipped model it saves 1.2 ms for a second of sound.
COMPILED_FROM_S = 1000.0

_EPILOG = """\
A folder is searched at any depth; a glob in quotes may contain **; - reads one whole audio file from standard input.
Without -m the model that ships inside is used (speechgru models says what it knows).

output formats, one record for each recording in the order of the arguments:
  txt    PATH <tab> LABEL <tab> CONFIDENCE, with -k that many pairs; failures go to standard error;
         a tab or line break in a path is written \\t, \\n or \\r
  json   one array, written line by line; keys audio, label, confidence, scores (label: probability), duration_s, and
         windows where there are several; or audio and error
  jsonl  the same records, one object a line, nothing around them
  parquet  the same records as Apache Parquet, in OUTPUT_DIR/classify-00001-of-00001.parquet (extra parquet)
  csv    a header, then audio, label, confidence (label_2, confidence_2, ...), duration_s, error; text is quoted

With --threshold T a recording is called _unknown_ if its most probable label is a word of less confidence than T. The
confidence is still that of the word, which json and jsonl have under the key rejected, and csv in a last column.
Without the option the model's own thresholds apply, if it has any (speechgru detect --save); --threshold 0 accepts
every word.

A recording of more than ten minutes is classified in windows of ten minutes; its scores are the mean of the windows'
scores, weighted by length (a note on standard error and the key windows say so). So hours of audio need no more memory
than ten minutes.

With -o the records go to OUTPUT_DIR/classify.FORMAT and its path is printed.
The exit code is 0, 1 when a recording failed (the others are done all the same), 2 when nothing could be tried.

examples:
  speechgru classify clip.wav
  speechgru classify clip.wav --threshold 0.8
  speechgru classify recordings/ -m runs/synth_digits/model -f csv -o results
  arecord -d 1 -r 16000 -f S16_LE | speechgru classify - -k 3
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``speechgru classify``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG + "\n" + EPILOG
    parser.add_argument("audio", nargs="+", metavar="AUDIO", help="files, folders, globs, lists or -")
    parser.add_argument("-m", "--model", help="model folder, or the name of a shipped model")
    parser.add_argument("-o", "--output_dir", help="write OUTPUT_DIR/classify.FORMAT instead of standard output")
    parser.add_argument("-f", "--output_format", choices=(*FORMATS, "parquet"), help="default: txt")
    parser.add_argument("-k", "--top_k", type=int, default=1, help="labels for each recording (default: 1)")
    parser.add_argument("--threshold", type=float, metavar="T", help="call words of less confidence _unknown_")
    parser.add_argument("--batch_size", type=int, default=32, help="recordings computed together (default: 32)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.add_argument("--threads", type=int, help="processor threads (default: torch's choice)")
    add_part_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Classifies what the arguments name; 0, or 1 when a recording failed.

    Raises:
        ConfigError: an option is out of range, or no recording was found at all.
        ModelError: the model folder cannot be loaded.
    """
    at_least_one(arguments, "top_k", "batch_size", "threads")
    if arguments.threshold is not None and not 0 <= arguments.threshold <= 1:
        raise ConfigError(f"--threshold {arguments.threshold:g}: 0 to 1")
    if is_in_parts(arguments):
        return run_part("classify", arguments, answers)
    output_format = arguments.output_format or "txt"
    items = listed_recordings(arguments.audio)
    recognizer = load_recognizer(arguments.model, arguments.device, arguments.threads, "classification")
    threshold = threshold_of(recognizer, arguments.threshold)
    top_k, failed = min(arguments.top_k, len(recognizer.tokens)), 0
    with _output(arguments.output_dir, output_format) as (stream, path):
        writer = classification_writer(output_format, stream, top_k, threshold is not None)
        try:
            records = classify_recordings(
                recognizer,
                items,
                top_k=top_k,
                batch_size=arguments.batch_size,
                threshold=threshold,
                compiled_from_s=COMPILED_FROM_S,
            )
            # A progress bar between the lines of results on the same terminal would break up both.
            for record in progress(records, len(items), "classify", hidden=path is None and on_terminal()):
                failed += bool(record.error)
                writer.write(record)
                _tell_windows(record)
        finally:  # what was written before Ctrl-C can be read
            writer.close()
    if path:
        print(one_field(path))
    if failed:
        print(f"speechgru classify: {failed} of {len(items)} failed", file=sys.stderr)
    return int(failed > 0)


def answers(arguments: argparse.Namespace) -> Answers:
    """The function that gives the records of recordings as in JSON, in the order of the recordings."""
    recognizer = load_recognizer(arguments.model, arguments.device, arguments.threads, "classification")
    top_k, threshold = min(arguments.top_k, len(recognizer.tokens)), threshold_of(recognizer, arguments.threshold)

    def records(items: Sequence[Stretch]) -> Iterator[dict[str, object]]:
        batch_size = arguments.batch_size
        found = classify_recordings(recognizer, items, top_k=top_k, batch_size=batch_size, threshold=threshold)
        return map(record_values, found)

    return records


def _tell_windows(record: ClassifiedRecording) -> None:
    if record.result is not None and record.windows > 1:
        name, minutes = printable(one_field(record.audio)), record.result.duration_s / 60
        print(f"{name}\tnote: {minutes:.0f} min, the mean of {record.windows} windows", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _output(folder: str | None, output_format: str) -> Iterator[tuple[TextIO, str | None]]:
    is_json = output_format in ("json", "jsonl")
    if folder is None:
        yield standard_output(is_json), None
        return
    path = os.path.join(folder, f"classify.{output_format}")
    errors = JSON_ESCAPES if is_json else "surrogateescape"
    try:
        os.makedirs(folder, exist_ok=True)
        stream = open(path, "w", encoding="utf-8", errors=errors, newline="")  # noqa: SIM115  closed below
    except OSError as error:
        raise ConfigError(f"-o {folder}: cannot be written ({error.strerror}); choose another folder") from error
    try:
        with stream:
            yield stream, path
    except OSError as error:  # such as a full disk: the stream does not know its name
        error.filename = error.filename or path
        raise
