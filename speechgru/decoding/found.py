"""What a prefix search has found: its prefixes in plain arrays, and the scores of those in the beam."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from speechgru.decoding.compiled import compiled
from speechgru.decoding.prefix_search import Search
from speechgru.decoding.words import (
    JOINED,
    NO_WORD,
    PLAIN,
    ROOT,
    UNKNOWN,
    Words,
    choices,
    complete,
    complete_end,
    granted,
)


class Found(NamedTuple):
    """What a search found.

    Attributes:
        parent, token, word, born, latest: (prefixes,) of every prefix that was ever in the beam, as in the trie.
        whole: (prefixes,) whether it ends with a whole word.
        rows: (beam,) those in the beam after the last frame.
        scores: (beam,) for each, the logarithm of its probability times the factors it has been given.
        gains: (beam,) what the end of the utterance adds to the score.
        last: (beam,) the word that the end completes, or NO_WORD.
    """

    parent: np.ndarray
    token: np.ndarray
    word: np.ndarray
    born: np.ndarray
    latest: np.ndarray
    whole: np.ndarray
    rows: np.ndarray
    scores: np.ndarray
    gains: np.ndarray
    last: np.ndarray


@compiled
def found(search: Search, words: Words) -> Found:
    """The beam after the last frame, in plain arrays: they pass to Python far faster than records."""
    trie, used, beam, count = search.trie, search.used, search.beam, search.prefixes
    parent, token, word = np.zeros(used, np.int64), np.zeros(used, np.int64), np.zeros(used, np.int64)
    born, latest, whole = np.zeros(used, np.int64), np.zeros(used, np.int64), np.zeros(used, np.bool_)
    for row in range(used):
        parent[row], token[row], word[row] = trie[row].parent, trie[row].token, trie[row].word
        born[row], latest[row], whole[row] = trie[row].born, trie[row].latest, trie[row].lexicon == ROOT
    rows, scores = np.zeros(count, np.int64), np.zeros(count)
    gains, last = np.zeros(count), np.full(count, NO_WORD)
    for place in range(count):
        rows[place], scores[place] = beam[place].row, np.log(beam[place].total) + search.scale
        if words.mode != PLAIN:
            gains[place], last[place] = end(trie, beam[place].row, words)
    return Found(parent, token, word, born, latest, whole, rows, scores, gains, last)


@compiled
def end(trie: np.ndarray, row: int, words: Words) -> tuple[float, int]:
    """Ends the utterance: what completing a prefix's last word and the end itself add to the score, and that word.

    Minus infinity means that the prefix ends inside a word where only the words of the lexicon are allowed.
    """
    state, model = trie[row].lexicon, trie[row].model
    score, best = -np.inf, NO_WORD
    if state == ROOT:
        score = complete_end(words, model)
    elif words.mode != JOINED:
        first, options = choices(words, state)
        for option in range(options):
            word = UNKNOWN if first < 0 else words.words[first + option]
            gain, following = complete(words, word, model)
            gain += complete_end(words, following) - granted(words, state)
            if gain > score:
                score, best = gain, word
    return score, best
