"""The Fourier transform of many real signals side by side, compiled.

A library transforms one signal after the other and has to gather the numbers of each vector. Here point n of all
signals is stored side by side, so the compiler makes vectors of the plain innermost loop over the signals: half the
time of MKL. No signal's values depend on another's.

An even sample and the odd one after it form a complex point; the real parts of all signals come before the imaginary
parts. A pass of radix r over ``points = r * m`` points transforms the points n, n + m, n + 2 m ... of every n < m and
multiplies the results by twiddle factors; what is left is r transforms of m points (Cooley and Tukey 1965). It stores
the results of one n side by side (Pease 1968), so every pass is the same loop, and the bins come out in another order.
"""

from __future__ import annotations

import math

import numpy as np
from numba.extending import register_jitable

from speechgru.compiled import kernel

LANES = 16  # signals side by side; the compiler makes no vectors of a loop over fewer
FAST = {"reassoc", "contract"}
_part = register_jitable(fastmath=FAST, error_model="numpy", forceinline=True)
_pass = kernel(fastmath=FAST, error_model="numpy", nogil=True)

_ONE, _HALF, _SIN_3 = np.float32(1), np.float32(0.5), np.float32(math.sqrt(0.75))
_COS_1, _SIN_1 = np.float32(math.cos(0.4 * math.pi)), np.float32(math.sin(0.4 * math.pi))
_COS_2, _SIN_2 = np.float32(math.cos(0.8 * math.pi)), np.float32(math.sin(0.8 * math.pi))


def radices(points: int) -> list[int]:
    """The radix of each pass over ``points`` points; their only prime factors must be 2, 3 and 5."""
    found = []
    for radix in (4, 2, 3, 5):
        while points % radix == 0:
            found.append(radix)
            points //= radix
    return found


def plan(points: int) -> tuple[np.ndarray, np.ndarray]:
    """What :func:`transform` needs: each pass's radix, and its results' twiddle factors, ``(passes, points)``."""
    passes, groups, turns = radices(points), 1, []
    for radix in passes:
        turns.append(np.outer(np.arange(points // radix) // groups, np.arange(radix)).ravel() * groups / points)
        groups *= radix
    return np.array(passes), _unit(np.array(turns))


def bins(points: int) -> tuple[np.ndarray, np.ndarray]:
    """For :func:`power`, by bin: where it and its mirror image are in the result of :func:`transform`, and the turn."""
    groups, places = 1, np.zeros(1, np.int64)
    for radix in radices(points):
        # After the pass, group k holds the bins k, k + groups, k + 2 groups ...
        places = (radix * places + np.arange(radix)[:, None]).ravel()
        groups *= radix
    k = np.arange(points + 1)
    return np.stack([places[k % points], places[-k % points]], 1), _unit(k / (2 * points) + 0.25)


def _unit(turns: np.ndarray) -> np.ndarray:
    """The complex numbers of modulus 1 at an angle of ``turns`` full turns, clockwise."""
    return np.exp(-2j * np.pi * turns).astype(np.complex64)


@_pass
def transform(samples, other, radices, turns):
    """Spectra of ``samples`` ``(points, 2 * LANES)``, in it or in ``other`` of its shape; both are overwritten."""
    x, y = samples, other
    for index in range(len(radices)):
        radix = radices[index]
        source, target = x.reshape(radix, -1, 2 * LANES), y.reshape(-1, radix * 2 * LANES)
        turn = turns[index].reshape(-1, radix)
        if radix == 2:
            _pass_2(source, target, turn)
        elif radix == 4:
            _pass_4(source, target, turn)
        elif radix == 3:
            _pass_3(source, target, turn)
        else:
            _pass_5(source, target, turn)
        x, y = y, x
    return x


@_part
def power(spectra, place, mirrored, turn, lane):
    """Four times the power of a bin of the samples, from the two bins of their points that :func:`bins` gives."""
    a = complex(spectra[place, lane], spectra[place, LANES + lane])
    b = complex(spectra[mirrored, lane], -spectra[mirrored, LANES + lane])
    value = (a + b) + (a - b) * turn  # of even samples, and of odd ones
    return value.real * value.real + value.imag * value.imag


@_pass
def _pass_2(x, y, turns):
    for q in range(len(turns)):
        turn = turns[q, 1]
        for lane in range(LANES):
            a, b = _get(x, 0, q, lane), _get(x, 1, q, lane)
            _put(y, q, 0, lane, a + b)
            _put(y, q, 1, lane, (a - b) * turn)


@_pass
def _pass_3(x, y, turns):
    for q in range(len(turns)):
        turn_1, turn_2 = turns[q, 1], turns[q, 2]
        for lane in range(LANES):
            a, b, c = _get(x, 0, q, lane), _get(x, 1, q, lane), _get(x, 2, q, lane)
            total = b + c
            near, far = _mixed(_ONE, a, -_HALF, total), _back(_mixed(_SIN_3, b, -_SIN_3, c))
            _put(y, q, 0, lane, a + total)
            _put(y, q, 1, lane, (near + far) * turn_1)
            _put(y, q, 2, lane, (near - far) * turn_2)


@_pass
def _pass_4(x, y, turns):
    for q in range(len(turns)):
        turn_1, turn_2, turn_3 = turns[q, 1], turns[q, 2], turns[q, 3]
        for lane in range(LANES):
            a, b, c, d = _get(x, 0, q, lane), _get(x, 1, q, lane), _get(x, 2, q, lane), _get(x, 3, q, lane)
            even, odd, near, far = a + c, a - c, b + d, _back(b - d)
            _put(y, q, 0, lane, even + near)
            _put(y, q, 1, lane, (odd + far) * turn_1)
            _put(y, q, 2, lane, (even - near) * turn_2)
            _put(y, q, 3, lane, (odd - far) * turn_3)


@_pass
def _pass_5(x, y, turns):
    for q in range(len(turns)):
        turn_1, turn_2, turn_3, turn_4 = turns[q, 1], turns[q, 2], turns[q, 3], turns[q, 4]
        for lane in range(LANES):
            a, b, c, d = _get(x, 0, q, lane), _get(x, 1, q, lane), _get(x, 2, q, lane), _get(x, 3, q, lane)
            e = _get(x, 4, q, lane)
            outer, inner, rise, fall = b + e, c + d, _back(b - e), _back(c - d)
            near_1, far_1 = a + _mixed(_COS_1, outer, _COS_2, inner), _mixed(_SIN_1, rise, _SIN_2, fall)
            near_2, far_2 = a + _mixed(_COS_2, outer, _COS_1, inner), _mixed(_SIN_2, rise, -_SIN_1, fall)
            _put(y, q, 0, lane, a + outer + inner)
            _put(y, q, 1, lane, (near_1 + far_1) * turn_1)
            _put(y, q, 2, lane, (near_2 + far_2) * turn_2)
            _put(y, q, 3, lane, (near_2 - far_2) * turn_3)
            _put(y, q, 4, lane, (near_1 - far_1) * turn_4)


@_part
def _get(x, group, q, lane):
    return complex(x[group, q, lane], x[group, q, LANES + lane])


@_part
def _put(y, q, result, lane, value):
    y[q, 2 * LANES * result + lane] = value.real
    y[q, 2 * LANES * result + LANES + lane] = value.imag


@_part
def _back(z):
    """-i * z"""
    return complex(z.imag, -z.real)


@_part
def _mixed(p, z, q, w):
    """p * z + q * w of real p and q"""
    return complex(p * z.real + q * w.real, p * z.imag + q * w.imag)
