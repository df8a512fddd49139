"""Names for the output files of recordings: as short as they can be, and no two the same."""

from __future__ import annotations

import os
from pathlib import Path


def file_names(paths: list[str]) -> list[str]:
    """The name of each recording's output without the format: its own, with as much of its folders as it needs.

    Names that would still be the same, as of a.wav beside a.flac, keep the suffix. Two recordings never have the same
    name, and no names that differ only in case unless their paths do; a path that is given twice has the same name
    twice.
    """
    owners = ["-" if path == "-" else os.path.abspath(path) for path in paths]
    forms = _forms(owners)
    length = dict.fromkeys(owners, 0)
    while True:
        names = [forms[owner][length[owner]] for owner in owners]
        of_name: dict[str, set[str]] = {}
        for name, owner in zip(names, owners, strict=True):
            of_name.setdefault(name.casefold(), set()).add(owner)
        short = {owner for same in of_name.values() if len(same) > 1 for owner in same if length[owner] < 2}
        if not short:
            return names
        for owner in short:
            length[owner] += 1


def _forms(owners: list[str]) -> dict[str, tuple[str, str, str]]:
    """By absolute path: the stem; with its folders, from where those of equal stems differ; and with its suffix too."""
    forms = {"-": ("stdin", "stdin", "-")}
    stems: dict[str, set[str]] = {}
    for owner in owners:
        if owner != "-":
            stems.setdefault(_stem(owner).casefold(), set()).add(owner)
    for same in stems.values():
        shared = os.path.commonpath([os.path.dirname(owner) for owner in same])
        for owner in same:
            full = os.path.normpath(os.path.join(os.path.relpath(os.path.dirname(owner), shared), _stem(owner)))
            forms[owner] = _stem(owner), full, full + os.path.splitext(owner)[1]
    return forms


def _stem(path: str) -> str:
    return Path(path).stem or "recording"
