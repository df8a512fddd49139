"""Transcripts in the format of Carnegie Mellon's recognizers: ``<s> WORDS </s> (id)``, one line per utterance."""

from __future__ import annotations

import re
from pathlib import Path

from speechgru.errors import DataError
from speechgru.text_files import read_lines


def read_transcriptions(path: Path) -> dict[str, str]:
    """The words of each utterance by its id.

    Raises:
        DataError: the file cannot be read, or a line is not of that form; the message says ``file:line``.
    """
    texts = {}
    for number, line in enumerate(read_lines(path), 1):
        words, bracket, name = line.rstrip().rpartition("(")
        if bracket and name.endswith(")") and re.fullmatch(r"[^()\s]+", name[:-1]):
            texts[name[:-1]] = words.strip().removeprefix("<s>").removesuffix("</s>").strip()
        elif line.strip():
            raise DataError(f"{path}:{number}: is not '<s> WORDS </s> (id)'; unpack the corpus again")
    return texts
