"""The same recipe with one recurrent cell after another: accuracy with its spread beside what each cell costs.

Everything written here is made of the plain values that :func:`compare` gives and ``results.json`` keeps.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import speechgru.cells  # noqa: F401  the import registers the cells
from speechgru.evaluation.results import aggregate
from speechgru.evaluation.rounding import spread
from speechgru.evaluation.task import Measure
from speechgru.evaluation.tasks import TASKS
from speechgru.plain import Record
from speechgru.registry import entry
from speechgru.wording import markdown_cell, markdown_grid

Comparison = Record

COSTS = ("macs_per_s", "epoch_s", "step_ms", "latency_ms", "step_mb")
TRIO = ("lstm", "gru", "rnn")
TRIO_COSTS = {"epoch_s": "epoch, s", "step_ms": "step, ms", "latency_ms": "latency, ms", "step_mb": "step, MB"}
PICTURES = "![Accuracy of every run](accuracy.png)\n\n![Accuracy against the time of a step and of an answer](cost.png)"
SIZE = 128  # the size at which the formulas of the three are compared


class Claim(NamedTuple):
    """What the literature says of a cell beside another cell."""

    cell: str
    peer: str
    text: str
    source: str


CLAIMS = (
    Claim("gru", "lstm", "comparable; on some data better and faster at as many parameters", "Chung et al., 1412.3555"),
    Claim("lstm", "gru", "the forget gate's bias at 1 closes the gap to the GRU", "Jozefowicz et al., ICML 2015"),
    Claim("rnn", "gru", "worse than gated units", "Chung et al., 1412.3555"),
    Claim("mgu", "gru", "comparable accuracy, fewer parameters, faster training", "Zhou et al., 1603.09420"),
    Claim("gru1", "gru", "as good at less cost", "Dey & Salem, 1701.05923"),
    Claim("gru2", "gru", "as good at less cost", "Dey & Salem, 1701.05923"),
    Claim("gru3", "gru", "as good at less cost", "Dey & Salem, 1701.05923"),
    Claim("li_gru", "gru", "more accurate on speech, an epoch takes 30 % less time", "Ravanelli et al., 1803.10225"),
    Claim("sli_gru", "li_gru", "no exploding gradients, lower error rates", "Moumen & Parcollet, 2302.10144"),
    Claim("min_gru", "gru", "as good, and trained in parallel over time", "Feng et al., 2410.01201"),
    Claim("fast_grnn", "gru", "as accurate with a model 2 to 4 times smaller", "Kusupati et al., 1901.02358"),
    Claim("sru", "lstm", "5 to 9 times faster than cuDNN's LSTM", "Lei et al., 1709.02755"),
    Claim("qrnn", "lstm", "better at the same hidden size, up to 16 times faster", "Bradbury et al., 1611.01576"),
)


def compare(records: Sequence[Record], costs: dict[tuple[str, str], Record], not_run: Sequence[str] = ()) -> Comparison:
    """What ``results.json`` of a comparison keeps.

    Args:
        records: one for each run, as :func:`speechgru.evaluation.results.result_record` makes them, with the cell's
            name as ``model``; in addition ``hidden_size``, ``budget`` (parameters at most, 0 for none), ``epochs`` and
            ``epoch_s`` (seconds of training of the quickest epoch).
        costs: ``macs_per_s``, ``step_ms``, ``latency_ms`` and ``step_mb`` by (dataset, cell).
        not_run: the names of recipes that were to be compared and have no finished run.

    Returns:
        ``summary``, one entry for each dataset and cell, the datasets in order of appearance and the best cell first;
        ``runs``, the records; and ``not_run``.

    Raises:
        DataError: a cell has the same seed twice for one dataset.
    """
    summary = []
    for one in aggregate(records):
        runs = [run for run in records if (run["dataset"], run["model"]) == (one["dataset"], one["model"])]
        taken = [run["epoch_s"] for run in runs if run["epoch_s"] is not None]
        one |= {key: runs[0][key] for key in ("hidden_size", "budget", "epochs")}
        one |= {"epoch_s": min(taken, default=None)}
        one |= costs.get((one["dataset"], one["model"]), {})
        summary.append(one)
    datasets = list(dict.fromkeys(one["dataset"] for one in summary))
    summary.sort(key=lambda one: (datasets.index(one["dataset"]), _error(one)))
    return {"summary": summary, "runs": list(records), "not_run": list(not_run)}


def by_dataset(comparison: Comparison) -> dict[str, list[Record]]:
    """The summary's entries of each dataset, the best cell first."""
    found: dict[str, list[Record]] = {}
    for one in comparison["summary"]:
        found.setdefault(one["dataset"], []).append(one)
    return found


def judged_by(one: Record) -> Measure:
    """The measure that an entry is compared by: accuracy, or for transcripts the word error rate."""
    return TASKS[one["task"]].judged_by[0]


def _error(one: Record) -> float:
    measure = judged_by(one)
    return 1 - one[measure.key] if measure.higher_is_better else one[measure.key]


def comparison_markdown(comparison: Comparison, cells: Sequence[str]) -> str:
    """The tables of the README: each dataset's cells; LSTM, GRU and RNN; and the claims of the literature.

    Args:
        comparison: what :func:`compare` gave.
        cells: the names of all cells, to say which were not run, or not with a seed that others were run with.
    """
    parts = []
    for dataset, entries in by_dataset(comparison).items():
        first = entries[0]
        epochs = sorted({one["epochs"] for one in entries})
        budget = f"at most {first['budget']:,} parameters, " if first["budget"] else ""
        parts += [
            f"**{markdown_cell(dataset)}**, {first['split']}, {first['n']:,} utterances; {budget}"
            f"epochs: {', '.join(map(str, epochs))}.",
            _table(entries),
            _not_run(entries, cells),
        ]
    parts += [f"**{markdown_cell(name)}**: no finished run." for name in comparison["not_run"]]
    parts += [_trio(comparison), _claims(comparison)]
    return "\n\n".join(part for part in parts if part)


def _table(entries: list[Record]) -> str:
    measures = TASKS[entries[0]["task"]].judged_by
    heading = ["Cell", "Hidden", "Parameters", *(f"{one.title}, %" for one in measures), "Seeds"]
    heading += ["MMAC per s", "Epoch, s", "Step, ms", "Latency, ms", "Step, MB"]
    rows = []
    for one in entries:
        rows.append(
            [
                markdown_cell(one["model"]),
                str(one["hidden_size"]),
                f"{one['parameters']:,}",
                _measured(measures[0].key, one),
                *(spread(one, measure.key) for measure in measures[1:]),
                str(len(one["seeds"])),
                *(_cost(key, one) for key in COSTS),
            ]
        )
    return markdown_grid([heading, ["---"] + ["---:"] * (len(heading) - 1), *rows])


def _measured(measure: str, one: Record) -> str:
    return spread(one, measure, one["interval"])


def _cost(key: str, one: Record) -> str:
    value = one.get(key)
    if value is None:
        return ""
    if key == "macs_per_s":
        return f"{value / 1e6:.2f}"
    return f"{value:.1f}" if key in ("epoch_s", "latency_ms") else f"{value:.0f}"


def _not_run(entries: list[Record], cells: Sequence[str]) -> str:
    every = sorted({seed for one in entries for seed in one["seeds"]})
    run = {one["model"]: one["seeds"] for one in entries}
    lacking: dict[str, list[str]] = {}  # the cells that lack the same seeds
    for cell in cells:
        seeds = [str(seed) for seed in every if seed not in run.get(cell, [])]
        if seeds:
            which = "" if cell not in run else f"seed{'s' * (len(seeds) > 1)} {', '.join(seeds)} of "
            lacking.setdefault(which, []).append(markdown_cell(cell))
    said = [which + ", ".join(lacking[which]) for which in sorted(lacking)]
    return f"Not run: {'; '.join(said)}." if said else ""


def _trio(comparison: Comparison) -> str:
    """LSTM, GRU and tanh RNN side by side: formulas at one size, then what was measured at equal parameters."""
    counts = [entry("cell", cell).component for cell in TRIO]
    rows = [["", "LSTM", "GRU", "tanh RNN"], ["---", "---:", "---:", "---:"]]
    for label, formula in (("parameters", "parameter_count"), ("multiply-accumulates", "multiply_accumulates")):
        values = [f"{getattr(cell, formula)(SIZE, SIZE):,}" for cell in counts]
        rows.append([f"{label}, hidden and input {SIZE}", *values])
    for dataset, entries in by_dataset(comparison).items():
        found = {one["model"]: one for one in entries}
        name = markdown_cell(dataset)
        measure = judged_by(entries[0])
        rows.append([f"{name}: hidden size", *_of_the_trio(found, lambda one: str(one["hidden_size"]))])
        rows.append([f"{name}: {measure.name}, %", *_of_the_trio(found, functools.partial(_measured, measure.key))])
        for key, label in TRIO_COSTS.items():
            rows.append([f"{name}: {label}", *_of_the_trio(found, functools.partial(_cost, key))])
    return f"**LSTM : GRU : RNN**\n\n{markdown_grid(rows)}"


def _of_the_trio(found: dict[str, Record], show: Callable[[Record], str]) -> list[str]:
    return [show(found[cell]) if cell in found else "not run" for cell in TRIO]


def _claims(comparison: Comparison) -> str:
    columns = {name: {one["model"]: one for one in entries} for name, entries in by_dataset(comparison).items()}
    return f"**What is claimed, and what was measured on each corpus**\n\n{claims_grid(CLAIMS, columns)}"


def claims_grid(claims: Sequence[Claim], columns: dict[str, dict[str, Record]]) -> str:
    """A row for each claim; a column, under its name, for each set of entries by cell in which it was measured."""
    rows = [["Cell", "beside", "Claim", "Source", *map(markdown_cell, columns)], ["---"] * (4 + len(columns))]
    for claim in claims:
        measured = []
        for found in columns.values():
            both = claim.cell in found and claim.peer in found
            measured.append(beside(found[claim.cell], found[claim.peer]) if both else "not run")
        names = [markdown_cell(name) for name in (claim.cell, claim.peer)]
        rows.append([*names, claim.text, claim.source, *measured])
    return markdown_grid(rows)


def beside(one: Record, peer: Record) -> str:
    """One cell beside another on the same dataset, such as ``+0.33 ± 0.60 points of accuracy, 0.80 x the step``.

    Where both were run with several seeds, the standard deviation of the difference is that of both together.
    """
    measure = judged_by(one)
    said = [f"{100 * (one[measure.key] - peer[measure.key]):+.2f}"]
    deviations = one[f"{measure.key}_std"], peer[f"{measure.key}_std"]
    if None not in deviations:
        said[0] += f" ± {100 * math.hypot(*deviations):.2f}"
    said[0] += f" points of {measure.short}"
    for key, label in (("step_ms", "step"), ("latency_ms", "latency")):
        if one.get(key) and peer.get(key):
            said.append(f"{one[key] / peer[key]:.2f} x the {label}")
    return ", ".join(said)
