"""Named steps that make transcripts comparable: the same for what is learned, what is recognised and what is scored."""

from __future__ import annotations

import enum
import unicodedata
from collections.abc import Callable, Iterable


class Step(enum.Enum):
    """One step of the normalisation; a model folder lists the names of its steps.

    ``nfkc``: one code point sequence for what looks the same (Unicode normal form KC).
    ``lower``, ``upper``: one case.
    ``no_accents``: letters without their diacritics.
    ``no_punctuation``: a space for every punctuation mark and sign except an apostrophe inside a word, written ``'``.
    """

    nfkc = "nfkc"
    lower = "lower"
    upper = "upper"
    no_accents = "no_accents"
    no_punctuation = "no_punctuation"


def normalize(text: str, steps: Iterable[Step]) -> str:
    """``text`` after ``steps``, in their order; words then have one space between them and none around them."""
    for step in steps:
        text = _STEPS[step](text)
    return " ".join(text.split())


def _without_accents(text: str) -> str:
    kept = (mark for mark in unicodedata.normalize("NFD", text) if unicodedata.category(mark) != "Mn")
    return unicodedata.normalize("NFC", "".join(kept))


def _without_punctuation(text: str) -> str:
    text = text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    kept = []
    for place, mark in enumerate(text):
        inside = text[place - 1 : place].isalnum() and text[place + 1 : place + 2].isalnum()
        kept.append(mark if unicodedata.category(mark)[0] not in "PS" or (mark == "'" and inside) else " ")
    return "".join(kept)


_STEPS: dict[Step, Callable[[str], str]] = {
    Step.nfkc: lambda text: unicodedata.normalize("NFKC", text),
    Step.lower: str.lower,
    Step.upper: str.upper,
    Step.no_accents: _without_accents,
    Step.no_punctuation: _without_punctuation,
}
