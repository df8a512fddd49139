"""Frames in C: tables of window, transform and filters, and the stages for cosines, deltas and normalisation."""

from __future__ import annotations

import math

import torch

from speechgru.errors import ModelError
from speechgru.export.c.program import Program
from speechgru.features import MFCC, LogMel, Normalization
from speechgru.features.convention import Convention, LogScale, Padding
from speechgru.features.frames import Framing, window_weights
from speechgru.features.mfcc import cosine_transform, lifter_weights
from speechgru.features.normalization import SMALLEST_STD

_EDGES = {Padding.none: 0, Padding.zeros: 0, Padding.reflect: 1, Padding.mirror: 2}
_FULL_SCALE = 32768


def write_features(program: Program, features: object) -> None:
    """Writes the stages from samples to normalised frames.

    Raises:
        ModelError: the features cannot be written in C.
    """
    if not isinstance(features, LogMel) or type(features) not in (LogMel, MFCC):
        raise ModelError(f"features of the type {type(features).__name__} have no C form; log_mel and mfcc have one")
    config = features.config
    _write_framing(program, features.framing)
    _write_spectrum(program, features)
    if isinstance(features, MFCC):
        _write_cosines(program, features)
    size = features.static_size
    for order in range(config.deltas):
        _write_deltas(program, order, size * (order + 1), size, config.delta_window // 2)
    program.constant("FEATURES", features.output_size)
    if config.normalization is Normalization["global"]:
        program.table("float", "feature_mean", features.mean)
        program.table("float", "feature_scale", 1 / features.std.double())
        program.member("float", "normal", features.output_size)
        push = "int i;\nfor (i = 0; i < FEATURES; i++) s->normal[i] = (frame[i] - feature_mean[i]) * feature_scale[i];"
        program.stage("normalisation by the training set", f"{push}\n{program.following}(s, s->normal);")
    elif config.normalization is Normalization.sliding:
        _write_sliding(program, features)


def _write_framing(program: Program, framing: Framing) -> None:
    reflects = framing.padding in (Padding.reflect, Padding.mirror)
    span = max(framing.window, framing.hop - framing.slack - framing.first, 1 - framing.first)
    kept = max(span, 2 * framing.window + 2) if reflects else span
    for edges, name in enumerate(("EDGES_ZEROS", "EDGES_REFLECT", "EDGES_MIRROR")):
        program.constant(name, edges)
    program.constant("EDGES", _EDGES[framing.padding])
    program.constant("WINDOW", framing.window)
    program.constant("HOP", framing.hop)
    program.constant("FIRST_SAMPLE", framing.first)
    program.constant("SLACK", framing.slack)
    program.constant("KEPT_SAMPLES", kept + framing.hop)
    program.member("int16_t", "samples", kept + framing.hop)
    program.scalar("int64_t", "taken", "frames")
    program.scalar("int32_t", "held")


def _write_spectrum(program: Program, features: LogMel) -> None:
    config, framing = features.config, features.framing
    rules, size = config.resolved(), config.resolved_fft_size()
    halved = size % 2 == 0
    points = size // 2 if halved else size
    radices = _radices(points)
    program.constant("FFT_SIZE", size)
    program.constant("HALVED", int(halved))
    program.constant("POINTS", points)
    program.constant("RADICES", len(radices))
    program.table("int32_t", "radices", radices or [1])
    angle = 2 * math.pi * torch.arange(points + 1 if halved else points, dtype=torch.float64) / size
    program.table("float", "turn_real", torch.cos(angle))
    program.table("float", "turn_imaginary", -torch.sin(angle))
    window = window_weights(rules.window, framing.window, rules.periodic_window) * config.scale / _FULL_SCALE
    program.table("float", "window_weight", window)
    program.constant("REMOVE_DC", int(rules.remove_dc))
    program.constant("PREEMPHASIS", float(rules.preemphasis))
    filters = features.spectrum.filters
    used = [filters[:, band].nonzero()[:, 0].tolist() for band in range(config.mels)]
    program.table("int32_t", "mel_first", [bins[0] if bins else 0 for bins in used])
    program.table("int32_t", "mel_count", [bins[-1] - bins[0] + 1 if bins else 0 for bins in used])
    weights = [filters[bins[0] : bins[-1] + 1, band] for band, bins in enumerate(used) if bins]
    program.table("float", "mel_weight", torch.cat([*weights, torch.zeros(0 if weights else 1)]))
    program.constant("HIGHEST_BIN", max((bins[-1] for bins in used if bins), default=0))
    program.constant("MELS", config.mels)
    program.constant("TAKE_LOG", int(rules.log is not LogScale.none))
    program.constant("LOG_FLOOR", float(rules.log_floor))
    program.constant("LOG_UNIT", 10 / math.log(10) if rules.log is LogScale.db else 1.0)
    program.member("float", "work", 4 * points)
    program.member("float", "mel", config.mels)


def _radices(points: int) -> list[int]:
    """The factors of ``points``, fours first."""
    found = []
    for factor in (4, *range(2, points + 1)):
        while points % factor == 0 and points > 1:
            found.append(factor)
            points //= factor
    return found


def _write_cosines(program: Program, features: MFCC) -> None:
    config = features.config
    size = features.static_size
    first = 1 if config.convention is Convention.librosa else 0
    transform = cosine_transform(config.mels, size) * lifter_weights(size, config.resolved().lifter, first)
    program.matrix("cosines", transform.T, None, exact=True)
    program.member("float", "cepstrum", size)
    push = program.product("cosines", "frame", "s->cepstrum", exact=True)
    program.stage("cosine transform", f"{push}\n{program.following}(s, s->cepstrum);")


def _write_deltas(program: Program, order: int, size: int, static: int, reach: int) -> None:
    if not order:
        program.use("deltas")
        program.constant("DELTA_REACH", reach)
        program.constant("STATIC", static)
    kept, held, out = f"delta_kept_{order}", f"delta_held_{order}", f"delta_{order}"
    program.member("float", kept, (2 * reach + 1) * size)
    program.scalar("int32_t", held)
    program.member("float", out, size + static)
    push = f"""
if (!slopes_take(s->{kept}, {size}, &s->{held}, frame)) return;
slopes(s->{kept}, {size}, s->{out});
slopes_move(s->{kept}, {size}, &s->{held});
{program.following}(s, s->{out});"""
    end = f"""
int i;
for (i = 0; i < DELTA_REACH && s->{held}; i++) {program.current}(s, s->{kept} + (s->{held} - 1) * {size});"""
    program.stage(f"deltas of order {order + 1}", push, end)


def _write_sliding(program: Program, features: LogMel) -> None:
    past, lookahead, minimum = features.sliding_frames()
    size = features.output_size
    kept = max(past + lookahead + 1, minimum) + 2
    program.use("sliding")
    program.constant("PAST", past)
    program.constant("AHEAD", lookahead)
    program.constant("MINIMUM", minimum)
    program.constant("SLIDING_KEPT", kept)
    program.constant("VARIANCE", int(features.config.normalize_variance))
    program.constant("SMALLEST_VARIANCE", SMALLEST_STD**2)
    program.member("float", "sliding", kept * size)
    program.member("double", "sliding_sum", size)
    program.member("double", "sliding_squares", size)
    program.scalar("int64_t", "sliding_known", "sliding_given", "sliding_low")
    program.member("float", "normal", size)
    give = f"{{\n    sliding_gives(s);\n    {program.following}(s, s->normal);\n}}"
    push = f"""
sliding_takes(s, frame);
while (s->sliding_known >= MINIMUM && s->sliding_given < s->sliding_known - AHEAD) {give}"""
    program.stage("normalisation by the last seconds", push, f"while (s->sliding_given < s->sliding_known) {give}")
