"""Detections of words in scores over time: smoothing, a threshold for each word, and a refractory time."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from speechgru.decoding.operating_point import DEFAULT_THRESHOLD, KeywordConfig
from speechgru.errors import ConfigError, ModelError
from speechgru.tokens import is_word

__all__ = ["DEFAULT_THRESHOLD", "Detection", "KeywordConfig", "KeywordSpotter"]

# Scores are summed as integers of this resolution: such sums are exact, so no chunking can change a mean.
_ONE = 1 << 30
# Times that differ by less are the same: they are computed in floating point.
_SAME_S = 1e-6


@dataclasses.dataclass(frozen=True)
class Detection:
    """A word that was heard.

    Attributes:
        label: the word.
        start_s: from when on its smoothed score stayed above half its threshold, in seconds.
        end_s: when the smoothed score had reached the threshold, in seconds.
        confidence: the smoothed score then.
    """

    label: str
    start_s: float
    end_s: float
    confidence: float


class KeywordSpotter:
    """Finds words in scores that come in chunks of any size; the chunks make no difference to what is found.

    The score of a word is the mean of its scores in the last ``smoothing_ms``. It is detected in the first frame where
    this reaches its threshold, and again at the earliest ``refractory_s`` later. So a lower threshold never gives fewer
    detections, and a word that is drawn out, or a noise that resembles it, counts once for each refractory time.

    Args:
        labels: what the columns of the scores stand for.
        config: smoothing, thresholds and refractory time.

    Raises:
        ConfigError: a threshold for a label that is not there or is never detected.
    """

    def __init__(self, labels: Sequence[str], config: KeywordConfig) -> None:
        self.labels, self.config = list(labels), config
        self._words = [(column, label) for column, label in enumerate(self.labels) if is_word(label)]
        known = [label for _, label in self._words]
        for label in config.thresholds:
            if label not in known:
                raise ConfigError(f"thresholds: {label}: not among the words of this model ({', '.join(known)})")
        self._end_s = np.zeros(0)  # of the frames that the next mean may need
        self._scores = np.zeros((0, len(self.labels)), np.int64)
        self._fired_s = dict.fromkeys(known, -np.inf)
        self._low_s: dict[str, float] = {}  # the last time that the score was low

    def feed(self, end_s: np.ndarray, scores: np.ndarray) -> list[Detection]:
        """The words that are detected in the next frames, in order of time.

        Args:
            end_s: the time of each frame in seconds, ascending, (frames,).
            scores: the probability of each label in each frame, (frames, label).

        Raises:
            ModelError: scores that are no probabilities.
        """
        if not len(end_s):
            return []
        smoothed = self.smooth(end_s, scores)
        highest = smoothed.max(axis=0)
        found = []
        for column, label in self._words:
            if highest[column] < self.config.threshold(label) / 2:  # nearly always, and then there is no more to know
                self._low_s[label] = float(end_s[-1])
            else:
                found += self._detect(label, end_s, smoothed[:, column])
        return sorted(found, key=lambda one: one.end_s)

    def smooth(self, end_s: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """The smoothed scores of the next frames, float64 (frames, label); of ``feed``, whose arguments it takes."""
        scores = np.asarray(scores, np.float64)
        if not ((scores >= 0) & (scores <= 1 + 1e-6)).all():  # NaN is neither
            raise ModelError("scores are probabilities, 0 to 1; these are not: the model's weights are damaged")
        held = len(self._end_s)
        times = np.concatenate([self._end_s, end_s])
        values = np.concatenate([self._scores, np.rint(scores * _ONE).astype(np.int64)])
        sums = np.concatenate([np.zeros((1, values.shape[1]), np.int64), np.cumsum(values, axis=0)])
        last = np.arange(held, len(times))
        first = np.searchsorted(times, times[last] - self.config.smoothing_ms / 1000 + _SAME_S, side="right")
        first = np.minimum(first, last)
        keep = first[-1]
        self._end_s, self._scores = times[keep:], values[keep:]
        return (sums[last + 1] - sums[first]) / ((last + 1 - first) * float(_ONE))[:, None]

    def _detect(self, label: str, end_s: np.ndarray, scores: np.ndarray) -> list[Detection]:
        threshold = self.config.threshold(label)
        low = np.flatnonzero(scores < threshold / 2)
        found = []
        for place in alarm_places(end_s, scores, threshold, self.config.refractory_s, self._fired_s[label]):
            before = np.searchsorted(low, place)
            start_s = end_s[low[before - 1]] if before else self._low_s.get(label, end_s[0])
            found.append(Detection(label, float(start_s), float(end_s[place]), float(scores[place])))
            self._fired_s[label] = float(end_s[place])
        if len(low):
            self._low_s[label] = float(end_s[low[-1]])
        self._low_s.setdefault(label, float(end_s[0]))
        return found


def alarm_places(
    end_s: np.ndarray, scores: np.ndarray, threshold: float, refractory_s: float, fired_s: float = -np.inf
) -> list[int]:
    """The frames in which a word is detected.

    Args:
        end_s: the time of each frame in seconds, ascending, (frames,).
        scores: the smoothed score of the word in each, (frames,).
        threshold: what a score must reach.
        refractory_s: the least time between two detections.
        fired_s: when the last one before these frames was.
    """
    above = np.flatnonzero(scores >= threshold)
    times = end_s[above]
    found = []
    place = int(np.searchsorted(times, fired_s + refractory_s - _SAME_S)) if np.isfinite(fired_s) else 0
    while place < len(above):
        found.append(int(above[place]))
        following = int(np.searchsorted(times, times[place] + refractory_s - _SAME_S))
        place = max(place + 1, following)
    return found
