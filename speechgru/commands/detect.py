"""``speechgru detect``: misses and false alarms an hour of a model that listens, and the threshold to use it with."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from speechgru.commands.checks import at_least_one
from speechgru.commands.recordings import load_recognizer, progress, standard_output
from speechgru.errors import ConfigError
from speechgru.plain import Record
from speechgru.recordings.lines import one_field, printable
from speechgru.shipped import model_path, model_title
from speechgru.wording import table

if TYPE_CHECKING:  # imported when it is needed: a mistyped option is answered without waiting for torch
    from speechgru.recognizer import Recognizer

_EPILOG = """\
MODEL is a folder or the name of a shipped model; any model that classifies can be measured. It hears every clip between
silences and every recording from beginning to end, as a stream does: a model that scores frames scores each frame, any
other model hears a window of a second every tenth of a second. A word is detected where its smoothed score reaches the
threshold.

positives    clips in which one word of the model is said: folders named by word, or lists (.jsonl, .csv, .tsv) with a
             label or a text; or folders of clips that all say --word
background   recordings of any length in which no word is said: folders, files, or lists. If a list has texts, a word in
             the text of a recording is no false alarm in that recording
noise        recordings to mix the clips with, at 10, 5 and 0 dB over the clip, always the same excerpts

It writes detection.json, det.png, report.html and the false alarms as short clips, and prints the table of misses at
0.1, 0.5, 1 and 2 false alarms an hour with exact 95 % intervals. One threshold is chosen for all words: the one at
which --false_alarms_per_hour is to be expected in other background of the same kind (from the scores of the surest
twenty alarms). The smoothing is the one that misses least there. With --save both go into the model's config.yaml
(keywords:), where streams and classify find them. Do not choose on the recordings that you report: measure the saved
threshold on others, without --save.
The exit code is 0, 1 when a recording failed (the others are done all the same) or a list cannot be read, 2 for a
wrong option, or where nothing is left to try.

examples:
  speechgru detect runs/wake/model --positives valid/ --background hours/ --noise noises/ --save
  speechgru detect runs/wake/model --positives test/ --background other_hours/ -o report
  speechgru detect commands --positives speech_commands/manifest.tsv --split test --words yes,no --background talk/
"""

# Tried for a model that has no smoothing of its own. Windows change slowly, and frames that say a word may be few.
SMOOTHINGS_MS = (50.0, 100.0, 200.0, 300.0)
# The options that say what is heard.
_SOURCES = (
    "positives",
    "background",
    "noise",
    "snr_db",
    "words",
    "word",
    "split",
    "seed",
    "false_alarms_per_hour",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``speechgru detect``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("model", metavar="MODEL", help="model folder, or the name of a shipped model")
    parser.add_argument("--positives", nargs="+", required=True, metavar="PATH", help="clips that say the words")
    parser.add_argument("--background", nargs="+", required=True, metavar="PATH", help="recordings that do not")
    parser.add_argument("--noise", metavar="PATH", help="noises to mix the clips with")
    parser.add_argument(
        "--snr_db", nargs="+", type=float, default=[10.0, 5.0, 0.0], metavar="DB", help="default: 10 5 0"
    )
    parser.add_argument("--words", help="words that count, with commas (default: all that the model detects)")
    parser.add_argument("--word", default="", help="what every clip of --positives says")
    parser.add_argument("--split", default="", choices=("train", "valid", "test"), help="only these rows of lists")
    parser.add_argument("--false_alarms_per_hour", type=float, default=0.5, metavar="RATE", help="default: 0.5")
    parser.add_argument(
        "--smoothing_ms",
        nargs="+",
        type=float,
        metavar="MS",
        help="smoothing of the scores; of several, the one that misses least (default: the model's own, else "
        "50 100 200 300)",
    )
    parser.add_argument("--refractory_s", type=float, help="time between detections (default: the model's own, else 1)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the excerpts of noise (default: 0)")
    parser.add_argument("-o", "--output_dir", default="detection", help="where to write (default: detection)")
    parser.add_argument("--save", action="store_true", help="keep the chosen threshold in the model folder")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.add_argument("--threads", type=int, help="processor threads (default: torch's choice)")


def run(arguments: argparse.Namespace) -> int:
    """Measures one model; 0, or 1 when a recording failed.

    Raises:
        ConfigError: an option is out of range, no clip says a word of the model, or there is no background.
        DataError: a list is wrong, or nothing could be heard.
        ModelError: the model folder cannot be loaded.
    """
    _check(arguments)

    from speechgru.model_folder import check_own, write_chosen

    path = model_path(arguments.model)
    if arguments.save:
        check_own(path)
    recognizer = load_recognizer(path, arguments.device, arguments.threads, None)
    smoothings_ms, refractory_s = _listening(recognizer, arguments)

    from speechgru.evaluation.detection_measurement import DetectionSources, measure_detection
    from speechgru.evaluation.detection_record import operating_point, remarks
    from speechgru.evaluation.results import plain_command

    sources = DetectionSources(**{name: getattr(arguments, name) for name in _SOURCES})
    folder = Path(arguments.output_dir)
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        about = {"model": model_title(arguments.model), "command": plain_command(_command(arguments))}
        record = measure_detection(recognizer, smoothings_ms, refractory_s, sources, folder, about, progress)
    standard_output(needed=False).write(f"{detection_table(record)}\n{one_field(str(folder / 'report.html'))}\n")
    for line in [*record["errors"], *remarks(record)]:
        print(f"speechgru detect: {printable(line)}", file=sys.stderr)
    if arguments.save:
        write_chosen(path, operating_point(record))
        kept = one_field(str(path))
        print(f"speechgru detect: kept in {kept}: threshold {record['chosen']['threshold']:g}", file=sys.stderr)
    return int(bool(record["errors"]))


def _check(arguments: argparse.Namespace) -> None:
    if not 0 < arguments.false_alarms_per_hour <= 1000:
        raise ConfigError(f"--false_alarms_per_hour {arguments.false_alarms_per_hour:g}: above 0 and at most 1000")
    at_least_one(arguments, "threads")
    if arguments.seed < 0:
        raise ConfigError(f"--seed {arguments.seed}: at least 0")
    for snr_db in arguments.snr_db:
        if not -30 <= snr_db <= 100:
            raise ConfigError(f"--snr_db {snr_db:g}: -30 to 100")


def _listening(recognizer: Recognizer, arguments: argparse.Namespace) -> tuple[list[float], float]:
    """Smoothings and refractory time: those asked for, else the model's own, else the usual ones."""
    from speechgru.decoding.operating_point import KeywordConfig

    own = recognizer.config.keywords
    smoothings_ms = arguments.smoothing_ms or ([own.smoothing_ms] if own else list(SMOOTHINGS_MS))
    refractory_s = arguments.refractory_s
    if refractory_s is None:
        refractory_s = (own or KeywordConfig()).refractory_s
    for smoothing_ms in smoothings_ms:
        try:
            KeywordConfig(smoothing_ms, refractory_s)
        except ConfigError as error:
            raise ConfigError(f"--{error}") from None
    return smoothings_ms, refractory_s


def _command(arguments: argparse.Namespace) -> list[str]:
    """The command line, without the options that have their default."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    words = ["speechgru", "detect", arguments.model]
    for name, value in vars(arguments).items():
        if name == "model" or value == parser.get_default(name):
            continue
        words += [f"--{name}", *map(str, value if isinstance(value, list) else [value] if value is not True else [])]
    return words


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise ConfigError(f"-o {folder}: a file; choose another folder") from None
    except PermissionError as error:
        raise ConfigError(f"-o {folder}: cannot be written ({error.strerror}); choose another folder") from None


def detection_table(record: Record) -> str:
    """Misses at each rate of false alarms, and of each word at the chosen threshold, for a terminal."""
    from speechgru.evaluation.detection_record import heard_words

    conditions = record["conditions"]
    head = ["at most an hour", "threshold", "alarms", "an hour (95 %)", *(f"missed, {one}, %" for one in conditions)]
    points = [(f"{point['at_most_per_hour']:g}", point) for point in record["points"]]
    points.append(("chosen", record["chosen"]))
    if record["own"]:
        points.append(("the model's own", record["own"]))
    rows = [[name + "*" * (not point.get("enough", True)), *_cells(point, conditions)] for name, point in points]
    lines = [
        f"{record['model']}: {record['clips']:,} clips of {len(record['words'])} words; background: "
        f"{record['recordings']:,} recordings, {record['hours']:.2f} h",
        table(head, rows),
        "* the background is too short to vouch for this rate",
    ]
    if record["chosen"]["threshold"] is not None:
        head = ["word", "clips", "alarms", "an hour (95 %)", *(f"missed, {one}, %" for one in conditions)]
        by_word = [
            [one["word"], str(one["misses"][conditions[0]]["total"]), *_cells(one, conditions)[1:]]
            for one in heard_words(record)
        ]
        lines += ["", f"at threshold {record['chosen']['threshold']:g}:", table(head, by_word)]
    return "\n".join(lines if any("*" in row[0] for row in rows) else [*lines[:2], *lines[3:]])


def _cells(point: Record, conditions: Sequence[str]) -> list[str]:
    from speechgru.evaluation.detection_record import rate_text, share_text

    threshold = point.get("threshold")
    if "alarms" not in point:
        return ["none", *[""] * (2 + len(conditions))]
    shown = f"{threshold:g}" if isinstance(threshold, float) else "its own"
    return [shown, f"{point['alarms']:,}", rate_text(point), *(share_text(point["misses"][one]) for one in conditions)]
