"""Samples to log-mel frames in one compiled loop, as many frames side by side as fourier.py transforms at once.

Used by :class:`~speechgru.features.spectrum.MelSpectrum` where no gradient is asked for. The frames may be of one
utterance or of several, and no frame's values depend on its neighbours.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from numba.extending import register_jitable
from torch import Tensor

from speechgru.compiled import kernel
from speechgru.features.convention import LogScale, Padding, Rules
from speechgru.features.fourier import FAST, LANES, bins, plan, power, transform
from speechgru.features.frames import Framing

_REFLECT, _MIRROR = 1, 2
_PADDINGS = {Padding.reflect: _REFLECT, Padding.mirror: _MIRROR}  # the others: zeros
_ONE, _LN_2, _INFINITY = np.float32(1), np.float32(math.log(2)), np.float32(math.inf)
_ROOT_HALF = np.float32(math.sqrt(0.5)).view(np.int32)
_TERMS = tuple(np.float32(2 / n) for n in (1, 3, 5, 7, 9))
_loop = kernel(nogil=True, fastmath=FAST, error_model="numpy")


@_loop
def _log_mel(waveforms, lengths, starts, framing, windowing, passes, bins, bands, scale, out):
    """``out[u, t]``: logarithms of the mel powers of frame t of utterance u, whose frames begin at ``starts[u]``."""
    points = passes[1].shape[1]
    samples, other = np.zeros((points, 2 * LANES), np.float32), np.zeros((points, 2 * LANES), np.float32)
    window, mels, columns = len(windowing[0]), out.shape[2], samples.reshape(-1, LANES)
    rows, sums = np.empty((LANES, window), np.float32), np.empty((mels + 1, 2 * LANES), np.float32)
    edge = np.empty(window, np.float32)
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
                target[mel] = sums[mel, LANES + lane] + sums[mel + 1, lane]
    for row in range(len(out)):
        _take_logs(out[row].reshape(-1)[: (starts[row + 1] - starts[row]) * mels], *scale)


@_loop
def _take_logs(powers, take_log, floor, reach):
    """Natural logarithms of an utterance's powers, in place, where ``take_log``.

    A power below ``floor`` is raised to it, and one below ``reach`` times the largest to that product; 0 switches
    either off.
    """
    if not take_log:
        return
    if reach > 0:
        loudest = np.int32(0)
        for n in range(len(powers)):
            loudest = max(loudest, np.float32(powers[n]).view(np.int32))  # bits in the values' order: none is negative
        faintest = reach * np.int32(loudest).view(np.float32)
        floor = floor if faintest < floor else faintest
    for n in range(len(powers)):
        value = powers[n]
        powers[n] = _log(floor if value < floor else value)  # a NaN stays a NaN


@_loop
def _products(rows, weight, out):
    """``out = rows @ weight.T``, every row by itself: a library may round a few rows differently from many."""
    for row in range(len(rows)):
        for column in range(len(weight)):
            total = np.float32(0)
            for n in range(rows.shape[1]):
                total += rows[row, n] * weight[column, n]
            out[row, column] = total


@register_jitable(fastmath=FAST, error_model="numpy", forceinline=True)
def _log(x):
    """ln(m * 2 ** e) with sqrt(1 / 2) <= m < sqrt(2): ln m by the series of artanh((m - 1) / (m + 1)), to 1e-6."""
    bits = np.float32(x).view(np.int32)
    exponent = (bits - _ROOT_HALF) >> np.int32(23)
    near = np.int32(bits - (exponent << np.int32(23))).view(np.float32)
    ratio = (near - _ONE) / (near + _ONE)
    square = ratio * ratio
    series = _TERMS[0] + square * (_TERMS[1] + square * (_TERMS[2] + square * (_TERMS[3] + square * _TERMS[4])))
    value = _LN_2 * np.float32(exponent) + ratio * series
    return value if x < _INFINITY else x


@_loop
def _add_bands(spectra, bins, bands, sums):
    """Adds the power of each bin to the two bands that it falls into, weighted by its share in each."""
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
    """The weighted window of a frame; ``edge`` is scratch memory for a window that reaches beyond the signal.

    With y(n) = x(n) - preemphasis * x(n - 1), where the first sample of a window is also taken as the one before it,
    and m the mean of the window: out = weights * (y - (1 - preemphasis) * m).
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


def project(frames: Tensor, weight: Tensor) -> Tensor:
    """``frames @ weight.T`` of float32 ``(..., features)`` and ``(coefficients, features)``."""
    out = torch.empty(*frames.shape[:-1], len(weight))
    _products(frames.detach().flatten(0, -2).numpy(), weight.numpy(), out.flatten(0, -2).numpy())
    return out


class FusedSpectrum:
    """What :class:`MelSpectrum` computes: mel powers, or their logarithms.

    Args:
        framing: the frames.
        rules: of pre-emphasis, mean and logarithm.
        weights: of the window, its scale included, and zeros up to the transform's size, ``(fft_size,)``.
        filters: the filterbank, ``(fft_size // 2 + 1, mels)``.
    """

    def __init__(self, framing: Framing, rules: Rules, weights: Tensor, filters: Tensor) -> None:
        self.framing, self._mels, points = framing, filters.shape[1], len(weights) // 2
        # The transform gives four times the powers.
        window = 0.5 * weights[: framing.window].float().numpy()
        self._windowing = (window, np.float32(rules.preemphasis), rules.remove_dc)
        # Band b rises from edge b to edge b + 1 and falls to edge b + 2. So a bin falls into two bands, and the edge
        # below it says which.
        padded = np.pad(filters.float().numpy(), ((0, 0), (1, 1)))
        edges = (padded[:, :-1] + padded[:, 1:]).argmax(1)
        shares = np.take_along_axis(padded, edges[:, None] + np.arange(2), 1)
        self._tables = (plan(points), bins(points), (edges, shares))
        reach = 10 ** (-rules.top_db / 10) if rules.log is LogScale.db else 0
        self._scale = (rules.log is not LogScale.none, np.float32(rules.log_floor), np.float32(reach))

    def of_batch(self, waveforms: Tensor, lengths: list[int], counts: list[int], time: int) -> Tensor:
        """Waveforms ``(batch, samples)``, their lengths and frame counts -> ``(batch, time, mels)``, then zeros."""
        place = self.framing.first, self.framing.hop, _PADDINGS.get(self.framing.padding, 0)
        return self._run(waveforms, lengths, counts, time, place)

    def of_signals(self, signals: Tensor) -> Tensor:
        """Frames that lie inside the signals ``(batch, samples)``: ``(batch, frames, mels)``."""
        (batch, samples), hop = signals.shape, self.framing.hop
        frames = 1 + (samples - self.framing.window) // hop
        return self._run(signals, [samples] * batch, [frames] * batch, frames, (0, hop, 0))

    def _run(
        self, waveforms: Tensor, lengths: list[int], counts: list[int], time: int, place: tuple[int, int, int]
    ) -> Tensor:
        out = torch.zeros(len(waveforms), time, self._mels)
        _log_mel(
            # Each argument always has the same type, or numba would compile another kernel.
            waveforms.detach().contiguous().numpy(),
            np.array(lengths),
            np.array([0, *itertools.accumulate(counts)]),
            place,
            self._windowing,
            *self._tables,
            self._scale,
            out.numpy(),
        )
        return out
