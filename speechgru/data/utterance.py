"""One recorded utterance and what is known of it: the row of every manifest and corpus."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable
from pathlib import PurePath


@dataclasses.dataclass(frozen=True, slots=True)
class Utterance:
    """A stretch of a recording with its transcript or label.

    All fields but the recording are given by name, ``Utterance(path, label="yes")``, so that no label is taken for a
    transcript.

    Attributes:
        audio: path of the recording.
        text: the transcript; empty where only a label is known.
        label: the class; None where only a transcript is known.
        speaker: name of the speaker; empty where unknown.
        start_s: where in the recording the utterance begins, in seconds.
        duration_s: how long it lasts; None means to the end of the recording.
        gain_db: amplification when it is read, in decibels (the silence class is background noise at drawn volumes).
    """

    audio: str
    _: dataclasses.KW_ONLY
    text: str = ""
    label: str | None = None
    speaker: str = ""
    start_s: float = 0.0
    duration_s: float | None = None
    gain_db: float = 0.0


def checksum(utterances: Iterable[Utterance]) -> str:
    """A SHA-256 that is equal for lists with the same utterances in the same order, wherever the recordings are."""
    digest = hashlib.sha256()
    for one in utterances:
        digest.update(repr(dataclasses.replace(one, audio=PurePath(one.audio).name)).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
