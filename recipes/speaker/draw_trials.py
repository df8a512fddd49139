#!/usr/bin/env python3
"""Draws the lists of trials in the folder ``trials``: pairs of recordings of speakers that are never in training.

.venv/bin/python recipes/speaker/draw_trials.py data/speakers
"""

from __future__ import annotations

import itertools
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path, PurePath

from speechgru.data.corpora.speakers import Speakers, SpeakersConfig
from speechgru.data.trials import Trial
from speechgru.data.utterance import Utterance

EACH = {"speech_commands": 500, "an4": 200}  # trials of one speaker in a list, and as many of two


def strangers(corpus: Speakers, name: str, split: str) -> list[Utterance]:
    """The recordings of speakers that are never in training: of "speech_commands" or "an4", "valid" or "test"."""
    return [one for one in corpus.corpora()[name].utterances(split) if one.speaker]


def draw_trials(utterances: Sequence[Utterance], folder: str, same: int, different: int, seed: int) -> list[Trial]:
    """Trials of one speaker and of two, drawn at random, none twice; the two recordings never have the same text.

    The speakers take turns in the trials of one speaker, so that none has many more than another.

    Args:
        utterances: recordings below ``folder``, with speaker and text.
        folder: names are relative to it.
        same: trials of one speaker.
        different: trials of two.
        seed: of the draw; the same one gives the same trials.
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
            raise SystemExit(f"{folder}: no {same} pairs of one speaker")
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
        raise SystemExit(f"{folder}: no {different} pairs of two speakers")
    return [
        Trial(first.speaker == second.speaker, _name(first, folder), _name(second, folder)) for first, second in found
    ]


def _name(one: Utterance, folder: str) -> str:
    return PurePath(os.path.relpath(one.audio, folder)).with_suffix("").as_posix()


def write_trials(path: Path, trials: Sequence[Trial]) -> None:
    """Writes a list, one trial per line."""
    path.write_text("".join(f"{int(one.same)} {one.first} {one.second}\n" for one in trials), encoding="utf-8")


def main(root: str) -> None:
    """Draws the four lists from the corpora in ``root``."""
    corpus = Speakers(SpeakersConfig(root=root))
    for (name, count), split in itertools.product(EACH.items(), ("valid", "test")):
        trials = draw_trials(strangers(corpus, name, split), str(Path(root, name)), count, count, seed=0)
        write_trials(Path(__file__).parent / "trials" / f"{split}_{name}.txt", trials)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(sys.argv[1])
