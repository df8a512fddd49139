"""Recordings into waveforms: file, bytes or array -> mono float32 samples at the rate that is wanted.

soundfile (libsndfile) decodes wav, flac, ogg, mp3, opus, aiff, NIST sphere, w64 and au, by content and not by the
name of the file; soxr resamples. Whatever cannot be used raises one :class:`AudioError` naming the file and the mend.
"""

from __future__ import annotations

import contextlib
import glob
import io
import math
import os
import re
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from speechgru.errors import AudioError

if (
    TYPE_CHECKING
):  # torch, soundfile and soxr are imported by the functions that need them: the command line stays quick
    import soundfile
    import torch

    Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | np.ndarray | torch.Tensor

LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 1_000, 768_000
MOST_CHANNELS = 32
SUFFIXES = (".wav", ".wave", ".flac", ".ogg", ".oga", ".mp3", ".opus", ".aiff", ".aif", ".aifc", ".sph", ".w64", ".au")
# Known to hold audio which libsndfile cannot decode: found all the same, so that each is reported instead of left out.
UNREADABLE_SUFFIXES = (".m4a", ".aac", ".wma", ".amr")

_SLICE_SLACK_S = 0.05  # manifests round their times; a slice may end this far past the end and is then cut there
_BLOCK = 1 << 20  # frames read at once: a header that lies about a terabyte must not allocate one
_SILENCE = 2.0**-15  # one step of 16-bit audio
_WAV_UNKNOWN = 0x7FFF_0000  # writers into a pipe cannot know the size and put a number above this


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What the header of a recording says: its rate in Hz, samples per channel, channels, and duration in seconds."""

    sample_rate: int
    samples: int
    channels: int
    duration_s: float


def read_audio(
    source: Source,
    sample_rate: int | None = None,
    *,
    start_s: float = 0.0,
    duration_s: float | None = None,
    source_rate: int | None = None,
    require_sound: bool = False,
) -> tuple[torch.Tensor, int]:
    """Reads a recording, or a slice of it, as mono float32 samples, full scale at 1.

    The channels are averaged. A slice is cut at the recording's own rate (nearest sample) and then resampled; only the
    slice is decoded, except in mp3, which cannot be entered exactly: everything before it is decoded too, and dropped.
    An mp3 of variable bit rate without a Xing header does not know its length, nor does libsndfile: convert such files.
    Silence is legitimate (a class of its own in keyword corpora), and refused only where ``require_sound`` asks for it.

    Args:
        source: a path; ``"-"`` for standard input; the bytes of a file; a binary file object; or samples as a numpy
            array or tensor, ``(samples,)`` or ``(channels, samples)``, float or int8/16/32, uint8 at full scale.
        sample_rate: the rate wanted, in Hz (1000 to 768000); None keeps the recording's own.
        start_s: where the slice begins, in seconds, from 0.
        duration_s: how long it lasts, in seconds, above 0; None means to the end. It may reach 50 ms past the end
            (manifests round their times) and is then cut there.
        source_rate: the rate of an array, in Hz; not for files, which know theirs.
        require_sound: refuse a recording (or slice) that never leaves one step of 16-bit audio around its mean.

    Returns:
        The waveform ``(samples,)``, never sharing memory with the source, and its rate in Hz.

    Raises:
        AudioError: missing, a directory, empty, not audio, truncated, no samples, NaN or infinite samples, more than 32
            channels, an impossible rate, a slice outside the recording, silence where sound is required.
    """
    import torch

    if sample_rate is not None:
        _check_rate(sample_rate, "sample_rate")
    if isinstance(source, np.ndarray | torch.Tensor):
        values, name, rate = _array(source, source_rate, start_s, duration_s)
    else:
        with _decoder(source) as (decoder, name):
            rate = decoder.samplerate
            if source_rate is not None and source_rate != rate:
                raise AudioError(f"{name}: source_rate={source_rate}, but it is of {rate} Hz; leave source_rate out")
            first, count = _span(decoder.frames, rate, start_s, duration_s, name)
            values = _decode(decoder, first, count, name)
    mono = _mono(values, name, rate)
    if require_sound and np.abs(mono - mono.mean()).max() <= _SILENCE:
        raise AudioError(f"{name}: silent from beginning to end; check the microphone")
    waveform = torch.from_numpy(np.ascontiguousarray(mono))
    if sample_rate is None or sample_rate == rate:
        return waveform, rate
    waveform = resample(waveform, rate, sample_rate)
    if not len(waveform):
        raise AudioError(f"{name}: {len(mono)} samples at {rate} Hz are none at {sample_rate} Hz; leave it out")
    return waveform, sample_rate


def read_blocks(
    source: Source, sample_rate: int | None = None, *, block_s: float = 10.0
) -> Iterator[tuple[np.ndarray, int]]:
    """The samples that :func:`read_audio` gives for a whole recording, a part at a time, however long it is.

    One block is held, decoded and resampled; what cannot seek (a pipe) is held whole in its compressed form.

    Args:
        source: a path, ``"-"``, the bytes of a file, or a binary file object.
        sample_rate: the rate wanted, in Hz (1000 to 768000); None keeps the recording's own.
        block_s: length of a block in seconds, above 0; the resampler makes the first shorter and the last longer.

    Yields:
        Mono float32 samples (samples,), not empty, and their rate in Hz.

    Raises:
        AudioError: as :func:`read_audio`; what is wrong further on is found when it is reached.
    """
    import soxr

    if sample_rate is not None:
        _check_rate(sample_rate, "sample_rate")
    with _decoder(source) as (decoder, name):
        rate, total, done, given = decoder.samplerate, decoder.frames, 0, 0
        wanted = sample_rate or rate
        stream = None if wanted == rate else soxr.ResampleStream(rate, wanted, 1, dtype="float32", quality="HQ")
        for block in _decoded(decoder, 0, total, name, max(1, round(block_s * rate))):
            mono = _mono(block.T, name, rate, done)
            done += len(mono)
            if stream is not None:
                mono = stream.resample_chunk(mono, last=done >= total)
            given += len(mono)
            if len(mono):
                yield np.ascontiguousarray(mono), wanted
        if stream is not None and done < total:  # an mp3 may have a frame less than it says
            rest = stream.resample_chunk(np.zeros(0, np.float32), last=True)
            given += len(rest)
            if len(rest):
                yield rest, wanted
        if not given:
            raise AudioError(f"{name}: {total} samples at {rate} Hz are none at {wanted} Hz; leave it out")


def resample(waveform: torch.Tensor, from_hz: float, to_hz: float) -> torch.Tensor:
    """The waveform ``(samples,)`` at another rate, by soxr's HQ linear-phase filter (aliases below -100 dB).

    The result has ``samples * to_hz / from_hz`` samples, rounded. Not differentiable. Equal rates return the waveform
    itself.

    Raises:
        AudioError: a rate outside 1000 to 768000 Hz.
    """
    import soxr
    import torch

    _check_rate(from_hz, "from_hz")
    _check_rate(to_hz, "to_hz")
    if from_hz == to_hz:
        return waveform
    samples = np.ascontiguousarray(waveform.detach().cpu().numpy(), dtype=np.float32)
    return torch.from_numpy(soxr.resample(samples, from_hz, to_hz, quality="HQ"))


def audio_info(path: str | os.PathLike[str]) -> AudioInfo:
    """What the header says, without decoding; what it shows to be wrong raises AudioError as in :func:`read_audio`."""
    with _decoder(path) as (decoder, _):
        rate, samples = decoder.samplerate, decoder.frames
        return AudioInfo(rate, samples, decoder.channels, samples / rate)


def find_audio(arguments: list[str]) -> list[str]:
    """The recordings that command-line arguments name, in the order of the arguments.

    A file stays as it is, whatever its suffix and even where it is missing (reading it tells what is wrong with that
    one); ``-`` stays ``-``; a folder gives the audio files at any depth below it, sorted, hidden ones left out; a glob
    (``**`` crosses folders) gives its matches sorted, folders among them expanded, files kept where their suffix is
    that of audio or of the glob itself.

    Raises:
        AudioError: a folder without audio, a glob without a match.
    """
    found: list[str] = []
    for argument in map(os.fspath, arguments):
        if os.path.isdir(argument):
            below = _below(argument)
            if not below:
                raise AudioError(f"{argument}: no audio file at any depth of this folder ({' '.join(SUFFIXES)})")
            found += below
        elif argument != "-" and not os.path.lexists(argument) and glob.has_magic(argument):
            matches = _matching(argument)
            if not matches:
                raise AudioError(f"{argument}: no audio file matches this pattern; check the folder and the suffix")
            found += matches
        else:
            found.append(argument)
    return found


def _below(folder: str) -> list[str]:
    paths = []
    for parent, _, files in os.walk(folder):
        # macOS leaves ._name.wav beside name.wav on foreign disks: hidden, and not audio.
        names = (name for name in files if not name.startswith("."))
        kept = (name for name in names if name.lower().endswith((*SUFFIXES, *UNREADABLE_SUFFIXES)))
        paths += [os.path.normpath(os.path.join(parent, name)) for name in kept]
    return sorted(paths)


def _matching(pattern: str) -> list[str]:
    own = os.path.splitext(pattern)[1].lower()
    suffixes = (*SUFFIXES, *UNREADABLE_SUFFIXES, *([own] if own and not glob.has_magic(own) else []))
    matches: dict[str, None] = {}  # in order, each once: ** matches a folder and what is in it
    for match in sorted(glob.glob(pattern, recursive=True)):
        if os.path.isdir(match):
            matches.update(dict.fromkeys(_below(match)))
        elif match.lower().endswith(suffixes):
            matches[os.path.normpath(match)] = None
    return list(matches)


@contextlib.contextmanager
def _decoder(source: Any) -> Iterator[tuple[soundfile.SoundFile, str]]:
    """The source opened for decoding, its header checked, and the name under which messages speak of it."""
    import soundfile

    with contextlib.ExitStack() as stack:
        stream, name = _stream(source, stack)
        head = stream.read(1024)
        if not head:
            raise AudioError(f"{name}: the file is empty; record or download it again")
        if head[:4] == b"OggS" and not _ogg_ends(stream):
            raise AudioError(f"{name}: truncated, its last Ogg page is missing; download or copy it again")
        stream.seek(0)
        try:
            # A descriptor instead of a path: libsndfile then looks at the content alone, never at the suffix.
            handle = stream.fileno() if isinstance(stream, io.FileIO) else stream
            decoder = stack.enter_context(soundfile.SoundFile(handle, closefd=False))
        except (soundfile.SoundFileError, OSError, ValueError, TypeError) as error:
            raise AudioError(f"{name}: {_reason(head, name, error)}") from error
        _check_rate(decoder.samplerate, "sample rate", name)
        if decoder.channels > MOST_CHANNELS:
            raise AudioError(f"{name}: {decoder.channels} channels, at most {MOST_CHANNELS}; pick some of them")
        if decoder.frames >= 1 << 60:
            raise AudioError(f"{name}: the header tells no length; write it again: ffmpeg -i IN OUT.flac")
        if decoder.frames <= 0:
            raise AudioError(f"{name}: a header but no samples; record or download it again")
        claimed = _claimed_frames(decoder, head)
        if claimed > decoder.frames:
            raise _truncated(name, claimed, decoder.frames)
        yield decoder, name


def _stream(source: Any, stack: contextlib.ExitStack) -> tuple[Any, str]:
    """A seekable binary stream over the source, and its name; what cannot seek (a pipe) is read whole."""
    if isinstance(source, bytes | bytearray | memoryview):
        return io.BytesIO(source), f"audio of {len(source)} bytes"
    if isinstance(source, str | os.PathLike) and os.fspath(source) == "-":
        name, stream = "standard input", sys.stdin.buffer
    elif isinstance(source, str | os.PathLike):
        name, stream = os.fspath(source), stack.enter_context(_open(os.fspath(source)))
    elif hasattr(source, "read"):
        name, stream = str(getattr(source, "name", None) or "file object"), source
    else:
        kind = type(source).__name__
        raise AudioError(f"audio of type {kind} cannot be read; give a path, bytes, a binary file object or an array")
    try:
        if isinstance(stream, io.FileIO | io.BytesIO) and stream.seekable() and not stream.tell():
            return stream, name
        return io.BytesIO(stream.read()), name  # from where the caller's file object stands
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
    """Why libsndfile refused the file that begins with ``head``, and the mend."""
    convert = "convert it to wav or flac, for example: ffmpeg -i IN OUT.flac"
    foreign = head[4:8] == b"ftyp" or head[:4] in (b"\x1aE\xdf\xa3", b"0&\xb2u", b"#!AM")
    if foreign or name.lower().endswith(UNREADABLE_SUFFIXES):
        return f"m4a, mp4, aac, wma, amr and webm cannot be decoded here; {convert}"
    if head[:4] in (b"RIFF", b"RF64", b"fLaC", b"OggS", b"FORM", b"NIST") or head[:3] == b"ID3":
        return f"truncated or damaged ({_cause(error)}); download or convert it again"
    if head.isascii() and b"\0" not in head:
        return "text, not audio; check the path"
    return f"not audio in a known format (wav flac ogg mp3 opus aiff sph); {convert}"


def _cause(error: Exception) -> str:
    return str(getattr(error, "error_string", error)).strip().rstrip(".").removeprefix("Error : ")


def _ogg_ends(stream: Any) -> bool:
    """Whether the last page of an Ogg file is whole and flagged as the last (RFC 3533, section 6)."""
    stream.seek(max(0, stream.seek(0, os.SEEK_END) - 70_000))  # a page has at most 65307 bytes
    tail = stream.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    if len(page) < 27 or not page[5] & 4:
        return False
    sizes = page[27 : 27 + page[26]]
    return len(page) >= 27 + page[26] + sum(sizes)


def _claimed_frames(decoder: soundfile.SoundFile, head: bytes) -> int:
    """The samples which the header promises; libsndfile shortens uncompressed files to what is there without a word.

    Only its log tells (and for NIST only the header itself). 0 where nothing is promised or the promise is worthless.
    """
    if decoder.format == "NIST":
        count = re.search(rb"sample_count -i (\d+)", head)
        return int(count[1]) if count else 0
    if decoder.format == "AIFF":
        frames = re.search(r"Frames\s*: (\d+)", decoder.extra_info)
        return int(frames[1]) if frames else 0
    chunk = {"W64": "riff", "AU": "Data Size"}.get(decoder.format, "data")
    sizes = re.search(rf"{chunk}\s*: (\d+) \(should be (\d+)\)", decoder.extra_info)
    claimed, held = (int(sizes[1]), int(sizes[2])) if sizes else (0, 0)
    if claimed <= held + 1 or claimed >= _WAV_UNKNOWN:
        return 0
    return math.ceil(decoder.frames * claimed / max(1, held))


def _decode(decoder: soundfile.SoundFile, first: int, count: int, name: str) -> np.ndarray:
    """``count`` frames from frame ``first`` as float32 ``(channels, count)``."""
    blocks = list(_decoded(decoder, first, count, name, _BLOCK))
    return (blocks[0] if len(blocks) == 1 else np.concatenate(blocks)).T


def _decoded(decoder: soundfile.SoundFile, first: int, count: int, name: str, most: int) -> Iterator[np.ndarray]:
    """``count`` frames from frame ``first`` as float32 ``(up to most, channels)`` at a time."""
    import soundfile

    skip = first if decoder.format == "MP3" else 0  # its seek lands elsewhere than asked, with another decoder state
    got = 0
    try:
        if first > skip:
            decoder.seek(first)
        while got < skip + count:
            block = decoder.read(min(most, skip + count - got), dtype="float32", always_2d=True)
            if not len(block):
                break
            if got + len(block) > skip:
                yield block[max(0, skip - got) :]
            got += len(block)
    except (soundfile.SoundFileError, MemoryError) as error:
        raise AudioError(f"{name}: truncated or damaged ({_cause(error)}); download or convert it again") from error
    allowed = 1152 if decoder.format == "MP3" else 0  # encoders differ by a frame on whether the Xing frame counts
    if skip + count - got > allowed or got <= skip:
        raise _truncated(name, decoder.frames, first - skip + got)


def _mono(values: np.ndarray, name: str, rate: int, before: int = 0) -> np.ndarray:
    """The mean of ``(channels, samples)``; AudioError where it is no number. ``before``: samples that came earlier."""
    with np.errstate(invalid="ignore"):
        mono = values[0] if len(values) == 1 else values.mean(axis=0, dtype=np.float32)
    finite = np.isfinite(mono)
    if not finite.all():
        bad_s = (before + int(np.argmin(finite))) / rate
        raise AudioError(f"{name}: NaN or infinite samples, the first after {bad_s:.3f} s; repair the file")
    return mono


def _array(
    source: np.ndarray | torch.Tensor, rate: int | None, start_s: float, duration_s: float | None
) -> tuple[np.ndarray, str, int]:
    """The slice of an array as float32 ``(channels, samples)``, its name and its rate."""
    name = f"array of shape {tuple(source.shape)}"
    if not isinstance(source, np.ndarray):
        source = (source.detach().float() if source.is_floating_point() else source.detach()).cpu().numpy()
    if rate is None:
        raise AudioError(f"{name}: an array does not know its rate; give source_rate in Hz")
    _check_rate(rate, "source_rate", name)
    if source.ndim not in (1, 2):
        raise AudioError(f"{name}: {source.ndim} dimensions; give (samples,) or (channels, samples)")
    values = source[None] if source.ndim == 1 else source
    if len(values) > MOST_CHANNELS:
        hint = "; transpose it to (channels, samples)" if values.shape[1] <= MOST_CHANNELS else ""
        raise AudioError(f"{name}: {len(values)} channels, at most {MOST_CHANNELS}{hint}")
    if not values.size:
        raise AudioError(f"{name}: no samples")
    first, count = _span(values.shape[1], rate, start_s, duration_s, name)
    values = values[:, first : first + count]
    kind, width = values.dtype.kind, values.dtype.itemsize
    if kind == "f":
        with np.errstate(over="ignore"):  # becomes infinite and is refused as that
            return values.astype(np.float32), name, rate
    if kind == "i" and width <= 4:
        return values.astype(np.float32) / np.float32(2 ** (8 * width - 1)), name, rate
    if kind == "u" and width == 1:
        return (values.astype(np.float32) - 128) / 128, name, rate
    raise AudioError(f"{name}: samples of type {values.dtype}; give floating point, int8, int16, int32 or uint8")


def _span(total: int, rate: int, start_s: float, duration_s: float | None, name: str) -> tuple[int, int]:
    """First sample and number of samples of a slice of a recording of ``total`` samples."""
    if not (math.isfinite(start_s) and start_s >= 0):
        raise AudioError(f"{name}: start_s={start_s}: a time in seconds from 0")
    if duration_s is not None and not (math.isfinite(duration_s) and duration_s > 0):
        raise AudioError(f"{name}: duration_s={duration_s}: a time in seconds above 0")
    first = round(start_s * rate)
    end = total if duration_s is None else round((start_s + duration_s) * rate)
    if first >= total or end > total + _SLICE_SLACK_S * rate:
        wanted = f"{start_s:g} s to {'the end' if duration_s is None else f'{start_s + duration_s:g} s'}"
        raise AudioError(f"{name}: the slice from {wanted} is outside its {total / rate:g} s; correct the times")
    if end <= first:
        raise AudioError(f"{name}: duration_s={duration_s} is less than one sample at {rate} Hz")
    return first, min(end, total) - first


def _check_rate(rate: float, key: str, name: str = "") -> None:
    if not LOWEST_RATE_HZ <= rate <= HIGHEST_RATE_HZ:
        where = f"{name}: {key}" if name else key
        raise AudioError(f"{where}={rate}: from {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz")


def _truncated(name: str, claimed: int, held: int) -> AudioError:
    return AudioError(f"{name}: truncated, it claims {claimed} samples and holds {held}; download or copy it again")
