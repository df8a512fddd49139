"""A recording open for decoding: its header checked, its samples in blocks, one clear error for what is wrong."""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
import stat
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np

from speechgru.audio.ffmpeg import FFMPEG_SUFFIXES, demuxer, open_flac, open_with_ffmpeg
from speechgru.audio.tar_member import open_member
from speechgru.errors import AudioError

if TYPE_CHECKING:
    import soundfile

    File = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO

LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 1_000, 768_000
MOST_CHANNELS = 32

_WAV_UNKNOWN = 0x7FFF_0000  # writers into a pipe cannot know the size and put a number above this
_CONVERT = "convert it to wav or flac, for example: ffmpeg -i IN OUT.flac"


class Decoder:
    """A recording open for decoding.

    Attributes:
        name: what messages call it.
        sample_rate: samples per second and channel.
        samples: samples of a channel, as the header says.
        channels: their number.
    """

    def __init__(
        self, file: soundfile.SoundFile, name: str, stream: BinaryIO, head: bytes, stack: contextlib.ExitStack
    ) -> None:
        check_rate(file.samplerate, "sample rate", name)
        if file.channels > MOST_CHANNELS:
            raise AudioError(f"{name}: {file.channels} channels, at most {MOST_CHANNELS}; pick some of them")
        if file.frames >= 1 << 60:
            raise AudioError(f"{name}: the header tells no length; write it again: ffmpeg -i IN OUT.flac")
        if file.frames <= 0:
            raise AudioError(f"{name}: a header but no samples; record or download it again")
        claimed = _claimed_frames(file, head)
        if claimed > file.frames:
            raise _truncated(name, claimed, file.frames)
        self.name, self.sample_rate, self.samples, self.channels = name, file.samplerate, file.frames, file.channels
        self._file, self._stream, self._stack = file, stream, stack
        self._at = 0  # the next sample that the file gives; some telephone formats cannot report it

    def blocks(self, first: int, count: int, most: int) -> Iterator[np.ndarray]:
        """``count`` samples from sample ``first``, in blocks of float32 ``(up to most, channels)``.

        Raises:
            AudioError: damaged, or fewer samples than the header says.
        """
        is_mp3 = self._file.format == "MP3"
        at = 0 if is_mp3 else first  # seeking in mp3 ends elsewhere than asked, with another decoder state
        end = first + count
        while at < end:
            block = self._read(at, min(most, end - at))
            if not len(block):
                break
            if at + len(block) > first:
                yield block[max(0, first - at) :]
            at += len(block)
        allowed = 1152 if is_mp3 else 0  # encoders differ by a frame on whether the Xing frame counts
        if end - at > allowed or at <= first:
            raise _truncated(self.name, self.samples, at)

    def _read(self, at: int, samples: int) -> np.ndarray:
        import soundfile

        try:
            return self._read_file(at, samples)
        except (soundfile.SoundFileError, MemoryError) as error:
            reason = _cause(error)
            if self._file.format != "FLAC":
                raise AudioError(
                    f"{self.name}: truncated or damaged ({reason}); download or convert it again"
                ) from error
        duration_s = self.samples / self.sample_rate
        self._file, self._at = open_flac(self._stream, self.name, reason, self._stack, duration_s), 0
        return self._read_file(at, samples)

    def _read_file(self, at: int, samples: int) -> np.ndarray:
        if self._at != at:
            self._at = self._file.seek(at)
        block = self._file.read(samples, dtype="float32", always_2d=True)
        self._at += len(block)
        return block


@contextlib.contextmanager
def open_audio(source: File, longest_s: float = math.inf) -> Iterator[Decoder]:
    """The source opened for decoding, its header checked.

    A recording that needs ffmpeg is decoded here; if it is longer than ``longest_s``, not much more than that is
    decoded.

    Raises:
        AudioError: it cannot be read, or is not audio that can be decoded.
    """
    with contextlib.ExitStack() as stack:
        stream, name = _stream(source, stack)
        try:
            head = stream.read(1024)
            if not head:
                raise AudioError(f"{name}: the file is empty; record or download it again")
            if head[:4] == b"OggS" and not _ogg_ends(stream):
                raise AudioError(f"{name}: truncated, its last Ogg page is missing; download or copy it again")
            stream.seek(0)
        except OSError as error:  # a bad sector, a network that is gone
            raise AudioError(f"{name}: cannot be read ({error.strerror}); copy it to a sound disk") from error
        yield Decoder(_opened(stream, name, head, stack, longest_s), name, stream, head, stack)


def _opened(
    stream: BinaryIO, name: str, head: bytes, stack: contextlib.ExitStack, longest_s: float
) -> soundfile.SoundFile:
    import soundfile

    container = demuxer(head)
    if container and container != "caf":
        return open_with_ffmpeg(stream, name, container, stack, longest_s)
    try:
        # A descriptor instead of a path: libsndfile then looks at the content alone, never at the suffix.
        handle = stream.fileno() if isinstance(stream, io.FileIO) else stream
        return stack.enter_context(soundfile.SoundFile(handle, closefd=False))
    except (soundfile.SoundFileError, OSError, ValueError, TypeError) as error:
        if container:  # a caf of a codec that libsndfile does not know
            return open_with_ffmpeg(stream, name, container, stack, longest_s)
        raise AudioError(f"{name}: {_reason(head, name, error)}") from error


def _stream(source: File, stack: contextlib.ExitStack) -> tuple[BinaryIO, str]:
    """A seekable binary stream over the source, and its name; what cannot seek (a pipe) is read whole."""
    if isinstance(source, bytes | bytearray | memoryview):
        return io.BytesIO(source), f"audio of {len(source)} bytes"
    stream: BinaryIO
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        if name == "-":
            if sys.stdin is None:
                raise AudioError("standard input: is closed; give a file")
            name, stream = "standard input", sys.stdin.buffer
        else:
            stream = open_member(name) or cast(BinaryIO, stack.enter_context(_open(name)))
    elif hasattr(source, "read"):
        name, stream = str(getattr(source, "name", None) or "file object"), source
    else:
        kind = type(source).__name__
        raise AudioError(f"audio of type {kind} cannot be read; give a path, bytes, a binary file object or an array")
    try:
        if isinstance(stream, io.FileIO | io.BytesIO) and stream.seekable() and not stream.tell():
            return stream, name
        return io.BytesIO(stream.read()), name  # from the current position of the caller's file object
    except (OSError, ValueError, TypeError) as error:
        raise AudioError(f'{name}: cannot be read ({error}); open it with mode "rb"') from error


def _open(name: str) -> io.FileIO:
    try:
        mode = os.stat(name).st_mode
        if stat.S_ISDIR(mode):
            raise AudioError(f"{name}: a folder, not a recording; give the files in it")
        if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
            raise AudioError(f"{name}: not a regular file; give a recording")
        return io.FileIO(name)
    except FileNotFoundError as error:
        raise AudioError(f"{name}: no such file; check the path") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise AudioError(f"{name!r}: cannot be opened ({error}); check the path and the permissions") from error


def _reason(head: bytes, name: str, error: Exception) -> str:
    """Why libsndfile refused the file that begins with ``head``, and how to fix it."""
    if head[:4] in (b"RIFF", b"RF64", b"fLaC", b"OggS", b"FORM", b"NIST") or head[:3] == b"ID3":
        return f"truncated or damaged ({_cause(error)}); download or convert it again"
    if head.isascii() and b"\0" not in head:
        return "text, not audio; check the path"
    if name.lower().endswith(FFMPEG_SUFFIXES):
        return f"not what its suffix says, and not audio in another known format; {_CONVERT}"
    return f"not audio in a known format (wav flac ogg mp3 opus aiff sph); {_CONVERT}"


def _cause(error: Exception) -> str:
    return str(getattr(error, "error_string", error)).strip().rstrip(".").removeprefix("Error : ")


def _ogg_ends(stream: BinaryIO) -> bool:
    """Whether the last page of an Ogg file is whole and flagged as the last (RFC 3533, section 6)."""
    stream.seek(max(0, stream.seek(0, os.SEEK_END) - 70_000))  # a page has at most 65307 bytes
    tail = stream.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    if len(page) < 27 or not page[5] & 4:
        return False
    sizes = page[27 : 27 + page[26]]
    return len(page) >= 27 + page[26] + sum(sizes)


def _claimed_frames(decoder: soundfile.SoundFile, head: bytes) -> int:
    """The samples that the header promises; libsndfile silently shortens uncompressed files to what is there.

    Only its log shows this (and for NIST only the header itself). 0 where nothing is promised or the promise is
    useless.
    """
    log = decoder.extra_info
    if decoder.format == "NIST":
        count = re.search(rb"sample_count -i (\d+)", head)
        return int(count[1]) if count else 0
    if decoder.format == "AIFF":
        frames = re.search(r"Frames\s*: (\d+)", log)
        return int(frames[1]) if frames else 0
    if decoder.format == "RF64":  # its sizes of 64 bits; some writers leave the number of samples out
        size, align = re.search(r"Data size : (\d+)", log), re.search(r"Block Align\s*: (\d+)", log)
        claimed = int(size[1]) // max(1, int(align[1])) if size and align else 0
        return claimed if claimed < 1 << 60 else 0
    chunk = {"W64": "riff", "AU": "Data Size"}.get(decoder.format, "data")
    sizes = re.search(rf"{chunk}\s*: (\d+) \(should be (\d+)\)", log)
    claimed, held = (int(sizes[1]), int(sizes[2])) if sizes else (0, 0)
    if claimed <= held + 1 or claimed >= _WAV_UNKNOWN:
        return 0
    return math.ceil(decoder.frames * claimed / max(1, held))


def check_rate(rate: float, key: str, name: str = "") -> None:
    """Raises an AudioError for a rate that no recording of speech has."""
    if not LOWEST_RATE_HZ <= rate <= HIGHEST_RATE_HZ:
        where = f"{name}: {key}" if name else key
        raise AudioError(f"{where}={rate}: from {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz")


def _truncated(name: str, claimed: int, held: int) -> AudioError:
    return AudioError(f"{name}: truncated, it claims {claimed} samples and holds {held}; download or copy it again")
