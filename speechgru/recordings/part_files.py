"""The files of a job on many machines: what the job is, and the records of each part, which go on where they stopped.

In the folder of a job are:

- ``COMMAND.parts.json``: what the job is (:class:`PartJob`); every part must be of the same job;
- ``COMMAND-00003-of-00064.jsonl.unfinished``: records of a part, one JSON object a line, each whole once it is there;
- ``COMMAND-00003-of-00064.jsonl`` or ``.parquet``: the same, once all of its recordings are in it.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from speechgru.errors import ConfigError, DataError, one_line
from speechgru.files import flush, write_atomically
from speechgru.recordings.lines import JSON_ESCAPES
from speechgru.recordings.list_part import ListPart
from speechgru.recordings.parquet import jsonl_to_parquet
from speechgru.recordings.parts import Stretch
from speechgru.text_files import read_text

COMMANDS = ("classify", "transcribe")
FORMATS = ("jsonl", "parquet")
UNFINISHED = ".unfinished"
_MOST_BYTES = 1 << 20  # of the description of a job


@dataclasses.dataclass(frozen=True)
class PartJob:
    """A job over a list of recordings, in parts.

    Attributes:
        command: classify or transcribe.
        recordings: how many recordings there are in all parts together.
        parts: how many parts.
        output_format: jsonl or parquet.
        listed: the checksum of the list.
        model: the checksum of the model.
        options: the options that decide the answers, as words.
    """

    command: str
    recordings: int
    parts: int
    output_format: str
    listed: str
    model: str
    options: str

    def path(self, folder: Path) -> Path:
        """The file that describes the job."""
        return folder / f"{self.command}.parts.json"

    def join(self, folder: Path) -> None:
        """Begins the job in ``folder``, or joins it if it is the same one.

        Raises:
            ConfigError: the folder cannot be made, or has another job.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not self.path(folder).exists():
                write_atomically(self.path(folder), json.dumps(dataclasses.asdict(self), indent=2) + "\n")
        except OSError as error:
            raise ConfigError(f"-o {folder}: cannot be written ({error.strerror}); choose another folder") from error
        other = read_job(self.path(folder))
        names = [field.name for field in dataclasses.fields(self)]
        for name in names:
            there, here = getattr(other, name), getattr(self, name)
            if there != here:
                told = f" ({one_line(there)} there, {one_line(here)} here)" if len(str(here)) < 64 else ""
                raise ConfigError(f"-o {folder}: holds parts of another job, its {name} differs{told}; choose another")


def read_job(path: Path) -> PartJob:
    """The job that a file describes.

    Raises:
        DataError: it is not there, or damaged.
    """
    text = read_text(path, _MOST_BYTES, mend="give the folder that the parts were written to")
    try:
        values = json.loads(text)
        job = PartJob(**values)
        kinds = [("recordings", int), ("parts", int), *((name, str) for name in ("command", "output_format", "listed"))]
        if not all(type(getattr(job, name)) is kind for name, kind in kinds):
            raise ValueError("a value is of the wrong kind")
        if job.output_format not in FORMATS or job.command not in COMMANDS:
            raise ValueError("no such command or format")
        if not 1 <= job.parts <= 1_000_000 or not 0 <= job.recordings < 1 << 53:
            raise ValueError("an impossible number")
    except (ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: is damaged ({one_line(error)}); remove it and start a part again") from None
    return job


def checksum_of_list(items: Iterable[Stretch]) -> str:
    """A SHA-256 that is equal for lists that name the same recordings in the same order."""
    digest = hashlib.sha256()
    for item in items:
        told = repr((item.path, item.start_s, item.duration_s))
        digest.update(told.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


class PartFile:
    """The records of one part, for ``with``: a kill loses none that was written, and another start goes on after them.

    Attributes:
        path: the file once it is finished.
        finished: whether that file is there already; if so, nothing can be written.
        places: the recordings of this part that are still to be done.
        failed: how many of the records are errors.

    Raises:
        ConfigError: another process writes this part.
        DataError: the file holds other recordings.
    """

    def __init__(self, folder: Path, job: PartJob, part: ListPart) -> None:
        self.path = folder / part.file_name(job.command, job.output_format)
        self.places, self.failed = part.places(job.recordings), 0
        self.finished = self.path.exists()
        self._job = job
        self._unfinished = folder / (part.file_name(job.command, "jsonl") + UNFINISHED)
        self._file: BinaryIO

    def __enter__(self) -> PartFile:
        if self.finished:
            self._unfinished.unlink(missing_ok=True)  # killed between finishing that file and removing this one
            return self
        self._file = open(self._unfinished, "a+b")
        try:
            _lock(self._file, self._unfinished)
            self._go_on()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if not self.finished:
            self._file.close()

    def _go_on(self) -> None:
        """Skips the records that are there, and cuts off one that a kill or a power cut left half written."""
        self._file.seek(0)
        whole = 0
        for line in self._file:
            try:
                index, failed = _read(line)
            except ValueError:
                break
            if not self.places or index != self.places[0]:
                raise DataError(f"{self._unfinished}: has the recording {index} out of turn; remove the file")
            self.places, self.failed, whole = self.places[1:], self.failed + failed, whole + len(line)
        self._file.truncate(whole)
        self._file.seek(whole)

    def write(self, values: dict[str, object]) -> None:
        """Writes the record of the next recording."""
        line = json.dumps({"index": self.places[0], **values}, ensure_ascii=False, allow_nan=False)
        self._file.write(line.encode("utf-8", JSON_ESCAPES) + b"\n")
        self._file.flush()
        self.places, self.failed = self.places[1:], self.failed + ("error" in values)

    def finish(self) -> None:
        """Gives the file its final name; no recording may be missing."""
        assert not self.places
        os.fsync(self._file.fileno())
        if self._job.output_format == "parquet":
            jsonl_to_parquet([self._unfinished], self.path, self._job.command)
            self._unfinished.unlink()
        else:
            os.replace(self._unfinished, self.path)
        if os.name == "posix":
            flush(self.path.parent)
        self._file.close()
        self.finished = True


def read_records(path: Path) -> Iterator[tuple[int, bool]]:
    """For each record in a file of JSON lines: the recording's place in the list, and whether the record is an error.

    Raises:
        DataError: a line is damaged.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                yield _read(line)
            except ValueError:
                raise DataError(f"{path}:{number}: is damaged; remove the file and start its part again") from None


def _read(line: bytes) -> tuple[int, bool]:
    """The place of a record in the list, and whether it is an error; ValueError if it is not whole."""
    try:
        values = json.loads(line)
    except RecursionError:
        raise ValueError from None
    if not line.endswith(b"\n") or not isinstance(values, dict) or type(values.get("index")) is not int:
        raise ValueError
    return values["index"], "error" in values


def _lock(file: BinaryIO, path: Path) -> None:
    """Locks a file until it is closed, or the process ends; does nothing where the file system has no locks."""
    try:
        import fcntl
    except ImportError:
        return
    busy = ConfigError(f"{path}: another process writes this part; wait for it, or give every process its own --part")
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            raise busy from None
    # The process that held it may have finished between our opening and our locking it.
    if not path.exists() or os.fstat(file.fileno()).st_ino != path.stat().st_ino:
        raise busy
