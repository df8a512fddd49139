"""CTC prefix beam search as machine code: the prefixes are a trie, their probabilities are numbers, not logarithms.

After each frame every prefix in the beam has two probabilities: of all its paths so far that end in a blank, and of
those that end in its last token (A. Graves, "Supervised sequence labelling with recurrent neural networks", 2012,
section 7.5; A. Hannun et al., arXiv 1408.2873, algorithm 1). At each frame both are divided by the best prefix's sum,
whose logarithm is kept separately. So a prefix e^640 times less likely than the best one is dropped, and nothing else
is lost.

A frame takes four steps. :func:`keep` lets each prefix stay as it is, :func:`extend` extends each prefix by each likely
token and offers the result to the beam, which is a heap of the best so far, :func:`grow` makes room for new rows of the
trie, and :func:`commit` gives the prefixes that won their rows.

What is known of words (a language model, a lexicon, hot words) multiplies the probability of a prefix when it is
extended. Because that factor depends on the prefix and not on its path, equal prefixes still merge exactly.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from speechgru.decoding.compiled import compiled
from speechgru.decoding.heap import heapify, sink, sort_falling
from speechgru.decoding.trie import NODE, PREFIX, Extension, find_child, grow
from speechgru.decoding.words import (
    JOINED,
    NO_WORD,
    OFF,
    OPEN,
    PLAIN,
    ROOT,
    UNKNOWN,
    Words,
    choices,
    complete,
    granted,
    spell,
)

BLANK = 0
FLOOR = 1e-280


class Search(NamedTuple):
    """A search after some frames. :func:`advance` reuses its arrays and returns the search to go on with.

    Attributes:
        trie: all prefixes that ever were in the beam, and room for more.
        used: how many of its rows are taken.
        beam, fresh: the prefixes after the last frame, and room for the next ones; (beam_size,) each.
        prefixes: how many the beam holds.
        scale: the logarithm of what their probabilities were divided by.
        frames: how many the search has read.
    """

    trie: np.ndarray
    used: int
    beam: np.ndarray
    fresh: np.ndarray
    prefixes: int
    scale: float
    frames: int


@compiled
def begin(beam_size: int, words: Words) -> Search:
    """A search before the first frame: the empty prefix alone.

    Args:
        beam_size: prefixes kept after each frame.
        words: what is known of words.
    """
    trie = np.zeros(1024, NODE)
    trie[0].token, trie[0].child, trie[0].lexicon, trie[0].model = -1, -1, ROOT, words.start
    trie[0].reach = np.exp(words.most)
    beam, fresh = np.zeros(beam_size, PREFIX), np.zeros(beam_size, PREFIX)
    beam[0].blank = beam[0].total = 1.0
    return Search(trie, 1, beam, fresh, 1, 0.0, 0)


@compiled
def advance(search: Search, probabilities: np.ndarray, least: float, words: Words) -> Search:
    """The search after some more frames.

    Args:
        search: what :func:`begin` or this function returned; it cannot be used again.
        probabilities: (frames, tokens) float64.
        least: a token below this probability extends no prefix.
        words: what is known of words.
    """
    frames, size = probabilities.shape
    plain = words.mode == PLAIN
    trie, used, beam, fresh, count, scale = (
        search.trie,
        search.used,
        search.beam,
        search.fresh,
        search.prefixes,
        search.scale,
    )
    beam_size = len(beam)
    heap, order = np.zeros(beam_size, np.int64), np.zeros(size, np.int64)
    scaled = np.zeros(size)  # the frame's probabilities, divided by the best prefix's
    for frame in range(frames):
        if count == 0:
            break
        largest, furthest = 0.0, 0.0
        for place in range(count):
            largest = max(largest, beam[place].total)
            furthest = max(furthest, beam[place].total * trie[beam[place].row].reach)
        scale += np.log(largest)
        for token in range(size):
            scaled[token] = probabilities[frame, token] / largest
        enough = least / largest
        kept = keep(trie, beam[:count], fresh, scaled, enough)
        limit = FLOOR
        if kept == beam_size:
            heapify(heap, fresh)
            limit = max(FLOOR, fresh[heap[0]].total)
        # The tokens that could extend any prefix into the beam, the most likely first.
        tokens = 0
        for token in range(1, size):
            if scaled[token] >= enough and scaled[token] * furthest > limit:
                order[tokens] = token
                tokens += 1
        sort_falling(order, scaled, tokens)
        if plain:
            kept = extend(trie, beam[:count], fresh, kept, heap, limit, scaled, order[:tokens])
        else:
            kept = extend_in_words(trie, beam[:count], fresh, kept, heap, limit, scaled, order[:tokens], words)
        if used + kept > len(trie):
            trie = grow(trie, used, used + kept)
        used = commit(trie, used, beam[:count], fresh[:kept], search.frames + frame)
        beam, fresh = fresh, beam
        count = kept
    return Search(trie, used, beam, fresh, count, scale, search.frames + frames)


@compiled
def keep(trie: np.ndarray, beam: np.ndarray, fresh: np.ndarray, scaled: np.ndarray, least: float) -> int:
    """Step 1: the prefixes that stay as they are, with the paths that reach them from their parent.

    Args:
        trie: all prefixes.
        beam: the prefixes after the frame before.
        fresh: receives those that stay.
        scaled: (tokens,) the frame's probabilities, divided by the best prefix's.
        least: a token below this extends no prefix.

    Returns:
        How many ``fresh`` holds: those that did not become impossible.
    """
    kept = 0
    for place in range(len(beam)):
        node = beam[place].row
        token = trie[node].token
        in_blank = beam[place].total * scaled[BLANK]
        in_token = 0.0
        if token >= 0:
            in_token = beam[place].spoken * scaled[token]
            parent = trie[node].parent
            above = trie[parent].place
            if above >= 0 and scaled[token] >= least:
                mass = beam[above].blank if trie[parent].token == token else beam[above].total
                in_token += mass * scaled[token] * trie[node].factor
        if in_blank + in_token > FLOOR:
            fresh[kept].row, fresh[kept].blank, fresh[kept].spoken = node, in_blank, in_token
            fresh[kept].total = in_blank + in_token
            kept += 1
    return kept


@compiled
def extend(
    trie: np.ndarray,
    beam: np.ndarray,
    fresh: np.ndarray,
    kept: int,
    heap: np.ndarray,
    limit: float,
    scaled: np.ndarray,
    order: np.ndarray,
) -> int:
    """Step 2: extends each prefix of ``beam`` by each token of ``order`` and offers the result to ``fresh``.

    ``fresh`` holds ``kept`` prefixes; when it is full, ``heap`` has the least likely of them on top, and what is not
    above ``limit`` need not be tried.

    Returns:
        How many ``fresh`` holds then.
    """
    for place in range(len(beam)):
        node = beam[place].row
        bound = beam[place].total * trie[node].reach
        for rank in range(len(order)):
            token = order[rank]
            if bound * scaled[token] <= limit:
                break
            mass = (beam[place].blank if trie[node].token == token else beam[place].total) * scaled[token]
            one = Extension(place, node, token, NO_WORD, ROOT, trie[node].model, 1.0, 1.0, mass)
            kept, limit = offer(trie, one, fresh, kept, heap, limit)
    return kept


@compiled
def extend_in_words(
    trie: np.ndarray,
    beam: np.ndarray,
    fresh: np.ndarray,
    kept: int,
    heap: np.ndarray,
    limit: float,
    scaled: np.ndarray,
    order: np.ndarray,
    words: Words,
) -> int:
    """Step 2 where words are known: a token continues a word or completes it, once for each word of that spelling."""
    for place in range(len(beam)):
        node = beam[place].row
        bound, state = beam[place].total * trie[node].reach, trie[node].lexicon
        for rank in range(len(order)):
            token = order[rank]
            if bound * scaled[token] <= limit:
                break
            begins = words.mode != JOINED and words.boundary[token]
            target = spell(words, ROOT if begins else state, token)
            if target == OFF and words.mode != OPEN:
                continue
            goes_on, first, options = True, 0, 0
            if begins and state != ROOT:
                goes_on = False
                first, options = choices(words, state)
            elif words.mode == JOINED:
                goes_on = words.arc_first[target] < words.arc_first[target + 1]
                first, options = choices(words, target)
            mass = (beam[place].blank if trie[node].token == token else beam[place].total) * scaled[token]
            for option in range(-1 if goes_on else 0, options):
                word, model, gain, lexicon = NO_WORD, trie[node].model, 0.0, target
                if option >= 0:
                    word = UNKNOWN if first < 0 else words.words[first + option]
                    gain, model = complete(words, word, model)
                    lexicon = ROOT if words.mode == JOINED else target
                gain = np.exp(gain + granted(words, lexicon) - granted(words, state))
                reach = np.exp(words.most - granted(words, lexicon))
                one = Extension(place, node, token, word, lexicon, model, gain, reach, mass * gain)
                kept, limit = offer(trie, one, fresh, kept, heap, limit)
    return kept


@compiled
def offer(
    trie: np.ndarray, one: Extension, fresh: np.ndarray, kept: int, heap: np.ndarray, limit: float
) -> tuple[int, float]:
    """Takes an extension into ``fresh``; if ``fresh`` is full, it replaces the least likely one.

    Returns:
        How many ``fresh`` holds, and the limit that later extensions must exceed.
    """
    if one.mass <= limit:
        return kept, limit
    child = find_child(trie, one.node, one.token, one.word)
    if child >= 0 and trie[child].place >= 0:
        return kept, limit  # it is in the beam, where keep has added these paths
    full = kept == len(heap)
    slot = heap[0] if full else kept
    fresh[slot].row, fresh[slot].blank, fresh[slot].spoken, fresh[slot].total = -1, 0.0, one.mass, one.mass
    fresh[slot].origin, fresh[slot].token, fresh[slot].word = one.place, one.token, one.word
    fresh[slot].lexicon, fresh[slot].model, fresh[slot].gain = one.lexicon, one.model, one.gain
    fresh[slot].reach = one.reach
    if full:
        sink(heap, fresh, 0)
    else:
        kept += 1
        if kept < len(heap):
            return kept, limit
        heapify(heap, fresh)
    return kept, max(FLOOR, fresh[heap[0]].total)


@compiled
def commit(trie: np.ndarray, used: int, beam: np.ndarray, fresh: np.ndarray, frame: int) -> int:
    """Step 4: gives the extensions in ``fresh`` their rows, and all prefixes their place in the beam.

    Returns:
        How many rows of the trie are taken then.
    """
    for place in range(len(beam)):
        trie[beam[place].row].place = -1
    for slot in range(len(fresh)):
        node = fresh[slot].row
        if node < 0:
            parent = beam[fresh[slot].origin].row
            # A prefix that was dropped and comes back is the same one: its extensions may still be in the beam.
            node = find_child(trie, parent, fresh[slot].token, fresh[slot].word)
        if node < 0:
            node = used
            used += 1
            trie[node].parent, trie[node].token = parent, fresh[slot].token
            trie[node].sibling, trie[parent].child = trie[parent].child, node
            trie[node].lexicon, trie[node].model = fresh[slot].lexicon, fresh[slot].model
            trie[node].word, trie[node].factor = fresh[slot].word, fresh[slot].gain
            trie[node].child, trie[node].born, trie[node].reach = -1, frame, fresh[slot].reach
        fresh[slot].row = node
        trie[node].place, trie[node].latest = slot, frame
    return used
