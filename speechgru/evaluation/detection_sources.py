"""What a detector is measured on: clips in which one of its words is said, and recordings in which none is."""

from __future__ import annotations

import collections
import dataclasses
import math
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from speechgru.audio import list_audio
from speechgru.data.label_folders import recordings_in
from speechgru.data.recordings import is_listed, read_recordings
from speechgru.data.splits import SPLITS
from speechgru.data.utterance import Utterance
from speechgru.errors import AudioError, ConfigError, DataError


@dataclasses.dataclass(frozen=True)
class Positives:
    """Clips, each with the word that is said in it as label; and how many were left out, by what is said in them."""

    clips: list[Utterance]
    left_out: dict[str, int]


@dataclasses.dataclass(frozen=True)
class BackgroundRecording:
    """A recording to hear for false alarms.

    Attributes:
        utterance: where it is.
        source: the list or folder that it comes from.
        error: why it cannot be heard; empty where it can.
        said: words in its text; detections of them are not false alarms.
    """

    utterance: Utterance
    source: str
    error: str = ""
    said: frozenset[str] = frozenset()


def find_positives(paths: Sequence[str], words: Sequence[str], split: str = "", word: str = "") -> Positives:
    """The clips of folders and lists.

    Args:
        paths: lists or folders as :func:`speechgru.data.recordings.read_recordings` takes them, or folders of clips.
        words: those that the model detects.
        split: only these of a list that names splits.
        word: what is said in every clip; empty: what its label or text says. Clips directly in a folder say the word
            that the folder is named after, or the only one that the model knows.

    Raises:
        ConfigError: ``word`` is none of the words, or no clip says one of them.
        DataError: a list is missing or wrong.
    """
    if word and word not in words:
        raise ConfigError(f"--word {word}: not among the words that are detected ({', '.join(words)})")
    clips, left_out = [], collections.Counter[str]()
    for path in paths:
        for one in _listed(path, split, word or _word_of_folder(path, words)):
            said = [word] if word else _said(one, words)
            if len(said) == 1:
                clips.append(dataclasses.replace(one, label=said[0]))
            else:
                left_out[one.label or (f"{len(said)} words" if said else "no word")] += 1
    if not clips:
        found = f"; they say {', '.join(list(left_out)[:5])}" if left_out else ""
        raise ConfigError(
            f"--positives {' '.join(paths)}: no clip says a word of this model ({', '.join(words)}){found}; name the "
            "folders by word, or say what all clips say with --word"
        )
    return Positives(clips, dict(left_out))


def find_background(
    paths: Sequence[str], words: Sequence[str], positives: Iterable[Utterance] = (), split: str = ""
) -> list[BackgroundRecording]:
    """The recordings of folders, at any depth, and of lists.

    Args:
        paths: folders, files, globs, and lists (.jsonl, .csv, .tsv).
        words: those that the model detects.
        positives: the clips that say them; what overlaps with one of them is left out.
        split: only these of a list that names splits, or of a folder with one.

    Raises:
        ConfigError: nothing can be heard.
        DataError: a list is missing or wrong.
    """
    clips = collections.defaultdict[str, list[Utterance]](list)
    for clip in positives:
        clips[os.path.abspath(clip.audio)].append(clip)
    found = []
    for path in paths:
        # A folder stands for all recordings in it, at any depth; where a split is asked for, its list says which.
        if is_listed(path) and (split or not os.path.isdir(path)):
            for one in _listed(path, split, ""):
                found.append(BackgroundRecording(one, path, said=frozenset(_said(one, words))))
            continue
        try:
            found += [BackgroundRecording(Utterance(audio), path, error) for audio, error in list_audio(path)]
        except AudioError as error:
            raise ConfigError(f"--background {error}") from None
    found = [one for one in found if not _overlaps(one.utterance, clips.get(os.path.abspath(one.utterance.audio), []))]
    if not any(not one.error for one in found):
        raise ConfigError(f"--background {' '.join(paths)}: no recording besides the positives; add hours of others")
    return found


def _overlaps(one: Utterance, clips: Iterable[Utterance]) -> bool:
    return any(clip.start_s < _end_s(one) and one.start_s < _end_s(clip) for clip in clips)


def _end_s(one: Utterance) -> float:
    return math.inf if one.duration_s is None else one.start_s + one.duration_s


def _listed(path: str, split: str, word: str) -> list[Utterance]:
    """The rows of a list; or the clips directly in a folder, where ``word`` is what they say."""
    if word and os.path.isdir(path) and (clips := recordings_in(path)):
        return [Utterance(clip, label=word) for clip in clips.values()]
    rows = read_recordings(path)
    if split and any(rows.get(name) for name in SPLITS):
        found = rows.get(split, [])
        if not found:
            raise DataError(f"{path}: lists no recordings of the {split} split")
        return found
    return [one for part in rows.values() for one in part]


def _word_of_folder(path: str, words: Sequence[str]) -> str:
    name = Path(path).absolute().name
    return name if name in words else words[0] if len(words) == 1 else ""


def _said(utterance: Utterance, words: Sequence[str]) -> list[str]:
    """The words in the label or the text, each as often as it occurs."""
    if utterance.label is not None and utterance.label in words:
        return [utterance.label]
    text = _plain(utterance.label or utterance.text)
    return [
        word for word in words for place in range(len(text)) if text[place : place + len(_plain(word))] == _plain(word)
    ]


def _plain(text: str) -> list[str]:
    return re.findall(r"[^\W_]+(?:'\w+)?", text.casefold())
