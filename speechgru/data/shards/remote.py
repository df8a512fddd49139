"""Shards at an address: each is fetched whole when its first recording is read, and a bounded number is kept.

The folder that they are fetched to has their address in ``source.json``, so that every process that reads there can
fetch them, whichever process began. ``shards.json`` holds the checksums.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from speechgru.audio.tar_member import split_member
from speechgru.data.download import download
from speechgru.data.shards.listing import INDEX, NAME, Shard, read_listing
from speechgru.errors import AudioError, DataError, one_line
from speechgru.files import write_atomically

_SOURCE = "source.json"


def is_address(root: str) -> bool:
    """Whether ``root`` is an http or https address."""
    return root.lower().startswith(("http://", "https://"))


def cache_folder(cache: str, address: str) -> Path:
    """Where the shards of an address are kept."""
    base = Path(os.path.expanduser(cache or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "speechgru")))
    name = urllib.parse.quote(address, safe="")
    if len(name) > 200:  # a folder's name is 255 bytes at most, and a split is told by the end of an address
        name = f"{name[:160]}-{hashlib.sha256(address.encode()).hexdigest()[:32]}"
    return base / "shards" / name


def open_address(address: str, folder: Path, cache_gb: float) -> None:
    """Fetches the list of the shards at ``address``, but no shard.

    Raises:
        DataError: nothing there, or no shards written by ``speechgru shard``.
    """
    with _alone(folder / "source"):
        before = {one.name: one.sha256 for one in _listed(folder)}
        for name in (NAME, INDEX):
            _renew(f"{address}/{name}", folder / name)
        for one in _listed(folder):
            if before.get(one.name, one.sha256) != one.sha256:  # written anew since
                (folder / one.name).unlink(missing_ok=True)
        write_atomically(folder / _SOURCE, json.dumps({"address": address, "cache_gb": cache_gb}) + "\n")
    _source.cache_clear()


def _listed(folder: Path) -> list[Shard]:
    try:
        return read_listing(folder).shards
    except DataError:  # not there yet, or damaged: it is fetched anew
        return []


def _renew(address: str, path: Path) -> None:
    """Fetches a file that may have changed; where that fails the one that is there is kept."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    try:
        download(address, new, progress=False)
    except DataError:
        if not path.exists():
            raise
    else:
        new.replace(path)


def is_fetched_when_read(audio: str) -> bool:
    """Whether a recording is in a shard that has an address."""
    place = split_member(audio)
    return place is not None and _source(os.path.dirname(place[0])) is not None


def is_gone(audio: str) -> bool:
    """Whether a recording is in a shard that has an address and is not here: another process may have removed it."""
    place = split_member(audio)
    return place is not None and is_fetched_when_read(audio) and not os.path.exists(place[0])


def fetch_shard(audio: str) -> None:
    """Fetches the shard that a recording is in, if it has an address and is not here.

    Raises:
        AudioError: it cannot be fetched, or its content has changed.
    """
    place = split_member(audio)
    source = _source(os.path.dirname(place[0])) if place else None
    if place is None or source is None:
        return
    path, (address, cache_gb) = Path(place[0]), source
    try:
        with _alone(path):
            if not path.exists():
                shard = next((one for one in read_listing(path.parent).shards if one.name == path.name), None)
                if shard is None:
                    raise DataError(f"{path}: {address} has no such shard")
                _make_room(path.parent, cache_gb * 1e9 - shard.bytes)
                download(f"{address}/{path.name}", path, sha256=shard.sha256, progress=False)
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))  # those that were read last stay longest
    except FileNotFoundError:  # removed in the meantime: the reader tries again
        return
    except DataError as error:
        raise AudioError(str(error)) from None


@functools.lru_cache(64)
def _source(folder: str) -> tuple[str, float] | None:
    """The address of the shards in a folder, and how many GB of them are kept; None where they were not fetched."""
    path = Path(folder) / _SOURCE
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return str(told["address"]), float(told["cache_gb"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AudioError(f"{path}: is damaged ({one_line(error)}); remove it, and begin the run again") from None


def _make_room(folder: Path, most_bytes: float) -> None:
    """Removes the shards that were not read for longest, until the others fit within ``most_bytes``."""
    found = []
    for path in folder.glob("*.tar"):
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            found.append((status.st_atime_ns, status.st_size, path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= most_bytes:
            return
        path.unlink(missing_ok=True)
        total -= size


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process at a time fetches a shard; the others wait for it."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_suffix(".lock"), "w") as file:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.lockf(file, fcntl.LOCK_EX)
        yield
