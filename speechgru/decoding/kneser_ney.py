"""Training of n-gram models: interpolated modified Kneser-Ney smoothing.

Source: S. Chen, J. Goodman, "An empirical study of smoothing techniques for language modeling", Computer Speech and
Language 13, 1999 (TR-10-98, section 3): discounts eq. (26), the interpolated estimate eq. (23); in the form of K.
Heafield et al., "Scalable modified Kneser-Ney language model estimation", ACL 2013: unigrams are interpolated with the
uniform distribution over the vocabulary and ``<unk>``.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Iterable, Sequence

from speechgru.decoding.arpa import END, START, UNKNOWN, NGrams
from speechgru.errors import ConfigError, DataError

# What KenLM uses on request where a text is too small or too regular for its own discounts.
FALLBACK = (0.5, 1.0, 1.5)

Counts = collections.Counter[tuple[str, ...]]


def train(sentences: Iterable[Sequence[str]], order: int = 3) -> NGrams:
    """The n-grams of a text, with log10 of probabilities and backoff weights.

    After every context the probabilities of all words, ``</s>`` and ``<unk>`` add up to one.

    Args:
        sentences: the words of each sentence; empty sentences are skipped.
        order: words of the longest n-gram, at least 1.

    Raises:
        ConfigError: order below 1.
        DataError: no words, or a sentence that holds ``<s>``, ``</s>`` or ``<unk>``.
    """
    if order < 1:
        raise ConfigError(f"order={order}: at least 1")
    counts = _adjusted(sentences, order)
    discounts = [_discounts(level) for level in counts]
    # For every context: the sum of the counts that follow it, and the mass that the discounts take.
    sums: list[Counts] = [collections.Counter() for _ in counts]
    taken: list[dict[tuple[str, ...], float]] = [collections.defaultdict(float) for _ in counts]
    for level, total, mass, discount in zip(counts, sums, taken, discounts, strict=True):
        for words, count in level.items():
            total[words[:-1]] += count
            mass[words[:-1]] += discount[min(count, 3) - 1]
    names = len(counts[0]) + 1  # and <unk>
    uniform = taken[0][()] / sums[0][()] / names
    probabilities: list[dict[tuple[str, ...], float]] = [{(START,): 0.0, (UNKNOWN,): uniform}]
    for words, count in sorted(counts[0].items()):
        probabilities[0][words] = (count - discounts[0][min(count, 3) - 1]) / sums[0][()] + uniform
    for size in range(1, order):
        probabilities.append({})
        for words, count in sorted(counts[size].items()):
            context = words[:-1]
            seen = (count - discounts[size][min(count, 3) - 1]) / sums[size][context]
            rest = taken[size][context] / sums[size][context] * probabilities[size - 1][words[1:]]
            probabilities[size][words] = seen + rest
    ngrams: NGrams = []
    for size, likely in enumerate(probabilities):
        ngrams.append({})
        for words, probability in likely.items():
            weight = (
                taken[size + 1][words] / sums[size + 1][words] if size + 1 < order and words in sums[size + 1] else 1.0
            )
            ngrams[-1][words] = (_log10(probability), _log10(weight))
    return ngrams


def _log10(value: float) -> float:
    return math.log10(value) if value else -99.0  # as ARPA files write the logarithm of 0


def _adjusted(sentences: Iterable[Sequence[str]], order: int) -> list[Counts]:
    """Counts of the highest order and of sentence beginnings; of lower orders, how many words were seen before each."""
    raw: list[Counts] = [collections.Counter() for _ in range(order)]
    for sentence in sentences:
        if not sentence:
            continue
        strange = [word for word in sentence if word.lower() in (START, END, UNKNOWN)]
        if strange:
            raise DataError(f"the text holds {strange[0]}, which a language model adds itself; take it out")
        words = (START, *sentence, END)
        for size in range(1, order + 1):
            raw[size - 1].update(words[place : place + size] for place in range(len(words) - size + 1))
    if not raw[0]:
        raise DataError("the text has no words; a language model learns from sentences, one a line")
    adjusted: list[Counts] = [collections.Counter() for _ in range(order)]
    adjusted[-1] = raw[-1]
    for size in range(order - 1):
        adjusted[size].update(words[1:] for words in raw[size + 1])
        adjusted[size].update({words: count for words, count in raw[size].items() if words[0] == START})
    del adjusted[0][(START,)]  # never said
    return adjusted


def _discounts(counts: Counts) -> tuple[float, float, float]:
    """The discounts of n-grams counted once, twice and more often: Chen & Goodman, eq. (26)."""
    n1, n2, n3, n4 = (sum(count == times for count in counts.values()) for times in (1, 2, 3, 4))
    if not (n1 and n2 and n3):
        return FALLBACK
    y = n1 / (n1 + 2 * n2)
    found = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    legal = all(0 <= discount <= times for times, discount in enumerate(found, 1)) and found[0] > 0
    return found if legal else FALLBACK
