"""Transcripts as txt, vtt, srt, tsv and json, as openai/whisper writes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from speechgru.transcripts.cues import CuesConfig, cues
from speechgru.transcripts.transcript import Transcript

if TYPE_CHECKING:
    from speechgru.decoding.transcription import Word

# WebVTT, section 6.4 (cue text): these begin a tag or a character reference.
_VTT_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def txt(transcript: Transcript) -> str:
    """One segment per line."""
    return "".join(segment.text + "\n" for segment in transcript.segments)


def vtt(transcript: Transcript, config: CuesConfig | None = None) -> str:
    """WebVTT (W3C), times MM:SS.mmm or HH:MM:SS.mmm."""
    shown = [
        f"{timestamp(cue.start_s)} --> {timestamp(cue.end_s)}\n{cue.text(_VTT_ESCAPES)}\n\n"
        for cue in cues(transcript.segments, config or CuesConfig())
    ]
    return "WEBVTT\n\n" + "".join(shown)


def srt(transcript: Transcript, config: CuesConfig | None = None) -> str:
    """SubRip, numbered from 1, times HH:MM:SS,mmm."""
    return "".join(
        f"{number}\n{timestamp(cue.start_s, ',', hours=True)} --> {timestamp(cue.end_s, ',', hours=True)}\n"
        f"{cue.text({})}\n\n"
        for number, cue in enumerate(cues(transcript.segments, config or CuesConfig()), start=1)
    )


def tsv(transcript: Transcript) -> str:
    """A header, then start and end in whole milliseconds and the text of each segment; a tab in it becomes a space."""
    rows = [
        f"{round(1000 * segment.start_s)}\t{round(1000 * segment.end_s)}\t{segment.text.replace(chr(9), ' ')}\n"
        for segment in transcript.segments
    ]
    return "start\tend\ttext\n" + "".join(rows)


def record(transcript: Transcript, word_timestamps: bool = False) -> dict[str, object]:
    """The values of the JSON: audio, text, duration_s, familiar where that is known, segments; or audio and error.

    Segments have their words if ``word_timestamps`` is true.
    """
    if transcript.error:
        return {"audio": transcript.audio, "error": transcript.error}
    segments = []
    for segment in transcript.segments:
        values: dict[str, object] = {
            "id": segment.id,
            "start": round(segment.start_s, 3),
            "end": round(segment.end_s, 3),
            "text": segment.text,
            "confidence": round(segment.confidence, 4),
        }
        if word_timestamps:
            values["words"] = [word_record(word) for word in segment.words]
        segments.append(values)
    known = {} if transcript.familiar is None else {"familiar": transcript.familiar}
    return {
        "audio": transcript.audio,
        "text": transcript.text,
        "duration_s": round(transcript.duration_s, 3),
        **known,
        "segments": segments,
    }


def word_record(word: Word) -> dict[str, object]:
    """A word as JSON writes it."""
    return {
        "word": word.word,
        "start": round(word.start_s, 3),
        "end": round(word.end_s, 3),
        "confidence": round(word.confidence, 4),
    }


def to_json(values: object) -> str:
    """JSON on one line; what writes it takes the error handler :data:`~speechgru.recordings.lines.JSON_ESCAPES`."""
    return json.dumps(values, ensure_ascii=False, allow_nan=False) + "\n"


def timestamp(seconds: float, mark: str = ".", hours: bool = False) -> str:
    """MM:SS.mmm, from an hour on (or always) HH:MM:SS.mmm, rounded to the nearest millisecond."""
    milliseconds = round(1000 * seconds)
    whole, milliseconds = divmod(milliseconds, 1000)
    minutes, whole = divmod(whole, 60)
    hour, minutes = divmod(minutes, 60)
    front = f"{hour:02d}:" if hours or hour else ""
    return f"{front}{minutes:02d}:{whole:02d}{mark}{milliseconds:03d}"


def writer(output_format: str, config: CuesConfig, word_timestamps: bool) -> Callable[[Transcript], str]:
    """The function that writes a transcript in a format: txt, vtt, srt, tsv or json."""
    writers: dict[str, Callable[[Transcript], str]] = {
        "txt": txt,
        "vtt": lambda transcript: vtt(transcript, config),
        "srt": lambda transcript: srt(transcript, config),
        "tsv": tsv,
        "json": lambda transcript: to_json(record(transcript, word_timestamps)),
    }
    return writers[output_format]
