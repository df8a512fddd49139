"""``speechgru evaluate``: measures trained models on a split; writes results.json, pictures and a report."""

from __future__ import annotations

import sys
from pathlib import Path

from speechgru.commands.hydra_job import hydra_main
from speechgru.evaluation.evaluate import EvaluateConfig, evaluate
from speechgru.evaluation.tasks import TASKS


def run_hydra(words: list[str]) -> int:
    """Runs the evaluation that the overrides ``words`` describe, or what Hydra's own flags ask for."""

    def run(config: EvaluateConfig, folder: Path, words: list[str]) -> None:
        for result, record, output in evaluate(config, ["speechgru", "evaluate", *words]):
            print(f"{record['model']} on {record['dataset']} {record['split']}: {result.headline()}")
            measure = TASKS[record["task"]].judged_by[0]
            for one in record.get("conditions", ()):
                print(f"{one['name']}: {measure.short} {100 * one[measure.key]:.2f} %")
            for one in record.get("foreign", ()):
                print(
                    f"foreign, {one['name']}: {one['marked']} of {one['n']} marked, {one['without_text']} without text"
                )
            for error in result.errors:
                print(error, file=sys.stderr)
            print(f"report: {output / 'report.html'}", file=sys.stderr)

    return hydra_main("evaluate", words, run)
