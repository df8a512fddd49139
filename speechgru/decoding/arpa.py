"""The ARPA format of n-gram models, which every toolkit reads: text, log10, backoff weights after the words."""

from __future__ import annotations

import gzip
import itertools
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from reprlib import repr as shown

from speechgru.errors import DataError
from speechgru.files import write_atomically
from speechgru.text_files import read_lines

_MOST_HEAD_LINES = _MOST_EMPTY_LINES = 10_000
_MOST_BACKOFF = 1000.0
START, END, UNKNOWN = "<s>", "</s>", "<unk>"

NGrams = list[dict[tuple[str, ...], tuple[float, float]]]
"""For each order, from 1 on: the n-grams, with log10 of their probability and of their backoff weight."""


def read_arpa(path: str | os.PathLike[str]) -> NGrams:
    """The n-grams of an ARPA file, plain or gzip; ``<UNK>``, ``<S>`` and ``</S>`` are read in lower case.

    Raises:
        DataError: the file cannot be read, is not ARPA, is cut short or holds no words; the message says ``file:line``.
    """
    lines = _lines(Path(path))
    where = str(path)
    head = itertools.takewhile(lambda numbered: numbered[0] <= _MOST_HEAD_LINES, lines)
    number, line = next(((n, line) for n, line in head if line == "\\data\\"), (0, ""))
    if not line:
        raise DataError(f"{where}: is not an ARPA language model (no line says \\data\\); speechgru lm writes one")
    counts: list[int] = []
    for number, line in lines:
        found = re.fullmatch(r"ngram\s+(\d{1,2})\s*=\s*(\d{1,12})", line)
        if not found:
            break
        if int(found[1]) != len(counts) + 1:
            raise DataError(f"{where}:{number}: {line[:40]!r}: order {len(counts) + 1} is expected")
        counts.append(int(found[2]))
    if not counts or not counts[0]:
        raise DataError(f"{where}:{number}: the language model is empty (no unigrams)")
    ngrams: NGrams = []
    while line != "\\end\\":
        if line != f"\\{len(ngrams) + 1}-grams:" or len(ngrams) == len(counts):
            raise DataError(f"{where}:{number}: {line[:40]!r}: \\{len(ngrams) + 1}-grams: or \\end\\ is expected")
        level: dict[tuple[str, ...], tuple[float, float]] = {}
        for number, line in lines:
            if line.startswith("\\") and (line.endswith("-grams:") or line == "\\end\\"):
                break
            words, values = _entry(line, len(ngrams) + 1, len(counts), f"{where}:{number}")
            if ngrams and (words[-1:] not in ngrams[0] or words[:1] not in ngrams[0]):
                raise DataError(f"{where}:{number}: {shown(' '.join(words))} has a word without a unigram")
            if words in level:
                raise DataError(f"{where}:{number}: {shown(' '.join(words))} is there twice")
            if len(level) == counts[len(ngrams)]:
                raise DataError(f"{where}:{number}: more than the {len(level)} {len(ngrams) + 1}-grams announced")
            level[words] = values
        else:
            raise DataError(f"{where}:{number}: ends before \\end\\; the file is cut short")
        if len(level) != counts[len(ngrams)]:
            raise DataError(
                f"{where}:{number}: {len(level)} {len(ngrams) + 1}-grams, {counts[len(ngrams)]} were announced"
            )
        ngrams.append(level)
    if len(ngrams) != len(counts):
        raise DataError(f"{where}:{number}: ends after order {len(ngrams)}, {len(counts)} were announced")
    return ngrams


def write_arpa(path: str | os.PathLike[str], ngrams: NGrams) -> None:
    """Writes n-grams, gzip where the name ends in ``.gz``; the file appears whole or not at all.

    Raises:
        DataError: the file cannot be written.
    """
    path = Path(path)
    text = ["\\data\\\n", *(f"ngram {order}={len(level)}\n" for order, level in enumerate(ngrams, 1)), "\n"]
    for order, level in enumerate(ngrams, 1):
        text.append(f"\\{order}-grams:\n")
        for words, (log10, backoff) in level.items():
            text.append(f"{log10:.7g}\t{' '.join(words)}" + (f"\t{backoff:.7g}\n" if backoff else "\n"))
        text.append("\n")
    content = "".join([*text, "\\end\\\n"]).encode()
    try:
        # No time in the header: the same text gives the same file.
        write_atomically(path, gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); choose another place") from None


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not empty, with their numbers."""
    empty = 0
    mend = "give a language model in ARPA format (KenLM's binary files are not read)"
    for number, line in enumerate(read_lines(path, mend, unpack=True), 1):
        if line := line.strip():
            yield number, line
        elif (empty := empty + 1) > _MOST_EMPTY_LINES:
            raise DataError(f"{path}:{number}: more than {_MOST_EMPTY_LINES} empty lines are no language model")


def _entry(line: str, order: int, highest: int, where: str) -> tuple[tuple[str, ...], tuple[float, float]]:
    cells = line.split()
    if len(cells) not in (order + 1, order + 2):
        raise DataError(f"{where}: {line[:40]!r}: a number, {order} words and perhaps a number are expected")
    try:
        log10, backoff = float(cells[0]), float(cells[order + 1]) if len(cells) > order + 1 else 0.0
    except ValueError:
        raise DataError(f"{where}: {line[:40]!r}: a number, {order} words and perhaps a number are expected") from None
    if math.isnan(log10) or log10 > 1e-5 or not backoff < _MOST_BACKOFF:
        raise DataError(f"{where}: {cells[0][:40]} is not the logarithm of a probability, or {backoff} of a weight")
    if order == highest:
        backoff = 0.0
    words = tuple(word.lower() if word in ("<S>", "</S>", "<UNK>") else word for word in cells[1 : order + 1])
    return words, (min(log10, 0.0), backoff)
