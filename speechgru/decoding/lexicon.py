"""The words a decoder knows, spelled in symbols: a trie in arrays, with the look-ahead score of each state."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence

import numpy as np

from speechgru.decoding.language_model import LanguageModel
from speechgru.decoding.words import CLOSED, JOINED, OPEN, PLAIN, ROOT, Words
from speechgru.errors import ConfigError, DataError
from speechgru.text.units import BLANK, SPACE
from speechgru.text_files import read_lines
from speechgru.tokens import Tokens

START = "\N{LOWER ONE EIGHTH BLOCK}"  # sentencepiece's mark before the first piece of a word
NO_SYMBOL = -1

Spellings = Mapping[str, Sequence[Sequence[str]]]
"""The spellings of each word, as names of symbols."""


def read_words(path: str | os.PathLike[str]) -> list[str]:
    """A list of words, one a line; lines beginning with ``#`` are comments.

    Raises:
        DataError: it cannot be read, has two words in a line (the message says ``file:line``), or no words.
    """
    words = []
    for number, line in enumerate(read_lines(path, "give a list of words, one a line"), 1):
        cells = [] if line.startswith("#") else line.split()
        if len(cells) > 1:
            raise DataError(f"{path}:{number}: {line.strip()[:40]!r} is not one word; write one word a line")
        words += cells
    if not words:
        raise DataError(f"{path}: has no words; write one word a line")
    return words


def parse_hotwords(hotwords: Sequence[str], weight: float) -> dict[str, float]:
    """The bonus of each hot word, written ``word`` or ``word:bonus``.

    Raises:
        ConfigError: not one word, or a bonus that is no number from -100 to 100 nats.
    """
    found = {}
    for written in hotwords:
        word, colon, number = written.rpartition(":")
        if not colon:
            word, number = written, str(weight)
        try:
            bonus = float(number)
        except ValueError:
            bonus = math.nan
        if len(word.split()) != 1 or not math.isfinite(bonus) or abs(bonus) > 100:
            raise ConfigError(f"hotwords={written!r}: word or word:bonus, one word, the bonus from -100 to 100 nats")
        found[word.strip()] = bonus
    return found


def separates(tokens: Tokens) -> bool:
    """Whether the tokens show where words end: by a space among them, or by pieces marked as first in their word."""
    return SPACE in tokens or any(name.startswith(START) for name in tokens)


def symbols_of(name: str, separated: bool) -> tuple[bool, list[str]]:
    """Whether a token ends the word before it, and the symbols that it adds to a word."""
    if not separated:
        return False, [name]
    if name in (BLANK, SPACE):
        return name == SPACE, []
    if name.startswith("<") and name.endswith(">") and len(name) > 2:  # <unk> of sentencepiece: no letters
        return False, [name]
    return name.startswith(START), list(name.removeprefix(START))


class _WordScores:
    """What words add to the score of a sequence: bonuses, and the language model's score of each word alone.

    Attributes:
        unknown: the index that the language model gives to words it does not have.
        unknown_score: the score of a word without a spelling, without the language model.
    """

    def __init__(
        self,
        model: LanguageModel | None,
        weight: float,
        word_bonus: float,
        unknown_bonus: float,
        hotwords: Mapping[str, float],
    ) -> None:
        self.unknown = model.index["<unk>"] if model else 0
        self.unknown_score = word_bonus + unknown_bonus
        self._places = model.index if model else {}
        self._unigrams = weight * model.unigrams() if model else None
        self._word_bonus, self._hotwords = word_bonus, hotwords

    def share(self, place: int) -> float:
        """The language model's weighted score of the word with this index alone."""
        return 0.0 if self._unigrams is None else float(self._unigrams[place])

    def of(self, word: str) -> tuple[int, float, float, float]:
        """Its index in the language model; its score without the model; with the model less the bonus; the bonus."""
        place, bonus = self._places.get(word, self.unknown), self._hotwords.get(word, 0.0)
        strange = self._unigrams is not None and place == self.unknown
        score = (self.unknown_score if strange else self._word_bonus) + bonus
        return place, score, score - bonus + self.share(place), bonus


class _Vocabulary:
    """The words that can be spelled in the tokens, by index, and the trie of their spellings.

    Args:
        spellings: of all words.
        number: the number of each symbol of the tokens.
        scores: of words.

    Attributes:
        names: the words.
        in_model: the index of each in the language model.
        score: what each adds, without the language model.
        unigram: what each adds alone, with the language model, less the bonus of a hot word.
        trie: of the spellings.
    """

    def __init__(self, spellings: Spellings, number: Mapping[str, int], scores: _WordScores) -> None:
        self.names: list[str] = []
        self.in_model: list[int] = []
        self.score: list[float] = []
        self.unigram: list[float] = []
        self.trie = _Trie()
        for word, variants in spellings.items():
            numbered = [[number[symbol] for symbol in one] for one in variants if all(map(number.__contains__, one))]
            if not any(numbered):
                continue
            place, own, alone, bonus = scores.of(word)
            self.names.append(word)
            self.in_model.append(place)
            self.score.append(own)
            self.unigram.append(alone)
            for one in filter(None, numbered):
                self.trie.add(one, len(self.names) - 1, bonus)


def _check_spelled(known: _Vocabulary, closed: bool, model: LanguageModel | None, tokens: Tokens) -> None:
    """Raises DataError where no word, or no word of the language model, can be spelled in the tokens."""
    if closed and not known.names:
        raise DataError("no word of the lexicon can be written in the model's tokens; it belongs to other tokens")
    if model and all(place == model.index["<unk>"] for place in known.in_model):
        raise DataError(_foreign(model, tokens))


def _foreign(model: LanguageModel, tokens: Tokens) -> str:
    """Why a language model does not fit the tokens."""
    return (
        f"no word of the language model ({', '.join(model.words[:3])} ...) can be written in the model's tokens "
        f"({', '.join(tokens.names[:8])} ...); train one on text in the same case and script"
    )


def _symbol_arrays(tokens: Tokens) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, int]]:
    """For each token, whether it ends a word and where its symbols begin; their numbers; the number of each symbol."""
    separated = separates(tokens)
    ends = [symbols_of(name, separated) for name in tokens]
    number: dict[str, int] = {}
    for _, symbols in ends[1:]:
        for symbol in symbols:
            number.setdefault(symbol, len(number))
    boundary = np.array([ends_word for ends_word, _ in ends])
    first = np.cumsum([0, *(len(symbols) for _, symbols in ends)])
    flat = [number.get(symbol, NO_SYMBOL) for _, symbols in ends for symbol in symbols]
    return boundary, first, np.array(flat, np.int64), number


def word_arrays(
    tokens: Tokens,
    spellings: Spellings | None,
    *,
    closed: bool = False,
    model: LanguageModel | None = None,
    model_weight: float = 0.0,
    word_bonus: float = 0.0,
    unknown_bonus: float = 0.0,
    hotwords: Mapping[str, float] | None = None,
) -> tuple[Words, list[str]]:
    """What the search needs to know of words, and the words by index.

    A prefix inside a word is granted in advance the unigram score of the best word that begins like it (S. Ortmanns, H.
    Ney, "Look-ahead techniques for fast beam search", ICASSP 1997), plus the share of a hot word's bonus for the
    symbols that are spelled already. When the word is complete, or turns out to be another word, the true score
    replaces what was granted. So no score in the result depends on the grant, only which prefixes survive.

    Args:
        tokens: the model's tokens, the blank first.
        spellings: of all words; None where nothing is known of words.
        closed: words without a spelling are impossible.
        model: the language model.
        model_weight: factor on its logarithms.
        word_bonus: for every word.
        unknown_bonus: for every word the language model does not know.
        hotwords: the bonus of each hot word.

    Raises:
        DataError: no word can be spelled in the tokens.
    """
    mode = PLAIN if spellings is None else JOINED if not separates(tokens) else CLOSED if closed else OPEN
    boundary, symbol_first, symbols, number = _symbol_arrays(tokens)
    scores = _WordScores(model, model_weight, word_bonus, unknown_bonus, hotwords or {})
    known = _Vocabulary(spellings or {}, number, scores)
    _check_spelled(known, closed, model, tokens)
    ahead_off = scores.unknown_score + scores.share(scores.unknown)
    ahead = known.trie.promises(known.unigram, ahead_off if mode == OPEN else -math.inf)
    first, labels, targets = known.trie.arcs()
    word_first, words = known.trie.words()
    # A token may end a word and begin the next.
    most = max([*known.score, scores.unknown_score, 0.0]) + max(0.0, ahead_off, float(ahead.max()))
    arrays = Words(
        mode=mode,
        boundary=boundary,
        symbol_first=symbol_first,
        symbols=symbols,
        arc_first=first,
        arc_symbol=labels,
        arc_target=targets,
        word_first=word_first,
        words=words,
        ahead=ahead,
        ahead_off=ahead_off,
        word_score=np.array(known.score, np.float64),
        word_in_model=np.array(known.in_model, np.int64),
        unknown_score=scores.unknown_score,
        unknown_in_model=scores.unknown,
        most=0.0 if mode == PLAIN else most,
        weight=float(model_weight) if model else 0.0,
        model_first=model.first if model else np.zeros(2, np.int64),
        model_word=model.word if model else np.zeros(0, np.int64),
        model_score=model.score if model else np.zeros(0),
        model_next=model.following if model else np.zeros(0, np.int64),
        backoff=model.backoff if model else np.zeros(1),
        shorter=model.shorter if model else np.zeros(1, np.int64),
        start=model.start if model else 0,
        end=model.index["</s>"] if model else 0,
    )
    return arrays, known.names


class _Trie:
    """Words at the states that spell them; state 0 is the root, and every state comes after its parent."""

    def __init__(self) -> None:
        self.children: dict[tuple[int, int], int] = {}
        self.parents = [0]
        self.spelled: dict[int, list[int]] = {}
        self.hot: dict[int, float] = {}

    def add(self, symbols: list[int], word: int, bonus: float) -> None:
        state = ROOT
        for depth, symbol in enumerate(symbols, 1):
            child = self.children.setdefault((state, symbol), len(self.parents))
            if child == len(self.parents):
                self.parents.append(state)
            state = child
            if bonus > 0:
                self.hot[state] = max(self.hot.get(state, 0.0), bonus * depth / len(symbols))
        words = self.spelled.setdefault(state, [])
        if word not in words:
            words.append(word)

    def promises(self, unigram: list[float], unknown: float) -> np.ndarray:
        """The best score of the words at and below each state, at least ``unknown``, plus the shares of hot words."""
        best = [-math.inf] * len(self.parents)
        for state in range(len(self.parents) - 1, 0, -1):
            best[state] = max([best[state], unknown, *(unigram[word] for word in self.spelled.get(state, []))])
            best[self.parents[state]] = max(best[self.parents[state]], best[state])
        for state, share in self.hot.items():
            best[state] += share
        best[ROOT] = 0.0
        return np.array(best)

    def arcs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For each state, where its arcs begin; for each arc, its symbol and the state it leads to."""
        table = np.array([(*arc, child) for arc, child in self.children.items()], np.int64).reshape(-1, 3)
        table = table[np.lexsort((table[:, 1], table[:, 0]))]
        first = np.searchsorted(table[:, 0], np.arange(len(self.parents) + 1))
        return first, np.ascontiguousarray(table[:, 1]), np.ascontiguousarray(table[:, 2])

    def words(self) -> tuple[np.ndarray, np.ndarray]:
        """For each state, where its words begin; and the words."""
        table = np.array([(state, word) for state, words in sorted(self.spelled.items()) for word in words], np.int64)
        table = table.reshape(-1, 2)
        first = np.searchsorted(table[:, 0], np.arange(len(self.parents) + 1))
        return first, np.ascontiguousarray(table[:, 1])
