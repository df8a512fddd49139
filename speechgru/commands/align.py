"""``speechgru align``: when each word of a known text is spoken."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from speechgru.commands.checks import at_least_one
from speechgru.commands.recordings import load_recognizer, standard_output
from speechgru.compiled import disabled
from speechgru.errors import AudioError, ConfigError, DataError
from speechgru.recordings.lines import JSON_ESCAPES, one_field, printable
from speechgru.transcripts.alignment_formats import alignment_json, ctm, textgrid

if TYPE_CHECKING:
    from speechgru.transcripts.alignment import AlignedText

SUFFIXES = {"textgrid": ".TextGrid", "ctm": ".ctm", "json": ".json"}
WRITERS: dict[str, Callable[[AlignedText, str, str], str]] = {
    "textgrid": lambda found, audio, name: textgrid({"words": found.words, "tokens": found.tokens}, found.duration_s),
    "ctm": lambda found, audio, name: ctm(found.words, name),
    "json": lambda found, audio, name: alignment_json(found.words, found.tokens, audio, found.duration_s),
}

_EPILOG = """\
TEXT is what is said, or a UTF-8 text file with it. It is normalised as the model's training transcripts were.
Without -m the transcription model that ships inside is used (speechgru models says what it knows).

output formats:
  textgrid  Praat: the tiers words and tokens
  ctm       NIST: recording, channel, start, duration, word, confidence, a word a line
  json      audio, text, duration_s, words and tokens (start, end, confidence)

A word begins and ends where the model puts its first and last token: to a frame or two of the model, and it may end
early. The confidence separates words that are said from words that are not. A text that is more than 2.5 nats a token
less likely than what the model hears gives a warning on standard error: on AN4's test recordings (model an4) no right
text does, and 99 % of the texts of other utterances do; a text with a single wrong word often does not.
The exit code is 0, 1 when the recording cannot be aligned, 2 for a wrong option.

examples:
  speechgru align memo.wav "rubout g m e f three nine" > memo.TextGrid
  speechgru align chapter.flac chapter.txt -m runs/librispeech_100/model -f ctm -o times
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``speechgru align``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("audio", metavar="AUDIO", help="one recording, or - for standard input")
    parser.add_argument("text", metavar="TEXT", help="what is said in it, or a text file")
    parser.add_argument("-m", "--model", help="model folder, or the name of a shipped model")
    parser.add_argument("-o", "--output_dir", help="write OUTPUT_DIR/NAME.FORMAT instead of standard output")
    parser.add_argument("-f", "--output_format", choices=tuple(SUFFIXES), default="textgrid", help="default: textgrid")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.add_argument("--threads", type=int, help="processor threads (default: torch's choice)")


@disabled()  # loading compiled code would delay the first answer longer than it saves
def run(arguments: argparse.Namespace) -> int:
    """Aligns one text.

    Raises:
        AudioError: the recording cannot be read.
        ConfigError: an option is out of range, or the text file cannot be read.
        DataError: the text does not fit the recording or the model.
        ModelError: the model folder cannot be loaded.
    """
    at_least_one(arguments, "threads")
    text = _text(arguments.text)
    if not text.strip():
        raise ConfigError("TEXT is empty; give what is said in the recording")
    if os.path.isdir(arguments.audio):
        raise ConfigError(f"{arguments.audio}: a folder; align takes one recording and its text")
    recognizer = load_recognizer(arguments.model, arguments.device, arguments.threads, "ctc")

    from speechgru.transcripts.alignment import align_recording

    audio, kind = arguments.audio, arguments.output_format
    try:
        found = align_recording(recognizer, audio, text)
    except DataError as error:
        raise DataError(f"{audio}: {error}") from error
    except RuntimeError as error:  # such as torch out of memory
        raise AudioError(f"{audio}: cannot be computed ({' '.join(str(error).split())})") from error
    if found.is_doubtful:
        print(
            f"speechgru align: warning: {printable(one_field(audio))}: the text is hardly what is said: "
            f"{found.shortfall:.1f} nats a token less likely than what the model hears ({found.heard or 'nothing'})",
            file=sys.stderr,
        )
    name = "stdin" if audio == "-" else Path(audio).stem
    written = WRITERS[kind](found, audio, name)
    if arguments.output_dir is None:
        standard_output(json=kind == "json").write(written)
        return 0
    path = Path(arguments.output_dir) / (name + SUFFIXES[kind])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(written.encode("utf-8", JSON_ESCAPES if kind == "json" else "surrogateescape"))
    except OSError as error:
        raise ConfigError(f"-o {arguments.output_dir}: cannot be written ({error.strerror})") from error
    standard_output(needed=False).write(f"{one_field(str(path))}\n")
    return 0


def _text(argument: str) -> str:
    try:
        if not os.path.isfile(argument):
            if argument.endswith(".txt"):
                raise ConfigError(f"{argument}: no such text file; check the path")
            return argument
        return Path(argument).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{argument}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError:
        raise ConfigError(f"{argument}: is not UTF-8; save it as UTF-8 text") from None
