"""The tables of cells that each have settings of their own, beside what the GRU's settings gave."""

from __future__ import annotations

from collections.abc import Sequence

from speechgru.evaluation.results import aggregate
from speechgru.evaluation.rounding import spread
from speechgru.evaluation.task import Measure
from speechgru.lab.comparison.comparison import CLAIMS, beside, claims_grid, judged_by
from speechgru.lab.comparison.searches import best_trial, curve, others_of, rate_of
from speechgru.plain import Record
from speechgru.wording import duration, markdown_cell, markdown_grid

PICTURE = "![Validation loss of every cell over the learning rate](learning_rate.png)"


def tuned_markdown(tuned: Record, untuned: Sequence[Record]) -> str:
    """The tables of the README.

    Args:
        tuned: what :func:`speechgru.lab.comparison.tuned.merged` gave.
        untuned: the summary of a comparison in which every cell had the GRU's settings.
    """
    before = {(one["dataset"], one["model"]): _without_costs(one) for one in untuned}
    after = {(one["dataset"], one["model"]): one for one in summary(tuned)}
    datasets = list(dict.fromkeys(one["dataset"] for one in tuned["searches"]))
    parts = [_changed(datasets, before, after)]
    for dataset in datasets:
        searches = [one for one in tuned["searches"] if one["dataset"] == dataset]
        entries = [one for (name, _), one in after.items() if name == dataset]
        parts += [_lead(dataset, searches, entries), _results(dataset, searches, after, before)]
        parts += [_found(searches)]
    parts += [_claims(datasets, before, after)]
    return "\n\n".join(part for part in [*parts, PICTURE] if part)


def summary(tuned: Record) -> list[Record]:
    """One entry for each dataset and cell that was trained with the settings found, the best of a dataset first."""
    entries = aggregate(tuned["runs"]) if tuned["runs"] else []
    for one in entries:
        runs = [run for run in tuned["runs"] if (run["dataset"], run["model"]) == (one["dataset"], one["model"])]
        one |= {"epochs": runs[0]["epochs"], "best_epochs": sorted(run["best_epoch"] for run in runs)}
        falls = [run["last_fall"] for run in runs if run["last_fall"] is not None]
        one |= {"last_fall": max(falls, default=None)}
        one |= {
            "seconds": sum(run["train_wall_clock_s"] or 0 for run in runs),
            "date": max(run["date"] for run in runs),
        }
    return sorted(entries, key=lambda one: one[judged_by(one).key] * (-1 if judged_by(one).higher_is_better else 1))


def _changed(
    datasets: Sequence[str], before: dict[tuple[str, str], Record], after: dict[tuple[str, str], Record]
) -> str:
    """The LSTM beside the GRU, before and after, in a sentence for each dataset in which both were trained."""
    said = []
    for dataset in datasets:
        lstm, gru = (dataset, "lstm"), (dataset, "gru")
        if not {lstm, gru} <= before.keys() & after.keys():
            continue
        was, now = beside(before[lstm], before[gru]), beside(after[lstm], after[gru])
        said.append(f"{markdown_cell(dataset)}: {was} with the GRU's settings, {now} with settings of each one's own.")
    return " ".join(["**What changed for the LSTM beside the GRU.**", *said]) if said else ""


def _without_costs(one: Record) -> Record:
    return {key: value for key, value in one.items() if key not in ("step_ms", "latency_ms")}


def _lead(dataset: str, searches: Sequence[Record], entries: Sequence[Record]) -> str:
    machine = searches[0]["machine"] or {}
    counts = "-".join(str(count) for count in sorted({len(one["trials"]) for one in searches}))
    dates = sorted({*(one["date"] for one in searches), *(one["date"][:10] for one in entries)})
    seconds = sum(one["seconds"] for one in searches)
    said = (
        f"**{markdown_cell(dataset)}**. Searched: {counts} trials a cell, of {searches[0]['epochs']} epochs, by the "
        f"validation {searches[0]['metric']}, {duration(seconds)} in all."
    )
    if entries:
        epochs = ", ".join(str(one) for one in sorted({one["epochs"] for one in entries}))
        taken = duration(sum(one["seconds"] for one in entries))
        said += f" Trained: {epochs} epochs, {taken} in all; test, {entries[0]['n']:,} utterances."
    else:
        said += " Not trained yet with what was found."
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    return f"{said} {machine.get('cores', '?')} cores of {machine.get('cpu', 'a processor')}, one thread, {when}."


def _results(
    dataset: str,
    searches: Sequence[Record],
    after: dict[tuple[str, str], Record],
    before: dict[tuple[str, str], Record],
) -> str:
    """What the settings found gave on the test, beside what the GRU's gave before; empty where neither was run."""
    known = [one for (name, _), one in [*after.items(), *before.items()] if name == dataset]
    if not known:
        return ""
    measure = judged_by(known[0])
    cells = [cell for name, cell in after if name == dataset]
    cells += [one["cell"] for one in searches if one["cell"] not in cells]
    heading = ["Cell", "Learning rate", "Gate's bias", f"{measure.title}, %", "Seeds", "Best epoch", "Last fall, %"]
    heading += ["Training", f"GRU's settings: {measure.short}, %", "Seeds", "Epochs"]
    best = {one["cell"]: best_trial(one) for one in searches}
    rows = [
        [
            markdown_cell(cell),
            f"{rate_of(best[cell]):.4g}",
            _bias(best[cell]),
            *_trained(after.get((dataset, cell)), measure),
            *_untuned(before.get((dataset, cell)), measure),
        ]
        for cell in cells
        if cell in best
    ]
    return markdown_grid([heading, ["---"] + ["---:"] * (len(heading) - 1), *rows])


def _trained(one: Record | None, measure: Measure) -> list[str]:
    if one is None:
        return ["not run", "", "", "", ""]
    epochs = one["best_epochs"]
    kept = f"{epochs[0]}" if epochs[0] == epochs[-1] else f"{epochs[0]} to {epochs[-1]}"
    fall = "" if one["last_fall"] is None else f"{one['last_fall']:.1f}"
    return [
        spread(one, measure.key, one["interval"]),
        str(len(one["seeds"])),
        f"{kept} of {one['epochs']}",
        fall,
        duration(one["seconds"] / len(one["seeds"])),
    ]


def _untuned(one: Record | None, measure: Measure) -> list[str]:
    if one is None:
        return ["not run", "", ""]
    return [spread(one, measure.key, one["interval"]), str(len(one["seeds"])), str(one["epochs"])]


def _bias(trial: Record) -> str:
    return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in others_of(trial).values())


def _found(searches: Sequence[Record]) -> str:
    """The validation figure at every learning rate, and with every bias at the best of them."""
    rates = sorted({rate_of(trial) for one in searches for trial in curve(one)})
    heading = ["Cell", *(f"{rate:.4g}" for rate in rates), "other bias", "Trials", "Time"]
    rows = []
    for search in searches:
        best, points = best_trial(search), {rate_of(one): one for one in curve(search)}
        cells = [_figure(points[rate], best) if rate in points else "" for rate in rates]
        biases = [one for one in search["trials"] if all(one is not point for point in points.values())]
        told = "; ".join(f"{_bias(one)}: {_figure(one, best)}" for one in biases)
        rows.append(
            [markdown_cell(search["cell"]), *cells, told, str(len(search["trials"])), duration(search["seconds"])]
        )
    metric = searches[0]["metric"]
    grid = markdown_grid([heading, ["---"] + ["---:"] * (len(heading) - 1), *rows])
    said = f"Validation {metric} of the searches by learning rate; the best in bold, in brackets what was stopped early"
    return f"{said}:\n\n{grid}"


def _figure(trial: Record, best: Record) -> str:
    if trial["value"] is None:
        return "failed" if trial["state"] == "failed" else ""
    shown = f"{trial['value']:.4g}"
    if trial is best:
        return f"**{shown}**"
    return shown if trial["state"] == "complete" else f"({shown})"


def _claims(
    datasets: Sequence[str], before: dict[tuple[str, str], Record], after: dict[tuple[str, str], Record]
) -> str:
    """What is claimed of two cells that were both trained with settings of their own, before and after."""
    cells = {cell for _, cell in after}
    claims = [claim for claim in CLAIMS if {claim.cell, claim.peer} <= cells]
    if not claims:
        return ""
    columns = {
        f"{name}, {which}": {cell: one for (dataset, cell), one in found.items() if dataset == name}
        for name in datasets
        for which, found in (("GRU's settings", before), ("its own", after))
    }
    said = "**What is claimed, with the GRU's settings for all and with settings of each cell's own**"
    return f"{said}\n\n{claims_grid(claims, columns)}"
