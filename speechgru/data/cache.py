"""Decoded audio kept in memory, exactly as decoded, up to a stated number of megabytes."""

from __future__ import annotations

import mmap

import numpy as np
import torch

_HALF, _FULL = 1, 2


class WaveformCache:
    """Waveforms by index in one block of memory that the workers of a DataLoader share where they are forked.

    A waveform that came from 16-bit samples is kept in 16 bits, any other in 32, so it comes back bit for bit. What
    does not fit any more is simply not kept. Memory is taken page by page as it fills.

    Args:
        count: number of indices.
        capacity_mb: size of the block in MB (2^20 bytes); 0 keeps nothing.
    """

    def __init__(self, count: int, capacity_mb: float):
        self.count, self.capacity_mb = count, capacity_mb
        self._open()

    def _open(self) -> None:
        import multiprocessing

        self._capacity = int(self.capacity_mb * 2**20)
        # Anonymous shared memory: forked workers write into the same pages, and no /dev/shm limit applies.
        self._block = mmap.mmap(-1, self._capacity) if self._capacity else None
        # offset, samples and kind (0: absent) of each index, and in the last row the bytes in use.
        self._rows = np.frombuffer(mmap.mmap(-1, (self.count + 1) * 24), np.int64).reshape(-1, 3)
        self._lock = multiprocessing.Lock()

    @property
    def used_bytes(self) -> int:
        """Bytes of the block in use."""
        return int(self._rows[self.count, 0])

    def get(self, index: int) -> torch.Tensor | None:
        """A fresh copy of the waveform ``(samples,)`` kept under ``index``, or None."""
        offset, samples, kind = self._rows[index].tolist()
        if not kind or self._block is None:
            return None
        if kind == _HALF:
            half = np.frombuffer(self._block, np.int16, samples, offset)
            return torch.from_numpy(half.astype(np.float32) * np.float32(2.0**-15))
        return torch.from_numpy(np.frombuffer(self._block, np.float32, samples, offset).copy())

    def put(self, index: int, waveform: torch.Tensor) -> None:
        """Keep a waveform ``(samples,)`` float32 if it fits and is not there yet."""
        if self._block is None:
            return
        values = waveform.numpy()
        scaled = values * np.float32(2.0**15)
        # The 16-bit form must give back the same bits, so -0.0 and values outside the range are kept as float32.
        half = np.clip(np.rint(scaled), -(2**15), 2**15 - 1).astype(np.int16)
        exact = np.array_equal((half.astype(np.float32) * np.float32(2.0**-15)).view(np.int32), values.view(np.int32))
        kind, data = (_HALF, half) if exact else (_FULL, values)
        size = -(-data.nbytes // 8) * 8
        with self._lock:
            offset = self.used_bytes
            if self._rows[index, 2] or offset + size > self._capacity:
                return
            self._rows[self.count, 0] = offset + size
        self._block[offset : offset + data.nbytes] = data.tobytes()
        self._rows[index, :2] = offset, len(data)
        self._rows[index, 2] = kind  # last: from here on others see it

    def __getstate__(self) -> dict[str, float]:
        # A spawned (not forked) worker cannot share the pages; it begins with an empty cache of its own.
        return {"count": self.count, "capacity_mb": self.capacity_mb}

    def __setstate__(self, state: dict[str, float]) -> None:
        self.__init__(**state)  # type: ignore[misc]
