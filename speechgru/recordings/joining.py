"""Joins the parts of a list: every recording is counted, and must be there once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from speechgru.errors import DataError
from speechgru.files import replacing
from speechgru.recordings.list_part import ListPart
from speechgru.recordings.parquet import join_parquet, parquet_records, require_parquet
from speechgru.recordings.part_files import UNFINISHED, PartJob, read_records


def missing_parts(folder: Path, job: PartJob) -> Iterator[str]:
    """A line for each part of a job whose file is not there, or is not finished."""
    for part in _parts(job):
        name = part.file_name(job.command, job.output_format)
        if (folder / name).is_file():
            continue
        count, state = len(part.places(job.recordings)), "none done"
        unfinished = folder / (part.file_name(job.command, "jsonl") + UNFINISHED)
        if unfinished.is_file():
            state = f"stopped or at work, {_lines(unfinished):,} done"
        yield f"part {part.number}/{part.parts}: {state} of {count:,} recordings"


def join_parts(folder: Path, job: PartJob) -> tuple[Path, int]:
    """Writes the records of all parts into ``COMMAND.FORMAT``, in the order of the list.

    Returns:
        That file, and how many of the records are errors.

    Raises:
        ConfigError: Parquet without pyarrow.
        DataError: a recording is there twice or missing.
    """
    if job.output_format == "parquet":
        require_parquet()
    read = parquet_records if job.output_format == "parquet" else read_records
    paths = [folder / part.file_name(job.command, job.output_format) for part in _parts(job)]
    failed = 0
    for part, path in zip(_parts(job), paths, strict=True):
        expected = part.places(job.recordings)
        found = 0
        for index, is_error in read(path):
            if found >= len(expected) or index != expected[found]:
                raise DataError(f"{path}: has the recording {index} out of turn; remove it and start its part again")
            found, failed = found + 1, failed + is_error
        if found != len(expected):
            raise DataError(f"{path}: lacks {len(expected) - found} recordings; remove it and start its part again")
    joined = folder / f"{job.command}.{job.output_format}"
    if job.output_format == "parquet":
        join_parquet(paths, joined, job.command)
        return joined, failed
    with replacing(joined) as temporary, temporary.open("wb") as output:
        for path in paths:
            with path.open("rb") as source:
                shutil.copyfileobj(source, output)
    return joined, failed


def _parts(job: PartJob) -> Iterator[ListPart]:
    return (ListPart(number, job.parts) for number in range(1, job.parts + 1))


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(line.endswith(b"\n") for line in file)
