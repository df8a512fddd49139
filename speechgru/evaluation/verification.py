"""How well scores tell one speaker from two: equal error rate and detection cost, with intervals."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from speechgru.errors import DataError

# The prior of one speaker, for the detection cost, as in the evaluations of VoxCeleb and of NIST since 2016.
PRIOR = 0.05


@dataclasses.dataclass(frozen=True)
class Verification:
    """What a list of trials says of a system.

    Attributes:
        equal_error_rate: share of trials of one speaker that are rejected, at the threshold where an equal share of the
            others is accepted.
        threshold: that threshold; a score of at least this value means one speaker.
        min_cost: the smallest detection cost of any threshold, as a share of the cost of always giving the same answer.
        equal_error_rate_interval: 95 %, over speakers.
        min_cost_interval: likewise.
    """

    equal_error_rate: float
    threshold: float
    min_cost: float
    equal_error_rate_interval: tuple[float, float]
    min_cost_interval: tuple[float, float]


class ErrorRates:
    """Rejected trials of one speaker and accepted trials of two, at every threshold.

    Args:
        scores: of the trials; higher is more alike.
        same: whether each is of one speaker; at least one trial of each kind.

    Raises:
        DataError: trials of one kind are missing.
    """

    def __init__(self, scores: Sequence[float], same: Sequence[bool]) -> None:
        self.same = np.asarray(same, dtype=bool)
        if self.same.all() or not self.same.any():
            raise DataError("trials of one speaker and of two are needed, one at least of each")
        # Threshold k accepts from value k on; one further threshold accepts nothing.
        self.values, self._place = np.unique(np.asarray(scores, dtype=np.float64), return_inverse=True)

    def at(self, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray] | None:
        """False rejects and false accepts at each threshold, (values + 1,); None where one kind has no weight."""
        weights = np.ones(len(self.same)) if weights is None else weights
        sums = []
        for kind in (self.same, ~self.same):
            below = np.cumsum(np.bincount(self._place, weights * kind, len(self.values)))
            if below[-1] <= 0:
                return None
            sums.append(np.concatenate(([0.0], below / below[-1])))
        return sums[0], 1 - sums[1]

    def threshold(self, place: int) -> float:
        """The middle between the last value that threshold ``place`` rejects and the first one it accepts."""
        neighbours = self.values[max(place - 1, 0) : place + 1]
        return float(neighbours.mean())


def equal_error(rejects: np.ndarray, accepts: np.ndarray) -> tuple[float, int]:
    """The mean of both rates where they are closest, and the place of that threshold."""
    place = int(np.abs(rejects - accepts).argmin())
    return float(rejects[place] + accepts[place]) / 2, place


def min_cost(rejects: np.ndarray, accepts: np.ndarray, prior: float = PRIOR) -> float:
    """The minimum over thresholds of ``prior * rejects + (1 - prior) * accepts``, divided by the smaller factor.

    Both errors cost 1. Source: NIST 2016 Speaker Recognition Evaluation Plan, section 3.1.
    """
    return float((prior * rejects + (1 - prior) * accepts).min()) / min(prior, 1 - prior)


def verify(
    scores: Sequence[float],
    same: Sequence[bool],
    speakers: Sequence[tuple[str, str]],
    *,
    draws: int = 1000,
    seed: int = 0,
) -> Verification:
    """Measures a system by its scores.

    The intervals are those of the bootstrap over speakers: as many speakers as there are, drawn with replacement. A
    trial of one speaker counts as often as the speaker was drawn, a trial of two speakers as often as the product of
    both numbers, so the trials of one speaker stay together.

    Args:
        scores: of the trials; higher is more alike.
        same: whether each is of one speaker.
        speakers: the two of each trial.
        draws: of the bootstrap.
        seed: of the generator; the same one gives the same intervals.

    Raises:
        DataError: trials of one kind are missing.
    """
    rates = ErrorRates(scores, same)
    found = rates.at()
    assert found is not None
    rate, place = equal_error(*found)
    names = sorted({name for pair in speakers for name in pair})
    index = {name: number for number, name in enumerate(names)}
    pairs = np.array([[index[first], index[second]] for first, second in speakers])
    random = np.random.default_rng(seed)
    drawn = []
    for _ in range(draws):
        counts = np.bincount(random.integers(len(names), size=len(names)), minlength=len(names))
        first, second = counts[pairs[:, 0]], counts[pairs[:, 1]]
        again = rates.at(np.where(rates.same, first, first * second).astype(np.float64))
        if again is not None:
            drawn.append((equal_error(*again)[0], min_cost(*again)))
    ends = np.quantile(np.array(drawn), [0.025, 0.975], axis=0)
    (low, low_cost), (high, high_cost) = ends.tolist()
    return Verification(rate, rates.threshold(place), min_cost(*found), (low, high), (low_cost, high_cost))
