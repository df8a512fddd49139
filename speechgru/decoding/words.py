"""What a search knows of words, as arrays for machine code: a lexicon, a language model, hot words.

Each function takes one prefix a step further: one symbol in the trie of spellings, or one word in the language model.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from speechgru.decoding.compiled import compiled

ROOT, OFF = 0, -1  # states of the lexicon: between words; inside a word it does not have
NO_WORD, UNKNOWN = -1, -2

# How words are found: not at all; separated by tokens, any word or only those of the lexicon; or not separated.
PLAIN, OPEN, CLOSED, JOINED = range(4)


class Words(NamedTuple):
    """What is known of words, as arrays.

    Attributes:
        mode: PLAIN, OPEN, CLOSED or JOINED.
        boundary: (tokens,) whether a token ends the word before it.
        symbol_first, symbols: the symbols of token t are symbols[symbol_first[t] : symbol_first[t + 1]].
        arc_first, arc_symbol, arc_target: the trie of spellings; the arcs of a state are sorted by symbol.
        word_first, words: the words spelled by each state.
        ahead: what a prefix in each state has been granted in advance, in nats.
        ahead_off: the same inside an unknown word.
        word_score: of each word, without the language model's share.
        word_in_model: index of each word in the language model.
        unknown_score, unknown_in_model: the same for a word that the lexicon does not have.
        most: no extension raises the score of a prefix by more than this, less what the prefix was granted.
        weight: factor on the language model's logarithms; 0 means there is no language model.
        model_first, model_word, model_score, model_next: n-grams by context, sorted by word.
        backoff, shorter: of each context.
        start, end: the context that begins an utterance, the word that ends it.
    """

    mode: int
    boundary: np.ndarray
    symbol_first: np.ndarray
    symbols: np.ndarray
    arc_first: np.ndarray
    arc_symbol: np.ndarray
    arc_target: np.ndarray
    word_first: np.ndarray
    words: np.ndarray
    ahead: np.ndarray
    ahead_off: float
    word_score: np.ndarray
    word_in_model: np.ndarray
    unknown_score: float
    unknown_in_model: int
    most: float
    weight: float
    model_first: np.ndarray
    model_word: np.ndarray
    model_score: np.ndarray
    model_next: np.ndarray
    backoff: np.ndarray
    shorter: np.ndarray
    start: int
    end: int


@compiled
def find(first: np.ndarray, labels: np.ndarray, state: int, label: int) -> int:
    """The place of ``label`` among the sorted labels of ``state``, or -1."""
    low, high = first[state], first[state + 1]
    while low < high:
        middle = (low + high) // 2
        if labels[middle] < label:
            low = middle + 1
        else:
            high = middle
    return low if low < first[state + 1] and labels[low] == label else -1


@compiled
def model_step(words: Words, state: int, word: int) -> tuple[float, int]:
    """Log-probability of ``word`` after the context ``state``, and the next context; shorter contexts where needed."""
    score = 0.0
    while True:
        place = find(words.model_first, words.model_word, state, word)
        if place >= 0:
            return score + words.model_score[place], words.model_next[place]
        if state == 0:
            return -np.inf, 0
        score += words.backoff[state]
        state = words.shorter[state]


@compiled
def complete(words: Words, word: int, model: int) -> tuple[float, int]:
    """Score of a completed word, and the next context of the language model."""
    score = words.unknown_score if word == UNKNOWN else words.word_score[word]
    if words.weight != 0.0:
        known = words.unknown_in_model if word == UNKNOWN else words.word_in_model[word]
        share, model = model_step(words, model, known)
        score += words.weight * share
    return score, model


@compiled
def spell(words: Words, state: int, token: int) -> int:
    """The state of the lexicon after the symbols of ``token``."""
    for place in range(words.symbol_first[token], words.symbol_first[token + 1]):
        if state == OFF:
            return OFF
        arc = find(words.arc_first, words.arc_symbol, state, words.symbols[place])
        state = OFF if arc < 0 else words.arc_target[arc]
    return state


@compiled
def granted(words: Words, state: int) -> float:
    """What a prefix in this state of the lexicon has been granted in advance."""
    return words.ahead_off if state == OFF else words.ahead[state]


@compiled
def choices(words: Words, state: int) -> tuple[int, int]:
    """The words a state spells: place of the first in ``words.words`` and how many; (-1, 1) is the unknown word."""
    if state != OFF and words.word_first[state] < words.word_first[state + 1]:
        return words.word_first[state], words.word_first[state + 1] - words.word_first[state]
    return (-1, 1) if words.mode == OPEN else (0, 0)


@compiled
def complete_end(words: Words, model: int) -> float:
    """What the end of the utterance adds."""
    return words.weight * model_step(words, model, words.end)[0] if words.weight != 0.0 else 0.0
