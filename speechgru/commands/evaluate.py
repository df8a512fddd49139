"""``speechgru evaluate``: measures trained models on a split; writes results.json, pictures and a report."""

from __future__ import annotations

import sys
from pathlib import Path

from speechgru.commands.hydra_job import hydra_main
from speechgru.evaluation.classification import ClassificationResult
from speechgru.evaluation.evaluate import EvaluateConfig, Result, evaluate


def run_hydra(words: list[str]) -> int:
    """Runs the evaluation that the overrides ``words`` describe, or what Hydra's own flags ask for."""

    def run(config: EvaluateConfig, folder: Path, words: list[str]) -> None:
        for result, record, output in evaluate(config, ["speechgru", "evaluate", *words]):
            print(f"{record['model']} on {record['dataset']} {record['split']}: {_headline(result)}")
            for error in result.errors:
                print(error, file=sys.stderr)
            print(f"report: {output / 'report.html'}", file=sys.stderr)

    return hydra_main("evaluate", words, run)


def _headline(result: Result) -> str:
    """The result in a line."""
    unreadable = f"{len(result.errors)} unreadable"
    if isinstance(result, ClassificationResult):
        low, high = result.interval
        return (
            f"accuracy {100 * result.accuracy:.2f} % ({100 * low:.2f} to {100 * high:.2f}), "
            f"{result.correct} of {result.clips} right, {unreadable}"
        )
    counts = result.counts
    interval = "({:.2f} to {:.2f}), ".format(*(100 * end for end in result.interval)) if result.interval else ""
    return (
        f"word error rate {100 * result.wer:.2f} % {interval}{counts.substitutions} substituted, {counts.insertions} "
        f"inserted and {counts.deletions} deleted of {counts.words} words; character error rate "
        f"{100 * result.cer:.2f} %; {unreadable}"
    )
