"""Detections of words in scores over time: smoothing, a threshold for each word, and a refractory time."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from speechgru.decoding.operating_point import KeywordConfig
from speechgru.errors import ConfigError, ModelError
from speechgru.tokens import is_word

# Scores are summed as integers of this resolution: such sums are exact, so no chunking can change a mean.
_ONE = 1 << 30
# Times that differ by less are the same: they are computed in floating point.
_SAME_S = 1e-6


@dataclasses.dataclass(frozen=True)
class Detection:
    """A word that was heard.

    Attributes:
        label: the word.
        start_s: the time from which its smoothed score stayed above half its threshold, in seconds.
        end_s: when the smoothed score had reached the threshold, in seconds.
        confidence: the smoothed score at that time.
    """

    label: str
    start_s: float
    end_s: float
    confidence: float


class KeywordSpotter:
    """Finds words in scores that come in chunks of any size; the chunks make no difference to what is found.

    The score of a word is the mean of its scores in the last ``smoothing_ms``. The word is detected in the first frame
    where this mean reaches its threshold, and again ``refractory_s`` later at the earliest. So a lower threshold never
    gives fewer detections, and a word that is drawn out, or a noise that resembles it, counts once for each refractory
    time.

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
        # Half of each threshold, as an integer; as long as no score reaches it, no mean does.
        halves = [min(config.threshold(label) / 2, 2.0) if is_word(label) else 2.0 for label in self.labels]
        self._half = np.floor(np.array(halves) * _ONE).astype(np.int64)
        self._end_s = np.zeros(0)  # of the frames that the next mean may need
        self._scores = np.zeros((0, len(self.labels)), np.int64)
        self._fired_s = dict.fromkeys(known, -np.inf)
        self._low_s = np.zeros(0)  # for each label, when its smoothed score was last low, or the first time of all

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
        if not len(self._low_s):
            self._low_s = np.full(len(self.labels), end_s[0])
        self._hold(end_s, scores)
        if (self._scores < self._half).all():  # nearly always, and then there is nothing more to compute
            self._forget()
            self._low_s[:] = end_s[-1]
            return []
        smoothed = self._smoothed(len(end_s))
        highest = smoothed.max(axis=0)
        found = []
        for column, label in self._words:
            if highest[column] < self.config.threshold(label) / 2:
                self._low_s[column] = end_s[-1]
            else:
                found += self._detect(column, label, end_s, smoothed[:, column])
        return sorted(found, key=lambda one: one.end_s)

    def smooth(self, end_s: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """The smoothed scores of the next frames, float64 (frames, label); it takes the arguments of ``feed``."""
        self._hold(end_s, scores)
        return self._smoothed(len(end_s))

    def _hold(self, end_s: np.ndarray, scores: np.ndarray) -> None:
        """Adds the next frames to those that are held."""
        scores = np.asarray(scores, np.float64)
        if not (scores.min(initial=0) >= 0 and scores.max(initial=0) <= 1 + 1e-6):  # NaN is neither
            raise ModelError("scores are probabilities, 0 to 1; these are not: the model's weights are damaged")
        self._end_s = np.concatenate([self._end_s, end_s])
        self._scores = np.concatenate([self._scores, np.rint(scores * _ONE).astype(np.int64)])

    def _smoothed(self, count: int) -> np.ndarray:
        """The smoothed scores of the last ``count`` frames that are held."""
        last = np.arange(len(self._end_s) - count, len(self._end_s))
        first = np.minimum(self._first(self._end_s[last]), last)
        sums = np.concatenate([np.zeros((1, len(self.labels)), np.int64), np.cumsum(self._scores, axis=0)])
        self._forget()
        return (sums[last + 1] - sums[first]) / ((last + 1 - first) * float(_ONE))[:, None]

    def _first(self, end_s: np.ndarray) -> np.ndarray:
        """The first frame that the mean at each of these times includes."""
        return np.searchsorted(self._end_s, end_s - self.config.smoothing_ms / 1000 + _SAME_S, side="right")

    def _forget(self) -> None:
        """Drops the frames that no later mean includes."""
        keep = min(int(self._first(self._end_s[-1])), len(self._end_s) - 1)
        self._end_s, self._scores = self._end_s[keep:], self._scores[keep:]

    def _detect(self, column: int, label: str, end_s: np.ndarray, scores: np.ndarray) -> list[Detection]:
        threshold = self.config.threshold(label)
        low = np.flatnonzero(scores < threshold / 2)
        found = []
        for place in alarm_places(end_s, scores, threshold, self.config.refractory_s, self._fired_s[label]):
            before = np.searchsorted(low, place)
            start_s = end_s[low[before - 1]] if before else self._low_s[column]
            found.append(Detection(label, float(start_s), float(end_s[place]), float(scores[place])))
            self._fired_s[label] = float(end_s[place])
        if len(low):
            self._low_s[column] = end_s[low[-1]]
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
        fired_s: when the last detection before these frames was.
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
