"""Transcripts as the recognizers of Carnegie Mellon keep them: ``<s> WORDS </s> (id)``, a line an utterance."""

from __future__ import annotations

import re
from pathlib import Path

from speechgru.data.manifest import read_lines
from speechgru.errors import DataError


def read_transcriptions(path: Path) -> dict[str, str]:
    """The words of each utterance by its id.

    Raises:
        DataError: the file cannot be read, or a line is not of that form; the message says ``file:line``.
    """
    texts = {}
    for number, line in enumerate(read_lines(path), 1):
        match = re.fullmatch(r"(?:<s>)?\s*(.*?)\s*(?:</s>)?\s*\(([^()\s]+)\)\s*", line)
        if match:
            texts[match[2]] = match[1]
        elif line.strip():
            raise DataError(f"{path}:{number}: is not '<s> WORDS </s> (id)'; unpack the corpus again")
    return texts
