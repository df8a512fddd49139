"""Whether a recording sounds like what the model has learned: how sure the model is of the tokens that it hears."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from speechgru.decoding.operating_point import check_chosen_on
from speechgru.errors import ConfigError, DataError


def token_entropy(log_probabilities: np.ndarray) -> float:
    """The entropy in nats of the tokens of a frame, averaged over the frames; 0 where there are none.

    The weight of a frame is the probability that it is not blank: a net is as sure of a pause in any language as in the
    one it has learned. The entropy is at most the logarithm of the size of the token set.

    Source: the predictive entropy of Hendrycks and Gimpel, "A baseline for detecting misclassified and
    out-of-distribution examples", ICLR 2017, with the weight of the blank.

    Args:
        log_probabilities: (time, token), token 0 is the blank.
    """
    logs = log_probabilities.astype(np.float64)
    probabilities = np.exp(logs)
    entropy = -(probabilities * np.where(probabilities > 0, logs, 0)).sum(1)
    weight = np.clip(1 - probabilities[:, 0], 0, None)
    return float((entropy * weight).sum() / max(weight.sum(), 1e-12))


@dataclasses.dataclass(frozen=True)
class FamiliarityConfig:
    """When a recording does not sound like what the model knows.

    Attributes:
        most_entropy: threshold on :func:`token_entropy`, in nats, above 0: a recording with more is marked.
        chosen_on: what the threshold was chosen on, such as the numbers of recordings; texts and numbers, kept only as
            a note.
    """

    most_entropy: float
    chosen_on: dict[str, str | float] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.most_entropy) and self.most_entropy > 0):
            raise ConfigError(f"most_entropy={self.most_entropy}: a finite number above 0")
        check_chosen_on(self.chosen_on)


def choose_most_entropy(own: Sequence[float], foreign: Sequence[float]) -> float:
    """The entropy that separates the model's own recordings from foreign ones with the smallest share of errors.

    It minimizes the larger of two shares: that of own recordings above it, and that of foreign ones not above it. Where
    many values are equally good, it is the middle of them.

    Args:
        own: entropies of recordings like those that the model learned from.
        foreign: entropies of other recordings.

    Raises:
        DataError: either is empty.
    """
    if not len(own) or not len(foreign):
        raise DataError(f"{len(own)} own and {len(foreign)} foreign recordings with words: one of each is needed")
    edges = np.unique([*own, *foreign])
    marked = 1 - np.searchsorted(np.sort(own), edges, side="right") / len(own)
    missed = np.searchsorted(np.sort(foreign), edges, side="right") / len(foreign)
    worse = np.maximum(marked, missed)
    # Between two neighbouring values nothing changes: each stands for the interval up to the next.
    best = np.flatnonzero(worse == worse.min())
    last = min(int(best[-1]) + 1, len(edges) - 1)
    return float(edges[best[0]] + edges[last]) / 2
