"""What classify and transcribe do with a list that is too long for one process: parts, each written as it comes."""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from speechgru.commands.recordings import listed_recordings, model_folder, on_terminal, progress, standard_output
from speechgru.errors import ConfigError, ModelError
from speechgru.recordings.lines import one_field
from speechgru.recordings.list_part import ListPart, read_part
from speechgru.recordings.parquet import require_parquet
from speechgru.recordings.part_files import FORMATS, PartFile, PartJob, checksum_of_list
from speechgru.recordings.parts import Stretch

Answers = Callable[[Sequence[Stretch]], Iterator[dict[str, object]]]

EPILOG = """\
AUDIO may be a list of recordings too: a manifest (.jsonl, .json) or a table (.csv, .tsv).

With --part 3/64 the third of 64 parts is done, into OUTPUT_DIR/COMMAND-00003-of-00064.FORMAT (jsonl, parquet). If it
is stopped or killed, the same command goes on after what is written. Each record has its place in the list (index, from
0). speechgru join-parts OUTPUT_DIR counts the recordings of all parts and joins them. With --engine ray the workers of
a Ray cluster share the list, or the part (extra ray); if a worker dies, another does its share.
"""
# Options left out of the job: the job names these itself, or they do not change the answers.
_FREE = (
    "audio",
    "model",
    "output_dir",
    "output_format",
    "part",
    "engine",
    "workers",
    "batch_size",
    "device",
    "threads",
)


def add_part_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of a list in parts."""
    many = parser.add_argument_group("many recordings")
    many.add_argument("--part", metavar="K/N", help="do the K-th of N parts of the list, into a file of its own in -o")
    many.add_argument("--engine", choices=("local", "ray"), default="local", help="who computes (default: local)")
    many.add_argument("--workers", type=int, help="with --engine ray: processes (default: one for each processor)")


def run_part(command: str, arguments: argparse.Namespace, start: Callable[[argparse.Namespace], Answers]) -> int:
    """Does a part of the list that the arguments name; 0, or 1 when a recording failed.

    Args:
        command: classify or transcribe.
        arguments: its options.
        start: loads the model that the arguments name, and returns the function that gives the records of recordings,
            in their order.

    Raises:
        ConfigError: an option is out of range, or the folder holds parts of another job.
        DataError: the file of this part holds other recordings.
    """
    part = _check(arguments)
    items = listed_recordings(arguments.audio)
    if any(item.path == "-" for item in items):
        raise ConfigError("--part: standard input cannot be read again after a stop; give files or a list of them")
    folder = Path(arguments.output_dir)
    output_format = "parquet" if arguments.output_format == "parquet" else "jsonl"
    options = {name: value for name, value in sorted(vars(arguments).items()) if name not in _FREE}
    job = PartJob(
        command,
        len(items),
        part.parts,
        output_format,
        checksum_of_list(items),
        _checksum_of_model(model_folder(arguments.model, "ctc" if command == "transcribe" else "classification")),
        json.dumps(options),
    )
    job.join(folder)
    with PartFile(folder, job, part) as file:
        if file.finished:
            print(f"{file.path}: is finished, nothing to do", file=sys.stderr)
            print(one_field(str(file.path)), file=standard_output(needed=False))
            return 0
        _do(command, arguments, start, items, file)
    print(one_field(str(file.path)), file=standard_output(needed=False))
    if file.failed:
        count = len(part.places(len(items)))
        print(f"speechgru {command}: {file.failed} of {count} failed", file=sys.stderr)
    return int(file.failed > 0)


def _do(
    command: str,
    arguments: argparse.Namespace,
    start: Callable[[argparse.Namespace], Answers],
    items: list[Stretch],
    file: PartFile,
) -> None:
    waiting = items[file.places.start : file.places.stop]
    if waiting:
        begun = functools.partial(start, arguments)
        if arguments.engine == "ray":
            from speechgru.recordings.ray_engine import ray_records

            records = ray_records(begun, waiting, arguments.batch_size, arguments.workers)
        else:
            records = begun()(waiting)
        for values in progress(records, len(waiting), command, hidden=not on_terminal()):
            file.write(values)
    file.finish()


def _check(arguments: argparse.Namespace) -> ListPart:
    asked = "--engine ray" if arguments.engine == "ray" else "--part" if arguments.part else ""
    asked = asked or f"-f {arguments.output_format}"
    if arguments.output_dir is None:
        raise ConfigError(f"{asked}: name the folder of the results with -o")
    if arguments.output_format not in (None, *FORMATS):
        raise ConfigError(f"-f {arguments.output_format}: {asked} writes jsonl or parquet")
    if arguments.output_format == "parquet":
        require_parquet()
    if arguments.workers is not None and (arguments.engine != "ray" or arguments.workers < 1):
        raise ConfigError(f"--workers {arguments.workers}: at least 1, and with --engine ray")
    return read_part(arguments.part or "1/1")


def is_in_parts(arguments: argparse.Namespace) -> bool:
    """Whether the options ask for parts, or for what only parts have."""
    return arguments.part is not None or arguments.engine == "ray" or arguments.output_format == "parquet"


def _checksum_of_model(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in ("config.yaml", "model.safetensors"):
        try:
            digest.update((folder / name).read_bytes())
        except OSError as error:
            raise ModelError(f"{folder / name}: cannot be read ({error.strerror}); copy the folder again") from None
    return digest.hexdigest()
