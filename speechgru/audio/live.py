"""Sound while it is being made: a microphone, or raw samples from a pipe."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from speechgru.audio.decoder import check_rate
from speechgru.errors import AudioError, ConfigError

if TYPE_CHECKING:
    from types import ModuleType

# The most sound that may wait to be read; sound beyond this is dropped and counted.
MOST_WAITING_S = 10.0
# A microphone that is silent gives zeros; one that gives nothing for this long is gone.
_GONE_S = 3.0
_HEADERS = (b"RIFF", b"fLaC", b"OggS", b"ID3", b"FORM", b"NIST")


@dataclass(frozen=True, slots=True)
class Block:
    """The next samples.

    Attributes:
        samples: (samples,) or (channels, samples).
        lost: how many samples before these were dropped.
    """

    samples: np.ndarray
    lost: int = 0


def read_pcm(stream: BinaryIO, rate: int, block_s: float = 0.1, name: str = "standard input") -> Iterator[Block]:
    """The samples of a pipe as they come: signed 16 bits, little-endian, one channel, without a header.

    Args:
        stream: buffered, as ``sys.stdin.buffer``.
        rate: samples per second.
        block_s: the longest block in seconds.
        name: of the pipe, for messages.

    Raises:
        AudioError: a rate no sound has, nothing at all, or a file of audio instead of samples.
    """
    check_rate(rate, "--rate")
    most, rest, first = max(1, round(block_s * rate)) * 2, b"", True
    while content := stream.read1(most):  # type: ignore[attr-defined]
        if first and content.startswith(_HEADERS):
            raise AudioError(
                f"{name}: a file of audio, but raw samples of 16 bits are read here; give the file by name"
            )
        first = False
        content = rest + content
        whole = len(content) // 2 * 2
        rest = content[whole:]
        if whole:
            yield Block(np.frombuffer(content[:whole], "<i2").astype(np.int16))
    if first:
        raise AudioError(f"{name}: no samples; pipe sound into it, for example: arecord -t raw -f S16_LE -r {rate}")


class Microphone:
    """The sound of a microphone in blocks, as a context manager.

    A thread of the driver fills a queue. When that is full because nobody reads, sound is dropped and counted; the
    queue never grows.

    Args:
        device: number or part of the name; None takes the system's default.
        block_s: length of a block in seconds.
        waiting_s: how much may wait to be read, in seconds.

    Attributes:
        rate: samples per second, that of the device.
        name: of the device.
        lost: samples dropped so far.

    Raises:
        ConfigError: the package sounddevice, or the library it needs, is not installed; no such device.
        AudioError: the device gives no sound.
    """

    def __init__(self, device: str | None = None, block_s: float = 0.1, waiting_s: float = MOST_WAITING_S) -> None:
        self._sound = _sounddevice()
        self.lost = 0
        self._before = 0  # of these, those since the last block that was queued
        self._queue: queue.Queue[Block | None] = queue.Queue(max(1, round(waiting_s / block_s)))
        wanted = int(device) if device is not None and device.isdecimal() else device
        try:
            info = self._sound.query_devices(wanted, "input")
            self.name, self.rate = f"microphone {info['name']}", round(info["default_samplerate"])
            self._stream = self._sound.InputStream(
                device=wanted,
                samplerate=self.rate,
                channels=1,
                dtype="float32",
                blocksize=round(block_s * self.rate),
                callback=self._take,
                finished_callback=self._end,
            )
        except (self._sound.PortAudioError, ValueError) as error:
            shown = "the system's microphone" if device is None else f"--microphone {device}"
            reason = " ".join(str(error).split()).rstrip(".")
            raise ConfigError(f"{shown}: {reason}; plug one in, or give a file or - (speechgru listen FILE)") from None

    def __enter__(self) -> Microphone:
        try:
            self._stream.start()
        except self._sound.PortAudioError as error:
            raise AudioError(f"{self.name}: cannot be opened ({error}); does another program use it?") from None
        return self

    def __exit__(self, *error: object) -> None:
        self._stream.close()

    def blocks(self) -> Iterator[Block]:
        """The blocks, until the device is gone.

        Raises:
            AudioError: the device is gone.
        """
        last = time.monotonic()
        while True:
            try:
                block = self._queue.get(timeout=0.2)
            except queue.Empty:
                # The queue is asked at short intervals: Ctrl-C is not handled while it waits.
                if time.monotonic() - last < _GONE_S:
                    continue
                block = None
            if block is None:
                raise AudioError(f"{self.name}: gives no sound any more; is it still plugged in?")
            last = time.monotonic()
            yield block

    def _take(self, sound: np.ndarray, frames: int, times: object, status: object) -> None:
        """Called by the driver, in its thread."""
        try:
            self._queue.put_nowait(Block(sound[:, 0].copy(), self._before))
            self._before = 0
        except queue.Full:
            self.lost += frames
            self._before += frames

    def _end(self) -> None:
        try:
            self._queue.put_nowait(None)
        except queue.Full:  # blocks() notices by the time without sound
            return


def _sounddevice() -> ModuleType:
    try:
        import sounddevice
    except ModuleNotFoundError:
        raise ConfigError(
            "a microphone needs the package sounddevice: pip install 'speechgru[mic]'; or give a file or -"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"a microphone needs the library PortAudio ({error}): apt-get install libportaudio2; or give a file or -"
        ) from None
    return sounddevice
