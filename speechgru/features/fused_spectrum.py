"""Samples to mel powers: a compiled loop cuts and weighs the windows, torch transforms them, another sums the bands.

Taken by :class:`~speechgru.features.spectrum.MelSpectrum` where no gradient is asked for. It works on as many frames at
once as stay in the cache, of one utterance or of several, and no frame's values depend on its neighbours.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor

from speechgru.compiled import kernel
from speechgru.features.convention import Padding
from speechgru.features.frames import Framing

BLOCK_FRAMES = 128  # windows and spectra of 512 samples take half a megabyte
_REFLECT, _MIRROR = 1, 2
_PADDINGS = {Padding.reflect: _REFLECT, Padding.mirror: _MIRROR}  # the others: zeros


@kernel(nogil=True, fastmath={"reassoc", "contract"})
def _windows(waveforms, lengths, starts, begin, end, first, padding, hop, weights, preemphasis, remove_dc, out):
    """The weighted windows of frames ``begin`` to ``end`` of all, of which utterance u has those from ``starts[u]`` on.

    With y(n) = x(n) - preemphasis * x(n - 1), where the first sample of a window stands before itself, and m the mean
    of the window: out = weights * (y - (1 - preemphasis) * m).
    """
    window = len(weights)
    edge = np.empty(window, np.float32)
    row = np.searchsorted(starts, begin, "right") - 1
    for frame in range(begin, end):
        while frame >= starts[row + 1]:
            row += 1
        signal, samples, at = waveforms[row], lengths[row], first + (frame - starts[row]) * hop
        if at < 0 or at + window > samples:
            for n in range(window):
                place = _source(at + n, samples, padding)
                edge[n] = signal[place] if place >= 0 else np.float32(0)
            signal, at = edge, 0
        mean = np.float32(0)
        if remove_dc:
            for n in range(window):
                mean += signal[at + n]
            mean *= (np.float32(1) - preemphasis) / np.float32(window)
        target = out[frame - begin]
        target[0] = weights[0] * (signal[at] - preemphasis * signal[at] - mean)
        for n in range(1, window):
            target[n] = weights[n] * (signal[at + n] - preemphasis * signal[at + n - 1] - mean)


@kernel(nogil=True, fastmath={"reassoc", "contract"})
def _mel_powers(spectra, starts, begin, end, bands, filters, floor, out):
    """``out[u, t]``: the filterbank's sums of the powers of spectra ``(frames, bins, 2)``, at least ``floor``.

    Band b takes the bins from ``bands[b, 0]`` on with the weights ``filters[bands[b, 1] : bands[b, 2]]``.
    """
    frames, bins = end - begin, spectra.shape[1]
    # The frames side by side: what is done for one is done for all in vectors, each with its own sums.
    powers, mel = np.empty((bins, frames), np.float32), np.empty((len(bands), frames), np.float32)
    for frame in range(frames):
        for k in range(bins):
            powers[k, frame] = spectra[frame, k, 0] ** 2 + spectra[frame, k, 1] ** 2
    for band in range(len(bands)):
        low, at, stop = bands[band, 0], bands[band, 1], bands[band, 2]
        total = mel[band]
        total[:] = 0
        for k in range(stop - at):
            weight, power = filters[at + k], powers[low + k]
            for frame in range(frames):
                total[frame] += weight * power[frame]
    row = np.searchsorted(starts, begin, "right") - 1
    for frame in range(frames):
        while begin + frame >= starts[row + 1]:
            row += 1
        target = out[row, begin + frame - starts[row]]
        for band in range(len(bands)):
            value = mel[band, frame]
            target[band] = floor if value < floor else value  # what is not a number stays


@kernel(nogil=True)
def _source(index, samples, padding):
    """:meth:`Framing.source` of one index: the sample that stands there, -1 for zero."""
    if 0 <= index < samples:
        return index
    if padding == _REFLECT:
        period = 2 * max(1, samples - 1)
        index = index % period
        return min(index, period - index, samples - 1)
    if padding == _MIRROR:
        period = 2 * samples
        index = index % period
        return min(index, period - 1 - index)
    return -1


class FusedSpectrum:
    """What :class:`MelSpectrum` computes up to the logarithm: mel powers, at least ``floor``.

    Args:
        framing: the frames.
        fft_size: samples of the transform.
        weights: of the window, its scale included, ``(window,)``.
        filters: the filterbank, ``(fft_size // 2 + 1, mels)``.
        preemphasis: coefficient of it.
        remove_dc: whether a window's mean is subtracted.
        floor: the smallest value given; 0 for no floor.
    """

    def __init__(
        self,
        framing: Framing,
        fft_size: int,
        weights: Tensor,
        filters: Tensor,
        preemphasis: float,
        remove_dc: bool,
        floor: float,
    ) -> None:
        self.framing, self.fft_size = framing, fft_size
        bands, values = [], [np.zeros(0)]
        for column in filters.double().numpy().T:
            used = column.nonzero()[0]
            low, high = (used[0], used[-1] + 1) if len(used) else (0, 0)
            begin = sum(map(len, values))
            bands.append((low, begin, begin + high - low))
            values.append(column[low:high])
        self._windowing = (weights.float().numpy(), np.float32(preemphasis), remove_dc)
        self._filters = (np.array(bands), np.concatenate(values).astype(np.float32), np.float32(floor))

    def of_batch(self, waveforms: Tensor, lengths: Tensor, counts: Tensor, time: int) -> Tensor:
        """Waveforms ``(batch, samples)`` with their lengths and frames ``(batch,)``: ``(batch, time, mels)``.

        Frames beyond an utterance's own are 1.
        """
        framing = self.framing
        return self._run(waveforms, lengths, counts, time, framing.first, _PADDINGS.get(framing.padding, 0))

    def of_signals(self, signals: Tensor) -> Tensor:
        """Frames that lie inside the signals ``(batch, samples)``: ``(batch, frames, mels)``."""
        samples = signals.shape[1]
        frames = 1 + (samples - self.framing.window) // self.framing.hop
        lengths, counts = torch.tensor([[samples], [frames]]).expand(2, len(signals))
        return self._run(signals, lengths, counts, frames, 0, 0)

    def _run(self, waveforms: Tensor, lengths: Tensor, counts: Tensor, time: int, first: int, padding: int) -> Tensor:
        bands, *_ = self._filters
        out = waveforms.new_ones(len(waveforms), time, len(bands))
        # One type of each argument, or numba compiles another kernel.
        signals, samples = waveforms.detach().contiguous().numpy(), lengths.to("cpu", torch.int64).contiguous().numpy()
        starts = np.array([0, *itertools.accumulate(counts.tolist())])
        total = int(starts[-1])
        rows = min(total, BLOCK_FRAMES)
        windows = torch.zeros(rows, self.fft_size)
        spectra = torch.empty(rows, self.fft_size // 2 + 1, dtype=torch.complex64)
        weighted, parts, target = windows.numpy(), torch.view_as_real(spectra).numpy(), out.numpy()
        for begin in range(0, total, BLOCK_FRAMES):
            rows = min(total - begin, BLOCK_FRAMES)
            place = (starts, begin, begin + rows)
            _windows(signals, samples, *place, first, padding, self.framing.hop, *self._windowing, weighted)
            torch.fft.rfft(windows[:rows], out=spectra[:rows])
            _mel_powers(parts, *place, *self._filters, target)
        return out
