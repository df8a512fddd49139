"""How good a list of predicted labels is: accuracy with its interval, classes, confusions, speakers, calibration."""

from __future__ import annotations

import dataclasses
import functools
import statistics
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from speechgru.data.utterance import Utterance
from speechgru.errors import DataError
from speechgru.evaluation.calibration import calibration_error
from speechgru.evaluation.intervals import wilson_interval
from speechgru.evaluation.rounding import rounded
from speechgru.evaluation.task import Result
from speechgru.plain import Record

# With at most this many classes each is reported: the confusions of a thousand speakers are a million numbers.
MOST_SHOWN = 100


@dataclasses.dataclass(frozen=True)
class ClassScore:
    """The scores of one class. A measure whose denominator is zero is None: unknown, not bad.

    Attributes:
        label: the class.
        support: clips that are of this class.
        correct: clips of this class that were called it.
        precision: correct / clips that were called this class.
        recall: correct / support.
        f1: harmonic mean of the two, 2 correct / (support + clips that were called this class).
        interval: 95 % Wilson interval of the recall.
    """

    label: str
    support: int
    correct: int
    precision: float | None
    recall: float | None
    f1: float | None
    interval: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class SpeakerScore:
    """The score of one speaker: clips, correct clips, and their ratio."""

    speaker: str
    clips: int
    correct: int
    accuracy: float


@dataclasses.dataclass(frozen=True)
class Confusion:
    """How often clips of class ``reference`` were called ``prediction``; ``share`` of the clips of that class."""

    reference: str
    prediction: str
    count: int
    share: float


@dataclasses.dataclass(frozen=True)
class Mistake:
    """A clip with the wrong label: how sure the model was, and the probability it gave the right one (both 0 to 1)."""

    utterance: Utterance
    reference: str
    prediction: str
    confidence: float
    reference_probability: float


@dataclasses.dataclass(eq=False)
class ClassificationResult(Result):
    """All results of one evaluation of a classifier.

    Args:
        references: the true label of each clip.
        predictions: the label given to each clip.
        scores: (clips, classes) logits or log-probabilities (natural), columns in the order of ``labels``.
        labels: the classes, in the model's order.
        utterances: the clips, for their files and speakers.
        errors: one line for each file that could not be used; these are in none of the other lists.
        loss: the mean of the head's loss; 0 where it was not computed.

    Raises:
        DataError: no clips, lists of unequal length, a label that is not among ``labels``, scores that are NaN or
            that are probabilities.
    """

    task: ClassVar = "classification"
    references: list[str]
    predictions: list[str]
    scores: np.ndarray
    labels: list[str]
    utterances: list[Utterance]
    errors: list[str] = dataclasses.field(default_factory=list)
    loss: float = 0.0

    def __post_init__(self) -> None:
        self.scores = np.asarray(self.scores, dtype=np.float64)
        clips = len(self.references)
        if clips == 0:
            failed = f"; {len(self.errors)} failed, the first: {self.errors[0]}" if self.errors else ""
            raise DataError(f"nothing to evaluate: the split has no usable clip{failed}")
        lists = {clips, len(self.predictions), len(self.utterances)}
        if len(lists) > 1 or self.scores.shape != (clips, len(self.labels)):
            raise DataError(
                f"{clips} references, {len(self.predictions)} predictions, {len(self.utterances)} utterances, "
                f"{len(self.labels)} labels and scores {self.scores.shape} do not belong together"
            )
        known = set(self.labels)
        if len(known) != len(self.labels):
            raise DataError(f"the labels {self.labels} name a class twice")
        for name, given in (("label", self.references), ("prediction", self.predictions)):
            for label, utterance in zip(given, self.utterances, strict=True):
                if label not in known:
                    raise DataError(
                        f"{utterance.audio}: the {name} {label!r} is none of the model's classes "
                        f"({', '.join(self.labels)})"
                    )
        bad = np.isnan(self.scores).any(1) | (self.scores == np.inf).any(1) | ~np.isfinite(self.scores).any(1)
        if bad.any():
            raise DataError(f"{self.utterances[int(bad.argmax())].audio}: the model's scores are not finite")
        if len(self.labels) > 1 and (self.scores >= 0).all() and np.allclose(self.scores.sum(1), 1, rtol=0, atol=1e-6):
            raise DataError("the scores are probabilities; give logits or log-probabilities")

    @property
    def shows_classes(self) -> bool:
        """Whether there are few enough classes to report each of them and their confusions."""
        return len(self.labels) <= MOST_SHOWN

    @property
    def clips(self) -> int:
        """How many clips were classified."""
        return len(self.references)

    @functools.cached_property
    def log_probabilities(self) -> np.ndarray:
        """(clips, classes) log-softmax of the scores."""
        shifted = self.scores - self.scores.max(1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))

    @functools.cached_property
    def _indices(self) -> tuple[np.ndarray, np.ndarray]:
        index = {label: place for place, label in enumerate(self.labels)}
        true, guessed = ([index[label] for label in given] for given in (self.references, self.predictions))
        return np.array(true), np.array(guessed)

    @functools.cached_property
    def confusion(self) -> np.ndarray:
        """(classes, classes) counts: row = the true class, column = the predicted one."""
        counts = np.zeros((len(self.labels), len(self.labels)), dtype=np.int64)
        np.add.at(counts, self._indices, 1)
        return counts

    @property
    def correct(self) -> int:
        """How many clips got the right label."""
        return int(np.trace(self.confusion))

    @property
    def accuracy(self) -> float:
        """Share of clips that got the right label."""
        return self.correct / self.clips

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the accuracy."""
        return wilson_interval(self.correct, self.clips)

    @functools.cached_property
    def per_class(self) -> list[ClassScore]:
        """Precision, recall and F1 of each class, in the order of ``labels``."""
        scores = []
        for place, label in enumerate(self.labels):
            correct = int(self.confusion[place, place])
            support, predicted = int(self.confusion[place].sum()), int(self.confusion[:, place].sum())
            scores.append(
                ClassScore(
                    label,
                    support,
                    correct,
                    correct / predicted if predicted else None,
                    correct / support if support else None,
                    2 * correct / (support + predicted) if support + predicted else None,
                    wilson_interval(correct, support),
                )
            )
        return scores

    @property
    def macro_recall(self) -> float:
        """Mean recall over the classes that occur (balanced accuracy)."""
        return statistics.fmean(score.recall for score in self.per_class if score.recall is not None)

    @property
    def macro_f1(self) -> float:
        """Mean F1 over the classes that occur or were predicted."""
        return statistics.fmean(score.f1 for score in self.per_class if score.f1 is not None)

    def top_k_accuracy(self, k: int) -> float:
        """Share of clips whose true class is among the ``k`` best scores (k >= 1); the first class wins a tie."""
        assert k >= 1
        true, _ = self._indices
        order = np.argsort(-self.scores, axis=1, kind="stable")[:, :k]
        return float((order == true[:, None]).any(1).mean())

    @property
    def cross_entropy(self) -> float:
        """Mean negative log-probability of the true class, in nats; infinite if a true class got the probability 0."""
        true, _ = self._indices
        return float(-self.log_probabilities[np.arange(self.clips), true].mean())

    @functools.cached_property
    def confidences(self) -> np.ndarray:
        """(clips,) the probability the model gave to the label it chose."""
        _, guessed = self._indices
        return np.exp(self.log_probabilities[np.arange(self.clips), guessed])

    def calibration_error(self, bins: int = 15) -> float:
        """See :func:`speechgru.evaluation.calibration.calibration_error`, of the chosen label; equally wide bins."""
        true, guessed = self._indices
        return calibration_error(self.confidences, true == guessed, bins)

    def confused_pairs(self, most: int = 10) -> list[Confusion]:
        """The pairs of confused classes, the most frequent first."""
        pairs = [
            Confusion(reference, prediction, int(count), float(count / row.sum()))
            for reference, row in zip(self.labels, self.confusion, strict=True)
            for prediction, count in zip(self.labels, row, strict=True)
            if count and reference != prediction
        ]
        return sorted(pairs, key=lambda pair: (-pair.count, -pair.share))[:most]

    def worst_clips(self, most: int = 20) -> list[Mistake]:
        """The errors the model was surest of: look here for wrong labels and broken recordings."""
        true, guessed = self._indices
        probabilities = np.exp(self.log_probabilities[np.arange(self.clips), true])
        mistakes = [
            Mistake(
                self.utterances[clip],
                self.references[clip],
                self.predictions[clip],
                float(self.confidences[clip]),
                float(probabilities[clip]),
            )
            for clip in np.flatnonzero(true != guessed)
        ]
        return sorted(mistakes, key=lambda one: (-one.confidence, one.utterance.audio, one.utterance.start_s))[:most]

    @functools.cached_property
    def per_speaker(self) -> list[SpeakerScore]:
        """Accuracy of each speaker, the worst first; clips of unknown speakers are left out."""
        hits: dict[str, list[bool]] = {}
        for utterance, reference, prediction in zip(self.utterances, self.references, self.predictions, strict=True):
            if utterance.speaker:
                hits.setdefault(utterance.speaker, []).append(reference == prediction)
        scores = [SpeakerScore(name, len(one), sum(one), sum(one) / len(one)) for name, one in hits.items()]
        return sorted(scores, key=lambda score: (score.accuracy, -score.clips, score.speaker))

    def measures(self) -> Record:
        """What ``results.json`` keeps."""
        low, high = self.interval
        speakers = [score.accuracy for score in self.per_speaker]
        return {
            "n": self.clips,
            "failed": len(self.errors),
            "correct": self.correct,
            "accuracy": rounded(self.accuracy),
            "interval": [rounded(low), rounded(high)],
            "macro_recall": rounded(self.macro_recall),
            "macro_f1": rounded(self.macro_f1),
            "top_2_accuracy": rounded(self.top_k_accuracy(2)),
            "cross_entropy": rounded(self.cross_entropy),
            "calibration_error": rounded(self.calibration_error()),
            "speakers": {
                "n": len(speakers),
                "mean_accuracy": rounded(statistics.fmean(speakers)) if speakers else None,
                "worst_accuracy": rounded(min(speakers)) if speakers else None,
            },
            **(self._by_class() if self.shows_classes else {}),
        }

    def _by_class(self) -> Record:
        return {
            "per_class": {
                score.label: {
                    "support": score.support,
                    "precision": rounded(score.precision),
                    "recall": rounded(score.recall),
                    "f1": rounded(score.f1),
                }
                for score in self.per_class
            },
            "confusion": {"labels": list(self.labels), "counts": self.confusion.tolist()},
        }

    def headline(self) -> str:
        """The accuracy with its interval."""
        low, high = self.interval
        return (
            f"accuracy {100 * self.accuracy:.2f} % ({100 * low:.2f} to {100 * high:.2f}), "
            f"{self.correct} of {self.clips} right, {len(self.errors)} unreadable"
        )

    def figures(self) -> dict[str, float]:
        """Loss and accuracy."""
        return {"loss": self.loss, "accuracy": self.accuracy}


def classification_result(
    references: Sequence[str],
    scores: np.ndarray,
    labels: Sequence[str],
    utterances: Sequence[Utterance],
    errors: Sequence[str] = (),
    loss: float = 0.0,
) -> ClassificationResult:
    """The result that predicts the class with the best score for each clip; see :class:`ClassificationResult`."""
    scores = np.asarray(scores, dtype=np.float64).reshape(len(references), -1)
    if references and scores.shape[1] != len(labels):
        raise DataError(f"scores of {scores.shape[1]} classes for {len(labels)} labels ({', '.join(labels)})")
    predictions = [labels[place] for place in scores.argmax(1)] if len(references) else []
    return ClassificationResult(
        list(references), predictions, scores, list(labels), list(utterances), list(errors), loss
    )
