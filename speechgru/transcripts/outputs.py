"""Where transcripts go: a file for each recording and format, or one stream for all."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import Protocol, TextIO

from speechgru.errors import ConfigError
from speechgru.recordings.lines import JSON_ESCAPES, one_field, printable
from speechgru.transcripts.formats import record, to_json
from speechgru.transcripts.transcript import Transcript

# Errors that a name alone can cause; after any other one, such as a full disk, nothing more can be written.
_OF_THE_NAME = {errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.EISDIR, errno.ENOTDIR, errno.EEXIST}


class Output(Protocol):
    """Takes transcripts one by one and writes each at once."""

    def write(self, transcript: Transcript) -> bool:
        """Writes one transcript, or what went wrong; returns whether there is a transcript."""

    def close(self) -> None:
        """Writes what comes after the last one."""


class FilesOutput:
    """A file for each recording and format, its path on ``stream``; the JSON of one that failed holds its error.

    Args:
        folder: where the files go; it is made.
        names: by path of the recording, the name of its files without the format, no two the same.
        writers: by format, what writes a transcript.
        stream: takes the paths, one per line.

    Raises:
        ConfigError: the folder cannot be made.
    """

    def __init__(
        self, folder: str, names: dict[str, str], writers: dict[str, Callable[[Transcript], str]], stream: TextIO
    ) -> None:
        self.folder, self.names, self.writers, self.stream = folder, names, writers, stream
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"-o {folder}: cannot be made ({error.strerror}); choose another folder") from error

    def write(self, transcript: Transcript) -> bool:
        """Writes the files and prints their paths.

        Raises:
            OSError: nothing can be written any more, as on a full disk.
        """
        if transcript.error:
            _complain(transcript.audio, transcript.error)
        for name, write in self.writers.items():
            if transcript.error and name != "json":
                continue
            path = os.path.join(self.folder, f"{self.names[transcript.audio]}.{name}")
            errors = JSON_ESCAPES if name == "json" else "surrogateescape"
            try:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "w", encoding="utf-8", errors=errors, newline="") as file:
                    file.write(write(transcript))
            except OSError as error:
                if error.errno in _OF_THE_NAME:
                    _complain(transcript.audio, f"{path} cannot be written ({error.strerror}); rename the recording")
                    return False
                error.filename = error.filename or path
                raise
            self.stream.write(one_field(path) + "\n")
            self.stream.flush()
        return not transcript.error

    def close(self) -> None:
        """Nothing follows."""


class OneOutput:
    """The only recording, in its format."""

    def __init__(self, stream: TextIO, write: Callable[[Transcript], str], is_json: bool) -> None:
        self.stream, self.written, self.is_json = stream, write, is_json

    def write(self, transcript: Transcript) -> bool:
        """Writes it, or its error."""
        if transcript.error and not self.is_json:
            _complain(transcript.audio, transcript.error)
            return False
        self.stream.write(self.written(transcript))
        self.stream.flush()
        return not transcript.error

    def close(self) -> None:
        """Nothing follows."""


class ArrayOutput:
    """One JSON array with one recording per line."""

    def __init__(self, stream: TextIO, word_timestamps: bool) -> None:
        self.stream, self.word_timestamps, self.count = stream, word_timestamps, 0

    def write(self, transcript: Transcript) -> bool:
        """Writes one object."""
        text = to_json(record(transcript, self.word_timestamps)).rstrip("\n")
        self.stream.write(("[\n" if not self.count else ",\n") + text)
        self.stream.flush()
        self.count += 1
        return not transcript.error

    def close(self) -> None:
        """Closes the array."""
        self.stream.write("\n]\n" if self.count else "[]\n")
        self.stream.flush()


class LinesOutput:
    """PATH <tab> TEXT, one recording per line; failures go to standard error."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, transcript: Transcript) -> bool:
        """Writes one line."""
        if transcript.error:
            _complain(transcript.audio, transcript.error)
            return False
        self.stream.write(f"{one_field(transcript.audio)}\t{transcript.text}\n")
        self.stream.flush()
        return True

    def close(self) -> None:
        """Nothing follows the last line."""


def _complain(audio: str, error: str) -> None:
    print(f"{printable(one_field(audio))}\terror: {printable(error)}", file=sys.stderr, flush=True)
