"""A folder of noises or room responses, read by excerpt and cached up to a limit."""

from __future__ import annotations

import collections

import numpy as np

from speechgru.audio import AudioInfo, audio_info, find_audio, read_audio

_LONGEST_WHOLE_S = 120.0  # longer recordings are never decoded whole


class Recordings:
    """The recordings in ``folder`` (any depth; or a file, or a glob), as numpy waveforms ``(samples,)``.

    A recording of up to two minutes is decoded once and kept while the cache of ``cache_mb`` has room (the least
    recently used is dropped first); longer ones are read by excerpt. The results never depend on what the cache holds.
    Each worker process of a loader has a cache of its own.

    Raises:
        AudioError: the folder is missing or holds no audio; later also a recording that cannot be used, with its name.
    """

    def __init__(self, folder: str, cache_mb: float) -> None:
        self.paths = find_audio([folder])
        self._cache_bytes = cache_mb * 2**20
        self._held_bytes = 0
        self._whole: collections.OrderedDict[tuple[int, int], np.ndarray] = collections.OrderedDict()
        self._infos: dict[int, AudioInfo] = {0: audio_info(self.paths[0])}

    def __len__(self) -> int:
        return len(self.paths)

    def info(self, index: int) -> AudioInfo:
        """Rate and length of a recording; the header is read once."""
        if index not in self._infos:
            self._infos[index] = audio_info(self.paths[index])
        return self._infos[index]

    def whole(self, index: int, sample_rate: int) -> np.ndarray:
        """A whole recording at ``sample_rate``; shared, so do not write into it."""
        key = (index, sample_rate)
        if key in self._whole:
            self._whole.move_to_end(key)
            return self._whole[key]
        samples = read_audio(self.paths[index], sample_rate)[0].numpy()
        samples.flags.writeable = False
        if samples.nbytes <= self._cache_bytes:
            self._whole[key] = samples
            self._held_bytes += samples.nbytes
            while self._held_bytes > self._cache_bytes:
                self._held_bytes -= self._whole.popitem(last=False)[1].nbytes
        return samples

    def excerpt(self, index: int, sample_rate: int, samples: int, rng: np.random.Generator) -> np.ndarray:
        """``samples`` samples from a drawn place; a shorter recording is repeated from a drawn sample on."""
        length_s, wanted_s = self.info(index).duration_s, samples / sample_rate + 0.01
        if length_s > max(_LONGEST_WHOLE_S, wanted_s):
            start_s = rng.uniform(0, length_s - wanted_s)
            return read_audio(self.paths[index], sample_rate, start_s=start_s, duration_s=wanted_s)[0].numpy()[:samples]
        whole = self.whole(index, sample_rate)
        if len(whole) < samples:
            return np.resize(np.roll(whole, -int(rng.integers(len(whole)))), samples)
        start = int(rng.integers(len(whole) - samples + 1))
        return whole[start : start + samples]
