"""Segments as subtitles: words in lines of a given width, lines in cues of a given count."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from speechgru.errors import ConfigError
from speechgru.transcripts.transcript import Segment

if TYPE_CHECKING:
    from speechgru.decoding.transcription import Word


@dataclasses.dataclass
class CuesConfig:
    """How subtitles look.

    Attributes:
        max_line_width: largest number of characters in a line, at least 1; a longer word has a line for itself. None:
            one line.
        max_line_count: largest number of lines in a subtitle, at least 1, with a ``max_line_width``; None: as many as a
            segment needs.
        highlight_words: show each subtitle once for each of its words, underlined while it is spoken.
    """

    max_line_width: int | None = None
    max_line_count: int | None = None
    highlight_words: bool = False

    def __post_init__(self) -> None:
        for key in ("max_line_width", "max_line_count"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise ConfigError(f"{key}={value}: at least 1")
        if self.max_line_count and not self.max_line_width:
            raise ConfigError(f"max_line_count={self.max_line_count}: has no effect without max_line_width")


@dataclasses.dataclass(frozen=True)
class Cue:
    """What is shown at a time: lines of words, one of them perhaps underlined (its place among all of them)."""

    start_s: float
    end_s: float
    lines: tuple[tuple[Word, ...], ...]
    underlined: int | None = None

    def text(self, escape: dict[str, str]) -> str:
        """The lines, with the characters in ``escape`` replaced and the underlined word between <u> and </u>."""
        table, at, shown = str.maketrans(escape), 0, []
        for line in self.lines:
            words = []
            for word in line:
                written = word.word.replace("-->", "->").translate(table)
                words.append(f"<u>{written}</u>" if at == self.underlined else written)
                at += 1
            shown.append(" ".join(words))
        return "\n".join(shown)


def cues(segments: Iterable[Segment], config: CuesConfig) -> Iterator[Cue]:
    """The subtitles of segments, in order; each begins with its first word and ends with its last."""
    for segment in segments:
        lines = _lines(segment.words, config.max_line_width)
        count = config.max_line_count or len(lines)
        for start in range(0, len(lines), count):
            shown = tuple(lines[start : start + count])
            cue = Cue(shown[0][0].start_s, shown[-1][-1].end_s, shown)
            if config.highlight_words:
                yield from _highlighted(cue)
            else:
                yield cue


def _lines(words: tuple[Word, ...], width: int | None) -> list[tuple[Word, ...]]:
    lines: list[list[Word]] = []
    used = 0
    for word in words:
        if lines and (width is None or used + 1 + len(word.word) <= width):
            lines[-1].append(word)
            used += 1 + len(word.word)
        else:
            lines.append([word])
            used = len(word.word)
    return [tuple(line) for line in lines]


def _highlighted(cue: Cue) -> Iterator[Cue]:
    """The cue for each word while it is spoken, and plain between two words."""
    shown_until = cue.start_s
    for place, word in enumerate(word for line in cue.lines for word in line):
        if word.start_s > shown_until:
            yield Cue(shown_until, word.start_s, cue.lines)
        yield Cue(word.start_s, word.end_s, cue.lines, place)
        shown_until = word.end_s
