"""Fetching a file from an official address: resumed after an interruption, checked, and there whole or not at all."""

from __future__ import annotations

import hashlib
import http.client
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from speechgru.data.archive import extract
from speechgru.errors import DataError

_BLOCK = 1 << 20
_TRIES = 4
_TIMEOUT_S = 60.0


def download(
    url: str,
    path: str | os.PathLike[str],
    *,
    sha256: str | None = None,
    md5: str | None = None,
    progress: bool = True,
    retry_wait_s: float = 2.0,
) -> Path:
    """Fetch ``url`` to ``path``; a file that is there already and has the right checksum is left as it is.

    What has arrived is kept in ``<path>.part``, so a later call goes on there (HTTP Range), but only if a checksum is
    given, which proves that the pieces fit together. A connection that breaks is tried four times. ``path`` appears by
    a rename after the check.

    Args:
        url: http or https.
        path: the file to write; its folder is made.
        sha256: expected checksum, in hexadecimal.
        md5: likewise.
        progress: show a bar on stderr; never shown where that is not a terminal.
        retry_wait_s: wait before the second try, in seconds; doubled before each further one.

    Raises:
        DataError: refused or unreachable address, a connection that keeps breaking, a wrong checksum (what was
            fetched is removed), a file that cannot be written.
    """
    path = Path(path)
    if not url.lower().startswith(("http://", "https://")):
        raise DataError(f"{url}: not an http or https address")
    checksums = {name: value.lower() for name, value in (("sha256", sha256), ("md5", md5)) if value}
    if path.is_file() and not _mismatch(path, checksums, progress):
        return path
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not checksums:
            part.unlink(missing_ok=True)
        _fetch(url, part, bool(checksums), progress, retry_wait_s)
        wrong = _mismatch(part, checksums, progress)
        if wrong:
            part.unlink()
            raise DataError(f"{url}: {wrong}; what was fetched is removed, run again or report it if that repeats")
        part.replace(path)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written ({error.strerror}); free some space or choose another folder"
        ) from None
    return path


def fetch_archive(
    url: str,
    folder: str | os.PathLike[str],
    *,
    sha256: str | None = None,
    md5: str | None = None,
    only: tuple[str, ...] = (),
    strip: int = 0,
    progress: bool = True,
) -> None:
    """Download an archive beside ``folder``, unpack it there (:func:`speechgru.data.archive.extract`), and remove it.

    Raises:
        DataError: as those two functions do.
    """
    folder = Path(folder).resolve()
    archive = folder.parent / f"{folder.name}-{url.rpartition('/')[2]}"
    download(url, archive, sha256=sha256, md5=md5, progress=progress)
    extract(archive, folder, only=only, strip=strip, progress=progress)
    archive.unlink()


def _fetch(url: str, part: Path, resumable: bool, progress: bool, retry_wait_s: float) -> None:
    for attempt in range(_TRIES):
        try:
            _fetch_once(url, part, progress)
            return
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416 and part.exists():
                return  # nothing follows what is there: it is whole (the checksum will tell)
            if error.code < 500:
                raise DataError(f"{url}: the server answers {error.code} {error.reason}; check the address") from None
            problem: object = f"{error.code} {error.reason}"
        except (urllib.error.URLError, ConnectionError, TimeoutError, http.client.HTTPException) as error:
            problem = getattr(error, "reason", None) or error
        if not resumable:
            part.unlink(missing_ok=True)
        if attempt < _TRIES - 1:
            time.sleep(retry_wait_s * 2**attempt)
    kept = "; run again to go on from there" if resumable and part.exists() else ""
    raise DataError(f"{url}: {_TRIES} attempts failed, the last one with: {problem}; check the network{kept}")


def _fetch_once(url: str, part: Path, progress: bool) -> None:
    from tqdm import tqdm

    there = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "speechgru", "Accept-Encoding": "identity"})
    if there:
        request.add_header("Range", f"bytes={there}-")
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
        if there and not (response.headers.get("Content-Range") or "").startswith(f"bytes {there}-"):
            there = 0  # the server sends it from the beginning
        length = response.length  # None where the header is missing or no number
        total = there + length if length is not None else None
        bar = tqdm(
            total=total,
            initial=there,
            unit="B",
            unit_scale=True,
            unit_divisor=1024,
            desc=part.name.removesuffix(".part"),
            file=sys.stderr,
            disable=None if progress else True,
        )
        with bar, part.open("ab" if there else "wb") as file:
            while block := response.read(_BLOCK):
                file.write(block)
                bar.update(len(block))
            arrived = file.tell()
    if total is not None and arrived < total:
        raise ConnectionError(f"cut after {arrived} of {total} bytes")


def _mismatch(path: Path, checksums: dict[str, str], progress: bool) -> str:
    """What is wrong with the checksum of a file; empty if nothing is."""
    from tqdm import tqdm

    hashes = {name: hashlib.new(name, usedforsecurity=False) for name in checksums}
    title = f"checking {path.name.removesuffix('.part')}"
    bar = tqdm(
        total=path.stat().st_size,
        unit="B",
        unit_scale=True,
        unit_divisor=1024,
        desc=title,
        leave=False,
        file=sys.stderr,
        disable=None if progress and checksums else True,
    )
    with bar, path.open("rb") as file:
        while hashes and (block := file.read(_BLOCK)):
            for digest in hashes.values():
                digest.update(block)
            bar.update(len(block))
    for name, digest in hashes.items():
        if digest.hexdigest() != checksums[name]:
            return f"its {name} is {digest.hexdigest()}, not {checksums[name]}"
    return ""
