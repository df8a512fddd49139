"""Recordings into waveforms: file, bytes or array -> mono float32 samples at the rate that is wanted.

soundfile (libsndfile) decodes wav, flac, ogg, mp3, opus, aiff, NIST sphere, w64 and au, by content and not by the name
of the file. ffmpeg, where it is installed, decodes other files with sound (m4a, webm, films). soxr resamples. What
cannot be used raises one :class:`~speechgru.errors.AudioError` that names the file and how to fix it.
"""

from speechgru.audio.finding import SUFFIXES, find_audio, list_audio
from speechgru.audio.reading import AudioInfo, audio_info, read_audio, read_blocks, resample

__all__ = [
    "SUFFIXES",
    "AudioInfo",
    "audio_info",
    "find_audio",
    "list_audio",
    "read_audio",
    "read_blocks",
    "resample",
]
