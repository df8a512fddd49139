"""One recorded utterance and what is known of it: the row of every manifest and corpus."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Utterance:
    """A stretch of a recording with its transcript or label.

    All but the recording is given by name: ``Utterance(path, label="yes")``; so no label passes for a transcript.

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
