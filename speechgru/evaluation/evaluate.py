"""Measures trained models on a split of a corpus: results.json, pictures and a report for each."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from speechgru.data.batching import BatchLoader
from speechgru.data.utterance import Utterance
from speechgru.devices import find_device
from speechgru.errors import ConfigError, DataError
from speechgru.evaluation.card import card_of_run, write_card
from speechgru.evaluation.conditions import Condition, conditions
from speechgru.evaluation.foreign import find_foreign, hear, measure_foreign
from speechgru.evaluation.machine import describe_machine
from speechgru.evaluation.results import (
    markdown_table,
    read_results,
    result_record,
    update_readme,
    write_results,
    write_summary,
)
from speechgru.evaluation.run_folder import METRICS, own_data, read_metrics, run_of
from speechgru.evaluation.task import Result
from speechgru.evaluation.tasks import task_of
from speechgru.hub import is_fetched
from speechgru.plain import Record
from speechgru.recognizer import Recognizer
from speechgru.registry import MISSING, build, name_of, to_plain
from speechgru.shipped import model_path, models_dir


@dataclasses.dataclass
class EvaluateConfig:
    """All settings of one evaluation.

    Attributes:
        model: the model folder or the name of a shipped one, or a list of them, [runs/a/model,runs/b/model].
        split: train, valid or test.
        data: the corpus; left out, it is the one the model was trained on.
        synthesiser: the synthesiser that speaks in a corpus that is made here.
        root: where the recordings of the model's own corpus are; empty means where its config says.
        output_dir: where results.json and the report go; empty means <model>/../evaluation/<split> (of a shipped
            model evaluation/<name>/<split>), with another decoder than greedy <split>-<decoder>.
        recipe_dir: a recipe's folder whose results.json and table in README.md are written from all models given; rows
            of transcribers with another name, another test corpus or another decoder are kept.
        batch_size: utterances at a time, at least 1.
        decoder: how the scores of a CTC model become text; left out, as its folder says, or greedily.
        foreign: recordings of what a CTC model should not know, to count those that it marks: a folder, file, glob or
            list, or [several]. Of a list with splits, valid and test are used, because ``speechgru tune-lm`` chooses on
            train.
        conditions: also measure on recordings that are not as the corpus has them: pauses around, two in one, a room,
            noise, a telephone, softer.
        rooms: impulse responses (a folder, file or glob); each adds a condition.
        device: auto (cuda where there is one), cpu, cuda, cuda:<number> or mps.
    """

    model: Any = MISSING
    split: str = "test"
    data: Any = None
    synthesiser: Any = None
    root: str = ""
    output_dir: str = ""
    recipe_dir: str = ""
    batch_size: int = 64
    decoder: Any = None
    foreign: Any = None
    conditions: bool = False
    rooms: str = ""
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.split not in ("train", "valid", "test"):
            raise ConfigError(f"split={self.split}: train, valid or test")
        if self.batch_size < 1:
            raise ConfigError(f"batch_size={self.batch_size}: at least 1")
        if self.rooms and not self.conditions:
            raise ConfigError(f"rooms={self.rooms}: has no effect without conditions=true")


def evaluate(config: EvaluateConfig, words: Sequence[str] = ()) -> list[tuple[Result, Record, Path]]:
    """Evaluates every model of ``config``.

    Args:
        config: the evaluation.
        words: the command line, for the record.

    Returns:
        For each model the result, its record and the folder its report was written to.

    Raises:
        ConfigError: no corpus is known, or the results of several models were to go into one folder.
        ModelError, DataError: a model or the corpus cannot be read.
    """
    models = _several(config.model)
    if len(models) > 1 and config.output_dir:
        raise ConfigError(
            f"output_dir={config.output_dir}: {len(models)} models would overwrite one another; leave it out"
        )
    found = [_evaluate_one(model, config, words) for model in models]
    if config.recipe_dir:
        folder = Path(config.recipe_dir)
        records = [record for _, record, _ in found]
        summary = write_summary(folder / "results.json", _other_rows(folder / "results.json", records) + records)
        if (folder / "README.md").is_file():
            update_readme(folder / "README.md", markdown_table(summary))
    return found


def _several(value: Any) -> list[str]:
    """The items of a setting that is one or a list of them."""
    return [value] if isinstance(value, str) else list(value or ())


def _other_rows(path: Path, records: list[Record]) -> list[Record]:
    """The runs of transcribers in a recipe's results that ``records`` does not replace: each has another table row."""
    if not path.is_file():
        return []
    rows = {_row(record) for record in records}
    return [run for run in read_results(path) if run.get("decoder") is not None and _row(run) not in rows]


def _row(run: Record) -> tuple[object, ...]:
    return tuple(run.get(key) for key in ("dataset", "split", "model", "decoder"))


def _evaluate_one(model: str, config: EvaluateConfig, words: Sequence[str]) -> tuple[Result, Record, Path]:
    try:
        folder = model_path(model)
    except ConfigError as error:
        raise ConfigError(f"model={error}") from None
    recognizer = Recognizer.load(folder, find_device(config.device))
    task = task_of(recognizer.task)
    if config.decoder is not None and not task.decodes:
        raise ConfigError(f"decoder={name_of('decoder', config.decoder)}: {folder} has no ctc head; leave it out")
    if config.foreign and not task.decodes:
        raise ConfigError(f"foreign={config.foreign}: {folder} has no ctc head; leave it out")
    settings = config.data if config.data is not None else own_data(recognizer, folder, config.root)
    corpus = build("data", settings)
    utterances = corpus.utterances(config.split)
    if not utterances:
        raise DataError(f"the {config.split} split has no utterances; choose another split= or check data=")
    others = conditions(recognizer.sample_rate, config.rooms) if config.conditions else []
    sources = find_foreign(_several(config.foreign), ("valid", "test"))
    decoder = recognizer.config.decoder if config.decoder is None else config.decoder
    began = time.monotonic()
    result = measure(recognizer, utterances, config)
    seconds = time.monotonic() - began
    run = run_of(folder)
    record = result_record(
        result,
        dataset=" ".join([name_of("data", settings), *(corpus.test_of if config.split == "test" else [])]),
        split=config.split,
        model=run.get("name", folder.name),
        decoder=decoder_name(decoder) if task.decodes else None,
        seed=run.get("seed"),
        fold=corpus.fold,
        parameters=recognizer.parameter_count(),
        wall_clock_s=seconds,
        train_wall_clock_s=run.get("wall_clock_s"),
        command=words,
        machine=describe_machine(str(recognizer.device)),
    )
    if others:
        record["conditions"] = measure_conditions(recognizer, utterances, config, others)
    if sources:
        used = recognizer.decoder(config.decoder)
        record["foreign"] = [measure_foreign(one, hear(recognizer, one, used)) for one in sources]
    way = "greedy" if decoder is None else name_of("decoder", decoder)
    place = config.split if way == "greedy" else f"{config.split}-{way}"
    output = Path(config.output_dir) if config.output_dir else _reports(folder) / place
    output.mkdir(parents=True, exist_ok=True)
    write_results(output / "results.json", record)
    task.write_report(result, output, record, _curves_of(folder), _settings_of(folder))
    if run and config.split == "test":
        classes, keywords = task.classes(recognizer.tokens), recognizer.config.keywords
        write_card(folder, card_of_run(run, classes, recognizer.sample_rate, [record], keywords))
    return result, record, output


def measure(
    recognizer: Recognizer, utterances: list[Utterance], config: EvaluateConfig, condition: Condition | None = None
) -> Result:
    """The result of a model on utterances, with ``batch_size`` and ``decoder`` of ``config``."""
    task = task_of(recognizer.task)
    # Without targets: no loss is wanted, and a reference may hold letters that the model lacks.
    loader = BatchLoader(utterances, None, recognizer.sample_rate, batch_size=config.batch_size, cache_mb=0)
    decoder = recognizer.decoder(config.decoder) if task.decodes else None
    batches = loader.epoch(0)
    result: Result = task.answer(recognizer, condition.apply(batches) if condition else batches, decoder)
    return result


def measure_conditions(
    recognizer: Recognizer, utterances: list[Utterance], config: EvaluateConfig, others: list[Condition]
) -> list[dict[str, str | float]]:
    """Name, error rate (or accuracy) and marked recordings of every condition: what ``results.json`` keeps of them."""
    task = task_of(recognizer.task)
    key, found = task.judged_by[0].key, []
    for condition in others:
        if task.decodes or not condition.joins:
            measured = measure(recognizer, utterances, config, condition).measures()
            marked = {} if measured.get("marked") is None else {"marked": measured["marked"]}
            found.append({"name": condition.name, key: measured[key], **marked})
    return found


def decoder_name(decoder: object) -> str:
    """The decoder with the settings that differ from the default, such as ``beam beam_size=50``; of a path the name.

    The priors are left out: a number for each token is no setting by which to distinguish runs.
    """
    if decoder is None:
        return "greedy"
    plain, usual = to_plain(decoder, "decoder"), to_plain(type(decoder)())
    changed = [
        f"{key}={Path(value).name if isinstance(value, str) else value}"
        for key, value in plain.items()
        if key not in ("name", "priors") and value != usual[key]
    ]
    return " ".join([plain["name"], *changed])


def _reports(folder: Path) -> Path:
    """Where the reports of a model go: beside it; for a shipped one or one of the Hub, into the working directory."""
    apart = folder.parent == models_dir() or is_fetched(folder)
    return Path("evaluation", folder.name) if apart else folder.parent / "evaluation"


def _curves_of(folder: Path) -> list[Record]:
    return read_metrics(folder.parent) if (folder.parent / METRICS).is_file() else []


def _settings_of(folder: Path) -> str:
    return (folder / "config.yaml").read_text(encoding="utf-8")
