"""What a stream reports."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Event:
    """A word or a label that was heard.

    Attributes:
        kind: ``word`` of a transcript, or ``label`` of a classifier.
        text: the word or the label.
        start_s: where it begins, in seconds from the first sample of the stream.
        end_s: where it ends.
        confidence: the probability that it is right, 0 to 1.
        final: False for a settled word of a phrase that is still going on. When the phrase has ended the word comes
            once more, with ``final`` True and perhaps other times. Only what is final counts.
        familiar: for a final word, whether its phrase sounds like what the model knows; None where that is unknown
            (:mod:`speechgru.decoding.familiarity`).
    """

    kind: str
    text: str
    start_s: float
    end_s: float
    confidence: float
    final: bool = True
    familiar: bool | None = None

    def record(self) -> dict[str, object]:
        """The event as written to JSON: times to the millisecond, ``familiar`` only where it is known."""
        values = dataclasses.asdict(self)
        values.update(start_s=round(self.start_s, 3), end_s=round(self.end_s, 3), confidence=round(self.confidence, 4))
        if self.familiar is None:
            del values["familiar"]
        return values
