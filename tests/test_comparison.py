"""Models within a number of parameters, a multirun over cells, and the comparison that is written of it."""

from __future__ import annotations

import json
import math
import re
import shutil
import signal
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from test_recipes import between_marks, commands_in, composed, recorded

from speechgru.cells import GRUConfig, LSTMConfig, MinGRUConfig, RNNConfig
from speechgru.cli import main
from speechgru.commands.recipes import recipe_names
from speechgru.encoders import GRUEncoderConfig
from speechgru.encoders.convolution import ConvolutionConfig
from speechgru.errors import ConfigError, DataError, Interrupted
from speechgru.features import LogMelConfig
from speechgru.heads import ClassificationConfig, CTCConfig
from speechgru.lab.bench.cost import costs, macs_per_s, training_step
from speechgru.lab.comparison.comparison import CLAIMS, PICTURES, TRIO, beside, compare, comparison_markdown
from speechgru.lab.comparison.pictures import accuracy_picture, cost_picture
from speechgru.model_folder import RecognizerConfig
from speechgru.recognizer import Recognizer
from speechgru.registry import names
from speechgru.shipped import conf_dir, recipes_dir
from speechgru.text import CharactersConfig
from speechgru.tokens import Tokens
from speechgru.training.budget import within_budget
from speechgru.training.trainer import Trainer

FOLDER = recipes_dir() / "cells"
PAGE = Path(__file__).parent.parent / "docs" / "lab-report.md"
RECIPES = ["cells_an4", "cells_fsdd", "cells_speech_commands"]
SMALL = ["features.sample_rate=8000", "features.mels=12", "encoder.num_layers=1", "head.attention_heads=2"]
SMALL += [
    "trainer.batch_size=8",
    "trainer.epochs=2",
    "trainer.device=cpu",
    "trainer.threads=1",
    "data=folder",
    "~recipe",
]
SMALL += ["name=tones", "hydra.sweep.subdir=${hydra.runtime.choices.cell}-${seed}"]


def parts(cell: Any = None, task: str = "classification", heads: int = 2, **encoder: Any) -> RecognizerConfig:
    head: Any = CTCConfig() if task == "ctc" else ClassificationConfig(attention_heads=heads)
    units = CharactersConfig() if task == "ctc" else None
    settings = GRUEncoderConfig(cell=cell or GRUConfig(), **encoder)
    return RecognizerConfig(LogMelConfig(mels=12), settings, head, units=units)


LABELS = Tokens(["<blank>", "|", "A", "B"])


@pytest.mark.parametrize("cell", [GRUConfig(), LSTMConfig(), RNNConfig(), MinGRUConfig()])
@pytest.mark.parametrize("budget", [1_500, 20_011])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"task": "ctc", "bidirectional": False, "num_layers": 3},
        {"heads": 4, "bidirectional": False},
        {"projection_size": 6, "front_end": ConvolutionConfig(channels=[2], stride_time=[1], stride_feature=[4])},
    ],
)
def test_the_largest_hidden_size_within_a_budget(cell: Any, budget: int, settings: dict[str, Any]) -> None:
    """Oracle: real models of every size, one after another, counted."""
    config = parts(cell, **settings)
    state = torch.get_rng_state()
    chosen = within_budget(config, LABELS, budget)
    assert torch.equal(state, torch.get_rng_state())
    step = 4 if settings.get("heads") == 4 else 1
    counts = {}
    for size in range(step, chosen.hidden_size + step + 1, step):
        config.encoder.hidden_size = size
        counts[size] = Recognizer(config, LABELS).parameter_count()
    assert max(size for size, count in counts.items() if count <= budget) == chosen.hidden_size
    assert max(counts.values()) > budget
    assert (chosen.num_layers, chosen.cell) == (config.encoder.num_layers, cell)


def test_a_budget_nothing_fits_into_is_refused() -> None:
    """The message names the number, the smallest size and what it needs, counted here."""
    config = parts(heads=6, bidirectional=False)
    config.encoder.hidden_size = 6
    least = Recognizer(config, LABELS).parameter_count()
    assert within_budget(config, LABELS, least).hidden_size == 6
    with pytest.raises(ConfigError, match=rf"parameters={least - 1}: with hidden_size=6 .* {least} already"):
        within_budget(config, LABELS, least - 1)


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tones of 300 and 2,000 Hz, a folder for each, in three splits."""
    root = tmp_path_factory.mktemp("tones")
    rng = np.random.default_rng(0)
    for split in ("train", "valid", "test"):
        for label, hertz in (("low", 300), ("high", 2000)):
            (root / split / label).mkdir(parents=True)
            for number in range(8):
                tone = 0.3 * np.sin(2 * np.pi * hertz * rng.uniform(0.9, 1.1) * np.arange(4000) / 8000)
                soundfile.write(root / split / label / f"{number}.wav", tone + 0.01 * rng.standard_normal(4000), 8000)
    return root


@pytest.fixture(scope="module")
def runs(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A multirun of two cells and two seeds at 3,000 parameters."""
    folder = tmp_path_factory.mktemp("multirun") / "tones"
    words = ["cell=gru,rnn", "seed=0,1", "parameters=3000", f"data.root={tones}", f"run_dir={folder}", "resume=true"]
    assert main(["train", "--multirun", *words, *SMALL]) == 0
    return folder


def test_a_multirun_trains_each_cell_within_the_budget(runs: Path) -> None:
    """Oracle: the model folders, which hold plain hidden sizes; one more would be over the budget."""
    assert sorted(path.name for path in runs.iterdir() if path.is_dir()) == ["gru-0", "gru-1", "rnn-0", "rnn-1"]
    for run in (path for path in runs.iterdir() if path.is_dir()):
        model = Recognizer.load(run / "model")
        said = json.loads((run / "run.json").read_text())
        assert said["settings"]["parameters"] == 3000
        assert said["settings"]["encoder"]["hidden_size"] == model.config.encoder.hidden_size
        assert said["settings"]["encoder"]["cell"]["name"] == run.name[:3]
        assert "parameters" not in (run / "model" / "config.yaml").read_text()
        assert model.parameter_count() == said["parameters"] <= 3000
        model.config.encoder.hidden_size += 1
        assert Recognizer(model.config, model.tokens).parameter_count() > 3000


def test_a_multirun_goes_on_where_it_stopped(
    runs: Path, tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Oracle: the files. Finished runs stay as they are, and those of other settings are refused; a failing one is told
    and does not stop the one behind it.
    """
    folder = tmp_path / "tones"
    shutil.copytree(runs, folder)
    shutil.rmtree(folder / "rnn-1")
    shutil.rmtree(folder / "gru-0")
    shutil.copytree(folder / "gru-1", folder / "gru-0")  # the run of another seed, which is not gone on with
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.parent != folder}
    words = ["seed=0,1", "cell=gru,rnn", f"data.root={tones}", f"run_dir={folder}", "resume=true", *SMALL]
    assert main(["train", "--multirun", "parameters=3000", *words]) == 1
    told = capsys.readouterr().err.splitlines()
    (line,) = [line for line in told if line.startswith(f"{folder / 'gru-0'}: run_dir=")]
    assert "seed" in line
    assert told[-1] == "speechgru train: 1 of the multirun's jobs failed; what each said stands above"
    assert (folder / "rnn-1" / "model").is_dir()
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())


def test_an_interrupted_multirun_begins_no_other_run(
    tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Oracle: the runs begun, with Ctrl-C in the first."""
    begun = []

    def interrupted(trainer: Trainer) -> None:
        begun.append(trainer.folder.name)
        raise Interrupted("interrupted after step 3", signal.SIGINT)

    monkeypatch.setattr(Trainer, "fit", interrupted)
    words = ["cell=gru,rnn", f"data.root={tones}", f"run_dir={tmp_path}", *SMALL]
    assert main(["train", "--multirun", *words]) == 130
    assert begun == ["gru-0"]
    assert "interrupted after step 3" in capsys.readouterr().err
    assert main(["train", "cell=gru", f"data.root={tones}", f"run_dir={tmp_path}", *SMALL]) == 130


@pytest.mark.parametrize("cell", [GRUConfig(), LSTMConfig()])
def test_operations_of_a_second(cell: Any) -> None:
    """Oracle: the products of the matrices with 50 frames a second, joined in pairs before the second layer."""
    config = parts(cell, hidden_size=6, pyramid=[1, 2], num_layers=2)
    config.features.hop_ms = 20.0
    blocks = 3 if isinstance(cell, GRUConfig) else 4
    first, second = blocks * 6 * (12 + 6) + 18, blocks * 6 * (2 * 12 + 6) + 18
    assert macs_per_s(Recognizer(config, LABELS)) == 2 * (50 * first + 25 * second)


@pytest.mark.parametrize("task", ["classification", "ctc"])
def test_a_training_step_reaches_every_parameter(task: str, tmp_path: Path) -> None:
    """Oracle: the gradients; a second step has the same, for nothing is left from the first."""
    torch.manual_seed(0)
    model = Recognizer(parts(task=task, hidden_size=6, dropout=0.0), LABELS)
    model.head.config.dropout = 0.0
    step = training_step(model, batch=2)
    step()
    first = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    assert all(gradient.abs().max() > 0 for gradient in first.values())
    step()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, first[name], rtol=0, atol=1e-6)


def test_costs_of_small_and_large(tmp_path: Path) -> None:
    """Oracle: what a state of four bytes takes at the least, for 32 rows of 100 frames; more values cost more."""
    folders = {}
    for name, size in (("small", 8), ("large", 400)):
        torch.manual_seed(0)
        folders[name] = tmp_path / name
        Recognizer(parts(hidden_size=size, num_layers=1), Tokens(["a", "b"])).save(folders[name])
    small, large = costs(folders, 3, 1).values()
    assert all(large[key] > small[key] > 0 for key in ("macs_per_s", "latency_ms", "step_ms"))
    if Path("/proc/self/clear_refs").exists():
        assert large["step_mb"] - small["step_mb"] > 2 * 32 * 100 * 392 * 4 / 2**20


def record(cell: str, seed: int, score: float, **settings: Any) -> dict[str, Any]:
    text = settings.get("task") == "transcription"
    own: dict[str, Any] = {"task": "classification", "dataset": "digits", "split": "test", "model": cell, "seed": seed}
    own |= {"parameters": 900, "fold": "", "n": 300, "interval": [0.1, 0.2], "train_wall_clock_s": 60.0, "machine": {}}
    own |= {"hidden_size": 7, "budget": 1000, "epochs": 3, "epoch_s": 4.0}
    own |= {"decoder": "greedy", "words": 70, "wer": score, "cer": score / 2} if text else {"accuracy": score}
    return own | {"date": "2026-11-21", "command": "speechgru train"} | settings


RECORDS = [
    *(record("gru", seed, score, epoch_s=6.0 - seed) for seed, score in enumerate((0.95, 0.97, 0.98))),
    *(record("rnn", seed, score) for seed, score in enumerate((0.90, 0.94))),
    record("lstm", 0, 0.99),
    record("rnn", 0, 0.30, task="transcription", dataset="letters"),
    record("gru", 0, 0.20, task="transcription", dataset="letters"),
]
COSTS = {
    ("digits", "gru"): {"macs_per_s": 1_230_000, "step_ms": 40.0, "latency_ms": 2.0, "step_mb": 10.4},
    ("digits", "lstm"): {"macs_per_s": 2_000_000, "step_ms": 50.0, "latency_ms": 3.0, "step_mb": None},
    ("letters", "gru"): {"macs_per_s": 1_000_000, "step_ms": 30.0, "latency_ms": 2.5, "step_mb": 7.0},
}


def test_comparison_of_runs() -> None:
    """Oracle: Python's statistics over the scores above; the best first, of transcripts the lowest error rate."""
    summary = compare(RECORDS, COSTS)["summary"]
    order = [("digits", "lstm"), ("digits", "gru"), ("digits", "rnn"), ("letters", "gru"), ("letters", "rnn")]
    assert [(one["dataset"], one["model"]) for one in summary] == order
    gru = summary[1]
    assert gru["accuracy"] == pytest.approx(statistics.fmean((0.95, 0.97, 0.98)), abs=1e-6)
    assert gru["accuracy_std"] == pytest.approx(statistics.stdev((0.95, 0.97, 0.98)), abs=1e-6)
    assert (gru["seeds"], gru["epoch_s"], gru["macs_per_s"], gru["hidden_size"]) == ([0, 1, 2], 4.0, 1_230_000, 7)
    assert summary[3]["wer"] == 0.2
    assert "step_ms" not in summary[2]
    with pytest.raises(DataError, match="seed 0 is there twice"):
        compare([*RECORDS, RECORDS[0]], {})


def test_tables_of_a_comparison() -> None:
    """Oracle: the rows written out by hand from the records."""
    content = compare(RECORDS, COSTS, ["cells_words"])
    lines = comparison_markdown(content, ["gru", "lstm", "min_gru", "rnn"]).splitlines()
    assert "**digits**, test, 300 utterances; at most 1,000 parameters, epochs: 3." in lines
    assert "| gru | 7 | 900 | 96.67 ± 1.53 | 3 | 1.23 | 4.0 | 40 | 2.0 | 10 |" in lines
    assert "| lstm | 7 | 900 | 99.00 (10.00 to 20.00) | 1 | 2.00 | 4.0 | 50 | 3.0 |  |" in lines
    assert "| gru | 7 | 900 | 20.00 (10.00 to 20.00) | 10.00 | 1 | 1.00 | 4.0 | 30 | 2.5 | 7 |" in lines
    assert [line for line in lines if line.startswith("Not run")] == [
        r"Not run: min\_gru; seed 2 of rnn; seeds 1, 2 of lstm.",
        r"Not run: lstm, min\_gru.",
    ]
    assert r"**cells\_words**: no finished run." in lines
    assert "| parameters, hidden and input 128 | 132,096 | 99,072 | 33,024 |" in lines  # 128 * 258 * (4, 3, 1)
    assert "| digits: accuracy, % | 99.00 (10.00 to 20.00) | 96.67 ± 1.53 | 92.00 ± 2.83 |" in lines
    assert "| digits: epoch, s | 4.0 | 4.0 | 4.0 |" in lines
    assert "| letters: step, ms | not run | 30 |  |" in lines
    claimed = [line for line in lines if line.startswith(("| rnn | gru |", "| gru | lstm |", r"| min\_gru |"))]
    spread = 100 * math.hypot(statistics.stdev((0.95, 0.97, 0.98)), statistics.stdev((0.90, 0.94)))
    assert claimed[0].endswith("| -2.33 points of accuracy, 0.80 x the step, 0.67 x the latency | not run |")
    assert claimed[1].endswith(f"| -4.67 ± {spread:.2f} points of accuracy | +10.00 points of WER |")
    assert claimed[2].endswith("| not run | not run |")
    assert "| Cell | beside | Claim | Source | digits | letters |" in lines
    assert {line.count("|") for line in claimed} == {7}
    gru, rnn = (one for one in compare(RECORDS, COSTS)["summary"] if one["dataset"] == "letters")
    assert beside(gru, rnn) == "-10.00 points of WER"


def test_claims_are_of_cells_that_are_there() -> None:
    """Oracle: the registry; each claim names its paper's number or its conference."""
    for claim in CLAIMS:
        assert {claim.cell, claim.peer} <= set(names("cell"))
        assert re.search(r", (\d{4}\.\d{4,5}|ICML 20\d\d)$", claim.source)
    assert set(TRIO) <= set(names("cell"))


def test_pictures_of_a_comparison(tmp_path: Path) -> None:
    """Oracle: the PNG signature; drawn twice they are the same bytes; what is not measured is not needed."""
    for picture in (accuracy_picture, cost_picture):
        drawn = picture(compare(RECORDS, COSTS), tmp_path / "picture.png")
        assert drawn.startswith(b"\x89PNG")
        assert drawn == (tmp_path / "picture.png").read_bytes() == picture(compare(RECORDS, COSTS))
        assert picture(compare(RECORDS, {})).startswith(b"\x89PNG")


def test_two_settings_of_one_cell_are_refused_before_anything_is_measured(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line names both runs and what tells them apart. Oracle: no results are written."""
    shutil.copytree(runs / "gru-0", tmp_path / "a" / "gru-0")
    shutil.copytree(runs / "gru-0", tmp_path / "b" / "gru-0")
    for one in tmp_path.rglob("evaluation"):
        shutil.rmtree(one)
    assert main(["compare", str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{tmp_path / 'a' / 'gru-0'} and {tmp_path / 'b' / 'gru-0'} are both cell=gru with seed 0; " in line
    assert f"(speechgru runs {tmp_path} tells what differs)" in line
    assert not list(tmp_path.rglob("evaluation"))


def test_compare_measures_what_is_there(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Oracle: the files of the runs and evaluate's own results. The second time nothing is evaluated anew."""
    folder = tmp_path / "tones"
    shutil.copytree(runs, folder)
    (folder / "rnn-1" / "run.json").unlink()
    (folder / "gru-1" / "model" / "config.yaml").write_text("nothing")
    recipe = tmp_path / "recipe"
    recipe.mkdir()
    (recipe / "README.md").write_text("before\n<!-- results -->\n<!-- /results -->\nafter\n")
    page, begun = tmp_path / "page.md", tmp_path / "begun"
    page.write_text("before\n<!-- cells -->\n<!-- /cells -->\nafter\n")
    begun.mkdir()
    words = ["--repeats", "1", "--recipe_dir", str(recipe), "--readme", str(page)]
    assert main(["compare", str(folder), str(begun), *words]) == 1
    printed, told = capsys.readouterr()
    assert f"{folder / 'rnn-1'}: not finished" in told
    assert f"{folder / 'gru-1'}: " in told
    content = json.loads((recipe / "results.json").read_text())
    assert sorted(one["model"] for one in content["summary"]) == ["gru", "rnn"]
    for one in content["runs"]:
        run = folder / f"{one['model']}-0"
        own = json.loads((run / "evaluation" / "test" / "results.json").read_text())
        said = json.loads((run / "run.json").read_text())
        assert {key: one[key] for key in ("accuracy", "n", "seed", "parameters")} == {
            key: own[key] for key in ("accuracy", "n", "seed", "parameters")
        }
        assert (one["epochs"], one["budget"], one["command"]) == (2, 3000, said["command"])
        assert one["hidden_size"] == Recognizer.load(run / "model").config.encoder.hidden_size
        seconds = [json.loads(line)["seconds"] for line in (run / "metrics.jsonl").read_text().splitlines()]
        assert one["epoch_s"] == pytest.approx(min(seconds[0], seconds[1] - seconds[0]), abs=0.01)
        assert "confusion" not in one
    tables = comparison_markdown(content, names("cell"))
    assert printed.strip() == tables
    assert "**begun**: no finished run." in tables
    assert between_marks(recipe / "README.md") == f"{tables}\n\n{PICTURES}"
    assert page.read_text() == f"before\n<!-- cells -->\n{tables}\n<!-- /cells -->\nafter\n"
    for name in re.findall(r"\]\((.+)\)", PICTURES):
        assert (recipe / name).is_file()
    monkeypatch.setattr("speechgru.lab.comparison.runs.evaluate", None)
    monkeypatch.setattr("speechgru.lab.comparison.runs.costs", lambda *_: {})
    assert main(["compare", str(folder / "gru-0"), str(tmp_path / "none"), str(folder / "rnn-0")]) == 0
    told = capsys.readouterr().err
    assert f"{tmp_path / 'none'}: no run in it" in told
    assert "evaluating" not in told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{empty}"], "no run to compare; train some first"),
        (["{empty}", "--repeats", "0"], "--repeats 0: at least 1"),
        (["{empty}", "--threads", "-1"], "--threads -1: at least 1"),
        (["{empty}", "--recipe_dir", "{empty}/none"], "no such folder"),
        (["{empty}", "--readme", "{empty}/none.md"], "no such file"),
    ],
)
def test_what_compare_refuses(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, and one for each folder without runs; exit code 2."""
    assert main(["compare", *(word.format(empty=tmp_path) for word in words)]) == 2
    error = capsys.readouterr().err
    assert message in error.splitlines()[-1]
    assert len([line for line in error.splitlines() if "no run in it" not in line]) == 1


def test_script_trains_each_cell_once(tmp_path: Path) -> None:
    """Oracle: bash with a program that notes what it is called with; then Hydra's own reading of the overrides."""
    found = recorded(FOLDER / "run.sh", tmp_path / "default")
    wanted: dict[str, list[tuple[str, str]]] = {}
    roots = {}
    for words in found:
        if words[0] == "train":
            assert words[1] == "--multirun"
            chosen = dict(word.split("=", 1) for word in words[2:])
            assert chosen["resume"] == "true"
            roots[chosen["recipe"]] = chosen["data.root"]
            cells = names("cell") if chosen["cell"] == "glob(*)" else chosen["cell"].split(",")
            wanted.setdefault(chosen["recipe"], []).extend(
                (cell, seed) for seed in chosen["seed"].split(",") for cell in cells
            )
        composed(words)
    five = ["gru", "lstm", "rnn", "min_gru", "sli_gru"]
    three = [(cell, str(seed)) for seed in range(3) for cell in names("cell")]
    assert sorted(wanted["cells_fsdd"]) == sorted(three)
    assert sorted(wanted["cells_speech_commands"]) == sorted(
        [(cell, "0") for cell in names("cell")] + [(cell, seed) for seed in "12" for cell in five]
    )
    assert sorted(wanted["cells_an4"]) == sorted((cell, "0") for cell in five)
    assert sorted(wanted) == RECIPES
    assert sum(map(len, wanted.values())) == int(
        re.search(r"runs all of the other tables, (\d+) runs", (FOLDER / "README.md").read_text())[1]
    )
    prepared = {words[2].removeprefix("root="): words[1] for words in found if words[0] == "prepare"}
    assert {recipe: prepared[root] for recipe, root in roots.items()} == {
        f"cells_{corpus}": corpus for corpus in ("fsdd", "speech_commands", "an4")
    }
    last = found[-1]
    assert last[0] == "compare"
    assert {f"runs/{recipe}" for recipe in RECIPES} <= set(last)
    assert last[last.index("--recipe_dir") + 1] == str(FOLDER)
    assert Path(last[last.index("--readme") + 1]).resolve() == PAGE.resolve()
    shutil.copytree(FOLDER, tmp_path / "installed" / "cells")
    assert "--readme" not in recorded(tmp_path / "installed" / "cells" / "run.sh", tmp_path / "without")[-1]
    elsewhere = recorded(FOLDER / "run.sh", tmp_path / "elsewhere", "a", "b", "c")
    swapped = dict(zip(("data/fsdd", "data/speech_commands", "data/an4"), "abc", strict=True))
    assert elsewhere == [
        [re.sub(r"^data\.root=(.*)", lambda one: f"data.root={swapped[one[1]]}", word) for word in words]
        for words in found
        if words[0] != "prepare"
    ]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_of_the_cells_changes_little(name: str) -> None:
    """Oracle: the recipe it comes from, setting by setting; a run of its own for every cell and seed."""
    assert name in recipe_names()
    origin = {"cells_fsdd": "fsdd", "cells_an4": "an4", "cells_speech_commands": "speech_commands_8"}[name]
    ours, theirs = composed(["train", f"recipe={name}", "cell=lstm"]), composed(["train", f"recipe={origin}"])
    for part in ("features", "augment", "front_end", "head", "units", "data", "optimizer", "schedule"):
        assert getattr(ours, part) == getattr(theirs, part)
    assert ours.trainer.epochs < theirs.trainer.epochs
    assert ours.parameters > 0
    text = (conf_dir() / "recipe" / f"{name}.yaml").read_text()
    assert text.count("${hydra.runtime.choices.cell}-${seed}") == 2


def test_readme_of_the_cells() -> None:
    """Oracle: results.json makes its tables and those of the page; its commands compose, its links lead somewhere."""
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    results = FOLDER / "results.json"
    content = json.loads(results.read_text()) if results.is_file() else None
    tables = f"{comparison_markdown(content, names('cell'))}\n\n{PICTURES}" if content else ""
    assert between_marks(FOLDER / "README.md") == tables
    page = PAGE.read_text(encoding="utf-8")
    assert f"{page.split('<!-- cells -->')[1].split('<!-- /cells -->')[0].strip()}\n\n{PICTURES}" == tables
    (command,) = [words for words in commands_in(page) if words[0] == "compare"]
    composed(command)
    for part in ("Task", "Data", "Model", "Results", "Commands", "Limits"):
        assert f"**{part}.**" in text
    found = list(commands_in(text))
    assert {"train", "evaluate", "prepare", "compare"} <= {words[0] for words in found}
    for words in found:
        composed(words)
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (FOLDER / link).exists(), link
