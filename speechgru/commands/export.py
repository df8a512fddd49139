"""``speechgru export``: a trained model as a file that runs without this package."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from speechgru.commands.recordings import find_recordings, load_recognizer, progress
from speechgru.compiled import disabled
from speechgru.errors import AudioError, ConfigError
from speechgru.recordings.lines import one_field, printable
from speechgru.shipped import model_path, model_title

if TYPE_CHECKING:  # imported when it is needed: a mistyped option is answered without waiting for torch
    import numpy as np

    from speechgru.plain import Record
    from speechgru.recognizer import Recognizer

_EPILOG = """\
onnx: OUTPUT_DIR/model.onnx is the whole model, from waveforms and their lengths to scores; run.py beside it runs it
with numpy, soundfile and onnxruntime alone. Before anything is written, the file is compared with the model on 32
drawn batches and on the recordings given. The command ends if a score is off by more than 1e-4, and by more than
rounding explains. parity.json has the result.
c: model.h, model.c and weights.h are the model in C99 for a microcontroller, from 16-bit samples to detections or
tokens, without allocation and with libm alone; example.c and a Makefile show its use. The model has to go step by step
(encoder=look_ahead or one direction, normalization=global, sliding or none; a keyword or CTC head). The program is
compiled and compared with the model's own stream in the same way; without a compiler nothing is checked, and the
command says so.
web: index.html is a page that runs the model in the browser, with a microphone or a file; nothing that is heard leaves
the machine. It is compared in the same way. onnxruntime-web comes from a content delivery network, by its hash; with
--runtime FOLDER a copy of its npm package is included, and the page needs no network.
With --int8 (onnx and c) the large weights are written as 8-bit integers, with a scale for each output, after the same
file with float32 is proved; give recordings to learn how many answers that changes.
The exit code is 0, 1 where a recording cannot be read (the others are compared) or nothing was written, 2 for usage.
The folder appears whole or not at all. The folder of an earlier export is replaced; a folder that holds anything else
is not.

examples:
  speechgru export commands -o commands_onnx
  speechgru export runs/an4/0/model -o an4_onnx --recordings recordings/
  speechgru export commands -o commands_int8 --int8 --recordings recordings/
  python commands_onnx/run.py clip.wav
  speechgru export keywords -o keywords_c --format c --int8
  speechgru export keywords -o keywords_web --format web && cd keywords_web && python -m http.server
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``speechgru export``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("model", metavar="MODEL", help="model folder, or the name of a shipped model")
    parser.add_argument("-o", "--output_dir", required=True, help="the folder to write")
    parser.add_argument("--format", choices=["onnx", "c", "web"], default="onnx", help="default: onnx")
    parser.add_argument("--int8", action="store_true", help="large weights as 8-bit integers; says what that costs")
    parser.add_argument(
        "--runtime",
        metavar="FOLDER",
        help="for web: a copy of onnxruntime-web's npm package, so that no network is needed",
    )
    parser.add_argument(
        "--recordings",
        nargs="+",
        default=[],
        metavar="AUDIO",
        help="files, folders or globs to compare on too, the first minute of each",
    )


@disabled()  # loading compiled code would take longer than it saves
def run(arguments: argparse.Namespace) -> int:
    """Exports what the arguments name, and prints the folder.

    Raises:
        ConfigError: no such model, a recording that cannot be found, a folder that holds something else, or an option
            of another format.
        ModelError: the model cannot be loaded, has no form in this format, or its export gives other scores.
    """
    from speechgru.export.folder import check_target, require_onnx

    folder, target = model_path(arguments.model), Path(arguments.output_dir)
    check_target(target)
    web = arguments.format == "web"
    if arguments.int8 and web:
        raise ConfigError("--int8: not with --format web, whose files are mostly onnxruntime-web; leave it out")
    if arguments.runtime and not web:
        raise ConfigError(f"--runtime: not with --format {arguments.format}, only with --format web; leave it out")
    if arguments.format != "c":
        require_onnx()
    items = find_recordings(arguments.recordings) if arguments.recordings else []
    model = load_recognizer(folder, "cpu", None, None)
    if arguments.format == "c":
        from speechgru.export.c.writer import check_streams

        check_streams(model)  # before recordings are read
    recordings, failed = _read(model, items)
    if web:
        told = _write_web(model, folder, target, recordings, model_title(arguments.model), arguments.runtime)
    else:
        write = {"onnx": _write_onnx, "c": _write_c}[arguments.format]
        told = write(model, folder, target, recordings, arguments.int8)
    print(one_field(str(target)))
    print(told, file=sys.stderr)
    return int(failed > 0)


def _write_onnx(model: Recognizer, folder: Path, target: Path, recordings: list[np.ndarray], int8: bool) -> str:
    """Writes ONNX files; returns what to say about them."""
    from speechgru.export.folder import export_onnx

    parity = export_onnx(model, folder, target, recordings, int8)
    told = (
        f"{parity['bytes'] / 1e6:.2f} MB; scores of {parity['draws']} drawn batches and {parity['recordings']} "
        f"recordings differ from the model's by at most {parity['largest_difference']:.2g}"
    )
    return f"{told}\n{_cost_of_int8(parity['int8'], parity['bytes'])}" if int8 else told


def _write_c(model: Recognizer, folder: Path, target: Path, recordings: list[np.ndarray], int8: bool) -> str:
    """Writes a C program; returns what to say about it."""
    from speechgru.export.c.folder import export_c

    parity = export_c(model, folder, target, recordings, int8)
    told = f"{parity['flash_bytes']:,} bytes of tables, {parity['state_bytes']:,} bytes of state for each stream"
    if not parity["sounds"]:
        return f"{told}; not checked: there is no C compiler here (cc, gcc or clang)"
    rounded = " with its weights rounded to 8 bits" if int8 else ""
    told += (
        f"; scores of {parity['sounds']} sounds, {parity['recordings']} of them recordings, differ from those of the "
        f"model{rounded} by at most {parity['largest_difference']:.2g}"
    )
    return f"{told}, from those of the model by {parity['largest_cost_of_int8']:.2g}" if int8 else told


def _write_web(
    model: Recognizer, folder: Path, target: Path, recordings: list[np.ndarray], name: str, runtime: str | None
) -> str:
    """Writes a page; returns what to say about it."""
    from speechgru.export.web.folder import export_web

    parity = export_web(model, folder, target, recordings, name, Path(runtime) if runtime else None)
    return (
        f"{parity['folder_bytes'] / 1e6:.2f} MB; scores of {parity['draws']} drawn sounds and {parity['recordings']} "
        f"recordings differ from the model's by at most {parity['largest_difference']:.2g}; "
        f"cd {target} && python -m http.server, then open http://localhost:8000"
    )


def _cost_of_int8(cost: Record, size: int) -> str:
    """What 8-bit weights save and cost; changed answers are counted only on recordings."""
    if cost["recordings"]:
        changed = (
            f"{cost['answers_changed']} of {cost['recordings']} answers to recordings changed, scores by at most "
            f"{cost['largest_difference']:.2g}"
        )
    else:
        changed = "what it costs is not known: give --recordings"
    return (
        f"int8: {size / 1e6:.2f} MB instead of {cost['bytes_float32'] / 1e6:.2f}; a second of sound takes "
        f"{cost['ms_a_second']:.1f} ms instead of {cost['ms_a_second_float32']:.1f}; {changed}"
    )


def _read(model: Recognizer, items: list[tuple[str, str]]) -> tuple[list[np.ndarray], int]:
    """The first minute of each recording, at the model's sample rate; and how many cannot be read: each is reported."""
    from speechgru.audio import read_audio

    found = []
    for path, error in progress(items, len(items), "read"):
        try:
            if error:
                raise AudioError(error)
            found.append(read_audio(path, model.sample_rate)[0].numpy()[: 60 * model.sample_rate])
        except AudioError as one:
            print(f"speechgru export: left out: {printable(one_field(str(one)))}", file=sys.stderr)
    if items and not found:
        raise ConfigError("--recordings: none of them can be read")
    return found, len(items) - len(found)
