"""Cells with settings of their own: what is read of searches, kept in ``tuned.json``, and written into the README."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from test_recipes import between_marks, commands_in, composed, recorded

from speechgru.cli import main
from speechgru.commands.tune_search import read_search as search_of
from speechgru.errors import DataError
from speechgru.lab.comparison.rate_picture import rate_picture
from speechgru.lab.comparison.searches import best_trial, curve, rate_of, read_search, read_searches
from speechgru.lab.comparison.tuned import last_fall, merged, read_tuned, read_untuned
from speechgru.lab.comparison.tuned_page import tuned_markdown
from speechgru.shipped import recipes_dir

FOLDER = recipes_dir() / "cells"
RATE, BIAS = "optimizer.learning_rate", "cell.forget_bias"
SEARCHED = ["lstm", "gru", "rnn", "min_gru", "sli_gru"]


def study(folder: Path, rows: list[tuple], metric: str = "loss", bias: str | None = BIAS, **said: Any) -> Path:
    """The files of a search that are read: the table, and the run of the last complete trial."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "state", metric, "epochs", "seconds", RATE, *([bias] if bias else []), "run", "failure"])
    for number, (state, value, *settings) in enumerate(rows):
        writer.writerow([number, state, value, 10, 30.5, *settings, f"{number:04d}", ""])
        run = folder / "trials" / f"{number:04d}"
        run.mkdir(parents=True)
        settings = {"data": {"name": "digits"}, "head": {"name": "classification"}, "trainer": {"epochs": 10}}
        settings |= {"encoder": {"cell": {"name": said.get("cell", "lstm")}}}
        content = {"settings": settings, "seed": 0, "machine": {"cpu": "CPU", "cores": 2}, "date": "2026-11-28"}
        (run / "run.json").write_text(json.dumps(content | ({"wall_clock_s": 40.0} if number == 0 else {})))
    (folder / "trials.csv").write_text(text.getvalue())
    return folder


ROWS = [
    ("complete", 0.5, 0.003, 1),
    ("complete", 0.7, 0.001, 1),
    ("complete", 0.4, 0.01, 1),
    ("stopped early", 0.9, 0.03, 1),
    ("failed", "", 0.1, 1),
    ("complete", 0.3, 0.01, 0),
    ("complete", 0.6, 0.01, 2),
]


def test_a_search_is_read(tmp_path: Path) -> None:
    """Oracle: the rows above. The curve is that of the first bias, from the lowest rate."""
    search = read_search(study(tmp_path / "a", ROWS))
    about = ("dataset", "cell", "metric", "higher", "epochs", "seed", "date")
    assert [search[key] for key in about] == ["digits", "lstm", "loss", False, 10, 0, "2026-11-28"]
    assert search["seconds"] == 40 + 6 * 30.5  # the first training says its own time
    assert search["trials"][4]["value"] is None
    assert best_trial(search)["settings"] == {RATE: 0.01, BIAS: 0.0}
    assert [rate_of(one) for one in curve(search)] == [0.001, 0.003, 0.01, 0.03, 0.1]
    accuracy = read_search(study(tmp_path / "b", ROWS, metric="accuracy"))
    assert best_trial(accuracy)["value"] == 0.7
    begun = [*ROWS, ("waits", "", "", ""), ("running", "", 0.2, 1)]
    assert read_search(study(tmp_path / "c", begun))["trials"] == search["trials"]


def test_what_is_no_search_is_told_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table without a learning rate, without a complete trial, or whose run is gone."""
    study(tmp_path / "failed", [("failed", "", 0.003, 1)])
    study(tmp_path / "good", ROWS)
    shutil.rmtree(study(tmp_path / "gone", ROWS) / "trials")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "trials.csv").write_text("trial,state,loss,epochs,seconds,encoder.dropout,run,failure\n")
    assert len(read_searches(tmp_path)) == 1
    told = capsys.readouterr().err.splitlines()
    assert [line.rpartition(": ")[2] for line in told[:1]] == ["no complete trial; left out"]
    assert len(told) == 3
    assert all(line.endswith("; left out") for line in told)


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([1.0, 0.8, 0.6, 0.5, 0.4], 20.0),  # 0.4 is 20 % below 0.5
        ([1.0, 0.5, 0.6, 0.6, 0.6], 0.0),
        ([1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.4, 0.3, 0.2], 50.0),  # the last two of ten
        ([1.0, 0.5], None),
    ],
)
def test_the_fall_of_the_last_fifth(losses: list[float], expected: float | None) -> None:
    assert last_fall(losses) == expected


def run(cell: str, seed: int, accuracy: float, rate: float, settings: dict[str, float], **more: Any) -> dict[str, Any]:
    own: dict[str, Any] = {"task": "classification", "dataset": "digits", "split": "test", "model": cell, "seed": seed}
    own |= {"parameters": 900, "fold": "", "n": 300, "interval": [0.1, 0.2], "train_wall_clock_s": 60.0, "machine": {}}
    own |= {"hidden_size": 7, "budget": 1000, "epochs": 30, "epoch_s": 2.0, "accuracy": accuracy}
    own |= {"date": "2026-11-29T10:00:00", "command": "speechgru train", "learning_rate": rate, "settings": settings}
    return own | {"best_epoch": 28 + seed, "last_fall": 0.5 + seed} | more


def search(cell: str, rows: list[tuple], bias: str | None = BIAS) -> dict[str, Any]:
    trials = [
        {
            "state": state,
            "value": value,
            "epochs": 10,
            "seconds": 30.0,
            "settings": dict(zip((RATE, bias), rest, strict=False)),
        }
        for state, value, *rest in rows
    ]
    about = {"dataset": "digits", "cell": cell, "metric": "loss", "higher": False, "epochs": 10, "seed": 0}
    machine = {"cpu": "CPU", "cores": 2}
    return about | {"seconds": 30.0 * len(trials), "machine": machine, "date": "2026-11-28", "trials": trials}


LSTM = search("lstm", [*ROWS[:3], ROWS[3], ("failed", None, 0.1, 1.0), *ROWS[5:]])
GRU = search("gru", [("complete", 0.2, 0.003, 0.0), ("complete", 0.6, 0.01, 0.0)], "cell.update_bias")
RNN = search("rnn", [("complete", 0.5, 0.001)], None)
RUNS = [run("lstm", seed, score, 0.01, {BIAS: 0.0}) for seed, score in enumerate((0.95, 0.97))]
RUNS += [run("gru", 0, 0.98, 0.003, {"cell.update_bias": 0.0})]


def test_new_results_take_the_place_of_old_ones() -> None:
    """Oracle: by hand. What is not there any more stays; a run with settings that are no longer the best does not."""
    old = {"searches": [LSTM, GRU], "runs": RUNS}
    better = search("gru", [("complete", 0.1, 0.006, 0.0)], "cell.update_bias")
    again = run("lstm", 1, 0.99, 0.01, {BIAS: 0.0})
    content = merged(old, [better, RNN], [again])
    assert content["searches"] == [LSTM, better, RNN]
    assert content["runs"] == [RUNS[0], again]
    assert merged(content, [], []) == content
    assert merged(content, [search("rnn", [("complete", 0.5, 0.002)], None)], [run("rnn", 0, 0.9, 0.001, {})])[
        "runs"
    ] == [RUNS[0], again]


def test_the_tables_of_tuned_cells() -> None:
    """Oracle: the rows by hand from the values above; the deviation of the difference is that of both together."""
    untuned = [
        {**RUNS[0], "accuracy": 0.9, "accuracy_std": 0.01, "seeds": [0, 1, 2], "interval": None, "epochs": 15},
        {**RUNS[2], "accuracy": 0.92, "accuracy_std": 0.02, "seeds": [0, 1, 2], "interval": None, "epochs": 15},
    ]
    untuned[0]["step_ms"] = untuned[1]["step_ms"] = 3.0
    lines = tuned_markdown({"searches": [LSTM, GRU, RNN], "runs": RUNS}, untuned).splitlines()
    assert lines[0] == (
        "**What changed for the LSTM beside the GRU.** digits: -2.00 ± 2.24 points of accuracy with the GRU's "
        "settings, -2.00 points of accuracy with settings of each one's own."
    )
    assert lines[2] == (
        "**digits**. Searched: 1-2-7 trials a cell, of 10 epochs, by the validation loss, 5 min 00 s in all. Trained: "
        "30 epochs, 3 min 00 s in all; test, 300 utterances. 2 cores of CPU, one thread, 2026-11-28 to 2026-11-29."
    )
    gru = "| gru | 0.003 | 0 | 98.00 (10.00 to 20.00) | 1 | 28 of 30 | 0.5 | 1 min 00 s | 92.00 ± 2.00 | 3 | 15 |"
    lstm = "| lstm | 0.01 | 0 | 96.00 ± 1.41 | 2 | 28 to 29 of 30 | 1.5 | 1 min 00 s | 90.00 ± 1.00 | 3 | 15 |"
    at = lines.index(gru)
    assert lines[at + 1 : at + 3] == [lstm, "| rnn | 0.001 |  | not run |  |  |  |  | not run |  |  |"]
    assert "| Cell | 0.001 | 0.003 | 0.01 | 0.03 | 0.1 | other bias | Trials | Time |" in lines
    assert "| lstm | 0.7 | 0.5 | 0.4 | (0.9) | failed | 0: **0.3**; 2: 0.6 | 7 | 3 min 30 s |" in lines
    assert "| gru |  | **0.2** | 0.6 |  |  |  | 2 | 1 min 00 s |" in lines
    (claim,) = [line for line in lines if line.startswith("| lstm | gru | the forget")]
    assert claim.endswith("| -2.00 ± 2.24 points of accuracy | -2.00 points of accuracy |")
    assert not [line for line in lines if line.startswith("| rnn | gru")]
    nothing = tuned_markdown({"searches": [RNN], "runs": []}, [])
    assert "Not trained yet with what was found." in nothing
    assert "| rnn | **0.5** |  | 1 | 30 s |" in nothing


def test_the_picture_of_searches(tmp_path: Path) -> None:
    """Oracle: the PNG signature; drawn twice it is the same bytes; a corpus more is a wider picture."""
    drawn = rate_picture([LSTM, GRU, RNN], tmp_path / "picture.png")
    assert drawn.startswith(b"\x89PNG")
    assert drawn == (tmp_path / "picture.png").read_bytes() == rate_picture([LSTM, GRU, RNN])
    width = [int.from_bytes(one[16:20], "big") for one in (drawn, rate_picture([LSTM, {**GRU, "dataset": "words"}]))]
    assert width[1] > 1.5 * width[0]


def test_damaged_files_are_one_line(tmp_path: Path) -> None:
    for read in (read_tuned, read_untuned):
        assert not any(read(tmp_path / "none.json")) or read(tmp_path / "none.json") == {"searches": [], "runs": []}
        (tmp_path / "bad.json").write_text("{}")
        with pytest.raises(DataError, match=r"bad\.json: not the"):
            read(tmp_path / "bad.json")


def test_compare_with_searches(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A real run of two epochs with what a search found; then without its folder: the results stay."""
    rng = np.random.default_rng(0)
    for split in ("train", "valid", "test"):
        for label, hertz in (("low", 300), ("high", 2000)):
            (tmp_path / "tones" / split / label).mkdir(parents=True)
            for number in range(4):
                tone = 0.3 * np.sin(2 * np.pi * hertz * rng.uniform(0.9, 1.1) * np.arange(2000) / 8000)
                soundfile.write(tmp_path / "tones" / split / label / f"{number}.wav", tone, 8000)
    words = ["data=folder", "~recipe", f"data.root={tmp_path / 'tones'}", "features.sample_rate=8000", "cell=lstm"]
    words += ["features.mels=12", "encoder.num_layers=1", "encoder.hidden_size=4", "head.attention_heads=2"]
    words += ["trainer.batch_size=8", "trainer.epochs=2", "trainer.device=cpu", "trainer.threads=1"]
    for seed, rate in ((0, 0.01), (1, 0.02)):
        more = [f"seed={seed}", f"run_dir={tmp_path / 'runs' / str(seed)}", f"{RATE}={rate}", f"{BIAS}=0"]
        assert main(["train", *words, *more]) == 0
    found = study(tmp_path / "searches" / "lstm", ROWS)
    for path in found.glob("trials/*/run.json"):
        path.write_text(path.read_text().replace('"digits"', '"folder"'))
    recipe = tmp_path / "recipe"
    recipe.mkdir()
    (recipe / "README.md").write_text("before\n<!-- tuned -->\n<!-- /tuned -->\nafter\n")
    command = ["--searches", str(tmp_path / "searches"), "--recipe_dir", str(recipe)]
    capsys.readouterr()
    assert main(["compare", str(tmp_path / "runs"), *command]) == 0
    printed, told = capsys.readouterr()
    assert f"{tmp_path / 'runs' / '1'}: has not the settings that the search found; left out" in told
    content = json.loads((recipe / "tuned.json").read_text())
    (record,) = content["runs"]
    said = json.loads((tmp_path / "runs" / "0" / "run.json").read_text())
    assert (record["seed"], record["learning_rate"], record["settings"]) == (0, 0.01, {BIAS: 0.0})
    assert record["best_epoch"] == said["best_epoch"]
    tables = tuned_markdown(content, [])
    assert printed.strip() == tables
    readme = (recipe / "README.md").read_text()
    assert readme == f"before\n<!-- tuned -->\n{tables}\n<!-- /tuned -->\nafter\n"
    assert (recipe / "learning_rate.png").is_file()
    shutil.rmtree(tmp_path / "runs" / "0")
    assert main(["compare", str(tmp_path / "runs"), *command]) == 0
    assert json.loads((recipe / "tuned.json").read_text()) == content
    assert main(["compare", str(tmp_path / "runs"), "--searches", str(tmp_path / "tones")]) == 2
    assert "no search in it; make one first" in capsys.readouterr().err


def test_script_searches_each_cell_alike(tmp_path: Path) -> None:
    """Oracle: bash with a program that notes what it is called with; three searches are read as the command does."""
    commands = recorded(FOLDER / "tuned.sh", tmp_path / "default")
    tuned = [dict(word.split("=", 1) for word in words[1:]) for words in commands if words[0] == "tune"]
    recipes = ["cells_fsdd", "cells_an4", "cells_speech_commands"]
    searched = [(one["recipe"], one["cell"]) for one in tuned]
    assert sorted(searched) == sorted((recipe, cell) for recipe in recipes for cell in SEARCHED)
    assert searched[:2] == [("cells_fsdd", "lstm"), ("cells_fsdd", "gru")]
    usual = {recipe: composed(["train", f"recipe={recipe}"]) for recipe in recipes}
    for one in tuned:
        assert (one["sampler"], one["trainer.monitor"], one["name"]) == (
            "coordinate",
            "loss",
            f"{one['recipe']}-{one['cell']}",
        )
        assert "seed" not in one
        assert int(one["trainer.epochs"]) < usual[one["recipe"]].trainer.epochs
        rates = [float(rate) for rate in one[RATE].split(",")]
        rate = usual[one["recipe"]].optimizer.learning_rate
        assert rates[0] == rate
        assert set(rates[:6]) == {rate * 2**power for power in range(-2, 4)}
        biases = one.get(BIAS if one["cell"] == "lstm" else "cell.update_bias", "0").split(",")
        assert biases[0] == ("1" if one["cell"] == "lstm" else "0")
        assert len(rates) + len(biases) - 1 == 8
    for words in (words for words in commands if words[0] == "tune" and words[1] == "recipe=cells_fsdd"):
        if not {"cell=lstm", "cell=rnn", "cell=sli_gru"}.isdisjoint(words):
            assert search_of(words[1:])[0].trials == 8
    trained = [words[1:] for words in commands if words[0] == "train"]
    ran = []
    for file, *words in trained:
        found = re.fullmatch(r"runs/tune/(\w+)-(\w+)/recipe/\1-\2_tuned\.yaml", file)
        assert found
        settings = dict(word.split("=", 1) for word in words)
        ran.append((found[1], found[2], settings["seed"]))
        # Below it the recipe has a folder for each cell and seed.
        assert settings["run_dir"] == f"runs/tuned/{found[1]}"
        assert int(settings["trainer.epochs"]) > usual[found[1]].trainer.epochs
        assert settings["trainer.monitor"] == (usual[found[1]].trainer.monitor or "null")
        assert settings["resume"] == "true"
    assert sorted(ran) == sorted((*one, seed) for one in searched for seed in "012")
    assert commands[-1][:4] == ["compare", "runs/tuned", "--searches", "runs/tune"]


def test_readme_has_the_tables_of_tuned_cells() -> None:
    """Oracle: tuned.json and results.json make them."""
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    shown = text.split("<!-- tuned -->")[1].split("<!-- /tuned -->")[0].strip()
    content = read_tuned(FOLDER / "tuned.json")
    assert shown == (tuned_markdown(content, read_untuned(FOLDER / "results.json")) if content["searches"] else "")
    assert (FOLDER / "learning_rate.png").is_file() == bool(content["searches"])
    assert {"tune", "compare"} <= {words[0] for words in commands_in(text)}
    assert between_marks(FOLDER / "README.md")
