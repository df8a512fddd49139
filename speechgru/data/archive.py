"""Unpacking tar and zip archives that cannot be trusted."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import stat
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from reprlib import repr as shown
from typing import IO, Any

from speechgru.errors import DataError, one_line

_BLOCK = 1 << 20
_MOST_MEMBERS = 1_000_000
_SMALL_BYTES = 64 << 20
_MOST_RATIO = 100  # bytes unpacked for each of the archive, beyond 64 MB: recordings do not compress a hundredfold
_MOST_DEPTH = 64
# What Python's archive readers raise at unexpected content.
_DAMAGES = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    EOFError,
    ValueError,
    OverflowError,
    RuntimeError,  # an unknown compression, an encrypted file
    struct.error,
)


def extract(
    archive: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    only: tuple[str, ...] = (),
    strip: int = 0,
    max_bytes: int = 32 << 30,
    progress: bool = True,
) -> None:
    """Unpack a tar (plain, gz, bz2, xz) or zip archive into ``folder``, all of it or nothing.

    The archive is unpacked into a temporary folder beside the final one, which is then renamed. If the process is
    killed before that, only the temporary folder is left; the next call removes it. If ``folder`` exists and is not
    empty, everything at the top of the archive is moved into it, unless something of the same name is there. Only plain
    files and folders are made; permissions, owners and times of the archive are not kept.

    Args:
        archive: the file.
        folder: where to; its parent is made.
        only: names at the top (after ``strip``) to unpack; empty: all.
        strip: leading folders to remove from all names.
        max_bytes: most bytes unpacked.
        progress: show a bar on stderr; never shown where that is not a terminal.

    Raises:
        DataError: not an archive or a damaged one; absolute names, ``..``, links, devices, a name that comes twice,
            too many or too large files; nothing to unpack; a name that is in ``folder`` already.
    """
    from tqdm import tqdm

    archive, folder = Path(archive), Path(folder).resolve()
    unpacked = folder.with_name(f".{folder.name}.unpacking")
    try:
        packed_bytes = archive.stat().st_size
        budget = int(min(max_bytes, max(packed_bytes * _MOST_RATIO, _SMALL_BYTES)))
        shutil.rmtree(unpacked, ignore_errors=True)
        unpacked.mkdir(parents=True)
        title = f"unpacking {archive.name}"
        off = None if progress else True
        with tqdm(unit="B", unit_scale=True, desc=title, file=sys.stderr, disable=off) as bar:
            for count, (name, size, source) in enumerate(_members(archive, budget)):
                parts = _parts(name, archive)[strip:]
                budget -= size
                if budget < 0 or count >= _MOST_MEMBERS:
                    raise DataError(f"{archive}: unpacks to suspiciously much (at {shown(name)}); nothing was unpacked")
                if not parts or (only and parts[0] not in only):
                    continue
                _write(unpacked.joinpath(*parts), size, source, f"{archive}: {shown(name)}")
                bar.update(size)
        _install(unpacked, folder, archive)
    except _DAMAGES as error:
        reason = one_line(error)
        raise DataError(f"{archive}: is damaged or no archive ({reason}); remove it and fetch it again") from None
    except OSError as error:
        reason = one_line(error.strerror or error)
        raise DataError(f"{archive}: cannot be unpacked to {folder} ({reason})") from None
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)


class _Source:
    """The content of a member: nothing for a folder, a refusal for what is neither file nor folder."""

    def __init__(self, file: IO[bytes] | None = None, refusal: str = ""):
        self.file, self.refusal = file, refusal


class _Unpacked:
    """A tar file, read through its compression; headers that ask for too many bytes are refused.

    tarfile trusts the sizes that names and extended headers claim, and reads that many bytes at once.
    """

    def __init__(self, file: IO[bytes], most_bytes: int, archive: Path) -> None:
        self.file, self.left, self.archive = file, most_bytes, archive

    def read(self, size: int = -1) -> bytes:
        content = self.file.read(size) if 0 <= size <= _BLOCK else None
        self.left -= len(content or b"")
        if content is None or self.left < 0:
            raise DataError(f"{self.archive}: unpacks to suspiciously much; nothing was unpacked")
        return content

    def seek(self, place: int, whence: int = 0) -> int:
        return self.file.seek(place, whence)

    def tell(self) -> int:
        return self.file.tell()


def _members(archive: Path, budget: int) -> Iterator[tuple[str, int, _Source]]:
    if zipfile.is_zipfile(archive):
        yield from _zip_members(archive)
        return
    with archive.open("rb") as file:
        start = file.read(6)
    openers: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
    opener = next((opener for magic, opener in openers.items() if start.startswith(magic)), open)
    # The budget is for file contents; names, headers and padding are read as well.
    with opener(archive, "rb") as file:
        unpacked: Any = _Unpacked(file, 2 * budget + 2 * _SMALL_BYTES, archive)
        yield from _tar_members(archive, unpacked)


def _tar_members(archive: Path, unpacked: Any) -> Iterator[tuple[str, int, _Source]]:
    with tarfile.open(fileobj=unpacked, mode="r:") as tar:
        while (member := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # else a list of all of them grows in memory
            if member.isdir():
                yield member.name, 0, _Source()
            elif member.isreg():
                with tar.extractfile(member) as file:  # type: ignore[union-attr]
                    yield member.name, member.size, _Source(file)
            else:
                kind = "link" if member.issym() or member.islnk() else "device or other special file"
                yield member.name, 0, _Source(refusal=f"a {kind}")
        # Only padding follows the last member, but a compressed stream checks itself only at its very end.
        padding = 0
        while tar.fileobj is not None and (block := tar.fileobj.read(_BLOCK)):
            padding += len(block)
            if padding > _SMALL_BYTES:
                raise DataError(f"{archive}: goes on for suspiciously long after its last file; nothing was unpacked")


def _zip_members(archive: Path) -> Iterator[tuple[str, int, _Source]]:
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
            mode = member.external_attr >> 16
            if member.is_dir():
                yield member.filename, 0, _Source()
            elif member.flag_bits & 1:
                yield member.filename, 0, _Source(refusal="encrypted")
            elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                kind = "link" if stat.S_ISLNK(mode) else "device or other special file"
                yield member.filename, 0, _Source(refusal=f"a {kind}")
            else:
                with file.open(member) as content:
                    yield member.filename, member.file_size, _Source(content)


def _parts(name: str, archive: Path) -> list[str]:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    # Backslashes and drive letters are harmless here and not on Windows.
    outside = name.startswith("/") or ".." in parts or "\\" in name or (parts and ":" in parts[0]) or "\0" in name
    if outside:
        raise DataError(f"{archive}: the name {shown(name)} leads outside the folder; nothing was unpacked")
    if len(parts) > _MOST_DEPTH:
        raise DataError(f"{archive}: the name {shown(name)} is {len(parts)} folders deep; nothing was unpacked")
    return parts


def _write(path: Path, size: int, source: _Source, where: str) -> None:
    if source.refusal:
        raise DataError(f"{where} is {source.refusal}, which is not unpacked from an archive; nothing was unpacked")
    if source.file is None:
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    try:
        with path.open("xb") as file:
            while block := source.file.read(_BLOCK):
                written += len(block)
                file.write(block)
    except FileExistsError:
        raise DataError(f"{where} is there twice; nothing was unpacked") from None
    if written != size:
        raise DataError(f"{where} has {written} bytes instead of {size}; remove the archive and fetch it again")


def _install(unpacked: Path, folder: Path, archive: Path) -> None:
    names = sorted(one.name for one in unpacked.iterdir())
    if not names:
        raise DataError(f"{archive}: holds nothing of what was expected; is it the right archive?")
    if not folder.exists() or not any(folder.iterdir()):
        unpacked.replace(folder)
        return
    for name in names:
        if (folder / name).exists():
            raise DataError(f"{folder / name}: is there already; move it away or choose another folder")
    for name in names:
        (unpacked / name).replace(folder / name)
