"""``speechgru latency``: how accurate models are, against how long their frames wait for what follows."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from speechgru.commands.checks import at_least_one
from speechgru.errors import ConfigError, SpeechGRUError
from speechgru.plain import Record

CONTEXTS = "5+0,5+5,10+5,10+10,20+10,40+10,all"

_EPILOG = """\
A model with encoder=latency_controlled is measured with each of the contexts: a chunk and its right context, in frames
of the encoder, or all of the utterance. Other models are measured with the context they have. The wait of a frame is
the time from its middle to the end of the last audio it depends on; ms per s is the time to compute a second of audio
on --threads. What was measured before is kept in the run's folder (evaluation/latency) and not measured again.

example:
  speechgru train --multirun recipe=latency_an4 encoder=gru,latency_controlled resume=true
  speechgru latency runs/latency_an4 --contexts 5+0,10+5,all
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``speechgru latency``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("runs", nargs="+", metavar="FOLDER", help="a run or a folder of runs, such as runs/latency_an4")
    parser.add_argument("--contexts", default=CONTEXTS, help=f"CHUNK+RIGHT,... and all (default: {CONTEXTS})")
    parser.add_argument("--repeats", type=int, default=5, help="measured answers of each model (default: 5)")
    parser.add_argument("--threads", type=int, default=1, help="processor threads (default: 1)")
    parser.add_argument(
        "--recipe_dir", metavar="DIR", help="write results.json, latency.png and README.md's table there"
    )
    parser.add_argument(
        "--readme", metavar="FILE", help="write the table into FILE, between <!-- latency --> and <!-- /latency -->"
    )


def run(arguments: argparse.Namespace) -> int:
    """Measures what is there, and prints or writes the table; 1 where a run could not be measured.

    Raises:
        ConfigError: an option is wrong, or no run is there.
        DataError: a seed of an encoder is there twice.
    """
    at_least_one(arguments, "repeats", "threads")
    if arguments.recipe_dir and not Path(arguments.recipe_dir).is_dir():
        raise ConfigError(f"--recipe_dir {arguments.recipe_dir}: no such folder")
    if arguments.readme and not Path(arguments.readme).is_file():
        raise ConfigError(f"--readme {arguments.readme}: no such file")
    contexts = _contexts(arguments.contexts)
    from speechgru.evaluation.results import update_readme
    from speechgru.evaluation.run_folder import finished_runs
    from speechgru.lab.bench.timing import threads
    from speechgru.lab.latency.latency import latency_markdown, summarize
    from speechgru.lab.latency.runs import measured_costs, measured_records

    with threads(arguments.threads):
        records: list[Record] = []
        timed: dict[tuple[str, str], Path] = {}
        failed = 0
        for folder in (one for given in arguments.runs for one in finished_runs(Path(given))):
            try:
                found = measured_records(folder, contexts)
            except SpeechGRUError as error:
                print(f"{folder}: {error}", file=sys.stderr)
                failed += 1
                continue
            records += found
            for record in found:
                timed.setdefault((record["dataset"], record["model"]), folder)
        if not records:
            raise ConfigError(f"{' '.join(arguments.runs)}: no run to measure; train some first (recipe=latency_an4)")
        summary = summarize(records, measured_costs(timed, contexts, arguments.repeats))
    table = latency_markdown(summary)
    print(table)
    if arguments.recipe_dir:
        _write(Path(arguments.recipe_dir), summary, records, table)
    if arguments.readme:
        update_readme(arguments.readme, table, "latency")
    return int(failed > 0)


def _contexts(text: str) -> list[tuple[int, int]]:
    """``5+0,all`` as chunks and right contexts."""
    from speechgru.lab.latency.latency import WHOLE

    found = []
    for word in text.split(","):
        pair = re.fullmatch(r"(\d{1,6})\+(\d{1,6})", word.strip())
        if word.strip() != "all" and (pair is None or int(pair[1]) < 1):
            raise ConfigError(
                f"--contexts {text}: {word!r} is not CHUNK+RIGHT with a chunk of at least 1 frame, or all"
            )
        found.append((int(pair[1]), int(pair[2])) if pair else (WHOLE, 0))
    return list(dict.fromkeys(found))


def _write(folder: Path, summary: list[Record], records: list[Record], table: str) -> None:
    from speechgru.evaluation.results import update_readme, write_results
    from speechgru.lab.latency.latency import PICTURE
    from speechgru.lab.latency.picture import latency_picture

    write_results(folder / "results.json", {"summary": summary, "runs": records})
    latency_picture(summary, folder / "latency.png")
    if (folder / "README.md").is_file():
        update_readme(folder / "README.md", f"{table}\n\n{PICTURE}")
