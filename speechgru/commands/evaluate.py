"""``speechgru evaluate``: measures trained models on a split; writes results.json, pictures and a report."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from speechgru.card import card_of_run, write_card
from speechgru.commands.hydra_job import hydra_main
from speechgru.data.batching import BatchLoader
from speechgru.errors import ConfigError, DataError, ModelError
from speechgru.evaluation.classification import ClassificationResult
from speechgru.evaluation.pictures import confusion_picture, recall_picture
from speechgru.evaluation.prediction import predict
from speechgru.evaluation.report import write_report
from speechgru.evaluation.results import markdown_table, result_record, update_readme, write_results, write_summary
from speechgru.recognizer import Recognizer
from speechgru.registry import build, from_plain, name_of
from speechgru.training.logging import read_metrics


def run_hydra(words: list[str]) -> int:
    """Runs the evaluation that the overrides ``words`` describe, or what Hydra's own flags ask for."""

    def run(config: Any, folder: Path) -> None:
        for result, record, output in evaluate(config, ["speechgru", "evaluate", *words]):
            low, high = result.interval
            print(
                f"{record['model']} on {record['dataset']} {record['split']}: accuracy {100 * result.accuracy:.2f} % "
                f"({100 * low:.2f} to {100 * high:.2f}), {result.correct} of {result.clips} right, "
                f"{len(result.errors)} unreadable"
            )
            for error in result.errors:
                print(error, file=sys.stderr)
            print(f"report: {output / 'report.html'}", file=sys.stderr)

    return hydra_main("evaluate", words, run)


def evaluate(config: Any, words: Sequence[str] = ()) -> list[tuple[ClassificationResult, dict[str, Any], Path]]:
    """Evaluates every model of ``config`` (a :class:`speechgru.config.EvaluateConfig`).

    Args:
        config: the evaluation.
        words: the command line, for the record.

    Returns:
        For each model the result, its record and the folder its report was written to.

    Raises:
        ConfigError: no corpus is known, or the results of several models were to go into one folder.
        ModelError, DataError: a model or the corpus cannot be read.
    """
    models = [config.model] if isinstance(config.model, str) else list(config.model)
    if len(models) > 1 and config.output_dir:
        raise ConfigError(
            f"output_dir={config.output_dir}: {len(models)} models would overwrite one another; leave it out"
        )
    found = [_evaluate_one(Path(model), config, words) for model in models]
    if config.recipe_dir:
        folder = Path(config.recipe_dir)
        summary = write_summary(folder / "results.json", [record for _, record, _ in found])
        if (folder / "README.md").is_file():
            update_readme(folder / "README.md", markdown_table(summary))
    return found


def _evaluate_one(folder: Path, config: Any, words: Sequence[str]) -> tuple[ClassificationResult, dict[str, Any], Path]:
    device = config.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    recognizer = Recognizer.load(folder, device)
    if recognizer.task != "classification":
        raise ModelError(f"{folder} has a {recognizer.task} head; evaluate measures classification")
    settings = (
        config.data if config.data is not None else _own_data(recognizer, folder, config.root or _trained_on(folder))
    )
    corpus = build("data", settings)
    utterances = corpus.utterances(config.split)
    if not utterances:
        raise DataError(f"the {config.split} split has no utterances; choose another split= or check data=")
    began = time.monotonic()
    loader = BatchLoader(
        utterances, recognizer.tokens, recognizer.sample_rate, batch_size=config.batch_size, cache_mb=0
    )
    found = predict(recognizer, loader)
    seconds = time.monotonic() - began
    result = ClassificationResult(
        found.references, found.predictions, found.scores, recognizer.tokens.names, found.utterances, found.errors
    )
    run = _run_of(folder)
    record = result_record(
        result,
        dataset=name_of("data", settings),
        split=config.split,
        model=run.get("name", folder.name),
        seed=run.get("seed"),
        fold=corpus.fold,
        parameters=recognizer.parameter_count(),
        wall_clock_s=seconds,
        train_wall_clock_s=run.get("wall_clock_s"),
        command=words,
    )
    output = Path(config.output_dir) if config.output_dir else folder.parent / "evaluation" / config.split
    output.mkdir(parents=True, exist_ok=True)
    write_results(output / "results.json", record)
    confusion_picture(result, output / "confusion.png")
    recall_picture(result, output / "recall.png")
    if run and config.split == "test":
        write_card(folder, card_of_run(run, recognizer.tokens.names, recognizer.sample_rate, [record]))
    write_report(output / "report.html", result, record, curves=_curves_of(folder), settings=_settings_of(folder))
    return result, record, output


def _own_data(recognizer: Recognizer, folder: Path, root: str) -> Any:
    """The corpus the model was trained on, at ``root`` if that is given."""
    plain = recognizer.config.data
    if not plain:
        raise ConfigError(f"{folder} does not say which corpus it was trained on; add data=... to the command")
    settings = from_plain(plain, "data", f"{folder / 'config.yaml'}: data")
    return dataclasses.replace(settings, root=root) if root else settings


def _trained_on(folder: Path) -> str:
    """Where the recordings of the training were, as the run beside the model folder says; empty where it does not."""
    root = _run_of(folder).get("settings", {}).get("data", {}).get("root", "")
    return root if root and Path(root).exists() else ""


def _curves_of(folder: Path) -> list[dict[str, Any]]:
    return read_metrics(folder.parent) if (folder.parent / "metrics.jsonl").is_file() else []


def _settings_of(folder: Path) -> str:
    return (folder / "config.yaml").read_text(encoding="utf-8")


def _run_of(folder: Path) -> dict[str, Any]:
    """What the training run beside the model folder says of itself; empty where the folder was moved away."""
    try:
        return json.loads((folder.parent / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
