"""``results.json``: one run's numbers, several runs' mean and spread, and the table of a recipe's README.

A run's file is one object with the keys of :func:`result_record`, always in that order, so that two of them compare
line by line. A recipe's file holds ``{"summary": [...], "runs": [...]}``. Nothing in either says who ran it or where.
"""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import re
import shlex
import statistics
from collections.abc import Sequence

from speechgru.errors import DataError
from speechgru.evaluation.intervals import mean_interval
from speechgru.evaluation.machine import describe_machine
from speechgru.evaluation.rounding import rounded
from speechgru.evaluation.task import Result
from speechgru.evaluation.tasks import TASKS
from speechgru.files import write_atomically
from speechgru.plain import Record
from speechgru.wording import duration, markdown_cell, markdown_grid

START, END = "<!-- results -->", "<!-- /results -->"


def result_record(
    result: Result,
    *,
    dataset: str,
    split: str,
    model: str,
    decoder: str | None = None,
    seed: int | None = None,
    fold: str = "",
    parameters: int | None = None,
    wall_clock_s: float | None = None,
    train_wall_clock_s: float | None = None,
    command: Sequence[str] = (),
    machine: Record | None = None,
    date: str | None = None,
) -> Record:
    """What ``results.json`` keeps of an evaluation: plain values, rounded, in a fixed order.

    Args:
        result: the evaluation.
        dataset: name of the corpus.
        split: train, valid or test.
        model: what was evaluated, such as the recipe's name; runs of one model are averaged over their seeds.
        decoder: how transcripts were decoded, such as ``greedy``; another decoder is another row. None without one.
        seed: the seed of the training.
        fold: which part of a cross-validation was held out, such as the speaker; empty without one.
        parameters: how many the model has.
        wall_clock_s: duration of the evaluation in seconds.
        train_wall_clock_s: duration of the training in seconds.
        command: the words of the command line; paths outside the working folder lose their folders.
        machine: :func:`describe_machine`, asked now if not given.
        date: ISO 8601; now (UTC) if not given.
    """
    return {
        "format": 1,
        "task": result.task,
        "dataset": dataset,
        "split": split,
        "model": model,
        **({"decoder": decoder} if TASKS[result.task].decodes else {}),
        "parameters": parameters,
        "seed": seed,
        "fold": fold,
        **result.measures(),
        "wall_clock_s": rounded(wall_clock_s, 2),
        "train_wall_clock_s": rounded(train_wall_clock_s, 1),
        "machine": describe_machine() if machine is None else machine,
        "date": date or datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": plain_command(command),
    }


def plain_command(words: Sequence[str]) -> str:
    """A command line for others to read: absolute paths become relative, or ``.../name`` where they lead elsewhere."""
    here = pathlib.Path.cwd()
    home = pathlib.Path.home()

    def plain(match: re.Match[str]) -> str:
        path = pathlib.Path(os.path.normpath(match[0])).expanduser() if match[0] != "~" else home
        if path.is_relative_to(here):
            return str(path.relative_to(here))
        return f".../{path.name}" if path.name else "..."

    # A path begins the word or follows = , : [ ( or a quote (data.root=/x, [/a,/b]).
    return shlex.join(re.sub(r"(?<![^=,:\[({'\"])(?:~?/)[^,\])}'\"]*", plain, word) for word in words)


def write_results(path: str | os.PathLike[str], content: Record) -> None:
    """Write a run's record (or a recipe's summary) as JSON, one short list or object to a line, in one move."""
    write_atomically(path, _layout(content) + "\n")


def write_summary(path: str | os.PathLike[str], runs: Sequence[Record]) -> list[Record]:
    """Write the file of a recipe, ``{"summary": aggregate(runs), "runs": runs}``; returns the summary."""
    summary = aggregate(runs)
    write_results(path, {"summary": summary, "runs": list(runs)})
    return summary


def _layout(value: object, indent: str = "") -> str:
    """JSON in which whatever fits stays on one line: a row of the confusion matrix is a row of the file."""
    flat = json.dumps(value, ensure_ascii=False, allow_nan=False)
    inner = indent + "  "
    nested = isinstance(value, (dict, list)) and any(isinstance(one, (dict, list)) for one in _values(value))
    if not isinstance(value, (dict, list)) or not value or (not nested and (indent or isinstance(value, list))):
        return flat
    if isinstance(value, dict):
        rows = [f"{json.dumps(key, ensure_ascii=False)}: {_layout(one, inner)}" for key, one in value.items()]
    else:
        rows = [_layout(one, inner) for one in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return opening + "\n" + ",\n".join(inner + row for row in rows) + "\n" + indent + closing


def _values(value: dict | list) -> list:
    return list(value.values()) if isinstance(value, dict) else value


def read_results(path: str | os.PathLike[str]) -> list[Record]:
    """The runs of a ``results.json``, a run's or a recipe's.

    Raises:
        DataError: the file is missing, is not JSON, or holds something else.
    """
    try:
        content = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{os.fspath(path)}: no results can be read ({error.strerror}); run evaluate first") from None
    except ValueError as error:
        raise DataError(f"{os.fspath(path)}: not JSON ({error}); run evaluate again") from None
    runs = content.get("runs", [content]) if isinstance(content, dict) else content
    if not isinstance(runs, list) or not runs or not all(map(_is_record, runs)):
        raise DataError(f"{os.fspath(path)}: no results of an evaluation in it; run evaluate again")
    return runs


def _is_record(run: object) -> bool:
    """Whether ``run`` holds what its task is judged by."""
    if not isinstance(run, dict):
        return False
    task = TASKS.get(str(run.get("task")))
    return task is not None and all(measure.key in run for measure in task.judged_by)


def aggregate(results: Sequence[Record]) -> list[Record]:
    """Mean and spread over seeds, one entry per (task, dataset, split, model, decoder), in order of first appearance.

    Folds of a cross-validation are averaged inside each seed first. ``accuracy_std`` (of transcripts ``wer_std`` and
    ``cer_std``) is the sample standard deviation (n - 1) over the seeds, None for one seed; ``by_fold`` gives each
    fold's mean over the seeds. ``interval`` is that of a single run; for several folds it is Student's, over their
    means.

    Raises:
        DataError: one seed (and fold) of a model is there twice, or a seed lacks a fold.
    """
    groups: dict[tuple, list[Record]] = {}
    for run in results:
        groups.setdefault(
            (*(run[key] for key in ("task", "dataset", "split", "model")), run.get("decoder")), []
        ).append(run)
    return [_summary(group, runs) for group, runs in groups.items()]


def _summary(group: tuple, runs: list[Record]) -> Record:
    task, dataset, split, model, decoder = group
    judged_by = [measure.key for measure in TASKS[task].judged_by]
    by_seed: dict[int | None, dict[str, Record]] = {}
    by_fold: dict[str, list[float]] = {}
    for run in runs:
        seed, fold = run.get("seed"), run.get("fold") or ""
        folds = by_seed.setdefault(seed, {})
        if fold in folds:
            where = f"seed {seed}" + (f", fold {fold}" if fold else "")
            raise DataError(f"{model} on {dataset} {split}: {where} is there twice; keep one of the two results")
        folds[fold] = run
        by_fold.setdefault(fold, []).append(run[judged_by[0]])
    uneven = [seed for seed, folds in by_seed.items() if set(folds) != set(by_fold)]
    if uneven:
        missing = sorted(set(by_fold) - set(by_seed[uneven[0]]))
        raise DataError(
            f"{model} on {dataset} {split}: seed {uneven[0]} lacks the fold {', '.join(missing)}; run it as well"
        )
    spread: dict[str, float | None] = {}
    for name in judged_by:
        values = [statistics.fmean(run[name] for run in folds.values()) for folds in by_seed.values()]
        spread[name] = rounded(statistics.fmean(values))
        spread[f"{name}_std"] = rounded(statistics.stdev(values)) if len(values) > 1 else None
        spread |= {f"{name}_min": min(values), f"{name}_max": max(values)}
    train_s = [run["train_wall_clock_s"] for run in runs if run.get("train_wall_clock_s") is not None]
    decodes = TASKS[task].decodes
    return {
        "task": task,
        "dataset": dataset,
        "split": split,
        "model": model,
        **({"decoder": decoder} if decodes else {}),
        "parameters": runs[0].get("parameters"),
        "runs": len(runs),
        "seeds": list(by_seed),
        "n": _over_folds(runs, "n"),
        **({"words": _over_folds(runs, "words")} if "words" in runs[0] else {}),
        **spread,
        "interval": runs[0]["interval"] if len(runs) == 1 else _over_fold_means(by_fold),
        "by_fold": {fold: rounded(statistics.fmean(one)) for fold, one in by_fold.items() if fold},
        "train_wall_clock_s": rounded(statistics.fmean(train_s), 1) if train_s else None,
        "machine": runs[0].get("machine"),
        **({"date": max(run["date"] for run in runs), "command": runs[0]["command"]} if decodes else {}),
    }


def _over_fold_means(by_fold: dict[str, list[float]]) -> list[float | None] | None:
    """The 95 % interval over the folds of a cross-validation, inside 0 to 1; None below three folds."""
    if len(by_fold) < 3:
        return None
    low, high = mean_interval([statistics.fmean(one) for one in by_fold.values()])
    return [rounded(max(low, 0.0)), rounded(min(high, 1.0))]


def _over_folds(runs: list[Record], key: str) -> int:
    """The sum over folds: folds of one seed hold different clips, seeds of one fold the same clips."""
    return sum({run.get("fold") or "": run[key] for run in runs}.values())


def markdown_table(summaries: Sequence[Record]) -> str:
    """The table of a README from :func:`aggregate`: per cent, ± the sample standard deviation over seeds.

    A single run, or one seed of several folds, shows its 95 % interval in brackets instead. Where there are several
    tasks, each has its table.
    """
    tables = []
    for task in dict.fromkeys(one["task"] for one in summaries):
        columns = [_columns(one) for one in summaries if one["task"] == task]
        rule = ["---:" if name in NUMBERS else "---" for name in columns[0]]
        rows = [list(columns[0]), rule, *(list(one.values()) for one in columns)]
        tables.append(markdown_grid(rows))
    return "\n\n".join(tables)


NUMBERS = {"Parameters", "Clips", "Utterances", "Words", "Accuracy, %", "WER, %", "CER, %", "Training"}


def _columns(one: Record) -> dict[str, str]:
    """A row of the table, by the heads of its columns."""
    seeds = [str(seed) for seed in one["seeds"] if seed is not None]
    runs = ("seed " if len(seeds) == 1 else "seeds ") + ", ".join(seeds) if seeds else "1"
    if one["by_fold"]:
        runs += f"; {len(one['by_fold'])} folds"
    machine = one["machine"] or {}
    processor = machine.get("gpu") or machine.get("cpu") or ""
    cores = (
        f"{machine['cores']} core{'s' * (machine['cores'] > 1)}, "
        if machine.get("cores") and "gpu" not in machine
        else ""
    )
    task = TASKS[one["task"]]
    return {
        "Model": markdown_cell(one["model"]),
        **({"Decoder": markdown_cell(one["decoder"] or "")} if task.decodes else {}),
        "Parameters": f"{one['parameters']:,}" if one["parameters"] else "",
        "Data": markdown_cell(f"{one['dataset']}, {one['split']}"),
        **task.row(one),
        "Runs": markdown_cell(runs),
        "Training": duration(one["train_wall_clock_s"]),
        "Machine": markdown_cell(cores + processor),
        **({"Date": one["date"][:10], "Command": markdown_cell(one["command"])} if task.decodes else {}),
    }


def update_readme(path: str | os.PathLike[str], table: str, mark: str = "results") -> bool:
    """Put ``table`` between the lines ``<!-- mark -->`` and ``<!-- /mark -->``; True if the file changed.

    Raises:
        DataError: the file cannot be read, or has not exactly one pair of the marks.
    """
    readme = pathlib.Path(path)
    try:
        with open(readme, encoding="utf-8", newline="") as file:
            text = file.read()
    except OSError as error:
        raise DataError(f"{readme}: cannot be read ({error.strerror})") from None
    opening, closing = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    before, start, rest = text.partition(opening)
    _, end, after = rest.partition(closing)
    if not (start and end) or opening in rest or closing in before + after:
        raise DataError(f"{readme}: put the table's place into it once: a line {opening} and below it a line {closing}")
    newline = "\r\n" if "\r\n" in text else "\n"
    fresh = newline.join([before + opening, *table.strip().splitlines(), closing + after])
    if fresh == text:
        return False
    write_atomically(readme, fresh)
    return True
