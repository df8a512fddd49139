"""Text files that others wrote, read without trusting their size: a bomb or a damaged file costs little memory."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

from speechgru.errors import DataError, SpeechGRUError

_MOST_LINE_BYTES = 1 << 20
# Text shrinks to a fifth, repeated n-grams to a tenth.
_MOST_RATIO = 20
_SMALL_BYTES = 16 << 20


def read_text(
    path: str | os.PathLike[str], most_bytes: int, error: type[SpeechGRUError] = DataError, mend: str = "check the path"
) -> str:
    """The whole of a UTF-8 text file of at most ``most_bytes``, with its line ends as they are.

    Raises:
        SpeechGRUError: the ``error`` that was asked for: the file cannot be read, is longer, or is not UTF-8.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(most_bytes + 1)
        if len(content) > most_bytes:
            raise error(f"{path}: is longer than {most_bytes:,} bytes, so it is not what it should be")
        return content.decode("utf-8-sig")
    except OSError as problem:
        raise error(f"{path}: cannot be read ({problem.strerror}); {mend}") from None
    except UnicodeDecodeError as problem:
        raise error(f"{path}: is not UTF-8 (byte {problem.start}); save it as UTF-8 text") from None


def read_lines(path: str | os.PathLike[str], mend: str = "check the path", *, unpack: bool = False) -> Iterator[str]:
    """The lines of a UTF-8 text file without their ends, one after the other; the file is never held whole.

    Args:
        path: the file.
        mend: what the message says where it cannot be opened.
        unpack: read through gzip where the file is packed; it may unpack to twenty times its size, at least 16 MB.

    Raises:
        DataError: during the reading: the file cannot be read, is not UTF-8, has a line of more than 1 MB, or unpacks
            to more.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            if not unpack or file.peek(2)[:2] != b"\x1f\x8b":
                yield from _lines(file, path)
                return
            most = max(_SMALL_BYTES, _MOST_RATIO * os.fstat(file.fileno()).st_size)
            with gzip.open(file) as unpacked:
                yield from _lines(io.BufferedReader(unpacked, 1 << 18), path, most)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise DataError(f"{path}: is a broken gzip file; fetch it again") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); {mend}") from None


def _lines(file: io.BufferedReader, path: Path, most_bytes: int | None = None) -> Iterator[str]:
    number = total = 0
    while line := file.readline(_MOST_LINE_BYTES):
        number += 1
        total += len(line)
        if len(line) == _MOST_LINE_BYTES:
            raise DataError(f"{path}:{number}: is a line of more than {_MOST_LINE_BYTES:,} bytes; break it up")
        if most_bytes is not None and total > most_bytes:
            raise DataError(f"{path}: unpacks to more than {most_bytes:,} bytes; unpack it if it is to be trusted")
        try:
            text = line.decode()
        except UnicodeDecodeError:
            raise DataError(f"{path}:{number}: is not UTF-8; save it as UTF-8 text") from None
        yield (text.removeprefix("\ufeff") if number == 1 else text).removesuffix("\n").removesuffix("\r")
