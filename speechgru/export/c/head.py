"""Scores and events in C: keywords with their thresholds, or tokens of CTC."""

from __future__ import annotations

import math
from typing import cast

from speechgru.errors import ModelError
from speechgru.export.c.program import Program
from speechgru.features import LogMel, Normalization
from speechgru.features.convention import Padding
from speechgru.heads import CTCHead, KeywordHead
from speechgru.recognizer import Recognizer
from speechgru.streaming.model import SteppedEncoder
from speechgru.streaming.scores import keywords_of
from speechgru.tokens import is_word

_ONE = 1 << 30  # the score 1, where scores are whole numbers
_SAME_S = 1e-6  # times that differ by less count as the same


def write_head(program: Program, model: Recognizer) -> None:
    """Writes the last stage, from hidden frames to scores and events.

    Raises:
        ModelError: the head cannot be written in C.
    """
    head = model.head
    if not isinstance(head, KeywordHead | CTCHead):
        raise ModelError(f"head of the type {type(head).__name__} has no C form; keyword and ctc have one")
    _write_times(program, model)
    program.constant("LABELS", len(model.tokens))
    program.member("float", "scores", len(model.tokens))
    program.use("exponential")
    program.matrix("output", head.output.weight, head.output.bias)
    statements = program.product("output", "frame", "s->scores")
    if isinstance(head, KeywordHead):
        _write_keywords(program, model)
        told = "spot(s, s->scores, heard_samples(s, s->hidden));"
        statements += "\nscore_labels(s->scores);"
    else:
        program.use("ctc")
        program.scalar("int32_t", "token")
        told = "tell(s, s->scores, s->hidden * SUBSAMPLING * HOP, heard_samples(s, s->hidden));"
        statements += "\nscore_tokens(s->scores);"
    program.last_stage(
        "the head",
        f"""
{statements}
if (s->on_scores) s->on_scores(s->user, s->scores);
{told}
s->hidden++;""",
    )


def _write_times(program: Program, model: Recognizer) -> None:
    """How many samples have been heard for a hidden frame: :meth:`FeatureStream.samples_for`."""
    features, encoder = cast(LogMel, model.features), cast(SteppedEncoder, model.encoder)
    config, sliding = features.config, features.config.normalization is Normalization.sliding
    _, lookahead, minimum = features.sliding_frames() if sliding else (0, 0, 0)
    reflects = features.framing.padding in (Padding.reflect, Padding.mirror)
    program.constant("SUBSAMPLING", encoder.subsampling)
    program.constant("FRAMES_AHEAD", encoder.least_look_ahead + 1 + lookahead)
    program.constant("FRAMES_AT_LEAST", minimum)
    program.constant("DELTAS_AHEAD", config.deltas * (config.delta_window // 2))
    program.constant("SAMPLES_AT_LEAST", 1 - features.framing.first if reflects else 0)
    program.scalar("int64_t", "hidden")
    program.use("times")


def _write_keywords(program: Program, model: Recognizer) -> None:
    keywords, names, rate = keywords_of(model), model.tokens.names, model.sample_rate
    thresholds = {place: keywords.threshold(name) for place, name in enumerate(names) if is_word(name)}
    words = {place: math.ceil(value * _ONE) for place, value in thresholds.items() if math.isfinite(value)}
    if not words:
        raise ModelError("no label of this model is a word with a threshold; there is nothing to detect")
    program.use("sigmoid", "keywords")
    program.constant("WORDS", len(words))
    program.table("int32_t", "words", list(words))
    program.table("int64_t", "thresholds", list(words.values()))
    program.table("unsigned char", "is_word", [int(is_word(name)) for name in names])
    program.constant("SMOOTHED_SAMPLES", math.ceil((keywords.smoothing_ms / 1000 - _SAME_S) * rate) - 1)
    program.constant("REFRACTORY_SAMPLES", max(0, math.ceil((keywords.refractory_s - _SAME_S) * rate)))
    kept = _most_frames(model, keywords.smoothing_ms / 1000)
    program.constant("SPOT_KEPT", kept)
    program.member("int64_t", "spot_heard", kept)
    program.member("int32_t", "spot_scores", kept * len(words))
    for name in ("spot_sums", "low", "last"):
        program.member("int64_t", name, len(words))
    program.member("unsigned char", "fired", len(words))
    program.scalar("int32_t", "spot_first", "spot_held", "scored")


def _most_frames(model: Recognizer, smoothing_s: float) -> int:
    """The most hidden frames with times within the smoothing: at both ends of a stream several have the same time."""
    features, encoder = cast(LogMel, model.features), cast(SteppedEncoder, model.encoder)
    config, framing = features.config, features.framing
    step = encoder.subsampling * framing.hop
    regular = math.ceil(smoothing_s * model.sample_rate / step)
    ahead = encoder.least_look_ahead + config.deltas * (config.delta_window // 2)
    if config.normalization is Normalization.sliding:
        _, lookahead, minimum = features.sliding_frames()
        ahead += lookahead + minimum
    edges = ahead + (2 * framing.window + config.resolved_fft_size()) // framing.hop
    return regular + edges // encoder.subsampling + 4
