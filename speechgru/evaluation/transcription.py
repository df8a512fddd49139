"""What a list of transcripts is worth: word and character errors with their interval, words, speakers, confidence."""

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
from speechgru.evaluation.error_rate import Edit, align, edit_distance

# With fewer speakers there are too few different draws of them (five can be drawn in 126 ways).
ENOUGH_SPEAKERS = 5


@dataclasses.dataclass(frozen=True)
class ErrorCounts:
    """Errors and what they are to be measured by; counts of parts add up.

    Attributes:
        utterances: how many.
        wrong: those with at least one wrong word.
        words: in the references.
        substitutions: words heard as another.
        insertions: words heard that were not said.
        deletions: words said that were not heard.
        characters: in the references, single spaces between words among them.
        character_errors: the least number of characters to change, insert and delete.
    """

    utterances: int = 0
    wrong: int = 0
    words: int = 0
    substitutions: int = 0
    insertions: int = 0
    deletions: int = 0
    characters: int = 0
    character_errors: int = 0

    def __add__(self, other: ErrorCounts) -> ErrorCounts:
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return ErrorCounts(*(one + more for one, more in pairs))

    @property
    def errors(self) -> int:
        """Substitutions, insertions and deletions."""
        return self.substitutions + self.insertions + self.deletions

    @property
    def wer(self) -> float | None:
        """Word errors over the words of the references; above 1 is possible; None where there are no words."""
        return self.errors / self.words if self.words else None

    @property
    def cer(self) -> float | None:
        """Character errors over the characters of the references; None where there are none."""
        return self.character_errors / self.characters if self.characters else None

    @property
    def ser(self) -> float | None:
        """Sentence error rate: the share of the utterances that have an error; None where there are none."""
        return self.wrong / self.utterances if self.utterances else None


@dataclasses.dataclass(frozen=True)
class Transcript:
    """One utterance: what was said, what was heard, and how the two go together.

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
class TranscriptionResult:
    """Everything that can be said of one evaluation of transcripts.

    Texts are compared as they are, word by word as white space parts them: what is to be forgiven (capitals,
    punctuation) is taken out of both before. An empty reference is allowed, all words heard there are insertions; an
    empty hypothesis has only deletions.

    Args:
        references: the true text of each utterance.
        hypotheses: the text given to each.
        utterances: the recordings, for their files and speakers.
        confidences: for each utterance the confidence, 0 to 1, of each word of the hypothesis; empty where unknown.
        errors: one line for each file that could not be used; these are in none of the other lists.
        seed: of the bootstrap.

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
    seed: int = 0

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
    def transcripts(self) -> list[Transcript]:
        """Each utterance with its alignment, in the order given."""
        sure = self.confidences or [()] * len(self.references)
        columns = zip(self.utterances, self.references, self.hypotheses, sure, strict=True)
        return [_transcript(*one) for one in columns]

    @functools.cached_property
    def counts(self) -> ErrorCounts:
        """All utterances together."""
        return _sum(one.counts for one in self.transcripts)

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
        """Share of the utterances with an error."""
        return self.counts.wrong / self.counts.utterances

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
            parts = [one.counts for one in self.transcripts]
        if len(parts) < 2:
            return None
        return bootstrap_interval([part.errors for part in parts], [part.words for part in parts], seed=self.seed)

    @functools.cached_property
    def per_speaker(self) -> list[tuple[str, ErrorCounts]]:
        """Each known speaker with the errors, the worst first."""
        found: dict[str, ErrorCounts] = {}
        for one in self.transcripts:
            if one.utterance.speaker:
                found[one.utterance.speaker] = found.get(one.utterance.speaker, ErrorCounts()) + one.counts
        return sorted(found.items(), key=lambda pair: (-(pair[1].wer or 0), -pair[1].errors, pair[0]))

    def headline(self) -> str:
        """The result in a line."""
        counts = self.counts
        interval = "({:.2f} to {:.2f}), ".format(*(100 * end for end in self.interval)) if self.interval else ""
        return (
            f"word error rate {100 * self.wer:.2f} % {interval}{counts.substitutions} substituted, "
            f"{counts.insertions} inserted and {counts.deletions} deleted of {counts.words} words; "
            f"character error rate {100 * self.cer:.2f} %; {len(self.errors)} unreadable"
        )

    def worst(self, most: int | None = None) -> list[Transcript]:
        """The utterances with errors, those with most errors first, among them the higher error rate first."""
        wrong = [one for one in self.transcripts if one.counts.errors]

        def order(one: Transcript) -> tuple:
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
        sure = [confidence for one in self.transcripts for confidence in one.confidences]
        right = [
            edit.kind == "equal"
            for one in self.transcripts
            if one.confidences
            for edit in one.edits
            if edit.kind != "delete"
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

    def _edits(self) -> Iterable[Edit]:
        return (edit for one in self.transcripts for edit in one.edits)


def _transcript(utterance: Utterance, reference: str, hypothesis: str, confidences: Sequence[float]) -> Transcript:
    edits = align(reference.split(), hypothesis.split())
    kinds = [edit.kind for edit in edits]
    substitutions, insertions, deletions = (kinds.count(kind) for kind in ("substitute", "insert", "delete"))
    counts = ErrorCounts(
        utterances=1,
        wrong=int(reference != hypothesis),
        words=len(kinds) - insertions,
        substitutions=substitutions,
        insertions=insertions,
        deletions=deletions,
        characters=len(reference),
        character_errors=edit_distance(reference, hypothesis),
    )
    return Transcript(utterance, reference, hypothesis, tuple(edits), counts, tuple(map(float, confidences)))


def _sum(counts: Iterable[ErrorCounts]) -> ErrorCounts:
    return sum(counts, start=ErrorCounts())


def _ranked(words: Iterable[str], most: int | None) -> list[tuple[str, int]]:
    return sorted(collections.Counter(words).items(), key=lambda pair: (-pair[1], pair[0]))[:most]


def bootstrap_interval(
    errors: Sequence[int],
    words: Sequence[int],
    *,
    confidence: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> tuple[float, float]:
    """Where the error rate lies if the parts (utterances, or speakers) were drawn anew from their like.

    As many parts as there are, drawn with replacement; the rate is errors of all over words of all. A draw without any
    words is left out. Errors gather in utterances and speakers, so a formula for independent words would be too sure.

    Source: M. Bisani and H. Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation", ICASSP
    2004, section 3 (percentiles).

    Args:
        errors: of each part.
        words: of each part; at least one in all.
        confidence: share of the draws inside the interval, in (0, 1).
        draws: how many.
        seed: of the generator; the same one gives the same interval.

    Returns:
        The lower and the upper end.
    """
    counts = np.array([errors, words], dtype=np.int64)
    parts = counts.shape[1]
    assert counts[1].sum() > 0
    random = np.random.default_rng(seed)
    rates = []
    block = max(1, 1_000_000 // parts)  # bounds the memory
    for start in range(0, draws, block):
        chosen = random.integers(parts, size=(min(block, draws - start), parts))
        wrong, said = counts[0][chosen].sum(1), counts[1][chosen].sum(1)
        rates.append(wrong[said > 0] / said[said > 0])
    low, high = np.quantile(np.concatenate(rates), [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
