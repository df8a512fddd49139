"""Trials of speaker verification: pairs of recordings, of one speaker or of two, one pair per line.

``1 right/0d53e045_nohash_0 stop/0d53e045_nohash_1``: 1 is one speaker, 0 two, as in the lists of VoxCeleb. A name is a
path below the folder of the recordings; its suffix may be left out.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from speechgru.data.label_folders import recordings_in
from speechgru.data.splits import speaker_of
from speechgru.errors import DataError
from speechgru.text_files import read_lines


class Trial(NamedTuple):
    """Two recordings and whether one speaker is heard in both."""

    same: bool
    first: str
    second: str


def read_trials(path: str | os.PathLike[str]) -> list[Trial]:
    """The trials of a list, in order; blank lines are skipped.

    Raises:
        DataError: the file cannot be read or is empty, or a line is wrong (the message says ``file:line``).
    """
    trials = []
    for number, line in enumerate(read_lines(Path(path)), 1):
        words = line.split()
        if not words:
            continue
        if len(words) != 3 or words[0] not in ("0", "1"):
            raise DataError(f"{os.fspath(path)}:{number}: write 1 (one speaker) or 0 (two), then two recordings")
        trials.append(Trial(words[0] == "1", words[1], words[2]))
    if not trials:
        raise DataError(f"{os.fspath(path)}: holds no trial; write a line `1 RECORDING RECORDING` for each pair")
    return trials


def find_trials(trials: Sequence[Trial], roots: Sequence[str | os.PathLike[str]]) -> dict[str, str]:
    """The recording of every name in the trials, from the first of the folders that has it.

    Raises:
        DataError: none has it.
    """
    folders: dict[Path, dict[str, str]] = {}

    def find(name: str) -> str:
        for root in roots:
            path = Path(os.path.expanduser(root), name)
            if path.is_file():
                return str(path)
            if path.parent not in folders:
                folders[path.parent] = recordings_in(path.parent) if path.parent.is_dir() else {}
            if path.name in folders[path.parent]:
                return folders[path.parent][path.name]
        raise DataError(f"{name}: in none of the folders {', '.join(map(str, roots))}; say where it is with --root")

    return {name: find(name) for name in dict.fromkeys(name for one in trials for name in one[1:])}


def speaker(name: str) -> str:
    """Who speaks in a recording of a list: the part of its name before ``_nohash_``, else the folder it is in."""
    return speaker_of(name, None) or PurePath(name).parent.name
