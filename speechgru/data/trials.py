"""Trials of speaker verification: pairs of recordings, of one speaker or of two, one pair per line.

``1 right/0d53e045_nohash_0 stop/0d53e045_nohash_1``: 1 is one speaker, 0 two, as in the lists of VoxCeleb. A name is a
path below the folder of the recordings; its suffix may be left out.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from speechgru.data.label_folders import recordings_in
from speechgru.data.splits import speaker_of
from speechgru.data.utterance import Utterance
from speechgru.errors import DataError
from speechgru.files import write_atomically
from speechgru.text_files import read_lines


class Trial(NamedTuple):
    """Two recordings and whether one speaker is heard in both."""

    same: bool
    first: str
    second: str


def read_trials(path: str | os.PathLike[str]) -> list[Trial]:
    """The trials of a list, in order; blank lines are skipped.

    Raises:
        DataError: the file cannot be read or is empty, or a line is wrong (the message says ``file:line``).
    """
    trials = []
    for number, line in enumerate(read_lines(Path(path)), 1):
        words = line.split()
        if not words:
            continue
        if len(words) != 3 or words[0] not in ("0", "1"):
            raise DataError(f"{os.fspath(path)}:{number}: write 1 (one speaker) or 0 (two), then two recordings")
        trials.append(Trial(words[0] == "1", words[1], words[2]))
    if not trials:
        raise DataError(f"{os.fspath(path)}: holds no trial; write a line `1 RECORDING RECORDING` for each pair")
    return trials


def write_trials(path: str | os.PathLike[str], trials: Iterable[Trial]) -> None:
    """Writes a list; the file appears whole or not at all."""
    write_atomically(path, "".join(f"{int(one.same)} {one.first} {one.second}\n" for one in trials))


def find_trials(trials: Sequence[Trial], roots: Sequence[str | os.PathLike[str]]) -> dict[str, str]:
    """The recording of every name in the trials, from the first of the folders that has it.

    Raises:
        DataError: none has it.
    """
    folders: dict[Path, dict[str, str]] = {}

    def find(name: str) -> str:
        for root in roots:
            path = Path(os.path.expanduser(root), name)
            if path.is_file():
                return str(path)
            if path.parent not in folders:
                folders[path.parent] = recordings_in(path.parent) if path.parent.is_dir() else {}
            if path.name in folders[path.parent]:
                return folders[path.parent][path.name]
        raise DataError(f"{name}: in none of the folders {', '.join(map(str, roots))}; say where it is with --root")

    return {name: find(name) for name in dict.fromkeys(name for one in trials for name in one[1:])}


def speaker(name: str) -> str:
    """Who speaks in a recording of a list: the part of its name before ``_nohash_``, else the folder it is in."""
    return speaker_of(name, None) or PurePath(name).parent.name


def draw_trials(utterances: Sequence[Utterance], folder: str, same: int, different: int, seed: int) -> list[Trial]:
    """Trials of one speaker and of two, drawn at random, none twice; the two recordings never have the same text.

    The speakers take turns in the trials of one speaker, so that none has many more than another.

    Args:
        utterances: recordings below ``folder``, with speaker and text.
        folder: names are relative to it.
        same: trials of one speaker.
        different: trials of two.
        seed: of the draw; the same one gives the same trials.

    Raises:
        DataError: there are not that many pairs.
    """
    draw = random.Random(seed)
    by_speaker: dict[str, list[Utterance]] = {}
    for one in sorted(utterances, key=lambda one: one.audio):
        by_speaker.setdefault(one.speaker, []).append(one)
    found: dict[tuple[Utterance, Utterance], None] = {}
    left = [list(itertools.combinations(own, 2)) for own in by_speaker.values()]
    for pairs in left:
        pairs[:] = [pair for pair in pairs if pair[0].text != pair[1].text]
        draw.shuffle(pairs)
    while len(found) < same:
        left = [pairs for pairs in left if pairs]
        if not left:
            raise DataError(f"{folder}: no {same} pairs of one speaker")
        draw.shuffle(left)
        found |= dict.fromkeys(pairs.pop() for pairs in left[: same - len(found)])
    everything = [one for own in by_speaker.values() for one in own]
    for _ in range(100 * different):
        if len(found) == same + different:
            break
        first, second = sorted(draw.sample(everything, 2), key=lambda one: one.audio)
        if first.speaker != second.speaker and first.text != second.text:
            found[first, second] = None
    else:
        raise DataError(f"{folder}: no {different} pairs of two speakers")
    return [
        Trial(first.speaker == second.speaker, _name(first, folder), _name(second, folder)) for first, second in found
    ]


def _name(one: Utterance, folder: str) -> str:
    return PurePath(os.path.relpath(one.audio, folder)).with_suffix("").as_posix()
