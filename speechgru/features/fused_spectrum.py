"""Samples to mel powers compiled: eight frames at a time, from the window to the filterbank without leaving the cache.

Taken by :class:`~speechgru.features.spectrum.MelSpectrum` where no gradient is asked for. A *lane* is a frame: every
instruction does the same for eight frames in one vector register (numba has no such type; the first part of this file
makes one), so a frame's values cannot depend on its neighbours. The file is one because numba compiles anew when the
kernel's own file has changed, and only then.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numba.extending
import numpy as np
import torch
from llvmlite import ir
from numba import float32, types
from numba.extending import lower_builtin, models, register_model, type_callable
from torch import Tensor

from speechgru.compiled import kernel
from speechgru.features.convention import Padding
from speechgru.features.frames import Framing

if TYPE_CHECKING:
    from numba.core.base import BaseContext
    from numba.core.datamodel import DataModelManager
    from numba.core.typing.context import BaseContext as TypingContext
    from numba.core.typing.templates import Signature

LANES = 8
_REFLECT, _MIRROR = 1, 2
_PADDINGS = {Padding.reflect: _REFLECT, Padding.mirror: _MIRROR}  # the others: zeros
# Any: it is called without the context that its type asks for.
_intrinsic: Any = numba.extending.intrinsic
_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_MASK = ir.VectorType(ir.IntType(32), LANES)


class _Lanes(types.Type):
    """numba's name for a vector of eight float32."""

    def __init__(self) -> None:
        super().__init__(name=f"Lanes({LANES})")


_lanes = _Lanes()


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: DataModelManager, numba_type: types.Type) -> None:
        super().__init__(manager, numba_type, _VECTOR)


def _spread(builder: ir.IRBuilder, numba_type: types.Type, value: ir.Value) -> ir.Value:
    """A number in all lanes; lanes as they are."""
    if numba_type == _lanes:
        return value
    nothing = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(nothing, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, nothing, ir.Constant(_MASK, [0] * LANES))


def _define(operation: Callable[..., object], instruction: str) -> None:
    """``lanes (operation) lanes`` and ``float32 (operation) lanes``; a product and a sum may become one instruction."""

    @type_callable(operation)
    def _type(context: TypingContext) -> Callable[[types.Type, types.Type], types.Type | None]:
        return lambda left, right: _lanes if right == _lanes and left in (_lanes, float32) else None

    def lower(
        context: BaseContext, builder: ir.IRBuilder, signature: Signature, values: Sequence[ir.Value]
    ) -> ir.Value:
        left, right = (_spread(builder, kind, value) for kind, value in zip(signature.args, values, strict=True))
        return getattr(builder, instruction)(left, right, flags=("contract",))

    lower_builtin(operation, _lanes, _lanes)(lower)
    lower_builtin(operation, types.float32, _lanes)(lower)


_define(operator.add, "fadd")
_define(operator.sub, "fsub")
_define(operator.mul, "fmul")


def _address(
    context: BaseContext, builder: ir.IRBuilder, array_type: types.Array, array: ir.Value, index: ir.Value
) -> ir.Value:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _VECTOR.as_pointer())


@_intrinsic
def _zero(typing_context):
    """Lanes of zeros."""
    return _lanes(), lambda context, builder, signature, values: ir.Constant(_VECTOR, [0.0] * LANES)


@_intrinsic
def _load(typing_context, array, index):
    """The eight numbers from ``array[index]`` on."""

    def lower(context, builder, signature, values):
        place = context.cast(builder, values[1], signature.args[1], types.intp)
        return builder.load(_address(context, builder, signature.args[0], values[0], place), align=4)

    return _lanes(array, index), lower


@_intrinsic
def _store(typing_context, array, index, value):
    """``array[index : index + 8] = value``."""

    def lower(context, builder, signature, values):
        place = context.cast(builder, values[1], signature.args[1], types.intp)
        builder.store(values[2], _address(context, builder, signature.args[0], values[0], place), align=4)
        return context.get_dummy_value()

    return types.void(array, index, value), lower


@_intrinsic
def _transpose(typing_context, source, first, step, target, place, width):
    """``target[place + i * width + j] = source[first + j * step + i]`` for i, j = 0 .. 7."""

    def lower(context, builder, signature, values):
        first, step, place, width = (
            context.cast(builder, values[k], signature.args[k], types.intp) for k in (1, 2, 4, 5)
        )
        rows, half = [], LANES // 2
        for _ in range(LANES):
            rows.append(builder.load(_address(context, builder, signature.args[0], values[0], first), align=4))
            first = builder.add(first, step)
        # Interleaving row k with row k + 4, three times over, transposes.
        masks = [ir.Constant(_MASK, [begin + k // 2 + LANES * (k % 2) for k in range(LANES)]) for begin in (0, half)]
        for _ in range(LANES.bit_length() - 1):
            rows = [builder.shuffle_vector(rows[k], rows[k + half], mask) for k in range(half) for mask in masks]
        for row in rows:
            builder.store(row, _address(context, builder, signature.args[3], values[3], place), align=4)
            place = builder.add(place, width)
        return context.get_dummy_value()

    return types.void(source, first, step, target, place, width), lower


# The Fourier transform: Stockham's, decimation in frequency (Van Loan, Computational Frameworks for the FFT, 1992,
# section 1.7). A pass of radix r turns s transforms of n points each into r * s transforms of n / r points. Complex
# number i of ``source`` and ``target`` lies at 16 * i: eight real parts, then eight imaginary ones.


@numba.njit
def _put_turned(target, place, real, imaginary, roots, k):
    """``target[place] = (real + i * imaginary) * roots[k]``."""
    c, s = roots[2 * k], roots[2 * k + 1]
    _store(target, place, c * real - s * imaginary)
    _store(target, place + LANES, c * imaginary + s * real)


@numba.njit
def _radix2(source, target, n, s, roots):
    far, out = 2 * LANES * s * (n // 2), 2 * LANES * s
    for p in range(n // 2):
        for q in range(s):
            at, to = 2 * LANES * (q + s * p), 2 * LANES * (q + 2 * s * p)
            ar, ai = _load(source, at), _load(source, at + LANES)
            br, bi = _load(source, at + far), _load(source, at + far + LANES)
            _store(target, to, ar + br)
            _store(target, to + LANES, ai + bi)
            _put_turned(target, to + out, ar - br, ai - bi, roots, p * s)


@numba.njit
def _radix4(source, target, n, s, roots):
    far, out = 2 * LANES * s * (n // 4), 2 * LANES * s
    for p in range(n // 4):
        for q in range(s):
            at, to = 2 * LANES * (q + s * p), 2 * LANES * (q + 4 * s * p)
            ar, ai = _load(source, at), _load(source, at + LANES)
            br, bi = _load(source, at + far), _load(source, at + far + LANES)
            cr, ci = _load(source, at + 2 * far), _load(source, at + 2 * far + LANES)
            dr, di = _load(source, at + 3 * far), _load(source, at + 3 * far + LANES)
            er, ei, fr, fi = ar + cr, ai + ci, ar - cr, ai - ci
            gr, gi, hr, hi = br + dr, bi + di, br - dr, bi - di
            _store(target, to, er + gr)
            _store(target, to + LANES, ei + gi)
            _put_turned(target, to + out, fr + hi, fi - hr, roots, p * s)
            _put_turned(target, to + 2 * out, er - gr, ei - gi, roots, 2 * p * s)
            _put_turned(target, to + 3 * out, fr - hi, fi + hr, roots, 3 * p * s)


_C1, _C2 = np.float32(math.cos(2 * math.pi / 5)), np.float32(math.cos(4 * math.pi / 5))
_S1, _S2 = np.float32(math.sin(2 * math.pi / 5)), np.float32(math.sin(4 * math.pi / 5))


@numba.njit
def _radix5(source, target, n, s, roots):
    far, out = 2 * LANES * s * (n // 5), 2 * LANES * s
    for p in range(n // 5):
        for q in range(s):
            at, to = 2 * LANES * (q + s * p), 2 * LANES * (q + 5 * s * p)
            ar, ai = _load(source, at), _load(source, at + LANES)
            br, bi = _load(source, at + far), _load(source, at + far + LANES)
            cr, ci = _load(source, at + 2 * far), _load(source, at + 2 * far + LANES)
            dr, di = _load(source, at + 3 * far), _load(source, at + 3 * far + LANES)
            er, ei = _load(source, at + 4 * far), _load(source, at + 4 * far + LANES)
            br, bi, er, ei = br + er, bi + ei, br - er, bi - ei
            cr, ci, dr, di = cr + dr, ci + di, cr - dr, ci - di
            _store(target, to, ar + br + cr)
            _store(target, to + LANES, ai + bi + ci)
            fr, fi = ar + _C1 * br + _C2 * cr, ai + _C1 * bi + _C2 * ci
            gr, gi = _S1 * er + _S2 * dr, _S1 * ei + _S2 * di
            _put_turned(target, to + out, fr + gi, fi - gr, roots, p * s)
            _put_turned(target, to + 4 * out, fr - gi, fi + gr, roots, 4 * p * s)
            fr, fi = ar + _C2 * br + _C1 * cr, ai + _C2 * bi + _C1 * ci
            gr, gi = _S2 * er - _S1 * dr, _S2 * ei - _S1 * di
            _put_turned(target, to + 2 * out, fr + gi, fi - gr, roots, 2 * p * s)
            _put_turned(target, to + 3 * out, fr - gi, fi + gr, roots, 3 * p * s)


@numba.njit
def _powers_of_halves(source, target, half, roots):
    """Half the spectrum's parts, of even and odd samples as real and imaginary part -> four times its powers.

    With Z the transform of x[2n] + i * x[2n + 1]: X[k] = E + O * exp(-pi * i * k / half), where E and O, the spectra of
    the even and of the odd samples, are (Z[k] + Z*[half - k]) / 2 and (Z[k] - Z*[half - k]) / 2i.
    """
    zr, zi = _load(source, 0), _load(source, LANES)
    er, ei = zr + zi, zr - zi
    _store(target, 0, float32(4) * (er * er))
    _store(target, half * LANES, float32(4) * (ei * ei))
    for k in range(1, half // 2 + 1):
        low, high = 2 * LANES * k, 2 * LANES * (half - k)
        ar, ai = _load(source, low), _load(source, low + LANES)
        br, bi = _load(source, high), _load(source, high + LANES)
        er, ei, ur, ui = ar + br, ai - bi, ai + bi, br - ar
        c, s = roots[2 * k], roots[2 * k + 1]
        our, oui = c * ur - s * ui, c * ui + s * ur
        pr, pi, qr, qi = er + our, ei + oui, er - our, ei - oui
        _store(target, k * LANES, pr * pr + pi * pi)
        _store(target, (half - k) * LANES, qr * qr + qi * qi)


@numba.njit
def _source(index, samples, padding):
    """:meth:`Framing.source` of one index outside the utterance: the sample that stands there, -1 for zero."""
    if padding == _REFLECT:
        period = 2 * max(1, samples - 1)
        index = index % period
        return min(index, period - index, samples - 1)
    if padding == _MIRROR:
        period = 2 * samples
        index = index % period
        return min(index, period - 1 - index)
    return -1


@kernel(nogil=True)
def _mel_powers(
    waveforms,
    lengths,
    counts,
    begin,
    padding,
    hop,
    window,
    preemphasis,
    remove_dc,
    radices,
    roots,
    half_roots,
    bands,
    filters,
    floor,
    out,
):
    half = len(roots) // 2
    shifts = -(-len(window) // hop)
    groups = 1 + -(-(shifts - 1) // LANES)
    width = groups * LANES
    last = width - LANES
    columns, edge = np.empty(hop * width, np.float32), np.empty(hop * LANES, np.float32)
    first, second = np.empty(2 * half * LANES, np.float32), np.empty(2 * half * LANES, np.float32)
    mel = np.empty(len(bands) * LANES, np.float32)
    keep = float32(1) - preemphasis
    for row in range(len(waveforms)):
        samples, frames, filled = lengths[row], counts[row], 0
        for start in range(0, frames, LANES):
            # columns[n, j] is sample n of the hop with which frame start + j begins, so that columns[n, c : c + 8] is
            # sample c * hop + n of eight frames.
            while filled < start // LANES + groups:
                for n in range(hop):
                    for c in range(0, last, LANES):
                        _store(columns, n * width + c, _load(columns, n * width + c + LANES))
                signal, at = waveforms[row], begin + filled * LANES * hop
                if at < 0 or at + LANES * hop > samples:
                    low = min(max(0, -at), LANES * hop)
                    high = max(low, min(samples - at, LANES * hop))
                    edge[low:high] = signal[at + low : at + high]
                    for i in range(low + LANES * hop - high):
                        i = i if i < low else i - low + high
                        place = _source(at + i, samples, padding)
                        edge[i] = signal[place] if place >= 0 else float32(0)
                    signal, at = edge, 0
                for n in range(0, hop - LANES + 1, LANES):
                    _transpose(signal, at + n, hop, columns, n * width + last, width)
                for n in range(hop // LANES * LANES, hop):
                    for j in range(LANES):
                        columns[n * width + last + j] = signal[at + j * hop + n]
                filled += 1
            mean = _zero()
            if remove_dc:
                for c in range(shifts):
                    for n in range(min(hop, len(window) - c * hop)):
                        mean = mean + _load(columns, n * width + c)
                mean = keep / float32(len(window)) * mean
            before, i = _load(columns, 0), 0
            for c in range(shifts):
                for n in range(min(hop, len(window) - c * hop)):
                    now = _load(columns, n * width + c)
                    _store(first, i * LANES, window[i] * (now - preemphasis * before - mean))
                    before = now
                    i += 1
            for k in range(i, 2 * half):
                _store(first, k * LANES, _zero())
            source, target = first, second
            n, s = half, 1
            for radix in radices:
                if radix == 2:
                    _radix2(source, target, n, s, roots)
                elif radix == 4:
                    _radix4(source, target, n, s, roots)
                else:
                    _radix5(source, target, n, s, roots)
                n, s = n // radix, s * radix
                source, target = target, source
            _powers_of_halves(source, target, half, half_roots)
            for band in range(len(bands)):
                total = _zero()
                low, at, end = bands[band, 0], bands[band, 1], bands[band, 2]  # unpacking the row is slow
                for k in range(at, end):
                    total = total + filters[k] * _load(target, (low + k - at) * LANES)
                _store(mel, band * LANES, total)
            for j in range(min(LANES, frames - start)):
                for band in range(len(bands)):
                    value = mel[band * LANES + j]
                    out[row, start + j, band] = floor if value < floor else value  # what is not a number stays
        out[row, frames:] = float32(1)


def _roots(size: int, count: int) -> np.ndarray:
    """Cosines and sines of -2 pi k / size, k = 0 .. count - 1, alternating: float32 ``(2 * count,)``."""
    angle = -2 * np.pi * np.arange(count) / size
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32).ravel()


class FusedSpectrum:
    """What :class:`MelSpectrum` computes up to the logarithm: mel powers, at least ``floor``.

    Args:
        framing: the frames.
        fft_size: samples of the transform.
        factors: 2, 4 and 5, whose product is half of ``fft_size``.
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
        factors: list[int],
        weights: Tensor,
        filters: Tensor,
        preemphasis: float,
        remove_dc: bool,
        floor: float,
    ) -> None:
        assert 2 * math.prod(factors) == fft_size, f"fft_size={fft_size}: {factors}"
        self._window, self._hop = framing.window, framing.hop
        bands, values = [], [np.zeros(0)]
        for column in filters.double().numpy().T:
            used = column.nonzero()[0]
            low, high = (used[0], used[-1] + 1) if len(used) else (0, 0)
            begin = sum(map(len, values))
            bands.append((low, begin, begin + high - low))
            values.append(column[low:high])
        self._tables = (
            framing.hop,
            (0.5 * weights.double()).float().numpy(),  # the halves of _powers_of_halves
            np.float32(preemphasis),
            remove_dc,
            np.array(factors),
            _roots(fft_size // 2, fft_size // 2),
            _roots(fft_size, fft_size // 4 + 1),
            np.array(bands),
            np.concatenate(values).astype(np.float32),
            np.float32(floor),
        )
        self._first, self._padding = framing.first, _PADDINGS.get(framing.padding, 0)
        self._mels = len(bands)

    def of_batch(self, waveforms: Tensor, lengths: Tensor, counts: Tensor, time: int) -> Tensor:
        """Waveforms ``(batch, samples)`` with their lengths and frames ``(batch,)``: ``(batch, time, mels)``.

        Frames beyond an utterance's own are 1.
        """
        return self._run(waveforms, lengths, counts, time, self._first, self._padding)

    def of_signals(self, signals: Tensor) -> Tensor:
        """Frames that lie inside the signals ``(batch, samples)``: ``(batch, frames, mels)``."""
        samples = signals.shape[1]
        frames = 1 + (samples - self._window) // self._hop
        lengths, counts = torch.tensor([[samples], [frames]]).expand(2, len(signals)).contiguous()
        return self._run(signals, lengths, counts, frames, 0, 0)

    def _run(self, waveforms: Tensor, lengths: Tensor, counts: Tensor, time: int, first: int, padding: int) -> Tensor:
        out = waveforms.new_empty(len(waveforms), time, self._mels)
        whole = lengths.to(
            "cpu", torch.int64
        ).contiguous()  # one type of each argument, or numba compiles another kernel
        _mel_powers(
            waveforms.detach().contiguous().numpy(),
            whole.numpy(),
            counts.numpy(),
            first,
            padding,
            *self._tables,
            out.numpy(),
        )
        return out
