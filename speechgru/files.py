"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

_DIGITS = 16  # of a temporary name


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path to write to, which replaces ``path`` at the end of the ``with`` block.

    A reader, or a restart after a kill or a power cut, finds the old content or the new, never a part. After an error
    in the block the old content stays.

    Yields:
        A path in the same folder, with a name of its own: two writers do not disturb each other.
    """
    path = Path(path)
    temporary = path.with_name(f".{secrets.token_hex(_DIGITS // 2)}.tmp")
    try:
        yield temporary
        flush(temporary)
        os.replace(temporary, path)
        if os.name == "posix":  # the new name is in the folder, which has to reach the disk as well
            flush(path.parent)
    except OSError as error:
        error.filename, error.filename2 = str(path), None  # a full disk names no file, others the temporary file
        raise
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Removes what killed writers left in a folder. Only for a folder in which nobody writes."""
    for path in folder.glob(".*.tmp"):
        if re.fullmatch(rf"\.[0-9a-f]{{{_DIGITS}}}\.tmp", path.name):
            path.unlink(missing_ok=True)


def write_atomically(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Writes a file whole or not at all; text as UTF-8 with its line ends as they are."""
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def flush(path: Path) -> None:
    """Waits until a file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
