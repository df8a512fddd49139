"""Dividing recordings into train, valid and test: by the names people give, or by a hash that never changes."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path, PurePath

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
        group: gives the group of each speaker, such as the sex; each group gives its share, and at least one speaker
            where ``count`` allows.
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


def speaker_of(path: str, label: str | None) -> str:
    """The speaker named in a recording's path: ``SPEAKER_nohash_0.wav`` or ``LABEL/SPEAKER/a.wav``; else empty."""
    folders, stem = PurePath(path).parts[:-1], PurePath(path).stem
    below = folders[len(folders) - folders[::-1].index(label) :] if label in folders else ()
    if below:
        return below[0]
    return stem.partition("_nohash_")[0] if "_nohash_" in stem else ""


@dataclasses.dataclass
class Division:
    """Recordings in train, valid and test.

    Attributes:
        splits: the utterances of each.
        rule: how they were divided, in words.
    """

    splits: dict[str, list[Utterance]]
    rule: str


def divide(found: dict[str, list[Utterance]], valid_percent: float, test_percent: float) -> Division:
    """Train, valid and test from what is known of the splits.

    Named splits are kept whole. A valid or test split that is not named is drawn from the rest by a hash of the file
    name: a recording is always in the same split, also when others are added. If every speaker is known and there are
    at least ten of them, the hash is of the speaker, so that no speaker is in two of the drawn splits.

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
    drawn = [split for split, percent in edges.items() if percent]
    return Division(splits, _rule(drawn, speakers, by_speaker))


def divide_into_folds(rows: list[Utterance], folds: int, fold: int) -> Division:
    """Cross-validation: one of ``folds`` parts is the test, the next one is for validation, the others for training.

    The parts are similar in size, and over all folds every recording is once in the test. If every speaker is known and
    there are at least as many speakers as parts, a part is made of whole speakers; otherwise the recordings of each
    class are dealt out in turn. The order of dealing follows from a hash of the names.

    Args:
        rows: all recordings.
        folds: parts, at least 3.
        fold: the one to test on, 0 to folds - 1.
    """
    speakers = {utterance.speaker for utterance in rows}
    by_speaker = len(speakers) >= folds and "" not in speakers

    def key(one: Utterance) -> tuple[str, str]:
        return ("", one.speaker) if by_speaker else (one.label or "", Path(one.audio).stem)

    def place(name: tuple[str, str]) -> tuple[str, float, str]:
        return name[0], hash_percent(name[1]), name[1]

    part = {name: number % folds for number, name in enumerate(sorted({key(one) for one in rows}, key=place))}
    splits: dict[str, list[Utterance]] = {split: [] for split in SPLITS}
    for one in rows:
        after = (part[key(one)] - fold) % folds
        splits["test" if after == 0 else "valid" if after == 1 else "train"].append(one)
    found = f"speaker, {len(speakers)} found, none in two of them"
    by = found if by_speaker else "file name: a speaker may be in all of them"
    return Division(splits, f"part {fold} of 0 to {folds - 1} is the test, the next the validation set, drawn by {by}")


def _rule(drawn: list[str], speakers: set[str], by_speaker: bool) -> str:
    if not drawn:
        return "split as named"
    what = " and ".join(drawn)
    if by_speaker:
        return f"{what} drawn by speaker, {len(speakers)} found, none in two of them"
    known = len(speakers - {""})
    if not known:
        return f"{what} drawn by file name, no speakers found: each may be in all of them"
    missing = "; some recordings name none" if "" in speakers else f", under {FEWEST_SPEAKERS}"
    return f"{what} drawn by file name, {known} speakers found{missing}: each may be in all of them"
