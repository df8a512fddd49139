"""Recordings inside tar files, under the path of the file and the name in it: ``shards/shard-000003.tar/17.flac``.

Only the bytes of the one recording are read. Nothing is unpacked, so no name in a tar file is ever a path on the disk.
"""

from __future__ import annotations

import functools
import io
import os
import tarfile
from pathlib import PurePosixPath

from speechgru.errors import AudioError, one_line

_KEPT = 8  # tables of contents, of tens of thousands of names each


def split_member(path: str) -> tuple[str, str] | None:
    """The tar file and the name in it, or None where ``path`` is not inside a tar file."""
    head, mark, name = path.partition(".tar/")
    return (head + ".tar", name) if mark and name else None


def members(path: str) -> dict[str, tuple[int, int]]:
    """By name, where each file in a tar file begins and how many bytes it has, in order.

    Raises:
        AudioError: it is not there, no uncompressed tar file, truncated, or has a name twice or one that leads out of
            it.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise AudioError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    return _members(path, status.st_mtime_ns, status.st_size)


def open_member(path: str) -> io.BytesIO | None:
    """The recording at ``path``, if that is inside a tar file; else None.

    Raises:
        AudioError: as :func:`members`, or no such name in it.
    """
    place = split_member(path)
    if place is None or not os.path.isfile(place[0]):
        return None
    found = members(place[0]).get(place[1])
    if found is None:
        raise AudioError(f"{path}: no such file in {place[0]}; check the name")
    return io.BytesIO(read_member(place[0], *found))


def read_member(path: str, begin: int, size: int) -> bytes:
    """The bytes of one file in a tar file.

    Raises:
        AudioError: it cannot be read, or ends too early.
    """
    try:
        with open(path, "rb") as file:
            file.seek(begin)
            content = file.read(size)
    except OSError as error:
        raise AudioError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    if len(content) < size:
        raise AudioError(f"{path}: is truncated; fetch or write it again")
    return content


@functools.lru_cache(_KEPT)
def _members(path: str, _: int, size: int) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                if not member.isreg():
                    continue
                if member.name.startswith("/") or ".." in PurePosixPath(member.name).parts or "\0" in member.name:
                    raise AudioError(f"{path}: has the name {one_line(repr(member.name))}, which leaves it; remove it")
                if member.issparse():
                    name = one_line(repr(member.name))
                    raise AudioError(f"{path}: has {name} as a sparse file; write it again without --sparse")
                name = member.name.removeprefix("./")
                if name in found:
                    raise AudioError(f"{path}: has {one_line(repr(name))} twice; write it again with one of each")
                if member.offset_data + member.size > size:
                    raise AudioError(f"{path}: is truncated; fetch or write it again")
                found[name] = member.offset_data, member.size
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise AudioError(f"{path}: truncated, or no plain tar file ({one_line(error)}); fetch it again") from None
    return found
