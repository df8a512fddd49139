"""``speechgru latency``: how accurate models are for the time that their frames wait for what follows."""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechgru.errors import ConfigError, DataError, SpeechGRUError

if TYPE_CHECKING:
    from speechgru.recognizer import Recognizer

CONTEXTS = "5+0,5+5,10+5,10+10,20+10,40+10,all"
SPLITS = ("valid", "test")
TIMED_S = 10.0

_EPILOG = """\
A model with encoder=latency_controlled is measured with each of the contexts, a chunk and what it knows to its right
in frames of the encoder, or all of the utterance; the others with the one they have. The wait of a frame is the time
from its middle to the end of the last audio it knows; ms per s is the time to compute a second of audio on --threads.
What was measured before is kept in the run's folder (evaluation/latency) and not measured again.

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
    for name in ("repeats", "threads"):
        if getattr(arguments, name) < 1:
            raise ConfigError(f"--{name} {getattr(arguments, name)}: at least 1")
    if arguments.recipe_dir and not Path(arguments.recipe_dir).is_dir():
        raise ConfigError(f"--recipe_dir {arguments.recipe_dir}: no such folder")
    if arguments.readme and not Path(arguments.readme).is_file():
        raise ConfigError(f"--readme {arguments.readme}: no such file")
    contexts = _contexts(arguments.contexts)
    import torch

    from speechgru.commands.compare import finished_runs
    from speechgru.evaluation.results import update_readme
    from speechgru.lab.latency.latency import latency_markdown, summarize

    before = torch.get_num_threads()
    torch.set_num_threads(arguments.threads)
    try:
        records: list[dict[str, Any]] = []
        timed: dict[tuple[str, str], Path] = {}
        failed = 0
        for folder in (one for given in arguments.runs for one in finished_runs(Path(given))):
            try:
                found = _measured(folder, contexts)
            except SpeechGRUError as error:
                print(f"{folder}: {error}", file=sys.stderr)
                failed += 1
                continue
            records += found
            for record in found:
                timed.setdefault((record["dataset"], record["model"]), folder)
        if not records:
            raise ConfigError(f"{' '.join(arguments.runs)}: no run to measure; train some first (recipe=latency_an4)")
        summary = summarize(records, _costs(timed, contexts, arguments.repeats))
    finally:
        torch.set_num_threads(before)
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


def _each(recognizer: Recognizer, contexts: list[tuple[int, int]]) -> Iterator[tuple[str, str]]:
    """Sets one context after the other where there is a choice; gives what encoder and context are called."""
    from speechgru.encoders import LatencyControlledEncoder
    from speechgru.lab.latency.latency import encoder_and_context

    encoder = recognizer.encoder
    if not isinstance(encoder, LatencyControlledEncoder):
        yield encoder_and_context(recognizer)
        return
    for chunk, right in contexts:
        encoder.config.chunk, encoder.config.right = chunk, right
        yield encoder_and_context(recognizer)


def _measured(run: Path, contexts: list[tuple[int, int]]) -> list[dict[str, Any]]:
    """The records of a run, of both splits and of each context; those measured before are read."""
    from speechgru.commands.compare import KEPT
    from speechgru.commands.evaluate import decoder_name, measure
    from speechgru.commands.own_corpus import own_data, run_of
    from speechgru.config import EvaluateConfig
    from speechgru.evaluation.results import read_results, result_record, write_results
    from speechgru.recognizer import Recognizer
    from speechgru.registry import build, name_of

    folder, kept = run / "model", run / "evaluation" / "latency" / "results.json"
    recognizer = Recognizer.load(folder)
    fresh = kept.is_file() and kept.stat().st_mtime >= (folder / "model.safetensors").stat().st_mtime
    known = {(one["model"], one["split"]): one for one in read_results(kept)} if fresh else {}
    settings, said = own_data(recognizer, folder), run_of(folder)
    corpus = build("data", settings)
    budget = said.get("settings", {}).get("parameters", 0)
    wanted = []
    for split in SPLITS:
        utterances = corpus.utterances(split)
        samples: list[int] = []
        for encoder, context in _each(recognizer, contexts):
            name = f"{encoder} {context}"
            wanted.append((name, split))
            if (name, split) in known:
                continue
            print(f"{run}: {name}, {split}", file=sys.stderr, flush=True)
            samples = samples or _samples(utterances, recognizer.sample_rate)
            waits = _waits(recognizer, samples)
            record = result_record(
                measure(recognizer, utterances, EvaluateConfig(model=str(folder))),
                dataset=name_of("data", settings),
                split=split,
                model=name,
                decoder=decoder_name(recognizer.config.decoder),
                seed=said.get("seed"),
                fold=corpus.fold,
                parameters=recognizer.parameter_count(),
                train_wall_clock_s=said.get("wall_clock_s"),
            )
            record = {key: record[key] for key in KEPT if key in record} | {"command": said.get("command", "")}
            record |= {"encoder": encoder, "context": context, **waits, "budget": budget, "epochs": said.get("epochs")}
            known[name, split] = record | {"hidden_size": recognizer.encoder.config.hidden_size}
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_results(kept, {"runs": list(known.values())})
    return [known[key] for key in wanted]


def _samples(utterances: list[Any], rate: int) -> list[int]:
    """The lengths at ``rate`` of the recordings that can be read."""
    from speechgru.audio import read_audio
    from speechgru.errors import AudioError

    found = []
    for one in utterances:
        with contextlib.suppress(AudioError):  # the measuring tells of it
            waveform, _ = read_audio(one.audio, rate, start_s=one.start_s, duration_s=one.duration_s)
            found.append(len(waveform))
    if not found:
        raise DataError("a split has no recording that can be read; check data.root of the run")
    return found


def _waits(recognizer: Recognizer, samples: list[int]) -> dict[str, float]:
    import numpy as np

    from speechgru.lab.latency.latency import waits_ms

    frames = np.concatenate([waits_ms(recognizer, one) for one in samples])
    return {"wait_ms": round(float(frames.mean()), 1), "longest_wait_ms": round(float(frames.max()), 1)}


def _costs(
    folders: dict[tuple[str, str], Path], contexts: list[tuple[int, int]], repeats: int
) -> dict[tuple[str, str], float]:
    """Milliseconds of computing for a second of audio, of the first run of each dataset and encoder."""
    from speechgru.lab.bench.timing import interleaved_ms
    from speechgru.recognizer import Recognizer

    found = {}
    for dataset in dict.fromkeys(dataset for dataset, _ in folders):
        answers = {}
        for run in dict.fromkeys(run for (of, _), run in folders.items() if of == dataset):
            recognizer = Recognizer.load(run / "model")
            for name in map(" ".join, _each(recognizer, contexts)):
                if folders[dataset, name] == run:
                    answers[name] = _answer(recognizer)
        print(f"timing {len(answers)} models of {dataset}", file=sys.stderr, flush=True)
        for name, taken in interleaved_ms(answers, repeats, 1, settle=False).items():
            found[dataset, name] = round(taken / TIMED_S, 2)
    return found


def _answer(recognizer: Recognizer) -> Callable[[], object]:
    """A function that computes noise of ``TIMED_S`` with the context that the encoder has now."""
    import torch

    samples = round(TIMED_S * recognizer.sample_rate)
    waveform = 0.1 * torch.randn(1, samples, generator=torch.Generator().manual_seed(0))
    encoder, context = recognizer.encoder, vars(recognizer.encoder.config).copy()

    @torch.no_grad()
    def answer() -> None:
        vars(encoder.config).update(context)
        recognizer.eval()
        recognizer(waveform, torch.tensor([samples]))

    return answer


def _write(folder: Path, summary: list[dict[str, Any]], records: list[dict[str, Any]], table: str) -> None:
    from speechgru.evaluation.results import update_readme, write_results
    from speechgru.lab.latency.latency import PICTURE
    from speechgru.lab.latency.picture import latency_picture

    write_results(folder / "results.json", {"summary": summary, "runs": records})
    latency_picture(summary, folder / "latency.png")
    if (folder / "README.md").is_file():
        update_readme(folder / "README.md", f"{table}\n\n{PICTURE}")
