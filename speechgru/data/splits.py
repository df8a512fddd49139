"""Dividing recordings into train, valid and test: by the names people give, or by a hash that stays as it is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from speechgru.data.utterance import Utterance

SPLITS = ("train", "valid", "test")
FEWEST_SPEAKERS = 10
_NAMES = {
    **dict.fromkeys(("train", "training", "tr"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "dev", "development"), "valid"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}


def split_of(name: str) -> str | None:
    """The split people mean by a name such as "dev", "val" or "training"; None if none."""
    return _NAMES.get(name.strip().lower())


def hash_percent(key: str) -> float:
    """A number from 0 to below 100 drawn from the SHA-1 of ``key``: what hash splits compare with."""
    return int.from_bytes(hashlib.sha1(key.encode()).digest()[:7], "big") / 2**56 * 100.0


def held_out_speakers(
    speakers: Iterable[str], count: int, group: Callable[[str], str] = lambda speaker: ""
) -> set[str]:
    """``count`` speakers to hold out, those whose names hash lowest: always the same, whatever the order.

    Args:
        speakers: their names; repetitions do not matter.
        count: how many of them; at least one stays in each group.
        group: of each speaker, such as the sex; each group gives its share, and at least one where count allows.
    """
    groups: dict[str, list[str]] = {}
    for speaker in sorted(set(speakers), key=lambda speaker: (hash_percent(speaker), speaker)):
        groups.setdefault(group(speaker), []).append(speaker)
    total = sum(map(len, groups.values()))
    held: set[str] = set()
    # The largest group last: it takes what rounding left over.
    ordered = sorted(groups.items(), key=lambda item: (len(item[1]), item[0]))
    for number, (_, members) in enumerate(ordered, 1):
        share = count - len(held) if number == len(ordered) else max(1, round(count * len(members) / total))
        held |= set(members[: max(0, min(share, count - len(held), len(members) - 1))])
    return held


def complete_splits(
    found: dict[str, list[Utterance]], valid_percent: float, test_percent: float
) -> dict[str, list[Utterance]]:
    """Train, valid and test from what is known of the splits.

    Splits that came named are kept whole. A valid or test split that did not is drawn from the rest by a hash of the
    file name: the same recordings always fall alike, also when others are added. Where every speaker is known and there
    are at least ten of them, the hash is of the speaker, so that no speaker is in two of the drawn splits.

    Args:
        found: utterances by split; the key "" holds those of no named split.
        valid_percent: share of the rest that becomes valid, if none is named.
        test_percent: likewise for test.
    """
    splits = {split: list(found.get(split, [])) for split in SPLITS}
    edges = {
        "valid": 0.0 if splits["valid"] else valid_percent,
        "test": 0.0 if splits["test"] else test_percent,
    }
    rest = [*splits["train"], *found.get("", [])]
    splits["train"] = []
    speakers = {utterance.speaker for utterance in rest}
    by_speaker = len(speakers) >= FEWEST_SPEAKERS and "" not in speakers
    for utterance in rest:
        percent = hash_percent(utterance.speaker if by_speaker else Path(utterance.audio).stem)
        if percent < edges["valid"]:
            splits["valid"].append(utterance)
        elif percent < edges["valid"] + edges["test"]:
            splits["test"].append(utterance)
        else:
            splits["train"].append(utterance)
    return splits
