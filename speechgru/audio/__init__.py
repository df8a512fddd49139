"""Recordings into waveforms: file, bytes or array -> mono float32 samples at the rate that is wanted.

soundfile (libsndfile) decodes wav, flac, ogg, mp3, opus, aiff, NIST sphere, w64 and au, by content and not by the
name of the file; ffmpeg, where it is installed, what else holds sound (m4a, webm, films); soxr resamples. Whatever
cannot be used raises one :class:`~speechgru.errors.AudioError` naming the file and the mend.
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
