"""How good a detector of words is: misses and false alarms an hour, for every threshold."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from speechgru.evaluation.intervals import binomial_interval, poisson_interval
from speechgru.streaming.keywords import alarm_places

# Scores below this are not kept: no threshold is that low.
LOWEST = 0.01
# Thresholds are whole numbers of millionths.
_STEPS = 1_000_000
# The number of alarms from which the rate of surer alarms is predicted.
_TAIL = 20


@dataclasses.dataclass(frozen=True)
class Trial:
    """A clip in which a word is said, as it was heard in a stream.

    Attributes:
        word: what is said.
        audio: path of the clip.
        condition: ``quiet``, or the ratio to the noise that was added, such as ``5 dB``.
        score: the highest smoothed score of the word while a detection counts.
        other: the other word with the highest score in that time; empty where the model knows one word.
        other_score: that score.
    """

    word: str
    audio: str
    condition: str
    score: float
    other: str = ""
    other_score: float = 0.0


@dataclasses.dataclass(frozen=True)
class Background:
    """A recording in which no word is said, as it was heard.

    Attributes:
        audio: its path.
        source: the list or folder it comes from.
        duration_s: its length in seconds.
        sound_s: how much of it is above -60 dBFS, in seconds.
        tracks: for each word, the times in seconds and the smoothed scores, where these are at least ``LOWEST``.
        start_s: where it begins in its file, in seconds.
        gain_db: how much louder than its file it was heard.
    """

    audio: str
    source: str
    duration_s: float
    sound_s: float
    tracks: Mapping[str, tuple[np.ndarray, np.ndarray]]
    start_s: float = 0.0
    gain_db: float = 0.0


@dataclasses.dataclass(frozen=True)
class Alarm:
    """A detection in the background: the word, where (in seconds), and the highest score within the refractory time."""

    word: str
    recording: Background
    end_s: float
    score: float


@dataclasses.dataclass(frozen=True)
class Share:
    """A count out of a total, with the exact 95 % interval of the share."""

    count: int
    total: int

    @property
    def share(self) -> float | None:
        """The share; None where the total is 0."""
        return self.count / self.total if self.total else None

    @property
    def interval(self) -> tuple[float, float]:
        """See :func:`speechgru.evaluation.intervals.binomial_interval`."""
        return binomial_interval(self.count, self.total)


@dataclasses.dataclass(frozen=True)
class Rate:
    """A number of alarms in a number of hours, with the exact 95 % interval of the rate."""

    count: int
    hours: float

    @property
    def per_hour(self) -> float:
        """The observed rate."""
        return self.count / self.hours

    @property
    def interval(self) -> tuple[float, float]:
        """See :func:`speechgru.evaluation.intervals.poisson_interval`."""
        return poisson_interval(self.count, self.hours)


class Detections:
    """Trials and background of one model, and what any threshold would give on them.

    All words share one threshold in the methods below unless thresholds are given. A separate threshold for each word,
    just above the highest score that the word has in the background, would look better here and be worse elsewhere: as
    much background again exceeds each of these highest scores once, on average.

    Args:
        words: the words that count, in the trials and as alarms.
        trials: at least one.
        background: recordings with a total length above 0.
        refractory_s: the least time between two detections of a word.
    """

    def __init__(
        self, words: Sequence[str], trials: Sequence[Trial], background: Sequence[Background], refractory_s: float
    ) -> None:
        assert trials
        self.words, self.trials, self.background = list(words), list(trials), list(background)
        self.refractory_s = refractory_s
        self.hours = sum(one.duration_s for one in background) / 3600
        assert self.hours > 0

    @property
    def conditions(self) -> list[str]:
        """The conditions of the trials, in order."""
        return list(dict.fromkeys(one.condition for one in self.trials))

    @functools.cached_property
    def _joined(self) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """For each word, the times and scores of all recordings one after the other, and which recording each is from.

        The recordings are so far apart in time that none can suppress a detection in the next.
        """
        gap_s = self.refractory_s + 1
        begins = np.cumsum([0.0, *(one.duration_s + gap_s for one in self.background)])
        joined = {}
        for word in self.words:
            kept = [(place, *one.tracks[word]) for place, one in enumerate(self.background) if word in one.tracks]
            times = [begins[place] + end_s for place, end_s, _ in kept]
            owners = [np.full(len(end_s), place) for place, end_s, _ in kept]
            scores = [values for _, _, values in kept]
            empty = np.zeros(0)
            joined[word] = (
                np.concatenate([empty, *times]),
                np.concatenate([empty, *scores]),
                np.concatenate([empty.astype(int), *owners]),
            )
        return joined

    def alarm_count(self, thresholds: Mapping[str, float] | float) -> int:
        """How many alarms there are in the background."""
        return sum(len(self._places(word, thresholds)) for word in self.words)

    def alarms(self, thresholds: Mapping[str, float] | float) -> list[Alarm]:
        """The alarms in the background, the surest first."""
        found = []
        for word in self.words:
            times, scores, owners = self._joined[word]
            for place in self._places(word, thresholds):
                until = np.searchsorted(times, times[place] + max(self.refractory_s, 1e-6))
                recording = self.background[owners[place]]
                end_s = float(recording.tracks[word][0][place - np.searchsorted(owners, owners[place])])
                found.append(Alarm(word, recording, end_s, float(scores[place:until].max())))
        return sorted(found, key=lambda one: -one.score)

    def _places(self, word: str, thresholds: Mapping[str, float] | float) -> list[int]:
        times, scores, _ = self._joined[word]
        return alarm_places(times, scores, _of(thresholds, word), self.refractory_s)

    def rate(self, thresholds: Mapping[str, float] | float) -> Rate:
        """False alarms an hour of all words together."""
        return Rate(self.alarm_count(thresholds), self.hours)

    def misses(self, thresholds: Mapping[str, float] | float, condition: str = "", word: str = "") -> Share:
        """The share of trials that are not detected; of one condition and of one word if these are given."""
        of = [one for one in self.trials if condition in ("", one.condition) and word in ("", one.word)]
        return Share(sum(one.score < _of(thresholds, one.word) for one in of), len(of))

    def confusions(self, thresholds: Mapping[str, float] | float, condition: str = "", word: str = "") -> Share:
        """The share of trials in which another word is detected (as well)."""
        of = [one for one in self.trials if condition in ("", one.condition) and word in ("", one.word)]
        return Share(sum(bool(one.other) and one.other_score >= _of(thresholds, one.other) for one in of), len(of))

    def allowed(self, per_hour: float) -> int:
        """How many alarms there may be in the background at this rate."""
        return math.floor(per_hour * self.hours + 1e-9)

    def threshold_for(self, per_hour: float) -> float | None:
        """The threshold with the fewest misses that gives at most ``per_hour`` false alarms an hour in this background.

        Many thresholds do so: from just above the first score that is one alarm too many to the lowest score of a trial
        that is detected there. The middle one is taken. None where even a threshold of 1 gives too many.
        """
        lowest = self._lowest(self.allowed(per_hour))
        if lowest is None:
            return None
        highest = min((one.score for one in self.trials if one.score >= lowest / _STEPS), default=0.0)
        return max(lowest, (lowest + math.floor(highest * _STEPS)) // 2) / _STEPS

    def threshold_expecting(self, per_hour: float) -> float | None:
        """The threshold at which ``per_hour`` false alarms an hour are to be expected in other background of this kind.

        Where the background is short, the threshold of :meth:`threshold_for` depends on one place in it: at 0.5 an hour
        no alarm is allowed in one hour, so the surest alarm alone sets it. Here the surest twenty set it (twice as many
        as are allowed, where that is more). The rate of alarms falls nearly exponentially with the log odds z of their
        scores: rate(z) = n / hours * exp(-(z - u) / m), where u is that of the next alarm after those n, and they are m
        above it on average ("peaks over threshold", Pickands, Annals of Statistics 1975, with a shape of 0). The
        threshold is where that rate is ``per_hour``, and never above the surest alarm: what was never heard is not
        predicted. The scores of trials are not used, because synthetic or selected clips may score higher than those of
        real use; only where there are fewer than two alarms, the threshold is that of :meth:`threshold_for`. None where
        even a threshold of 1 gives alarms.
        """
        above, highest = self._lowest(1 + max(_TAIL, 2 * math.ceil(per_hour * self.hours))), self._lowest(0)
        if above is None or highest is None:
            return None
        log_odds = [_log_odds(one.score) for one in self.alarms(above / _STEPS)]
        if len(log_odds) < 2:
            return self.threshold_for(per_hour)
        *surest, start = log_odds
        excess = float(np.mean(surest)) - start
        threshold = start + excess * math.log(len(surest) / (per_hour * self.hours))
        return min(highest, max(round(LOWEST * _STEPS), math.ceil(_STEPS / (1 + math.exp(-threshold))))) / _STEPS

    def _lowest(self, allowed: int) -> int | None:
        """The lowest threshold with at most ``allowed`` alarms, in millionths; None where there is none up to 1."""
        scores = np.concatenate([self._joined[word][1] for word in self.words])
        steps = np.unique(np.floor(scores * _STEPS).astype(np.int64) + 1)  # just above each score
        steps = np.concatenate([[round(LOWEST * _STEPS)], steps[steps > LOWEST * _STEPS]])
        below, above = -1, len(steps)  # places: too many alarms; few enough
        while above - below > 1:
            middle = (below + above) // 2
            if self.alarm_count(int(steps[middle]) / _STEPS) <= allowed:
                above = middle
            else:
                below = middle
        return int(steps[above]) if above < len(steps) and steps[above] <= _STEPS else None

    def curve(self, most_per_hour: float = 100.0, most_points: int = 200) -> list[tuple[float, int]]:
        """(threshold, alarms) from 1 down, just above the scores of alarms, up to ``most_per_hour``.

        Between two of these thresholds only more clips are detected. With more than ``most_points`` alarms, the surest
        have the most points.
        """
        lowest = self._lowest(self.allowed(most_per_hour)) or _STEPS
        alarms = self.alarms(lowest / _STEPS)
        ranks = np.unique(np.geomspace(1, max(1, len(alarms)), most_points).astype(int)) - 1
        steps = {math.floor(alarms[rank].score * _STEPS) + 1 for rank in ranks if alarms}
        thresholds = [step / _STEPS for step in sorted({lowest, _STEPS} | steps, reverse=True) if step <= _STEPS]
        return [(threshold, self.alarm_count(threshold)) for threshold in thresholds]

    def knowable_per_hour(self) -> float:
        """The lowest rate that this much background can show: the bound on the rate with no alarm in it (95 %)."""
        return poisson_interval(0, self.hours)[1]


def hours_needed(per_hour: float) -> float:
    """Hours of background without an alarm that bound the rate under ``per_hour`` (95 %)."""
    return poisson_interval(0, 1.0)[1] / per_hour


def _log_odds(score: float) -> float:
    score = min(score, 1 - 2**-25)  # for a score of 1 they are not finite; float32 has no value between the two
    return math.log(score / (1 - score))


def _of(thresholds: Mapping[str, float] | float, word: str) -> float:
    return thresholds[word] if isinstance(thresholds, Mapping) else thresholds
