"""From recordings of any length to transcripts, and the formats those are written in."""

from speechgru.recordings.parts import Piece
from speechgru.transcripts.joining import join
from speechgru.transcripts.pauses import Pause, pauses
from speechgru.transcripts.pieces import PiecesConfig, pieces
from speechgru.transcripts.recordings import transcribe_recordings
from speechgru.transcripts.segments import segments
from speechgru.transcripts.transcript import Segment, Transcript

__all__ = [
    "Pause",
    "Piece",
    "PiecesConfig",
    "Segment",
    "Transcript",
    "join",
    "pauses",
    "pieces",
    "segments",
    "transcribe_recordings",
]
