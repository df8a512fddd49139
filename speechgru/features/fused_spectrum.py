"""Samples to mel powers in one compiled loop, as many frames side by side as fourier.py transforms at once.

Taken by :class:`~speechgru.features.spectrum.MelSpectrum` where no gradient is asked for. The frames may be of one
utterance or of several, and no frame's values depend on its neighbours.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor

from speechgru.compiled import kernel
from speechgru.features.convention import Padding
from speechgru.features.fourier import FAST, LANES, bins, plan, power, transform
from speechgru.features.frames import Framing

_REFLECT, _MIRROR = 1, 2
_PADDINGS = {Padding.reflect: _REFLECT, Padding.mirror: _MIRROR}  # the others: zeros
_loop = kernel(nogil=True, fastmath=FAST, error_model="numpy")


@_loop
def _mel_powers(waveforms, lengths, starts, framing, windowing, passes, bins, bands, floor, out):
    """``out[u, t]``: mel powers of frame t of utterance u, whose frames begin at ``starts[u]``; at least ``floor``."""
    points = passes[1].shape[1]
    samples, other = np.zeros((points, 2 * LANES), np.float32), np.zeros((points, 2 * LANES), np.float32)
    rows, columns = other.reshape(LANES, 2 * points), samples.reshape(-1, LANES)
    window, mels = len(windowing[0]), out.shape[2]
    edge, sums = np.empty(window, np.float32), np.empty((mels + 1, 2 * LANES), np.float32)
    places, row = np.zeros((LANES, 2), np.int64), 0
    for begin in range(0, starts[-1], LANES):
        frames = min(LANES, starts[-1] - begin)
        for lane in range(frames):
            while begin + lane >= starts[row + 1]:
                row += 1
            frame = begin + lane - starts[row]
            places[lane] = row, frame
            _window(waveforms[row], lengths[row], frame, framing, windowing, edge, rows[lane])
        for n in range(window):
            for lane in range(LANES):
                columns[n, lane] = rows[lane, n]
        columns[window:] = 0
        sums[:] = 0
        _add_bands(transform(samples, other, *passes), bins, bands, sums)
        for lane in range(frames):
            target = out[places[lane, 0], places[lane, 1]]
            for mel in range(mels):
                value = sums[mel, LANES + lane] + sums[mel + 1, lane]
                target[mel] = floor if value < floor else value  # what is not a number stays


@_loop
def _add_bands(spectra, bins, bands, sums):
    """Adds the power of each bin to the two bands that it lies in, with its shares in them."""
    (places, turns), (edges, shares) = bins, bands
    for k in range(len(turns)):
        place, mirrored, turn, edge = places[k, 0], places[k, 1], turns[k], edges[k]
        falling, rising = shares[k, 0], shares[k, 1]
        for lane in range(LANES):
            value = power(spectra, place, mirrored, turn, lane)
            sums[edge, lane] += falling * value
            sums[edge, LANES + lane] += rising * value


@_loop
def _window(signal, samples, frame, framing, windowing, edge, out):
    """The weighted window of a frame; ``edge`` is a place for the samples of one that reaches beyond the signal.

    With y(n) = x(n) - preemphasis * x(n - 1), where the first sample of a window stands before itself, and m the mean
    of the window: out = weights * (y - (1 - preemphasis) * m).
    """
    first, hop, padding = framing
    weights, preemphasis, remove_dc = windowing
    window, at = len(weights), first + frame * hop
    if at < 0 or at + window > samples:
        for n in range(window):
            place = _source(at + n, samples, padding)
            edge[n] = signal[place] if place >= 0 else np.float32(0)
        signal, at = edge, 0
    signal = signal[at : at + window]  # from here on no index is negative, and the compiler sees it
    mean = np.float32(0)
    if remove_dc:
        for n in range(window):
            mean += signal[n]
        mean *= (np.float32(1) - preemphasis) / np.float32(window)
    out[0] = weights[0] * (signal[0] - preemphasis * signal[0] - mean)
    for n in range(1, window):
        out[n] = weights[n] * (signal[n] - preemphasis * signal[n - 1] - mean)


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
        self.framing, self._mels, points = framing, filters.shape[1], fft_size // 2
        # The transform gives four times the powers.
        self._windowing = (0.5 * weights.float().numpy(), np.float32(preemphasis), remove_dc)
        # Band b rises from edge b to the next and falls from there to one more: a bin lies in two bands, which its edge
        # tells.
        padded = np.pad(filters.float().numpy(), ((0, 0), (1, 1)))
        edges = (padded[:, :-1] + padded[:, 1:]).argmax(1)
        shares = np.take_along_axis(padded, edges[:, None] + np.arange(2), 1)
        self._tables = (plan(points), bins(points), (edges, shares), np.float32(floor))

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
        out = waveforms.new_ones(len(waveforms), time, self._mels)
        _mel_powers(
            # One type of each argument, or numba compiles another kernel.
            waveforms.detach().contiguous().numpy(),
            lengths.to("cpu", torch.int64).contiguous().numpy(),
            np.array([0, *itertools.accumulate(counts.tolist())]),
            (first, self.framing.hop, padding),
            self._windowing,
            *self._tables,
            out.numpy(),
        )
        return out
