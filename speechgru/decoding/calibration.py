"""Confidences that mean what they say: of the words called 90 % sure, nine in ten should be right."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from speechgru.errors import ConfigError, DataError

# A posterior in float32 is often exactly 1. A distance from 1 below one in a hundred thousand shows only rounding, and
# a logit without bounds would let a few words decide the fit.
SUREST = 1e-5


@dataclasses.dataclass(frozen=True)
class Calibration:
    """A straight line through the logits of confidences: c -> sigmoid(scale * logit(c) + offset).

    1 / scale is a temperature. The order of two words stays the same (scale >= 0), and the default changes nothing.

    Source: J. Platt, "Probabilistic outputs for support vector machines", 1999; as a remedy for nets Guo et al.,
    "On calibration of modern neural networks", 2017 (arXiv 1706.04599), section 4.

    Attributes:
        scale: finite, at least 0.
        offset: finite.
    """

    scale: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale >= 0):
            raise ConfigError(f"scale={self.scale}: a finite number of at least 0")
        if not math.isfinite(self.offset):
            raise ConfigError(f"offset={self.offset}: a finite number")

    def apply(self, confidences: Sequence[float] | np.ndarray) -> np.ndarray:
        """Calibrated confidences, float64 of the same shape, inside (0, 1); the given ones must be in [0, 1]."""
        return _sigmoid(self.scale * _logit(confidences) + self.offset)

    @classmethod
    def fit(cls, confidences: Sequence[float] | np.ndarray, correct: Sequence[bool] | np.ndarray) -> Calibration:
        """The line that makes the outcomes most likely, fitted on words that the model did not learn from.

        Newton's method on the cross entropy, which has one minimum. The targets are Platt's, (N+ + 1) / (N+ + 2) for a
        right word and 1 / (N- + 2) for a wrong one, so that a hundred right words of a hundred do not mean certainty.
        Where words with a higher confidence are not right more often, the scale is 0 and all words get the same
        confidence.

        Args:
            confidences: (words,) in [0, 1].
            correct: (words,) whether each was right.

        Raises:
            DataError: no words, lists of unequal length, or a confidence that is no probability.
        """
        x = _logit(confidences)
        right = np.asarray(correct, dtype=bool)
        if x.shape != right.shape or x.ndim != 1 or not len(x):
            raise DataError(
                f"cannot calibrate {x.shape} confidences by {right.shape} words: give as many, at least one"
            )
        hits = int(right.sum())
        target = np.where(right, (hits + 1) / (hits + 2), 1 / (len(x) - hits + 2))
        share = float(target.mean())
        flat = cls(0.0, math.log(share / (1 - share)))
        if np.ptp(x) == 0:
            return flat
        # In units of the data both parameters are of order one; the fit starts from the line without a slope.
        middle, width = float(x.mean()), float(x.std())
        design = np.stack([(x - middle) / width, np.ones_like(x)], axis=1)
        line = np.array([0.0, flat.offset])
        loss = _loss(design @ line, target)
        for _ in range(100):
            p = _sigmoid(design @ line)
            slope = design.T @ (p - target)
            curvature = (design * (p * (1 - p))[:, None]).T @ design
            step = np.linalg.solve(curvature + 1e-12 * len(x) * np.eye(2), slope)
            while (fresh := _loss(design @ (line - step), target)) > loss and np.abs(step).max() > 1e-12:
                step /= 2
            line, loss = line - step, fresh
            if np.abs(step).max() < 1e-10:
                break
        scale = float(line[0]) / width
        return cls(scale, float(line[1]) - scale * middle) if scale > 0 else flat


def _logit(confidences: Sequence[float] | np.ndarray) -> np.ndarray:
    given = np.asarray(confidences, dtype=np.float64)
    # Not (given < 0) | (given > 1): that lets NaN pass. A mean of float32 posteriors may exceed 1 by rounding.
    if not ((given >= -1e-6) & (given <= 1 + 1e-6)).all():
        raise DataError("confidences are probabilities, 0 to 1; these are not")
    held = np.clip(given, SUREST, 1 - SUREST)
    return np.log(held) - np.log1p(-held)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * x))


def _loss(x: np.ndarray, target: np.ndarray) -> float:
    """Cross entropy of sigmoid(x), in nats."""
    return float((np.logaddexp(0, x) - target * x).sum())
