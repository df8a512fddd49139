"""``card.md`` of a model folder: what the model is, what it learned from, how good it is and where not to trust it.

Front matter in YAML with the keys of the Hugging Face Hub (``model-index`` and its neighbours), then Markdown for
people. Source: huggingface.co/docs/hub/model-cards, "Evaluation results" (model-index format).
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re

from speechgru.decoding.operating_point import KeywordConfig
from speechgru.evaluation.task import Result, Task
from speechgru.evaluation.tasks import task_of
from speechgru.files import write_atomically
from speechgru.plain import Record
from speechgru.plain_yaml import to_yaml
from speechgru.wording import duration, markdown_cell, markdown_grid

FILE = "card.md"


@dataclasses.dataclass
class TrainingData:
    """A corpus the model learned from: its name, licence, address, and anything to know (all but the name optional)."""

    name: str
    license: str = ""
    url: str = ""
    note: str = ""


@dataclasses.dataclass
class CardConfig:
    """What a recipe says on the card of its model; the numbers come from the run and its evaluations.

    Attributes:
        summary: one or two sentences: what the model does; empty gives a plain one.
        license: identifier of the weights' licence, as the Hub spells it (apache-2.0, cc-by-4.0).
        language: codes such as en; empty where it is not about a language.
        limits: sentences about where it fails.
    """

    summary: str = ""
    license: str = "apache-2.0"
    language: list[str] = dataclasses.field(default_factory=lambda: ["en"])
    limits: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Card:
    """What a card says.

    Attributes:
        name: the model's name.
        summary: one or two sentences: what it does.
        task: the registered name of the head.
        labels: the classes it knows.
        results: records of evaluations (:func:`speechgru.evaluation.results.result_record`).
        training_data: the corpora it learned from.
        license: identifier of the weights' licence, as the Hub spells it (apache-2.0, cc-by-4.0).
        language: codes such as en; empty where it is not about a language.
        tags: words to find it by; None gives those of the task.
        sample_rate: of the model, in Hz; other recordings are resampled.
        parameters: how many.
        limits: sentences about where it fails.
        command: the command line that made it.
        train_wall_clock_s: how long that took, in seconds.
        keywords: when it hears a word in running sound; None where that was not chosen.
    """

    name: str
    summary: str
    task: str = "classification"
    labels: list[str] = dataclasses.field(default_factory=list)
    results: list[Record] = dataclasses.field(default_factory=list)
    training_data: list[TrainingData] = dataclasses.field(default_factory=list)
    license: str = "apache-2.0"
    language: list[str] = dataclasses.field(default_factory=lambda: ["en"])
    tags: list[str] | None = None
    sample_rate: int | None = None
    parameters: int | None = None
    limits: list[str] = dataclasses.field(default_factory=list)
    command: str = ""
    train_wall_clock_s: float | None = None
    keywords: KeywordConfig | None = None


def card_of_run(
    run: Record, labels: list[str], sample_rate: int, results: list[Record], keywords: KeywordConfig | None = None
) -> Card:
    """The card of a model from its run (``run.json``), the records of its evaluations, its operating point."""
    words = CardConfig(**run["settings"]["card"])
    head = run.get("task", "classification")
    return Card(
        name=run["name"],
        summary=words.summary or task_of(head).summary(labels),
        task=head,
        labels=labels,
        results=results,
        training_data=[TrainingData(**one) for one in run["training_data"]],
        license=words.license,
        language=words.language,
        sample_rate=sample_rate,
        parameters=run["parameters"],
        limits=words.limits,
        command=run["command"],
        train_wall_clock_s=run["wall_clock_s"],
        keywords=keywords,
    )


def write_card(folder: str | os.PathLike[str], card: Card) -> pathlib.Path:
    """Write ``card.md`` into a model folder (in one move) and return its path."""
    path = pathlib.Path(folder) / FILE
    write_atomically(path, f"---\n{to_yaml(front_matter(card), width=120)}---\n\n{_body(card)}")
    return path


def front_matter(card: Card) -> Record:
    """The keys the Hub reads, in its order; empty ones are left out."""
    task = task_of(card.task)
    front: Record = {
        "language": list(card.language),
        "license": card.license,
        "library_name": "speechgru",
        "pipeline_tag": task.hub["type"],
        "tags": ["audio", "speech", "gru", task.tag] if card.tags is None else list(card.tags),
        "model-index": [{"name": card.name, "results": [_hub_result(record, task) for record in card.results]}],
    }
    return {key: value for key, value in front.items() if value}


def _hub_result(record: Record, task: Task[Result]) -> Record:
    dataset = {"type": record["dataset"], "name": record["dataset"], "split": record["split"]}
    return {"task": task.hub, "dataset": dataset, "metrics": task.hub_metrics(record)}


def _body(card: Card) -> str:
    task = task_of(card.task)
    sections = [
        f"# {markdown_cell(card.name)}\n\n{markdown_cell(card.summary)}",
        _facts(card),
        USAGE.format(verb=task.verb),
        _training(card),
        *(_result(record, task) for record in card.results),
        "## Limits\n\n" + "\n".join(f"- {markdown_cell(limit)}" for limit in card.limits) if card.limits else "",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


# The examples name the folder as the reader has it: a card goes where its folder goes.
USAGE = """## Use

With speechgru installed:

```sh
speechgru {verb} -m path/to/this/folder clip.wav
```

```python
import speechgru

recognizer = speechgru.load("path/to/this/folder")
print(recognizer.{verb}("clip.wav"))
```"""


def _facts(card: Card) -> str:
    facts = []
    if card.labels:
        facts.append(f"{len(card.labels)} classes: {', '.join(map(markdown_cell, card.labels))}")
    if card.parameters:
        facts.append(f"{card.parameters:,} parameters")
    if card.sample_rate:
        facts.append(f"works at {card.sample_rate:,} Hz, mono; other recordings are converted")
    facts.append(f"licence of the weights: {markdown_cell(card.license)}")
    if card.keywords and card.keywords.thresholds:
        facts.append(_operating_point(card.keywords))
    return "\n".join(f"- {fact}" for fact in facts)


def _operating_point(keywords: KeywordConfig) -> str:
    thresholds = sorted(set(keywords.thresholds.values()))
    between = " to ".join(f"{one:.4g}" for one in dict.fromkeys([thresholds[0], thresholds[-1]]))
    mean = f"mean over {keywords.smoothing_ms:g} ms"
    line = f"in running sound a word is heard where its score reaches {between} ({mean})"
    on = keywords.chosen_on
    if not {"alarms", "hours", "misses", "clips"} <= on.keys():
        return line
    return (
        f"{line}: chosen on {on['hours']} h of background with {on['alarms']} false alarms and {on['clips']} clips, "
        f"{on['misses']} of them missed"
    )


def _training(card: Card) -> str:
    lines = ["## Training data", ""] if card.training_data else ["## Training", ""]
    for data in card.training_data:
        parts = [f"licence: {markdown_cell(data.license)}" if data.license else "licence not stated"]
        parts += [markdown_cell(part) for part in (data.url, data.note) if part]
        lines.append(f"- **{markdown_cell(data.name)}**, " + ", ".join(parts))
    if card.command:
        took = f" in {duration(card.train_wall_clock_s)}" if card.train_wall_clock_s is not None else ""
        lines += ["", f"Made{took} by", "", _code(card.command)]
    return "\n".join(lines).strip() if len(lines) > 2 else ""


def _code(text: str) -> str:
    """A fenced block whose fence is longer than any in the text."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh\n{text.strip()}\n{fence}"


def _result(record: Record, task: Task[Result]) -> str:
    lines = [f"## Results: {markdown_cell(record['dataset'])}, {markdown_cell(record['split'])}\n"]
    return "\n".join([*lines, *task.card_result(record), *_conditions(record, task), *_measured_by(record)])


def _conditions(record: Record, task: Task[Result]) -> list[str]:
    """How good the model is where recordings are not as the corpus has them."""
    if not record.get("conditions"):
        return []
    measure = task.judged_by[0]
    rows = [[markdown_cell(one["name"]), f"{100 * one[measure.key]:.2f}"] for one in record["conditions"]]
    head = ["The same recordings with", f"{measure.name.capitalize()}, %"]
    return ["", markdown_grid([head, ["---", "---:"], *rows])]


def _measured_by(record: Record) -> list[str]:
    return ["", "Measured by", "", _code(record["command"])] if record.get("command") else []
