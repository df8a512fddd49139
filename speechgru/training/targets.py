"""The utterances that can be used, and the list of the others."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from speechgru.data.utterance import Utterance
from speechgru.errors import DataError
from speechgru.evaluation.task import Task
from speechgru.files import write_atomically
from speechgru.recognizer import Recognizer

FILE = "left_out.tsv"
MEND = (
    "to fix it: less subsampling (front_end.stride_time, encoder.pyramid), slower speech (augment.speed), "
    "or the right transcript"
)


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """An utterance that is not used, and why."""

    split: str
    utterance: Utterance
    reason: str


def usable(
    task: Task[Any], recognizer: Recognizer, utterances: Sequence[Utterance], split: str
) -> tuple[list[Utterance], list[LeftOut]]:
    """The utterances that a model can be trained or validated on, and those that it cannot."""
    reasons = task.reasons(recognizer, utterances)
    kept = [one for one, reason in zip(utterances, reasons, strict=True) if not reason]
    left = [LeftOut(split, one, reason) for one, reason in zip(utterances, reasons, strict=True) if reason]
    if not kept and left:
        raise DataError(
            f"none of the {len(left)} utterances of the {split} split can be used; the first is "
            f"{left[0].utterance.audio}: {left[0].reason}; {MEND}"
        )
    return kept, left


def describe(left: Sequence[LeftOut], folder: Path) -> str:
    """What is said on stderr: how many, the first few, how to fix it and where the list is."""
    lines = [f"{len(left)} utterance{'s' if len(left) > 1 else ''} left out (all of them: {folder / FILE}); {MEND}"]
    lines += [f"  {one.split}: {one.utterance.audio}: {one.reason}" for one in left[:5]]
    return "\n".join(lines + (["  ..."] if len(left) > 5 else []))


def write_left_out(folder: Path, left: Sequence[LeftOut]) -> None:
    """Writes the whole list to ``left_out.tsv``; removes an old one where nothing is left out."""
    if not left:
        (folder / FILE).unlink(missing_ok=True)
        return
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["split\taudio\treason", *(f"{one.split}\t{one.utterance.audio}\t{one.reason}" for one in left)]
    write_atomically(folder / FILE, ("\n".join(rows) + "\n").encode())
