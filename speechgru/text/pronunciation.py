"""Pronunciation dictionaries: a word and its phones on each line, as CMUdict and Sphinx have them.

``READ  R IY D`` and ``READ(2)  R EH D`` are two pronunciations of one word; lines beginning with ``;;;`` or ``#`` and
what follows `` #`` are comments.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from speechgru.errors import DataError
from speechgru.text_files import read_lines

Pronunciations = dict[str, list[tuple[str, ...]]]


def read_pronunciations(path: str | os.PathLike[str], *, stress: bool = True) -> Pronunciations:
    """The pronunciations of each word in the order of the file; the first is the usual one.

    Args:
        path: the dictionary, UTF-8.
        stress: keep the digits of vowels (``AH0``); False removes them, and pronunciations that are then equal count
            once.

    Raises:
        DataError: the file cannot be read, a word without phones (the message says ``file:line``), or no words.
    """
    found: Pronunciations = {}
    for number, line in enumerate(read_lines(path, "give a pronunciation dictionary"), 1):
        cells = [] if line.startswith((";;;", "#")) else line.partition(" #")[0].split()
        if not cells:
            continue
        if len(cells) < 2:
            raise DataError(f"{path}:{number}: {cells[0][:40]!r} has no phones; write them behind the word")
        word = re.sub(r"(?<=.)\(\d+\)$", "", cells[0])
        phones = tuple(cells[1:] if stress else (re.sub(r"(?<=\D)\d$", "", phone) for phone in cells[1:]))
        variants = found.setdefault(word, [])
        if phones not in variants:
            variants.append(phones)
    if not found:
        raise DataError(f"{path}: has no words; it needs one line per pronunciation, the word and then its phones")
    return found


def format_pronunciations(pronunciations: Mapping[str, Sequence[Sequence[str]]]) -> str:
    """The dictionary as text that :func:`read_pronunciations` reads."""
    lines = []
    for word, variants in pronunciations.items():
        for number, phones in enumerate(variants, 1):
            lines.append(f"{word}{f'({number})' if number > 1 else ''}  {' '.join(phones)}\n")
    return "".join(lines)
