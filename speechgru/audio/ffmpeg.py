"""Decodes what libsndfile does not, with the program ffmpeg where it is installed."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import re
import shutil
import subprocess
import tempfile
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from speechgru.errors import AudioError

if TYPE_CHECKING:
    import soundfile

FFMPEG_SUFFIXES = (
    *(".m4a", ".m4b", ".aac", ".mp4", ".m4v", ".mov", ".3gp", ".webm", ".weba", ".mkv", ".mka", ".wma", ".wmv"),
    *(".avi", ".amr", ".caf"),
)

_LONGEST_BYTES = 4_000_000_000  # of decoded samples: 5.7 hours of stereo at 48 kHz
_LONGEST_WAIT_S = 600.0
_MP4 = (b"ftyp", b"moov", b"mdat", b"wide")


def demuxer(head: bytes) -> str:
    """ffmpeg's name for the container of a file that begins with ``head``; empty where it is none of those.

    ffmpeg is forced to use it: otherwise it could take a file for a playlist that names other files.
    """
    if head[4:8] in _MP4:
        return "mov"
    if head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xF6 == 0xF0:  # ADTS: the layer of mp3 is never 0
        return "aac"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    known = {b"\x1aE\xdf\xa3": "matroska", b"0&\xb2u": "asf", b"#!AM": "amr", b"caff": "caf"}
    return known.get(head[:4], "")


def open_with_ffmpeg(
    stream: BinaryIO, name: str, container: str, stack: contextlib.ExitStack, longest_s: float = math.inf
) -> soundfile.SoundFile:
    """The first sound of a file, decoded to float samples in a temporary file that is removed when ``stack`` closes.

    Args:
        stream: the file, seekable.
        name: what messages call it.
        container: ffmpeg's name of it (:func:`demuxer`).
        stack: closes the result and removes the temporary file.
        longest_s: if there is more sound, it is decoded up to a second beyond this, and the rest is ignored.

    Raises:
        AudioError: ffmpeg is not installed, or cannot decode the file whole.
    """
    import soundfile

    program = shutil.which("ffmpeg")
    if program is None:
        raise AudioError(
            f"{name}: needs ffmpeg, which is not installed (apt install ffmpeg, brew install ffmpeg); or convert it "
            "elsewhere: ffmpeg -i IN OUT.flac"
        )
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="speechgru-"))
    source, decoded, said = _path(stream, folder), os.path.join(folder, "decoded.wav"), os.path.join(folder, "said.txt")
    command = [
        *(program, "-nostdin", "-hide_banner", "-v", "error", "-xerror", "-err_detect", "crccheck+explode"),
        *("-protocol_whitelist", "file", "-f", container, "-i", f"file:{source}"),
        *("-map", "0:a:0", "-c:a", "pcm_f32le", "-fs", str(_LONGEST_BYTES)),
        *(("-t", f"{longest_s + 1:f}") if math.isfinite(longest_s) else ()),
        *("-f", "wav", f"file:{decoded}"),
    ]
    try:
        with open(said, "wb") as errors:
            code = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, timeout=_LONGEST_WAIT_S
            ).returncode
    except subprocess.TimeoutExpired:
        raise AudioError(f"{name}: ffmpeg was not done in {_LONGEST_WAIT_S:g} s; convert it to flac yourself") from None
    except OSError as error:
        raise AudioError(f"{name}: ffmpeg cannot be run ({error.strerror}); convert it to flac") from error
    complaints = _lines(said)
    if code or complaints:
        if any("matches no streams" in line for line in complaints):
            raise AudioError(f"{name}: holds no sound; leave it out")
        reason = complaints[-1].replace(f"file:{source}: ", "") if complaints else f"exit code {code}"
        raise AudioError(f"{name}: truncated or damaged, ffmpeg cannot decode it ({reason}); download it again")
    if os.path.getsize(decoded) > 0.999 * _LONGEST_BYTES:
        raise AudioError(f"{name}: more than {_LONGEST_BYTES / 1e9:g} GB of samples; cut it into shorter files")
    try:
        return stack.enter_context(soundfile.SoundFile(decoded))
    except (soundfile.SoundFileError, OSError) as error:
        raise AudioError(f"{name}: ffmpeg decoded no samples; leave it out") from error


def open_flac(
    stream: BinaryIO, name: str, reason: str, stack: contextlib.ExitStack, duration_s: float
) -> soundfile.SoundFile:
    """A FLAC file that libsndfile cannot decode, decoded by ffmpeg, if the file is intact all the same.

    libFLAC 1.2 and 1.3 silently wrote samples that exceed the bits of the file (+32768 in 16 bits, from floats that are
    not clipped; libflac.js in a browser does this). From 1.4 on it refuses such a frame: "lost sync". The MD5 sum in
    the header, taken over the samples in their bits, tells an intact file from a damaged one. At most ``duration_s``,
    which the header states, and a second are decoded.

    Raises:
        AudioError: the samples do not match the MD5 sum, or ffmpeg is not installed.
    """
    damaged = AudioError(f"{name}: truncated or damaged ({reason}); download or convert it again")
    if shutil.which("ffmpeg") is None:
        raise AudioError(
            f"{name}: libsndfile cannot decode it ({reason}): it is truncated or damaged, or holds samples beyond its "
            "bits, which ffmpeg reads; install ffmpeg, or convert it elsewhere: ffmpeg -i IN OUT.wav"
        )
    try:
        decoder = open_with_ffmpeg(stream, name, "flac", stack, duration_s)
    except AudioError:
        raise damaged from None
    stream.seek(0)
    head = stream.read(42)
    bits = 1 + ((head[20] & 1) << 4 | head[21] >> 4)  # RFC 9639, section 8.2
    total = (head[21] & 15) << 32 | int.from_bytes(head[22:26], "big")
    expected = head[26:42]
    if head[:4] != b"fLaC" or bits > 24 or decoder.frames != total or not any(expected):
        raise damaged
    if _md5(decoder, bits) != expected:
        raise damaged
    decoder.seek(0)
    return decoder


def _md5(decoder: soundfile.SoundFile, bits: int) -> bytes:
    """The sum of all samples as little-endian integers of whole bytes, channels interleaved."""
    found = hashlib.md5(usedforsecurity=False)
    for block in decoder.blocks(1 << 20, dtype="float32", always_2d=True):
        values = np.rint(block * 2.0 ** (bits - 1)).astype("<i4").reshape(-1, 1).view(np.uint8)
        found.update(values[:, : (bits + 7) // 8].tobytes())
    return found.digest()


def _path(stream: BinaryIO, folder: str) -> str:
    """A path under which ffmpeg finds the content of a stream."""
    name = getattr(stream, "name", None)
    if isinstance(name, str | bytes) and os.path.isfile(name):
        return os.path.abspath(os.fsdecode(name))
    path = os.path.join(folder, "encoded")
    stream.seek(0)
    with open(path, "wb") as file:
        shutil.copyfileobj(stream, file)
    return path


def _lines(path: str) -> list[str]:
    """What ffmpeg said last, without the addresses of the parts that said it."""
    with open(path, "rb") as file:
        file.seek(max(0, os.path.getsize(path) - 4096))
        lines = file.read().decode("utf-8", "replace").splitlines()
    return [re.sub(r"^\[[^]]*\] ", "", line).strip() for line in lines if line.strip()]
