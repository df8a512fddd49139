"""The runs of a comparison of latencies: their accuracy with each context, and what their models cost."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from speechgru.data.reading import read_utterance
from speechgru.data.utterance import Utterance
from speechgru.encoders import LatencyControlledEncoder
from speechgru.errors import AudioError, DataError
from speechgru.evaluation.evaluate import EvaluateConfig, decoder_name, measure
from speechgru.evaluation.results import read_results, result_record, write_results
from speechgru.evaluation.run_folder import own_data, run_of
from speechgru.evaluation.tasks import task_of
from speechgru.lab.bench.timing import interleaved_ms
from speechgru.lab.comparison.runs import KEPT
from speechgru.lab.latency.latency import encoder_and_context, waits_ms
from speechgru.plain import Record
from speechgru.recognizer import Recognizer
from speechgru.registry import build, name_of

SPLITS = ("valid", "test")
TIMED_S = 10.0


def _each(recognizer: Recognizer, contexts: list[tuple[int, int]]) -> Iterator[tuple[str, str]]:
    """Sets one context after the other where there is a choice; yields the names of encoder and context."""
    encoder = recognizer.encoder
    if not isinstance(encoder, LatencyControlledEncoder):
        yield encoder_and_context(recognizer)
        return
    for chunk, right in contexts:
        encoder.config.chunk, encoder.config.right = chunk, right
        yield encoder_and_context(recognizer)


def measured_records(run: Path, contexts: list[tuple[int, int]]) -> list[Record]:
    """The records of a run, for both splits and each context; those measured before are read from its folder."""
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
                decoder=decoder_name(recognizer.config.decoder) if task_of(recognizer.task).decodes else None,
                seed=said.get("seed"),
                fold=corpus.fold,
                parameters=recognizer.parameter_count(),
                train_wall_clock_s=said.get("wall_clock_s"),
            )
            record = {key: record[key] for key in KEPT if key in record} | {"command": said.get("command", "")}
            record |= {"encoder": encoder, "context": context, **waits, "budget": budget, "epochs": said.get("epochs")}
            known[name, split] = record | {"hidden_size": recognizer.config.encoder.hidden_size}
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_results(kept, {"runs": list(known.values())})
    return [known[key] for key in wanted]


def _samples(utterances: list[Utterance], rate: int) -> list[int]:
    """The lengths at ``rate`` of the recordings that can be read."""
    found = []
    for one in utterances:
        with contextlib.suppress(AudioError):  # the measurement reports it
            found.append(len(read_utterance(one, rate)))
    if not found:
        raise DataError("a split has no recording that can be read; check data.root of the run")
    return found


def _waits(recognizer: Recognizer, samples: list[int]) -> dict[str, float]:
    frames = np.concatenate([waits_ms(recognizer, one) for one in samples])
    return {"wait_ms": round(float(frames.mean()), 1), "longest_wait_ms": round(float(frames.max()), 1)}


def measured_costs(
    folders: dict[tuple[str, str], Path], contexts: list[tuple[int, int]], repeats: int
) -> dict[tuple[str, str], float]:
    """Milliseconds of computing for a second of audio, for the first run of each dataset and encoder."""
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
    """A function that runs noise of ``TIMED_S`` through the model with the context that the encoder has now."""
    samples = round(TIMED_S * recognizer.sample_rate)
    waveform = 0.1 * torch.randn(1, samples, generator=torch.Generator().manual_seed(0))
    settings = vars(recognizer.config.encoder)  # the encoder reads these same settings
    context = settings.copy()

    @torch.no_grad()
    def answer() -> None:
        settings.update(context)
        recognizer.eval()
        recognizer(waveform, torch.tensor([samples]))

    return answer
