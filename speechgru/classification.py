"""The answer of a classifier."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Classification:
    """What a recording was classified as.

    Attributes:
        label: the most probable label.
        confidence: its probability, 0 to 1.
        scores: the ``top_k`` labels with their probabilities, the most probable first.
        duration_s: length of the recording in seconds.
    """

    label: str
    confidence: float
    scores: dict[str, float]
    duration_s: float
