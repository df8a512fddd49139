"""What a page gets to know of its model, as JSON: how to run it, what its scores mean, what there is to show."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import cast

import numpy as np
import onnx

from speechgru.encoders import RecurrentEncoder
from speechgru.encoders.recurrent import RecurrentLayer
from speechgru.export.web.shown import Shown
from speechgru.features import MFCC, LogMel
from speechgru.plain import Record
from speechgru.recognizer import Recognizer
from speechgru.streaming.model import SteppedEncoder, StreamedFeatures
from speechgru.streaming.scores import keywords_of
from speechgru.streaming.stream import StreamConfig
from speechgru.text import Characters
from speechgru.text.subwords import Subwords
from speechgru.text.units import SPACE
from speechgru.tokens import is_word

# A recording that is needed whole is at most this long: what a page's memory and its user's patience allow.
_MOST_S = 120
_FAR = 1_000_000  # a frame far beyond all effects of the beginning


def about(model: Recognizer, written: onnx.ModelProto, shown: Shown, described: Mapping[str, str], name: str) -> Record:
    """The content of ``model.json``, except for the runtime and the parity.

    ``mode`` is ``stream`` for a model that goes step by step (``states`` and ``heard`` belong to it), ``windows`` for a
    classifier of clips (``window``), ``whole`` for CTC that needs the whole recording (``most_s``).

    Args:
        model: in eval mode.
        written: its graph.
        shown: what the graph gives besides the scores.
        described: the metadata of the file (:func:`speechgru.export.onnx_model.describe`).
        name: the model's name, for people.
    """
    properties = {one.key: one.value for one in written.metadata_props}
    steps = "states" in properties
    classifies = not model.head.scores_frames
    return {
        "name": name,
        **{key: described[key] for key in ("summary", "license") if key in described},
        "mode": "stream" if steps else "windows" if classifies else "whole",
        "does": model.head.verb,
        "labels": list(model.tokens.names),
        "sample_rate": model.sample_rate,
        "frame_s": model.frame_s,
        "keywords": _keywords(model) if classifies else None,
        "ctc": None if classifies else _ctc(model, steps),
        **(
            {"states": json.loads(properties["states"]), "heard": _heard(model)} if steps else _whole(model, classifies)
        ),
        **_views(model, shown),
    }


def _keywords(model: Recognizer) -> Record:
    config = keywords_of(model)
    words = [
        {"column": column, "label": label, "threshold": threshold if math.isfinite(threshold) else None}
        for column, label in enumerate(model.tokens.names)
        if is_word(label)
        for threshold in [config.threshold(label)]
    ]
    return {"smoothing_ms": config.smoothing_ms, "refractory_s": config.refractory_s, "words": words}


def _ctc(model: Recognizer, steps: bool) -> Record:
    """How tokens become words, and words phrases (:class:`speechgru.streaming.phrases.Phrases`), counted in frames."""
    config, units, names = StreamConfig(), model.transcript_units, model.tokens.names
    kind = "characters" if isinstance(units, Characters) else "subwords" if isinstance(units, Subwords) else "tokens"
    pause = max(1, round(config.pause_s / model.frame_s))
    known = model.config.familiarity
    return {
        "tokens": list(names),
        "units": kind,
        "space": names.index(SPACE) if SPACE in names else None,
        "frame_s": model.frame_s,
        "pause": pause if steps else None,
        "longest": max(pause, round(config.longest_s / model.frame_s)) if steps else None,
        "calibration": {"scale": model.config.calibration.scale, "offset": model.config.calibration.offset},
        "most_entropy": None if known is None else known.most_entropy,
    }


def _heard(model: Recognizer) -> Record:
    """How many samples have been heard for frame i: the larger of ``least`` and ``first + i * step``."""
    assert isinstance(model.features, LogMel)
    encoder = cast(SteppedEncoder, model.encoder)
    samples_for = cast(StreamedFeatures, model.features).stream().samples_for
    step = encoder.subsampling * model.features.framing.hop
    frames = np.array([-_FAR, _FAR * encoder.subsampling + encoder.least_look_ahead + 1])
    least, far = samples_for(frames).tolist()
    return {"least": max(0, least), "first": far - _FAR * step, "step": step}


def _whole(model: Recognizer, classifies: bool) -> Record:
    if not classifies:
        return {"most_s": _MOST_S}
    windows = StreamConfig().windows
    length, hop = (round(seconds * model.sample_rate) for seconds in (windows.length_s, windows.hop_s))
    return {"window": {"length": length, "hop": hop}}


def _views(model: Recognizer, shown: Shown) -> Record:
    """The outputs that are drawn, with the time from one frame to the next."""
    features, encoder = model.features, model.encoder
    assert isinstance(features, LogMel)
    assert isinstance(encoder, RecurrentEncoder)
    hop_s = features.framing.hop / model.sample_rate
    # The last layer has the frames of the scores; an earlier one has more, by the product of the factors after it.
    layers = [layer for layer in encoder.layers if isinstance(layer, RecurrentLayer)]
    factors = [layer.factor for layer in layers]
    frame_s = [model.frame_s / math.prod(factors[place + 1 :]) for place in range(len(factors))]
    both = any(layer.backward_cell is not None for layer in layers)
    cells = [type(layer.forward_cell).__name__ for layer in layers]
    return {
        "picture": {
            "shows": "MFCC" if isinstance(features, MFCC) else "log-mel bands",
            "size": features.static_size,
            "frame_s": hop_s,
        },
        "layers": [
            {"cell": cell, "shows": layer.shows, "size": layer.size, "frame_s": seconds, "both": both}
            for cell, layer, seconds in zip(cells, shown.layers, frame_s, strict=True)
        ],
    }
