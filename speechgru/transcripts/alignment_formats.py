"""Aligned words as a TextGrid of Praat, as NIST's CTM, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from speechgru.transcripts.formats import to_json, word_record

if TYPE_CHECKING:
    from speechgru.decoding.transcription import Word


def textgrid(tiers: dict[str, Sequence[Word]], duration_s: float) -> str:
    """Interval tiers in Praat's long text format; what is between two words is an interval without text.

    Source: Praat's manual, "TextGrid file formats": a quote in a text is written twice.

    Args:
        tiers: words (or tokens) in order under the name of their tier; none overlap.
        duration_s: length of the recording in seconds; a word never ends after it.
    """
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0 ",
        f"xmax = {_seconds(duration_s)} ",
        "tiers? <exists> ",
        f"size = {len(tiers)} ",
        "item []: ",
    ]
    for number, (name, words) in enumerate(tiers.items(), start=1):
        intervals = _intervals(words, duration_s)
        lines += [
            f"    item [{number}]:",
            '        class = "IntervalTier" ',
            f"        name = {_quoted(name)} ",
            "        xmin = 0 ",
            f"        xmax = {_seconds(duration_s)} ",
            f"        intervals: size = {len(intervals)} ",
        ]
        for place, (start_s, end_s, text) in enumerate(intervals, start=1):
            lines += [
                f"        intervals [{place}]:",
                f"            xmin = {_seconds(start_s)} ",
                f"            xmax = {_seconds(end_s)} ",
                f"            text = {_quoted(text)} ",
            ]
    return "\n".join(lines) + "\n"


def ctm(words: Sequence[Word], recording: str) -> str:
    """NIST's time-marked conversation: recording, channel 1, start, duration, word, confidence, one word per line.

    Source: NIST SCTK, sclite's file formats, "ctm". Columns are separated by white space, so white space in a name
    becomes _.
    """
    name = "_".join(recording.split()) or "_"
    return "".join(
        f"{name} 1 {word.start_s:.3f} {word.end_s - word.start_s:.3f} {word.word} {word.confidence:.4f}\n"
        for word in words
    )


def alignment_json(words: Sequence[Word], tokens: Sequence[Word], audio: str, duration_s: float) -> str:
    """One object: audio, duration_s, words and tokens, each with start, end and confidence."""
    values: dict[str, object] = {
        "audio": audio,
        "text": " ".join(word.word for word in words),
        "duration_s": round(duration_s, 3),
        "words": [word_record(word) for word in words],
        "tokens": [{"token" if key == "word" else key: v for key, v in word_record(one).items()} for one in tokens],
    }
    return to_json(values)


def _intervals(words: Sequence[Word], duration_s: float) -> list[tuple[float, float, str]]:
    """The words and the gaps between them, from 0 to the end without a hole."""
    found: list[tuple[float, float, str]] = []
    at = 0.0
    for word in words:
        if word.start_s > at:
            found.append((at, word.start_s, ""))
        found.append((max(at, word.start_s), word.end_s, word.word))
        at = word.end_s
    if at < duration_s or not found:
        found.append((at, duration_s, ""))
    return found


def _seconds(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
