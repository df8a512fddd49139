"""``SHA256SUMS``: the checksums of a folder's files, as the program ``sha256sum`` writes and checks them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from speechgru.errors import ModelError
from speechgru.files import write_atomically
from speechgru.text_files import read_text

NAME = "SHA256SUMS"


def write_checksums(folder: Path, names: Iterable[str]) -> None:
    """Writes the checksums of the files called ``names`` as they are now."""
    write_atomically(folder / NAME, "".join(f"{_sha256(folder / name)}  {name}\n" for name in sorted(names)))


def remove_checksums(folder: Path) -> None:
    """Removes the checksums before files are replaced: a kill then leaves a folder without any, not with wrong ones."""
    (folder / NAME).unlink(missing_ok=True)


def check_checksums(folder: Path) -> None:
    """Compares the files that are there with their checksums; a folder without ``SHA256SUMS`` passes.

    Raises:
        ModelError: a file has changed, or ``SHA256SUMS`` itself is damaged.
    """
    path = folder / NAME
    if not path.is_file():
        return
    for number, line in enumerate(read_text(path, 1 << 20, ModelError).splitlines(), 1):
        found = re.fullmatch(r"([0-9a-f]{64})  ([\w.-]+)", line, re.ASCII)
        if not found:
            raise ModelError(f"{path}:{number}: is not a checksum and the name of a file; copy the folder again")
        file = folder / found[2]
        if file.is_file() and _sha256(file) != found[1]:
            raise ModelError(
                f"{file} is not what its line in {NAME} says, so one of the two is damaged; copy the folder again "
                "(or remove that line, if the file was changed on purpose)"
            )


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); copy it again") from None
