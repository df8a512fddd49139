"""Reads recordings, or slices of them, whole or in blocks, at the rate that is wanted."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from speechgru.audio.decoder import check_rate, open_audio
from speechgru.audio.samples import from_array, full_scale_one, mono
from speechgru.errors import AudioError

if TYPE_CHECKING:  # imported by the functions that need it: the command line stays quick
    import torch

    from speechgru.audio.decoder import File

    Source = File | np.ndarray | torch.Tensor

_SLICE_SLACK_S = 0.05  # manifests round their times; a slice may end this far past the end and is then cut there
_BLOCK = 1 << 20  # frames read at once: a header that falsely claims a terabyte must not allocate it


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
) -> tuple[torch.Tensor, int]:
    """Reads a recording, or a slice of it, as mono float32 samples, full scale at 1.

    The channels are averaged. A slice is cut at the recording's own rate (nearest sample) and then resampled; only the
    slice is decoded, except in mp3, which does not allow exact seeking: everything before the slice is decoded too, and
    dropped. An mp3 of variable bit rate without a Xing header does not state its length, and libsndfile does not know
    it either: convert such files. Silence is legitimate (a class of its own in keyword corpora).

    Args:
        source: a path; ``"-"`` for standard input; the bytes of a file; a binary file object; or samples as a numpy
            array or tensor, ``(samples,)`` or ``(channels, samples)``, float or int8/16/32, uint8 at full scale.
        sample_rate: the rate wanted, in Hz (1000 to 768000); None keeps the recording's own.
        start_s: where the slice begins, in seconds, from 0.
        duration_s: how long it lasts, in seconds, above 0; None means to the end. It may reach 50 ms past the end
            (manifests round their times) and is then cut there.
        source_rate: the rate of an array, in Hz; not for files, which state their own.

    Returns:
        The waveform ``(samples,)``, never sharing memory with the source, and its rate in Hz.

    Raises:
        AudioError: missing, a directory, empty, not audio, truncated, no samples, NaN or infinite samples, floats
            above 16 (samples of 16 bits that were not divided), more than 32 channels, an impossible rate, a slice
            outside the recording.
    """
    import torch

    if sample_rate is not None:
        check_rate(sample_rate, "sample_rate")
    if isinstance(source, np.ndarray | torch.Tensor):
        values, name, rate = from_array(source, source_rate)
        first, count = _span(values.shape[1], rate, start_s, duration_s, name)
        values = full_scale_one(values[:, first : first + count], name)
    else:
        with open_audio(source) as decoder:
            name, rate = decoder.name, decoder.sample_rate
            if source_rate is not None and source_rate != rate:
                raise AudioError(f"{name}: source_rate={source_rate}, but it is of {rate} Hz; leave source_rate out")
            blocks = list(decoder.blocks(*_span(decoder.samples, rate, start_s, duration_s, name), _BLOCK))
            values = (blocks[0] if len(blocks) == 1 else np.concatenate(blocks)).T
    samples = mono(values, name, rate)
    waveform = torch.from_numpy(np.ascontiguousarray(samples))
    if sample_rate is None or sample_rate == rate:
        return waveform, rate
    waveform = resample(waveform, rate, sample_rate)
    if not len(waveform):
        raise AudioError(f"{name}: {len(samples)} samples at {rate} Hz are none at {sample_rate} Hz; leave it out")
    return waveform, sample_rate


def read_blocks(
    source: File,
    sample_rate: int | None = None,
    *,
    block_s: float = 10.0,
    start_s: float = 0.0,
    duration_s: float | None = None,
) -> Iterator[tuple[np.ndarray, int]]:
    """The samples that :func:`read_audio` gives for a recording or a slice of it, a part at a time, however long it is.

    One block is held in memory, decoded and resampled; a source that cannot seek (a pipe) is held whole in its
    compressed form.

    Args:
        source: a path, ``"-"``, the bytes of a file, or a binary file object.
        sample_rate: the rate wanted, in Hz (1000 to 768000); None keeps the recording's own.
        block_s: length of a block in seconds, above 0; the resampler makes the first shorter and the last longer.
        start_s: where a slice begins, as for :func:`read_audio`.
        duration_s: how long it lasts; None: to the end.

    Yields:
        Mono float32 samples (samples,), not empty, and their rate in Hz.

    Raises:
        AudioError: as :func:`read_audio`; an error further on is found when it is reached.
    """
    import soxr

    if sample_rate is not None:
        check_rate(sample_rate, "sample_rate")
    with open_audio(source) as decoder:
        name, rate, done, given = decoder.name, decoder.sample_rate, 0, 0
        first, total = _span(decoder.samples, rate, start_s, duration_s, name)
        wanted = sample_rate or rate
        stream = None if wanted == rate else soxr.ResampleStream(rate, wanted, 1, dtype="float32", quality="HQ")
        for block in decoder.blocks(first, total, max(1, round(block_s * rate))):
            samples = mono(block.T, name, rate, first + done)
            done += len(samples)
            if stream is not None:
                samples = stream.resample_chunk(samples, last=done >= total)
            given += len(samples)
            if len(samples):
                yield np.ascontiguousarray(samples), wanted
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

    check_rate(from_hz, "from_hz")
    check_rate(to_hz, "to_hz")
    if from_hz == to_hz:
        return waveform
    samples = np.ascontiguousarray(waveform.detach().cpu().numpy(), dtype=np.float32)
    return torch.from_numpy(soxr.resample(samples, from_hz, to_hz, quality="HQ"))


def audio_info(path: str | os.PathLike[str], longest_s: float = math.inf) -> AudioInfo:
    """What the header says, without decoding unless ffmpeg must; errors are raised as by :func:`read_audio`.

    Args:
        path: of the recording.
        longest_s: for when it only matters whether the recording is longer than this: ffmpeg stops a second later, and
            that length is returned.
    """
    with open_audio(path, longest_s) as decoder:
        rate, samples = decoder.sample_rate, decoder.samples
        return AudioInfo(rate, samples, decoder.channels, samples / rate)


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
