"""One line for each model with results: what it was tested on, how good it is, its size, how long it was trained."""

from __future__ import annotations

from collections.abc import Sequence

from speechgru.evaluation.rounding import spread
from speechgru.plain import Record
from speechgru.wording import duration

HEADING = ["recipe", "test", "result", "runs", "parameters", "training"]


def overview(summaries: Sequence[Record]) -> list[list[str]]:
    """Plain cells under HEADING, from what :func:`speechgru.evaluation.results.aggregate` gives."""
    return [[one["model"], _test(one), _result(one), _runs(one), _parameters(one), _training(one)] for one in summaries]


def _test(one: Record) -> str:
    if one["task"] == "transcription":
        _, _, corpus = one["dataset"].partition(" ")
        return f"{one['n']:,} recordings, {one['words']:,} words" + (f" of {corpus}" if corpus else "")
    return f"{one['n']:,} clips"


def _result(one: Record) -> str:
    if one["task"] != "transcription":
        return f"{spread(one, 'accuracy', one['interval'])} % right"
    decoder = one["decoder"] or ""
    how = "best path" if decoder.startswith("greedy") else "beam search"
    if "language_model=" in decoder:
        how = "language model"
    return f"{spread(one, 'wer', one['interval'])} % word errors, {how}"


def _runs(one: Record) -> str:
    """How many trainings the figure is the mean of; for a single one, which."""
    seeds = [str(seed) for seed in one["seeds"] if seed is not None]
    runs = f"{len(seeds)} seeds" if len(seeds) > 1 else f"seed {seeds[0]}" if seeds else "1"
    return f"{runs}, {len(one['by_fold'])} folds" if one["by_fold"] else runs


def _parameters(one: Record) -> str:
    return f"{one['parameters']:,}" if one["parameters"] else ""


def _training(one: Record) -> str:
    machine = one["machine"] or {}
    took = duration(one["train_wall_clock_s"])
    if "gpu" in machine or not machine.get("cores"):
        return took
    return f"{took}, {machine['cores']} core{'s' * (machine['cores'] > 1)}"
