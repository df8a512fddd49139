"""Texts that sound like a phrase but are not it: a detector of the phrase must learn to ignore them."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from speechgru.data.splits import hash_percent
from speechgru.synthesis import pronounce

Phones = tuple[str, ...]

# Everyday English words and first names: what is said around a phrase, and what sounds like it.
WORDS = Path(__file__).with_name("everyday_words.txt").read_text("utf-8").split()

# Consonants that are easily confused.
_ALIKE = ("pbtdkɡʔɾ", "fvθðszʃʒh", "mnŋ", "lɹrwj")
_VOWELS = "aeiouyæɐɑɒɔəɚɛɜɪʊʌᵻ"
_ONSETS = ["b", "d", "f", "g", "h", "j", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "sh", "ch", "st", "br"]
_SOUNDS = ["a", "e", "i", "o", "u", "ee", "ow", "ay"]
_LEAST = 1.0  # anything closer is the phrase itself, as some people pronounce it


def distance(one: Phones, other: Phones) -> float:
    """Edits that turn one pronunciation into the other: 1 each, 0.5 for a similar sound."""
    row = [float(index) for index in range(len(other) + 1)]
    for index, phone in enumerate(one, 1):
        before, row[0] = row[0], float(index)
        for place, target in enumerate(other, 1):
            changed = before + _cost(phone, target)
            before = row[place]
            row[place] = min(changed, row[place] + 1, row[place - 1] + 1)
    return row[-1]


def _cost(one: str, other: str) -> float:
    if one == other:
        return 0.0
    if one[0] in _VOWELS and other[0] in _VOWELS:
        return 0.5
    return 0.5 if any(one[0] in group and other[0] in group for group in _ALIKE) else 1.0


def says(phones: Phones, phrase: Phones) -> bool:
    """Whether ``phones`` contain the phrase."""
    return any(phones[start : start + len(phrase)] == phrase for start in range(len(phones) - len(phrase) + 1))


@functools.lru_cache(maxsize=8)
def near_misses(phrase: str, count: int) -> tuple[str, ...]:
    """Up to ``count`` texts that sound most like a phrase; always the same.

    They are parts of the phrase, its words in another order, everyday words that sound like one of its words, and
    invented words, made by changing a sound of the phrase. At most a third of them are of the last kind.
    """
    words = phrase.split()
    nearest = _nearest_words(words)
    real = {*_parts(words), *(" ".join(order) for order in itertools.permutations(words[:4]))}
    made = set()
    for place, word in enumerate(words):
        for other in nearest[place]:
            real |= {other, " ".join([*words[:place], other, *words[place + 1 :]])}
        made |= {" ".join([*words[:place], changed, *words[place + 1 :]]) for changed in _changed(word)}
    found = _ranked(phrase, sorted(made - real))[: count // 3]
    return (*found, *_ranked(phrase, sorted(real))[: count - len(found)])


def _ranked(phrase: str, texts: list[str]) -> list[str]:
    """The texts that are not the phrase, the nearest first, each pronunciation once."""
    targets = [pronounce([phrase], accent)[0] for accent in ("en-us", "en-gb")]
    found: dict[Phones, tuple[float, float, str]] = {}
    for text, us, gb in zip(texts, pronounce(texts, "en-us"), pronounce(texts, "en-gb"), strict=True):
        far = min(distance(us, targets[0]), distance(gb, targets[1]))
        if us and far >= _LEAST and not says(us, targets[0]):
            found.setdefault(us, (far, hash_percent(text), text))  # ties in arbitrary order
    return [text for *_, text in sorted(found.values())]


def _nearest_words(words: Sequence[str], count: int = 12) -> list[list[str]]:
    """For each word the everyday words that sound most like it, relative to its length."""
    known = dict(zip(WORDS, pronounce(WORDS), strict=True))
    found = []
    for word, phones in zip(words, pronounce(words), strict=True):
        order = sorted((distance(other, phones), name) for name, other in known.items() if name != word)
        found.append([name for _, name in order[:count]])
    return found


def _parts(words: Sequence[str]) -> Iterable[str]:
    """The single words, all words but the first or last, and the halves of long words."""
    yield from words if len(words) > 1 else ()
    yield from (" ".join(words[1:]), " ".join(words[:-1])) if len(words) > 2 else ()
    for word in words:
        if len(word) >= 5:
            middle = len(word) // 2
            yield from (word[:middle], word[: middle + 1], word[middle:], word[middle - 1 :])


def _changed(word: str) -> Iterable[str]:
    """The word with one group of consonants or vowels in its spelling replaced by another or left out."""
    for group in re.finditer(r"[aeiouy]+|[^aeiouy]+", word):
        for other in (*(_SOUNDS if group[0][0] in "aeiouy" else _ONSETS), ""):
            if len(changed := word[: group.start()] + other + word[group.end() :]) > 1:
                yield changed
