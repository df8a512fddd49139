"""``speechgru join-parts``: counts the recordings of all parts of a list and joins their results."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from speechgru.errors import ConfigError
from speechgru.recordings.lines import one_field

_EPILOG = """\
DIR is the folder of -o when classify or transcribe did the parts (--part 3/64). If parts are missing or unfinished, a
line names each, nothing is written, and the exit code is 1: start those parts again, they go on where they were
stopped. Otherwise every recording of the list is counted, once each, and DIR/classify.jsonl (or .parquet) has them all,
in order.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``speechgru join-parts``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("folder", metavar="DIR", help="the folder of the parts")


def run(arguments: argparse.Namespace) -> int:
    """Joins the parts in a folder; 0, or 1 when some are missing.

    Raises:
        ConfigError: no parts there.
        DataError: a file is damaged.
    """
    from speechgru.recordings.joining import join_parts, missing_parts
    from speechgru.recordings.part_files import read_job

    folder = Path(arguments.folder)
    described = sorted(folder.glob("*.parts.json"))
    if not described:
        raise ConfigError(f"{folder}: no parts in this folder; give the one of -o with --part")
    jobs = [read_job(path) for path in described]
    missing = [line for job in jobs for line in missing_parts(folder, job)]
    for line in missing:
        print(line)
    if missing:
        parts = sum(job.parts for job in jobs)
        print(f"speechgru join-parts: {len(missing):,} of {parts:,} parts are missing", file=sys.stderr)
        return 1
    for job in jobs:
        path, failed = join_parts(folder, job)
        print(one_field(str(path)))
        errors = f"; {failed:,} of them could not be heard, see their error" if failed else ""
        print(f"{job.recordings:,} recordings of {job.parts:,} parts, each once{errors}", file=sys.stderr)
    return 0
