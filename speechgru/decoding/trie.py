"""The prefixes of a beam search: a trie of all that ever were in the beam, and an array of those after one frame."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from speechgru.decoding.compiled import compiled

# A prefix is one row of the trie; the first row is the empty prefix.
NODE = np.dtype(
    [
        ("parent", np.int32),
        ("token", np.int32),  # its last token; -1 for the empty prefix
        ("child", np.int32),  # the newest of its extensions, or -1
        ("sibling", np.int32),  # the next older child of its parent, or -1
        ("place", np.int32),  # its place in the beam, or -1
        ("lexicon", np.int32),  # state of the lexicon
        ("model", np.int32),  # state of the language model
        ("word", np.int32),  # the word it completes, or NO_WORD
        ("born", np.int32),  # the first and
        ("latest", np.int32),  # the last frame after which it was in the beam
        ("factor", np.float64),  # what it was multiplied by when it was made from its parent
        ("reach", np.float64),  # no extension is multiplied by more
    ],
    align=True,
)

# A place in the beam: a prefix after a frame, 64 bytes, which is a line of the cache.
PREFIX = np.dtype(
    [
        ("row", np.int32),  # its row in the trie; -1 for an extension that has none yet
        ("origin", np.int32),  # for an extension: the place of its parent, and what its row will hold
        ("token", np.int32),
        ("word", np.int32),
        ("lexicon", np.int32),
        ("model", np.int32),
        ("gain", np.float64),
        ("reach", np.float64),
        ("blank", np.float64),  # probability of the paths that end in a blank,
        ("spoken", np.float64),  # in the last token
        ("total", np.float64),  # and of both
    ],
    align=True,
)


class Extension(NamedTuple):
    """A prefix of the beam, extended by one token.

    Attributes:
        place, node: where the shorter prefix is, in the beam and in the trie.
        token: the token that is added.
        word: the word this completes, or NO_WORD.
        lexicon, model: the states after it.
        gain: the factor by which what is known of words multiplies the probability.
        reach: no further extension is multiplied by more.
        mass: probability of the paths, with the gain.
    """

    place: int
    node: int
    token: int
    word: int
    lexicon: int
    model: int
    gain: float
    reach: float
    mass: float


@compiled
def find_child(trie: np.ndarray, node: int, token: int, word: int) -> int:
    """The prefix that extends ``node`` by ``token`` and completes ``word``, or -1."""
    child = trie[node].child
    while child >= 0 and (trie[child].token != token or trie[child].word != word):
        child = trie[child].sibling
    return child


@compiled
def grow(trie: np.ndarray, used: int, needed: int) -> np.ndarray:
    """The trie with room for ``needed`` rows, of which ``used`` are taken."""
    if needed <= len(trie):
        return trie
    grown = np.zeros(max(2 * len(trie), needed), NODE)
    for row in range(used):
        grown[row] = trie[row]
    return grown
