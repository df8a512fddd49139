"""How far confidences can be trusted: reliability in bins, calibration error, and what they add to the mean.

Confidences are corrected by :class:`speechgru.decoding.calibration.Calibration`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from speechgru.errors import DataError


@dataclasses.dataclass(frozen=True)
class Bin:
    """Predictions of similar confidence.

    Attributes:
        count: how many, at least 1.
        confidence: their mean confidence.
        accuracy: the share of them that was right.
    """

    count: int
    confidence: float
    accuracy: float


def reliability(
    confidences: Sequence[float] | np.ndarray,
    correct: Sequence[bool] | np.ndarray,
    bins: int = 15,
    *,
    equal_mass: bool = False,
) -> list[Bin]:
    """Confidence and accuracy in bins of confidence, ascending; empty bins are left out.

    Args:
        confidences: (predictions,) in [0, 1].
        correct: (predictions,) whether each was right.
        bins: the number of bins M, at least 1.
        equal_mass: bins with equal numbers of predictions instead of the equally wide bins ((m-1)/M, m/M]. Confidences
            crowd near 1, where one wide bin hides what many narrow ones show. Equal confidences share their accuracy,
            so the order in which they are given does not matter.

    Raises:
        DataError: no predictions, lists of unequal length, or a confidence that is no probability.
    """
    sure, right = _checked(confidences, correct)
    assert bins >= 1
    if equal_mass:
        _, group, size = np.unique(sure, return_inverse=True, return_counts=True)
        right = (np.bincount(group, weights=right) / size)[group]
        order = np.argsort(sure, kind="stable")
        place = np.empty(len(sure), dtype=np.int64)
        place[order] = np.arange(len(sure)) * bins // len(sure)
    else:
        place = np.clip(np.ceil(sure * bins).astype(np.int64) - 1, 0, bins - 1)
    count, confidence, accuracy = (np.bincount(place, weights=one, minlength=bins) for one in (None, sure, right))
    return [
        Bin(int(count[one]), float(confidence[one] / count[one]), float(accuracy[one] / count[one]))
        for one in np.flatnonzero(count)
    ]


def calibration_error(
    confidences: Sequence[float] | np.ndarray,
    correct: Sequence[bool] | np.ndarray,
    bins: int = 15,
    *,
    equal_mass: bool = False,
) -> float:
    """Expected calibration error: the mean distance of confidence and accuracy over the bins of :func:`reliability`.

    Source: Guo et al., "On calibration of modern neural networks", 2017 (arXiv 1706.04599), equation 3; bins of equal
    mass after Nixon et al., "Measuring calibration in deep learning", 2019 (arXiv 1904.01685), section 4.
    """
    found = reliability(confidences, correct, bins, equal_mass=equal_mass)
    return sum(one.count * abs(one.accuracy - one.confidence) for one in found) / sum(one.count for one in found)


def calibration_noise(
    confidences: Sequence[float] | np.ndarray,
    bins: int = 15,
    *,
    equal_mass: bool = False,
    draws: int = 200,
    seed: int = 0,
) -> float:
    """The :func:`calibration_error` that chance alone would show if every confidence were exactly right.

    In a bin of few words the share of right words is never exactly the confidence, so no error is zero: 250 words show
    several per cent. An error near this value does not show that anything is wrong.

    Source: J. Bröcker and L. Smith, "Increasing the reliability of reliability diagrams", Weather and Forecasting 22,
    2007 (consistency resampling).

    Args:
        confidences: (predictions,) in [0, 1].
        bins: as for the error.
        equal_mass: as for the error.
        draws: outcomes drawn from the confidences, whose errors are averaged.
        seed: of the generator.
    """
    random = np.random.default_rng(seed)
    sure = np.asarray(confidences, dtype=np.float64)
    errors = [
        calibration_error(sure, random.random(sure.shape) < sure, bins, equal_mass=equal_mass) for _ in range(draws)
    ]
    return float(np.mean(errors))


def normalized_cross_entropy(
    confidences: Sequence[float] | np.ndarray, correct: Sequence[bool] | np.ndarray
) -> float | None:
    """How much of the uncertainty the confidences remove: 1 is all, 0 is no more than the share of right words removes.

    Below 0 they mislead. The calibration error does not show this: the same confidence for all words can have no
    calibration error. None where all words were right or all wrong, because then there is no uncertainty; minus
    infinity where a wrong word was certain or a right one impossible.

    Source: M. Siu and H. Gish, "Evaluation of word confidence for speech recognition systems", Computer Speech and
    Language 13, 1999; NIST's sclite calls it NCE.
    """
    sure, right = _checked(confidences, correct)
    share = float(right.mean())
    if share in (0.0, 1.0):
        return None
    doubt = -len(right) * (share * math.log(share) + (1 - share) * math.log(1 - share))
    with np.errstate(divide="ignore"):
        left = -float(np.log(np.where(right == 1, sure, 1 - sure)).sum())
    return (doubt - left) / doubt


def _checked(confidences: Sequence[float] | np.ndarray, correct: Sequence[bool] | np.ndarray) -> tuple:
    sure = np.asarray(confidences, dtype=np.float64)
    right = np.asarray(correct).astype(np.float64)
    if sure.ndim != 1 or sure.shape != right.shape or not len(sure):
        raise DataError(f"{sure.shape} confidences and {right.shape} outcomes: give as many of both, at least one")
    if not ((sure >= -1e-6) & (sure <= 1 + 1e-6)).all():
        raise DataError("confidences are probabilities, 0 to 1; these are not")
    return np.clip(sure, 0, 1), right
