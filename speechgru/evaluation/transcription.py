"""How good a list of transcripts is: word and character errors with their interval, words, speakers, confidence."""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np

from speechgru.data.utterance import Utterance
from speechgru.errors import DataError
from speechgru.evaluation.calibration import calibration_error, calibration_noise, normalized_cross_entropy
from speechgru.evaluation.error_rate import Edit, ErrorCounts, count_errors
from speechgru.evaluation.intervals import bootstrap_interval
from speechgru.evaluation.rounding import rounded
from speechgru.evaluation.task import Result
from speechgru.plain import Record

# With fewer speakers there are too few different draws of them (five can be drawn in 126 ways).
ENOUGH_SPEAKERS = 5


@dataclasses.dataclass(frozen=True)
class ComparedText:
    """One utterance: what was said, what was heard, and how the two are aligned.

    Attributes:
        utterance: the recording.
        reference: the true text, single spaces between the words.
        hypothesis: the text given, likewise.
        edits: the alignment of their words.
        counts: the errors.
        confidences: of each word of the hypothesis; empty where unknown.
    """

    utterance: Utterance
    reference: str
    hypothesis: str
    edits: tuple[Edit, ...]
    counts: ErrorCounts
    confidences: tuple[float, ...] = ()


@dataclasses.dataclass(frozen=True)
class WordConfusion:
    """How often ``reference`` was heard as ``hypothesis``; ``share`` of the times it was said."""

    reference: str
    hypothesis: str
    count: int
    share: float


@dataclasses.dataclass(eq=False)
class TranscriptionResult(Result):
    """All results of one evaluation of transcripts.

    Texts are compared as they are, word by word, split at white space. What should not count as an error (capitals,
    punctuation) is taken out of both before. An empty reference is allowed: all words heard there are insertions. An
    empty hypothesis has only deletions.

    Args:
        references: the true text of each utterance.
        hypotheses: the text given to each.
        utterances: the recordings, for their files and speakers.
        confidences: for each utterance the confidence, 0 to 1, of each word of the hypothesis; empty where unknown.
        errors: one line for each file that could not be used; these are in none of the other lists.
        familiar: for each utterance, whether it sounds like what the model knows
            (:class:`speechgru.decoding.transcription.Transcription`); empty where unknown.
        seed: of the bootstrap.
        loss: the mean of the head's loss over the utterances whose transcript their frames can hold, in nats; 0 where
            it was not computed.
        blank_share: share of the frames whose best token is the blank.
        frames_per_token: the encoder's frames for each token of the targets.

    Raises:
        DataError: no utterances, lists of unequal length, no word in any reference, or confidences that do not fit
            the words.
    """

    task: ClassVar = "transcription"
    references: list[str]
    hypotheses: list[str]
    utterances: list[Utterance]
    confidences: Sequence[Sequence[float]] = ()
    errors: list[str] = dataclasses.field(default_factory=list)
    familiar: Sequence[bool | None] = ()
    seed: int = 0
    loss: float = 0.0
    blank_share: float = 0.0
    frames_per_token: float = 0.0

    def __post_init__(self) -> None:
        if not self.references:
            failed = f"; {len(self.errors)} failed, the first: {self.errors[0]}" if self.errors else ""
            raise DataError(f"nothing to evaluate: the split has no usable utterance{failed}")
        sizes = {len(self.references), len(self.hypotheses), len(self.utterances)}
        if len(sizes) > 1 or len(self.confidences) not in (0, len(self.references)):
            raise DataError(
                f"{len(self.references)} references, {len(self.hypotheses)} hypotheses, {len(self.utterances)} "
                f"utterances and {len(self.confidences)} lists of confidences do not belong together"
            )
        self.references, self.hypotheses = (
            [" ".join(text.split()) for text in texts] for texts in (self.references, self.hypotheses)
        )
        if not any(self.references):
            raise DataError(
                f"no reference of the {len(self.references)} utterances has a word, so there is no error rate; "
                f"does {self.utterances[0].audio} have a transcript?"
            )
        for words, sure, utterance in zip(self.hypotheses, self.confidences, self.utterances, strict=False):
            if len(words.split()) != len(sure) or not all(0 <= one <= 1 for one in sure):
                raise DataError(
                    f"{utterance.audio}: {len(words.split())} words and the confidences {[round(c, 3) for c in sure]} "
                    "do not belong together; each word needs one, 0 to 1"
                )

    @functools.cached_property
    def texts(self) -> list[ComparedText]:
        """Each utterance with its alignment, in the order given."""
        sure = self.confidences or [()] * len(self.references)
        columns = zip(self.utterances, self.references, self.hypotheses, sure, strict=True)
        texts = []
        for utterance, reference, hypothesis, confidences in columns:
            counts, edits = count_errors(reference, hypothesis)
            texts.append(ComparedText(utterance, reference, hypothesis, tuple(edits), counts, tuple(confidences)))
        return texts

    @functools.cached_property
    def counts(self) -> ErrorCounts:
        """All utterances together."""
        return sum((one.counts for one in self.texts), ErrorCounts())

    @property
    def wer(self) -> float:
        """Word error rate over all utterances: errors of all over words of all."""
        return self.counts.errors / self.counts.words

    @property
    def cer(self) -> float:
        """Character error rate over all utterances, spaces included."""
        return self.counts.character_errors / self.counts.characters

    @property
    def ser(self) -> float:
        """Sentence error rate: the share of the utterances with an error."""
        return self.counts.wrong / self.counts.utterances

    @property
    def marked(self) -> int | None:
        """How many utterances do not sound like what the model knows; None where the model cannot tell."""
        known = [one for one in self.familiar if one is not None]
        return known.count(False) if known else None

    @property
    def interval_over(self) -> str:
        """What the bootstrap draws: ``speakers`` where all are known and there are at least 5, else ``utterances``."""
        names = {utterance.speaker for utterance in self.utterances}
        return "speakers" if "" not in names and len(names) >= ENOUGH_SPEAKERS else "utterances"

    @functools.cached_property
    def interval(self) -> tuple[float, float] | None:
        """95 % bootstrap interval of the word error rate over :attr:`interval_over`; None for a single one."""
        if self.interval_over == "speakers":
            parts = [counts for _, counts in self.per_speaker]
        else:
            parts = [one.counts for one in self.texts]
        if len(parts) < 2:
            return None
        return bootstrap_interval([part.errors for part in parts], [part.words for part in parts], seed=self.seed)

    @functools.cached_property
    def per_speaker(self) -> list[tuple[str, ErrorCounts]]:
        """Each known speaker with the errors, the worst first."""
        found: dict[str, ErrorCounts] = {}
        for one in self.texts:
            if one.utterance.speaker:
                found[one.utterance.speaker] = found.get(one.utterance.speaker, ErrorCounts()) + one.counts
        return sorted(found.items(), key=lambda pair: (-(pair[1].wer or 0), -pair[1].errors, pair[0]))

    def worst(self, most: int | None = None) -> list[ComparedText]:
        """The utterances with errors, those with most errors first; of equal ones, the higher error rate first."""
        wrong = [one for one in self.texts if one.counts.errors]

        def order(one: ComparedText) -> tuple:
            return -one.counts.errors, one.counts.words, one.utterance.audio, one.utterance.start_s

        return sorted(wrong, key=order)[:most]

    def confused(self, most: int | None = 20) -> list[WordConfusion]:
        """The pairs of substituted words, the most frequent first."""
        said = collections.Counter(edit.reference for edit in self._edits() if edit.kind != "insert")
        pairs = collections.Counter(
            (edit.reference, edit.hypothesis) for edit in self._edits() if edit.kind == "substitute"
        )
        found = [WordConfusion(*pair, count, count / said[pair[0]]) for pair, count in pairs.items()]
        return sorted(found, key=lambda one: (-one.count, -one.share, one.reference, one.hypothesis))[:most]

    def inserted(self, most: int | None = 20) -> list[tuple[str, int]]:
        """Words heard that were not said, with how often, the most frequent first."""
        return _ranked((edit.hypothesis for edit in self._edits() if edit.kind == "insert"), most)

    def deleted(self, most: int | None = 20) -> list[tuple[str, int]]:
        """Words said that were not heard, with how often, the most frequent first."""
        return _ranked((edit.reference for edit in self._edits() if edit.kind == "delete"), most)

    @functools.cached_property
    def word_confidences(self) -> tuple[np.ndarray, np.ndarray]:
        """The confidence of each word heard, and whether it is equal to the word it is aligned with; (words,) both."""
        sure = [confidence for one in self.texts for confidence in one.confidences]
        right = [
            edit.kind == "equal" for one in self.texts if one.confidences for edit in one.edits if edit.kind != "delete"
        ]
        return np.array(sure, dtype=np.float64), np.array(right, dtype=bool)

    def calibration_error(self, bins: int = 15, *, equal_mass: bool = False) -> float | None:
        """See :func:`speechgru.evaluation.calibration.calibration_error`; None where no word has a confidence."""
        sure, right = self.word_confidences
        return calibration_error(sure, right, bins, equal_mass=equal_mass) if len(sure) else None

    def calibration_noise(self, bins: int = 15, *, equal_mass: bool = False) -> float | None:
        """See :func:`speechgru.evaluation.calibration.calibration_noise`; None where no word has a confidence."""
        sure, _ = self.word_confidences
        return calibration_noise(sure, bins, equal_mass=equal_mass, seed=self.seed) if len(sure) else None

    @property
    def normalized_cross_entropy(self) -> float | None:
        """See :func:`speechgru.evaluation.calibration.normalized_cross_entropy`; None also without confidences."""
        sure, right = self.word_confidences
        return normalized_cross_entropy(sure, right) if len(sure) else None

    def measures(self) -> Record:
        """What ``results.json`` keeps."""
        counts = self.counts
        return {
            "n": counts.utterances,
            "failed": len(self.errors),
            "words": counts.words,
            "characters": counts.characters,
            "wer": rounded(self.wer),
            "interval": [rounded(end) for end in self.interval] if self.interval else None,
            "interval_over": self.interval_over,
            "cer": rounded(self.cer),
            "ser": rounded(self.ser),
            "marked": self.marked,
            "substitutions": counts.substitutions,
            "insertions": counts.insertions,
            "deletions": counts.deletions,
            "calibration_error": rounded(self.calibration_error()),
            "calibration_error_equal_mass": rounded(self.calibration_error(equal_mass=True)),
            "calibration_noise": rounded(self.calibration_noise()),
            "normalized_cross_entropy": rounded(self.normalized_cross_entropy),
            "confused": [[one.reference, one.hypothesis, one.count] for one in self.confused(20)],
            "inserted": [list(pair) for pair in self.inserted(20)],
            "deleted": [list(pair) for pair in self.deleted(20)],
            "worst": [
                {
                    "reference": one.reference,
                    "hypothesis": one.hypothesis,
                    "speaker": one.utterance.speaker,
                    "errors": one.counts.errors,
                }
                for one in self.worst(10)
            ],
            "per_speaker": {name: _speaker(one) for name, one in self.per_speaker},
        }

    def headline(self) -> str:
        """The word error rate, its errors and the character error rate."""
        counts = self.counts
        interval = "({:.2f} to {:.2f}), ".format(*(100 * end for end in self.interval)) if self.interval else ""
        return (
            f"word error rate {100 * self.wer:.2f} % {interval}{counts.substitutions} substituted, {counts.insertions} "
            f"inserted and {counts.deletions} deleted of {counts.words} words; character error rate "
            f"{100 * self.cer:.2f} %; {len(self.errors)} unreadable"
        )

    def figures(self) -> dict[str, float]:
        """Loss and error rates."""
        return {"loss": self.loss, "wer": self.wer, "cer": self.cer}

    def columns(self) -> dict[str, float]:
        """The share of blanks."""
        return {"blank_share": self.blank_share}

    def _edits(self) -> Iterable[Edit]:
        return (edit for one in self.texts for edit in one.edits)


def _speaker(counts: ErrorCounts) -> Record:
    return {
        "n": counts.utterances,
        "words": counts.words,
        "wer": rounded(counts.wer),
        "substitutions": counts.substitutions,
        "insertions": counts.insertions,
        "deletions": counts.deletions,
    }


def _ranked(words: Iterable[str], most: int | None) -> list[tuple[str, int]]:
    return sorted(collections.Counter(words).items(), key=lambda pair: (-pair[1], pair[0]))[:most]
