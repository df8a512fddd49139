"""What can be learned: which utterances have a transcript that their frames can hold."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path

import torch

from speechgru.data.batching import target_of
from speechgru.data.reading import measure_s
from speechgru.data.utterance import Utterance
from speechgru.errors import AudioError, DataError
from speechgru.files import write_atomically
from speechgru.recognizer import Recognizer

FILE = "left_out.tsv"
MEND = (
    "mend: less subsampling (front_end.stride_time, encoder.pyramid), slower speech (augment.speed), "
    "or the right transcript"
)


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """An utterance that is not used, and why."""

    split: str
    utterance: Utterance
    reason: str


def usable(
    recognizer: Recognizer, utterances: Sequence[Utterance], split: str
) -> tuple[list[Utterance], list[LeftOut]]:
    """The utterances a CTC model can learn from or be chosen on, and those it cannot.

    Left out are transcripts with units the model has not got, and those that need more frames than the recording gives:
    every token needs one, and two equal neighbours a blank between them. A recording whose length cannot be read stays:
    it is reported when it is read.
    """
    targets, frames = [], _frames(recognizer, utterances)
    reasons = []
    for utterance, count in zip(utterances, frames, strict=True):
        try:
            target = target_of(utterance, recognizer.tokens, recognizer.units)
        except DataError as error:
            reasons.append(str(error).removeprefix(f"{utterance.audio}: "))
            continue
        assert isinstance(target, list)
        targets.append(target)
        needed = len(target) + sum(one == other for one, other in itertools.pairwise(target))
        short = count is not None and count < needed
        reasons.append(f"{count} frames for {len(target)} tokens that need {needed}" if short else "")
    kept = [one for one, reason in zip(utterances, reasons, strict=True) if not reason]
    left = [LeftOut(split, one, reason) for one, reason in zip(utterances, reasons, strict=True) if reason]
    if not kept and left:
        raise DataError(
            f"none of the {len(left)} utterances of the {split} split can be used; the first is "
            f"{left[0].utterance.audio}: {left[0].reason}; {MEND}"
        )
    return kept, left


def _frames(recognizer: Recognizer, utterances: Sequence[Utterance]) -> list[int | None]:
    """Frames of the encoder for each utterance; None where its length cannot be read."""
    durations_s: list[float | None] = []
    for utterance in utterances:
        try:
            durations_s.append(measure_s(utterance))
        except AudioError:
            durations_s.append(None)
    samples = torch.tensor([round((duration_s or 0) * recognizer.sample_rate) for duration_s in durations_s])
    counts = recognizer.output_lengths(samples).tolist()
    return [None if duration_s is None else count for duration_s, count in zip(durations_s, counts, strict=True)]


def describe(left: Sequence[LeftOut], folder: Path) -> str:
    """What is said on stderr: how many, the first few, the mend and where the list is."""
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
