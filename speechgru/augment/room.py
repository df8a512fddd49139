"""Rooms: convolution with an impulse response, recorded or synthetic."""

from __future__ import annotations

import dataclasses

import numpy as np

from speechgru.augment.draw import check_probability, check_range, happens
from speechgru.augment.recordings import Recordings
from speechgru.errors import ConfigError


@dataclasses.dataclass
class RoomConfig:
    """Settings of :class:`Room`.

    Attributes:
        probability: of putting a clip into a room, 0 to 1.
        folder: impulse responses (a folder, a file or a glob); empty: synthetic ones.
        min_rt60_s, max_rt60_s: the time in which the sound of synthetic responses decays by 60 dB is drawn uniformly
            between the two, 0.01 to 5 seconds.
        min_direct_db, max_direct_db: in synthetic responses the energy of the direct sound relative to that of the
            reverberation is drawn uniformly, in dB, between the two, -20 to 60.
        synthetic: fraction of the clips in rooms that get a synthetic response although there is a folder, 0 to 1.
        cache_mb: memory for decoded responses in each worker process, 0 or more.
    """

    probability: float = 0.0
    folder: str = ""
    min_rt60_s: float = 0.1
    max_rt60_s: float = 0.6
    min_direct_db: float = 0.0
    max_direct_db: float = 15.0
    synthetic: float = 0.0
    cache_mb: float = 64.0

    def __post_init__(self) -> None:
        check_probability("room", self)
        check_range("room", self, "min_rt60_s", "max_rt60_s", 0.01, 5)
        check_range("room", self, "min_direct_db", "max_direct_db", -20, 60)
        if not 0 <= self.synthetic <= 1:
            raise ConfigError(f"room.synthetic={self.synthetic}: from 0 to 1")
        if not self.cache_mb >= 0:
            raise ConfigError(f"room.cache_mb={self.cache_mb}: at least 0")


def reverberate(samples: np.ndarray, response: np.ndarray) -> np.ndarray:
    """The samples ``(samples,)`` heard in the room of the impulse response ``(taps,)``.

    The direct path (the response's largest tap) is moved to time 0, so that words stay where they were; the energy and
    the length are those of the input (what would ring on after the end is cut). With silence, or an all-zero response,
    the samples come back as they are.
    """
    import scipy.fft

    direct = int(np.abs(response).argmax())
    count = len(samples)
    energy = float(samples @ samples)
    if energy <= 0 or response[direct] == 0:
        return samples
    response = response[: direct + count] / response[direct]
    # Only outputs direct ... direct + count - 1 are kept. The end may wrap around into those before: a shorter
    # transform will do.
    size = scipy.fft.next_fast_len(max(count + len(response) - 1 - direct, count + direct), real=True)
    product = scipy.fft.rfft(samples, size) * scipy.fft.rfft(response.astype(np.float32, copy=False), size)
    heard = scipy.fft.irfft(product, size)[direct : direct + count]
    return heard * np.float32(np.sqrt(energy / max(float(heard @ heard), 1e-30)))


def synthetic_response(sample_rate: int, rt60_s: float, direct_db: float, rng: np.random.Generator) -> np.ndarray:
    """A response ``(rt60_s * sample_rate,)``: a unit tap, then Gaussian noise that decays by 60 dB in ``rt60_s``.

    Polack's statistical model of late reverberation (1988); ``direct_db`` is the energy of the tap relative to the
    noise.
    """
    tail = rng.standard_normal(max(1, round(rt60_s * sample_rate)), dtype=np.float32)
    tail *= np.exp(np.arange(len(tail), dtype=np.float32) * np.float32(-3 * np.log(10) / (rt60_s * sample_rate)))
    tail *= np.float32(10 ** (-direct_db / 20) / np.sqrt(float(tail @ tail)))
    return np.concatenate([np.ones(1, np.float32), tail])


class Room:
    """Convolves a clip with a drawn room impulse response.

    Raises:
        AudioError: ``config.folder`` is missing or holds no audio; later also a response that cannot be used, with its
            name.
    """

    def __init__(self, config: RoomConfig) -> None:
        self.config = config
        self.recordings = Recordings(config.folder, config.cache_mb) if config.folder and config.probability else None

    def __call__(self, samples: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
        """The clip in the drawn room, of the same length and energy; see :class:`RoomConfig`."""
        config = self.config
        if not happens(rng, config.probability):
            return samples
        if self.recordings is None or happens(rng, config.synthetic):
            rt60_s = rng.uniform(config.min_rt60_s, config.max_rt60_s)
            direct_db = rng.uniform(config.min_direct_db, config.max_direct_db)
            response = synthetic_response(sample_rate, rt60_s, direct_db, rng)
        else:
            response = self.recordings.whole(int(rng.integers(len(self.recordings))), sample_rate)
        return reverberate(samples, response)
