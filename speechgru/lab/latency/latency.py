"""How long a recognizer's frames wait for later frames, and how accurate it is with that wait.

Tables and picture are made of the plain values that :func:`summarize` gives and ``results.json`` keeps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from speechgru.encoders import GRUEncoder, LatencyControlledEncoder, LookAheadEncoder, RecurrentEncoder
from speechgru.errors import ModelError
from speechgru.evaluation.results import aggregate
from speechgru.evaluation.rounding import spread
from speechgru.features import LogMel, Normalization
from speechgru.heads.classification import Pooling
from speechgru.lab.comparison.comparison import judged_by
from speechgru.plain import Record
from speechgru.recognizer import Recognizer
from speechgru.registry import name_of
from speechgru.wording import markdown_cell, markdown_grid

PICTURE = "![Accuracy against the time that a frame waits](latency.png)"
OWN = ("encoder", "context", "wait_ms", "longest_wait_ms", "hidden_size", "budget", "epochs")
WHOLE = 10**9  # frames: a chunk that holds any utterance


def encoder_and_context(recognizer: Recognizer) -> tuple[str, str]:
    """What decides the latency: the encoder, with its pooling if that is not attention, and how far it looks ahead.

    Such as ``("latency_controlled", "10+5")``, ``("look_ahead best_frame", "20")`` or ``("gru", "all")``.

    Raises:
        ModelError: the encoder is none of ``gru``, ``look_ahead`` and ``latency_controlled``.
    """
    encoder = recognizer.encoder
    if isinstance(encoder, LatencyControlledEncoder):
        chunk, right = encoder.config.chunk, encoder.config.right
        context = "all" if chunk >= WHOLE else f"{chunk}+{right}"
    elif isinstance(encoder, LookAheadEncoder):
        context = str(encoder.config.context)
    elif type(encoder) is GRUEncoder:
        context = "all" if encoder.config.bidirectional else "0"
    else:
        raise ModelError(f"{type(encoder).__name__}: the frames it waits for are not known here; leave the model out")
    kind = name_of("encoder", recognizer.config.encoder)
    pooling = getattr(recognizer.config.head, "pooling", Pooling.attention)
    return kind if pooling is Pooling.attention else f"{kind} {pooling.value}", context


def waits_ms(recognizer: Recognizer, samples: int) -> np.ndarray:
    """How long each of the encoder's frames waits, in milliseconds: (frames of a waveform of ``samples``,).

    It is the time from the middle of the frame's first window of features to the end of the last window that the frame
    depends on. The end of the waveform ends all waiting.

    Raises:
        ModelError: the features need the whole utterance, or the encoder is not known here.
    """
    encoder, features = recognizer.encoder, recognizer.features
    if not isinstance(encoder, RecurrentEncoder) or not isinstance(features, LogMel):
        raise ModelError("the frames that its encoder or its features wait for are not known here; leave the model out")
    config = features.config
    if config.normalization is Normalization.utterance or features.top_db < np.inf:
        raise ModelError(
            "its features are normalised with the whole utterance, so that nothing is known before the end; "
            "train with features.normalization=global and, where there is one, features.top_db=.inf"
        )
    inputs = features.output_lengths(torch.tensor([samples]))
    given = int(inputs)
    frames = int(encoder.output_lengths(inputs))
    first = np.arange(frames) * encoder.subsampling
    last = _last_known(encoder, frames) * encoder.subsampling + encoder.reach
    if config.normalization is Normalization.sliding:
        _, ahead, minimum = features.sliding_frames()
        last = np.maximum(last + ahead, minimum - 1)
    last = np.minimum(last + config.deltas * (config.delta_window // 2), given - 1)
    return (last - first) * config.hop_ms + config.window_ms / 2


def _last_known(encoder: RecurrentEncoder, frames: int) -> np.ndarray:
    """For each of ``frames`` output frames, the last one whose inputs it knows."""
    own = np.arange(frames)
    if isinstance(encoder, LatencyControlledEncoder):
        chunk = encoder.config.chunk
        last = own - own % chunk + chunk - 1 + encoder.config.right
    elif isinstance(encoder, LookAheadEncoder):
        last = own + encoder.config.context
    else:
        last = np.full(frames, frames - 1) if encoder.config.bidirectional else own
    return np.minimum(last, frames - 1)


def summarize(records: Sequence[Record], costs: dict[tuple[str, str], float]) -> list[Record]:
    """One entry for each dataset and encoder, over all its seeds, the shortest wait first.

    Args:
        records: for each run and context, one of the split ``valid`` and one of ``test``, as
            :func:`speechgru.evaluation.results.result_record` makes them, with encoder and context as ``model``; in
            addition ``encoder``, ``context``, ``wait_ms`` (mean of all frames of the split), ``longest_wait_ms``,
            ``hidden_size``, ``budget`` (parameters at most, 0 for none) and ``epochs``.
        costs: milliseconds of computing for a second of audio by (dataset, encoder).

    Raises:
        DataError: an encoder has the same seed twice.
    """
    groups = aggregate(records)
    valid = {(one["dataset"], one["model"]): one for one in groups if one["split"] == "valid"}
    summary = []
    for one in groups:
        if one["split"] != "test":
            continue
        key = one["dataset"], one["model"]
        run = next(run for run in records if (run["dataset"], run["model"], run["split"]) == (*key, "test"))
        one |= {name: run[name] for name in OWN}
        measure = judged_by(one).key
        one |= {f"valid_{name}": valid[key][name] for name in (measure, f"{measure}_std")}
        summary.append(one | {"ms_per_s": costs[key]})
    datasets = list(dict.fromkeys(one["dataset"] for one in summary))
    summary.sort(key=lambda one: (datasets.index(one["dataset"]), one["wait_ms"]))
    return summary


def latency_markdown(summary: Sequence[Record]) -> str:
    """The tables of the README, one for each dataset, of what :func:`summarize` gave."""
    parts = []
    for dataset in dict.fromkeys(one["dataset"] for one in summary):
        entries = [one for one in summary if one["dataset"] == dataset]
        first = entries[0]
        epochs = ", ".join(str(count) for count in sorted({one["epochs"] for one in entries}))
        budget = f"at most {first['budget']:,} parameters, " if first["budget"] else ""
        title = f"**{markdown_cell(dataset)}**, {first['split']}, {first['n']:,} utterances; {budget}epochs: {epochs}."
        parts.append(f"{title}\n\n{_table(entries)}")
    return "\n\n".join(parts)


def _table(entries: list[Record]) -> str:
    measure = judged_by(entries[0])
    heading = ["Encoder", "Hidden", "Parameters", "Wait, ms", "at most, ms", f"Validation {measure.short}, %"]
    heading += [f"Test {measure.short}, %", "Seeds", "ms per s"]
    rows = [heading, ["---", *["---:"] * (len(heading) - 1)]]
    for one in entries:
        rows.append(
            [
                markdown_cell(one["model"]),
                str(one["hidden_size"]),
                f"{one['parameters']:,}",
                f"{one['wait_ms']:,.0f}",
                f"{one['longest_wait_ms']:,.0f}",
                spread(one, f"valid_{measure.key}"),
                spread(one, measure.key, one["interval"]),
                str(len(one["seeds"])),
                f"{one['ms_per_s']:.1f}",
            ]
        )
    return markdown_grid(rows)
