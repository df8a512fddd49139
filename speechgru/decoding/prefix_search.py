"""CTC prefix beam search as machine code: the prefixes are a trie, their probabilities are numbers, not logarithms.

After each frame every prefix in the beam has the probability of all its paths so far that end in a blank, and of those
that end in its last token (A. Graves, "Supervised sequence labelling with recurrent neural networks", 2012, section
7.5; A. Hannun et al., arXiv 1408.2873, algorithm 1). Both are divided by the best prefix's sum at each frame, whose
logarithm is kept apart, so that a prefix e^640 times less likely than the best one is dropped and nothing else is lost.

What is known of words (a language model, a lexicon, hot words) multiplies a prefix when it is extended; because that
factor hangs on the prefix and not on its path, equal prefixes still merge exactly.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from speechgru.decoding.compiled import compiled

BLANK = 0
FLOOR = 1e-280

# Columns of the table of prefixes. PLACE: where in the beam, or -1. LEXICON: state of the lexicon, ROOT between words,
# OFF inside a word it does not have. MODEL: state of the language model. WORD: the word this prefix completes. BORN,
# LATEST: the first and the last frame after which it was in the beam.
PARENT, TOKEN, CHILD, SIBLING, PLACE, LEXICON, MODEL, WORD, BORN, LATEST = range(10)
ROOT, OFF = 0, -1
NO_WORD, UNKNOWN = -1, -2

# How words are told: not at all; separated by tokens, any or only those of the lexicon; or not separated.
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
        most: no extension raises a prefix by more than this, less what it was granted.
        weight: of the language model's logarithms; 0 means there is none.
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
def sink(heap: np.ndarray, keys: np.ndarray, place: int, size: int) -> None:
    """Puts heap[place] where no key below it is smaller."""
    moved = heap[place]
    key = keys[moved]
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and keys[heap[child + 1]] < keys[heap[child]]:
            child += 1
        if keys[heap[child]] >= key:
            break
        heap[place] = heap[child]
        place = child
    heap[place] = moved


@compiled
def sort_falling(order: np.ndarray, keys: np.ndarray, count: int) -> None:
    """Sorts order[:count] so that its keys fall (Shell's method, in place; to compile NumPy's takes longer)."""
    gap = 1
    while gap < count // 3:
        gap = 3 * gap + 1
    while gap > 0:
        for begin in range(gap, count):
            moved, place = order[begin], begin
            while place >= gap and keys[order[place - gap]] < keys[moved]:
                order[place] = order[place - gap]
                place -= gap
            order[place] = moved
        gap //= 3


@compiled
def find_child(nodes: np.ndarray, node: int, token: int, word: int) -> int:
    """The prefix that extends ``node`` by ``token`` and completes ``word``, or -1."""
    child = nodes[node, CHILD]
    while child >= 0 and (nodes[child, TOKEN] != token or nodes[child, WORD] != word):
        child = nodes[child, SIBLING]
    return child


@compiled
def search(
    probabilities: np.ndarray, beam_size: int, least: float, words: Words
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The prefixes in the beam after the last frame.

    Args:
        probabilities: (frames, tokens) float64.
        beam_size: prefixes kept after each frame.
        least: a token below this probability extends no prefix.
        words: what is known of words.

    Returns:
        The table of prefixes, the rows of those in the beam, and the logarithm of each one's probability times the
        factors it has been given.
    """
    frames, size = probabilities.shape
    plain = words.mode == PLAIN
    nodes = np.full((1024, 10), -1, np.int32)
    factor = np.ones(1024)  # what the prefix was multiplied by when it was made from its parent
    reach = np.ones(1024)  # no extension is multiplied by more
    used = 1
    nodes[0, LEXICON] = ROOT
    nodes[0, MODEL] = words.start
    reach[0] = np.exp(words.most)

    # The beam before and after a frame: row, probability of the paths that end in blank, in the last token, sum.
    row, new_row = np.zeros(beam_size, np.int64), np.zeros(beam_size, np.int64)
    blank, new_blank = np.zeros(beam_size), np.zeros(beam_size)
    spoken, new_spoken = np.zeros(beam_size), np.zeros(beam_size)
    total, new_total = np.zeros(beam_size), np.zeros(beam_size)
    # Of an extension that has no row yet: the place of its parent, and the columns of the row it will get.
    origin, token_of, word_of = (
        np.zeros(beam_size, np.int64),
        np.zeros(beam_size, np.int64),
        np.zeros(beam_size, np.int64),
    )
    lexicon_of, model_of, gain_of = np.zeros(beam_size, np.int64), np.zeros(beam_size, np.int64), np.zeros(beam_size)
    heap = np.zeros(beam_size, np.int64)
    frame_of = np.zeros(size)
    order = np.zeros(size, np.int64)
    count = 1
    blank[0] = total[0] = 1.0
    nodes[0, PLACE] = 0
    scale = 0.0

    for frame in range(frames):
        largest, furthest = 0.0, 0.0
        for place in range(count):
            largest = max(largest, total[place])
            furthest = max(furthest, total[place] * reach[row[place]])
        scale += np.log(largest)
        for token in range(size):
            frame_of[token] = probabilities[frame, token] / largest

        # Prefixes that stay as they are, with the paths that reach them from their parent.
        kept = 0
        for place in range(count):
            node = row[place]
            token = nodes[node, TOKEN]
            in_blank = total[place] * frame_of[BLANK]
            in_token = 0.0
            if token >= 0:
                in_token = spoken[place] * frame_of[token]
                parent = nodes[node, PARENT]
                above = nodes[parent, PLACE]
                if above >= 0 and probabilities[frame, token] >= least:
                    mass = blank[above] if nodes[parent, TOKEN] == token else total[above]
                    in_token += mass * frame_of[token] * factor[node]
            if in_blank + in_token > FLOOR:
                new_row[kept], new_blank[kept], new_spoken[kept] = node, in_blank, in_token
                new_total[kept] = in_blank + in_token
                heap[kept] = kept
                kept += 1
        full = kept == beam_size
        limit = FLOOR
        if full:
            for place in range(kept // 2 - 1, -1, -1):
                sink(heap, new_total, place, kept)
            limit = max(FLOOR, new_total[heap[0]])

        # Tokens that could extend any prefix into the beam, the most likely first.
        tokens = 0
        for token in range(1, size):
            if probabilities[frame, token] >= least and frame_of[token] * furthest > limit:
                order[tokens] = token
                tokens += 1
        sort_falling(order, frame_of, tokens)

        for place in range(count):
            node = row[place]
            bound = total[place] * reach[node]
            last, state = nodes[node, TOKEN], nodes[node, LEXICON]
            for rank in range(tokens):
                token = order[rank]
                if bound * frame_of[token] <= limit:
                    break
                mass = (blank[place] if last == token else total[place]) * frame_of[token]
                passes, first, options, target = True, 0, 0, ROOT
                if not plain:
                    fresh = words.mode != JOINED and words.boundary[token]
                    target = spell(words, ROOT if fresh else state, token)
                    if target == OFF and words.mode != OPEN:
                        continue
                    if fresh and state != ROOT:
                        passes = False
                        first, options = choices(words, state)
                    elif words.mode == JOINED:
                        passes = words.arc_first[target] < words.arc_first[target + 1]
                        first, options = choices(words, target)
                for option in range(-1 if passes else 0, options):
                    word, model, gain, arrives = NO_WORD, nodes[node, MODEL], 0.0, target
                    if option >= 0:
                        word = UNKNOWN if first < 0 else words.words[first + option]
                        gain, model = complete(words, word, model)
                        if words.mode == JOINED:
                            arrives = ROOT
                    gain = 1.0 if plain else np.exp(gain + granted(words, arrives) - granted(words, state))
                    if mass * gain <= limit:
                        continue
                    child = find_child(nodes, node, token, word)
                    if child >= 0 and nodes[child, PLACE] >= 0:
                        continue  # it is in the beam, where these paths were added
                    if full:
                        slot = heap[0]
                    else:
                        slot = kept
                        heap[kept] = kept
                        kept += 1
                    new_row[slot], origin[slot], token_of[slot], word_of[slot] = -1, place, token, word
                    lexicon_of[slot], model_of[slot], gain_of[slot] = arrives, model, gain
                    new_blank[slot], new_spoken[slot], new_total[slot] = 0.0, mass * gain, mass * gain
                    if full:
                        sink(heap, new_total, 0, kept)
                    elif kept == beam_size:
                        full = True
                        for start in range(kept // 2 - 1, -1, -1):
                            sink(heap, new_total, start, kept)
                    if full:
                        limit = max(FLOOR, new_total[heap[0]])

        if used + kept > len(nodes):
            more = max(2 * len(nodes), used + kept)
            grown, grown_factor, grown_reach = np.full((more, 10), -1, np.int32), np.ones(more), np.ones(more)
            grown[:used], grown_factor[:used], grown_reach[:used] = nodes[:used], factor[:used], reach[:used]
            nodes, factor, reach = grown, grown_factor, grown_reach
        for place in range(count):
            nodes[row[place], PLACE] = -1
        for slot in range(kept):
            node = new_row[slot]
            if node < 0:
                parent = row[origin[slot]]
                # A prefix that was dropped and comes back is the same one: its extensions may still be in the beam.
                node = find_child(nodes, parent, token_of[slot], word_of[slot])
                if node < 0:
                    node = used
                    used += 1
                    nodes[node, PARENT], nodes[node, TOKEN] = parent, token_of[slot]
                    nodes[node, SIBLING], nodes[parent, CHILD] = nodes[parent, CHILD], node
                    nodes[node, LEXICON], nodes[node, MODEL] = lexicon_of[slot], model_of[slot]
                    nodes[node, WORD], factor[node] = word_of[slot], gain_of[slot]
                    nodes[node, BORN] = frame
                    if not plain:
                        reach[node] = np.exp(words.most - granted(words, lexicon_of[slot]))
                new_row[slot] = node
            nodes[node, PLACE], nodes[node, LATEST] = slot, frame
        row, new_row = new_row, row
        blank, new_blank = new_blank, blank
        spoken, new_spoken = new_spoken, spoken
        total, new_total = new_total, total
        count = kept
        if count == 0:
            break
    return nodes[:used], row[:count], np.log(total[:count]) + scale


@compiled
def finish(nodes: np.ndarray, rows: np.ndarray, words: Words) -> tuple[np.ndarray, np.ndarray]:
    """Ends the utterance: what completing each prefix's last word and the end itself add, and that word.

    Minus infinity stands for a prefix that ends inside a word where the words of the lexicon alone are allowed.
    """
    scores, last = np.zeros(len(rows)), np.full(len(rows), NO_WORD)
    for place in range(len(rows)):
        state, model = nodes[rows[place], LEXICON], nodes[rows[place], MODEL]
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
        scores[place], last[place] = score, best
    return scores, last


@compiled
def complete_end(words: Words, model: int) -> float:
    """What the end of the utterance adds."""
    return words.weight * model_step(words, model, words.end)[0] if words.weight != 0.0 else 0.0
