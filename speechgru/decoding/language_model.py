"""n-gram language models: what comes after which words, as one automaton in arrays."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable, Sequence
from reprlib import repr as shown

import numpy as np

from speechgru.decoding.arpa import END, START, UNKNOWN, NGrams, read_arpa
from speechgru.errors import DataError

LN10 = math.log(10)
# The score of an unknown word where the model has no ``<unk>``, as in KenLM.
UNKNOWN_LOG10 = -100.0


@dataclasses.dataclass(frozen=True, eq=False)
class LanguageModel:
    """An n-gram model with backoff; logarithms are natural.

    A context is a state: state 0 is the empty context, the others are the n-grams that something follows in the model.
    The words seen after state s are ``word[first[s]:first[s + 1]]``, sorted, with their log-probabilities in ``score``
    and the states they lead to in ``following``. Where a word was not seen after s, ``backoff[s]`` is added and the
    search goes on in state ``shorter[s]``.

    Attributes:
        order: words of the longest n-gram.
        names: the words, by index; among them ``</s>`` and ``<unk>``.
        index: the index of each word.
        start: the state that begins an utterance.
    """

    order: int
    names: list[str]
    index: dict[str, int]
    first: np.ndarray
    word: np.ndarray
    score: np.ndarray
    following: np.ndarray
    backoff: np.ndarray
    shorter: np.ndarray
    start: int

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> LanguageModel:
        """Reads a model in ARPA format, plain or ``.gz``.

        Raises:
            DataError: it cannot be read, or is not ARPA; the message says ``file:line``.
        """
        return cls.from_ngrams(read_arpa(path), str(path))

    @classmethod
    def from_ngrams(cls, ngrams: NGrams, where: str = "language model") -> LanguageModel:
        """The automaton of n-grams with log10 probabilities and backoffs.

        Raises:
            DataError: no words at all, or an n-gram with a word that has no unigram.
        """
        names = [words[0] for words in ngrams[0]]
        if not set(names) - {START, END, UNKNOWN}:
            raise DataError(f"{where}: has no words; train it on text with words")
        names += [name for name in (END, UNKNOWN) if (name,) not in ngrams[0]]
        index = {name: place for place, name in enumerate(names)}

        # A context that nothing follows and that has no backoff weight is equivalent to the shorter one.
        contexts: set[tuple[str, ...]] = {words[:-1] for level in ngrams[1:] for words in level}
        contexts |= {words for level in ngrams[:-1] for words, (_, backoff) in level.items() if backoff}
        contexts.discard(())
        state = {(): 0, **{words: place for place, words in enumerate(sorted(contexts, key=lambda w: (len(w), w)), 1)}}

        def longest(words: tuple[str, ...]) -> int:
            while words not in state:
                words = words[1:]
            return state[words]

        backoff, shorter = np.zeros(len(state)), np.zeros(len(state), np.int64)
        for words, place in state.items():
            if words:
                backoff[place] = LN10 * ngrams[len(words) - 1].get(words, (0.0, 0.0))[1]
                shorter[place] = longest(words[1:])
        arcs: list[tuple[int, int, float, int]] = []
        for level in ngrams:
            for words, (log10, _) in level.items():
                if words[-1] not in index:
                    raise DataError(f"{where}: {shown(' '.join(words))} ends in a word without a unigram")
                following = 0 if words[-1] == END else longest(words[1 - len(ngrams) :] if len(ngrams) > 1 else ())
                arcs.append((state[words[:-1]], index[words[-1]], LN10 * log10, following))
        arcs += [(0, index[name], LN10 * UNKNOWN_LOG10, 0) for name in (END, UNKNOWN) if (name,) not in ngrams[0]]
        arcs.sort(key=lambda arc: arc[:2])
        return cls(
            order=len(ngrams),
            names=names,
            index=index,
            first=np.searchsorted([arc[0] for arc in arcs], np.arange(len(state) + 1)),
            word=np.array([arc[1] for arc in arcs], np.int64),
            score=np.array([arc[2] for arc in arcs]),
            following=np.array([arc[3] for arc in arcs], np.int64),
            backoff=backoff,
            shorter=shorter,
            start=state.get((START,), 0),
        )

    @property
    def words(self) -> list[str]:
        """The words that can be said: without ``<s>``, ``</s>`` and ``<unk>``."""
        return [name for name in self.names if name not in (START, END, UNKNOWN)]

    def step(self, state: int, word: int) -> tuple[float, int]:
        """Log-probability of the word with index ``word`` in ``state``, and the state after it."""
        total = 0.0
        while True:
            first, last = self.first[state], self.first[state + 1]
            place = first + int(np.searchsorted(self.word[first:last], word))
            if place < last and self.word[place] == word:
                return total + float(self.score[place]), int(self.following[place])
            total += float(self.backoff[state])
            state = int(self.shorter[state])

    def unigrams(self) -> np.ndarray:
        """Log-probability of every word, by index, without any context."""
        return self.score[self.first[0] : self.first[1]]

    def log_probabilities(self, sentence: Sequence[str]) -> list[float]:
        """Log-probability of each word of a sentence and of its end; unknown words count as ``<unk>``."""
        state, scores = self.start, []
        for word in [*sentence, END]:
            score, state = self.step(state, self.index.get(word, self.index[UNKNOWN]))
            scores.append(score)
        return scores

    def perplexity(self, sentences: Iterable[Sequence[str]]) -> tuple[float, int, int]:
        """Perplexity of known words and sentence ends, their number, and the number of unknown words (left out).

        Raises:
            DataError: no sentences.
        """
        total, known, unknown = 0.0, 0, 0
        for sentence in sentences:
            for word, score in zip([*sentence, END], self.log_probabilities(sentence), strict=True):
                if word == UNKNOWN or word not in self.index:
                    unknown += 1
                else:
                    known += 1
                    total += score
        if not known:
            raise DataError("no sentences to measure the perplexity on")
        return math.exp(-total / known), known, unknown
