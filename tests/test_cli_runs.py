"""train, evaluate and recipes from the command line: a whole run, mistyped overrides, copies of recipes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from speechgru.cli import main
from speechgru.commands import recipes
from speechgru.config import compose, hydra_of
from speechgru.overrides import parse, quote

SMALL = [
    "features.sample_rate=8000",
    "features.mels=12",
    "encoder.hidden_size=12",
    "encoder.num_layers=1",
    "head.attention_heads=2",
    "optimizer.learning_rate=0.01",
    "trainer.batch_size=8",
    "trainer.epochs=15",
    "trainer.device=cpu",
    "trainer.threads=1",
]


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noisy tones of 300 and 2,000 Hz, a folder for each, in three splits."""
    root = tmp_path_factory.mktemp("tones")
    rng = np.random.default_rng(0)
    for split in ("train", "valid", "test"):
        for label, hertz in (("low", 300), ("high", 2000)):
            (root / split / label).mkdir(parents=True)
            for number in range(12):
                pitch = hertz * rng.uniform(0.9, 1.1)
                tone = 0.3 * np.sin(2 * np.pi * pitch * np.arange(4000) / 8000)
                soundfile.write(root / split / label / f"{number}.wav", tone + 0.01 * rng.standard_normal(4000), 8000)
    return root


def test_train_evaluate_classify(tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Oracle: the names of the folders of the test split, counted here."""
    run = tmp_path / "run"
    assert main(["train", "data=folder", "~recipe", f"data.root={tones}", f"run_dir={run}", *SMALL]) == 0
    assert capsys.readouterr().out == f"{run / 'model'}\n"
    assert main(["evaluate", f"model={run / 'model'}", "data=folder", f"data.root={tones}", "device=cpu"]) == 0
    printed = capsys.readouterr().out
    results = json.loads((run / "evaluation" / "test" / "results.json").read_text())
    assert main(["classify", str(tones / "test"), "-m", str(run / "model"), "-f", "jsonl", "--device", "cpu"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    right = sum(Path(record["audio"]).parent.name == record["label"] for record in records)
    assert len(records) == 24
    assert right >= 22
    assert f"{right} of 24 right" in printed
    assert results["accuracy"] == pytest.approx(right / 24, abs=1e-4)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["encoder.hiden_size=3"], "encoder.hiden_size is not a setting; did you mean encoder.hidden_size?"),
        (["trainer.epoch=3"], "trainer.epoch is not a setting; did you mean trainer.epochs?"),
        (["encodr=gru"], "encodr is not a setting; did you mean encoder?"),
        (["encoder=gruu"], "encoder=gruu is not known; did you mean 'gru'?"),
        (["data=foldr"], "data=foldr is not known; did you mean 'folder'?"),
        (["trainer.epochs=-1"], "trainer.epochs=-1: at least 1"),
        (["trainer.epochs=abc"], "trainer.epochs=abc"),
        (["features.convention=kaldy"], "expected one of [librosa, torchaudio, kaldi]"),
        (["seed=-1"], "seed=-1: at least 0"),
        (["foo"], "foo"),
        (["+x=1"], "x is not a setting"),
        (["++encoder.hiden_size=3"], "encoder.hiden_size is not a setting; did you mean encoder.hidden_size?"),
        (["optimizer.lr=1"], "optimizer.lr is not a setting; did you mean optimizer.learning_rate?"),
        (["epochs=3"], "epochs is not a setting; did you mean trainer.epochs?"),
        (["front_end.channels=[1]"], "front_end has no value yet"),
        (["--config-name=foo"], "--config-name is not supported"),
        (["--config-dir=/nope"], "--config-dir /nope: no such folder"),
        (["--cgf", "job"], "--cgf is not an option; did you mean --cfg?"),
        (["--cfg", "jb"], "invalid choice: 'jb'"),
        (["augment=null"], "augment=null: a group has no option null; ~augment leaves it out"),
        (["--multirun", "augment=null,standard"], "augment=null: a group has no option null; ~augment leaves it out"),
        (["data=null"], "choose a recipe (recipe=...) or a corpus (data=...)"),
        (["--epochs", "3"], "--epochs is not an option: settings have no dashes; write trainer.epochs=3"),
        (["--trainer.epochs=3"], "settings have no dashes; write trainer.epochs=3"),
        (["--lr", "1e-2"], "settings have no dashes; write optimizer.learning_rate=1e-2"),
        (["--resume"], "settings have no dashes; write resume=true"),
        (["--overwrite"], "settings have no dashes; write overwrite=true"),
        (["fsd"], "fsd is no recipe; did you mean fsdd?"),
        (["~encoder"], "encoder has no value; add encoder=..."),
        (["encoder.hidden_size", "64"], "encoder.hidden_size has no value; write encoder.hidden_size=..."),
        (["trainer.epochs", "=", "3"], "settings are written key=value, without spaces"),
        (["trainer.epochs=", "3"], "settings are written key=value, without spaces"),
        (
            ["data.root=It's (2)"],
            """the value needs quotes, and the shell a pair of its own: "data.root='It\\'s (2)'\"""",
        ),
        (["seed=0,1"], "seed=0,1: several values are several runs, with --multirun; a list is seed=[0,1]"),
        (["seed="], "seed=: a whole number is expected"),
        (["trainer.tensorboard=maybe"], "trainer.tensorboard=maybe: true or false is expected"),
        (["trainer=5"], "trainer=5: it holds settings of its own, such as trainer.epochs"),
        (["trainer.epochs=${sed}"], "Interpolation key 'sed' not found"),
        (["hydra/sweeper=optuna"], "hydra/sweeper=optuna is not known; pip install hydra-optuna-sweeper may add it"),
        (["hydra/launcher=submitit_slurm"], "submitit_slurm is not known; pip install hydra-submitit-launcher may add"),
        (["hydra/nothing=optuna"], "there is no group hydra/nothing"),
        (["encoder=[gru]"], "encoder=[gru]: one option of"),
        (["encoder.cell=lstm"], "encoder.cell=lstm: a component is chosen as cell=lstm"),
        (["encoder.cell.layer_norm=true"], "encoder.cell follows cell; write cell.layer_norm=..."),
        (["extra_data=synth"], "extra_data=synth: a component is chosen as data@extra_data=synth"),
        (["~data.root"], "~data.root: ~ leaves out a group, and data.root is a setting"),
        (["--cfg", "job", "--package", "trainr"], "--package trainr: trainr is not a setting; did you mean trainer?"),
        (["--multirun", "seed=0,-1"], "seed=-1: at least 0"),
        (["--multirun", "cell=glob(*)", "seed=range(-1,1)"], "seed=-1: at least 0"),
        (["--multirun", "cell=glob(no*)"], "cell=glob(no*): no option is called so"),
        (["--multirun", "cell=gru,gruu"], "cell=gruu is not known; did you mean 'gru'?"),
    ],
)
def test_mistyped_overrides(
    words: list[str], message: str, tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line that names the key, the value and the nearest right one; exit code 2; nothing is written."""
    given = ["train", "data=folder", "~recipe", f"data.root={tones}", f"run_dir={tmp_path / 'run'}", *words]
    if words == ["data=null"]:
        given = ["train", f"run_dir={tmp_path / 'run'}"]
    assert main(given) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1
    assert not {"Traceback", "hydra.cc", "EOF"} & set(captured.err.split())
    assert "://" not in captured.err
    assert not captured.out
    assert not (tmp_path / "run").exists()


def test_a_second_corpus_that_is_not_there_is_named(
    tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The mend names the key of the corpus that is missing, not that of the first one."""
    given = ["train", "data=folder", f"data.root={tones}", "data@extra_data=fsdd", f"extra_data.root={tmp_path}/none"]
    assert main([*given, f"run_dir={tmp_path / 'run'}"]) == 1
    assert "say where it is with extra_data.root=FOLDER" in capsys.readouterr().err


def test_cfg_job_prints_the_config(
    tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: PyYAML. What is printed holds the overrides, and nothing is trained. Flags stand between overrides."""
    monkeypatch.chdir(tmp_path)
    assert main(["train", "data=folder", "--cfg", "job", f"data.root={tones}", "encoder.hidden_size=7"]) == 0
    config = yaml.safe_load(capsys.readouterr().out)
    assert config["data"]["root"] == str(tones)
    assert config["encoder"]["hidden_size"] == 7
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "same"),
    [
        (["train", "fsdd", "seed=3"], ["recipe=fsdd", "seed=3"]),
        (["train", "data=folder", "name=a", "data.root='b c(d'"], ["data=folder", "name=a", "data.root='b c(d'"]),
        (["evaluate", "runs/it's a/model", "split=valid"], ["model='runs/it\\'s a/model'", "split=valid"]),
        (["evaluate", "a, b", "c"], ["model=['a, b',c]"]),
    ],
)
def test_a_word_alone_is_the_recipe_or_the_model(
    words: list[str], same: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Oracle: the same in Hydra's own words."""
    assert main([*words, "--cfg", "job"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert main([words[0], *same, "--cfg", "job"]) == 0
    assert shown == yaml.safe_load(capsys.readouterr().out)
    if words[0] == "evaluate":
        assert shown["model"] == (words[1] if len(words) == 3 and "=" in words[2] else words[1:])


def test_parts_of_the_config_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """--package shows a part, --resolve what the others follow, --cfg hydra where a run would write."""
    assert main(["train", "fsdd", "--cfg", "job", "--package", "trainer"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["epochs"] == compose("train", ["recipe=fsdd"]).trainer.epochs
    assert main(["train", "fsdd", "--cfg", "job", "-p", "run_dir", "--resolve"]) == 0
    assert capsys.readouterr().out == "runs/fsdd\n"
    assert main(["train", "fsdd", "--cfg", "hydra", "-p", "hydra.run.dir"]) == 0
    assert capsys.readouterr().out == "runs/fsdd\n"


@settings(deadline=None, max_examples=40)
@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=8))
def test_a_quoted_text_is_read_as_it_is(text: str) -> None:
    """Oracle: the text itself, through the parser of Hydra."""
    with hydra_of("train"):
        assert parse(quote("name", text)).value() == text


def test_mistyped_sweep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A mistyped key of a multirun is told in the same words."""
    assert main(["train", f"run_dir={tmp_path}", "--multirun", "encoder.hiden_size=3,4"]) == 2
    error = capsys.readouterr().err
    assert "encoder.hiden_size is not a setting; did you mean encoder.hidden_size?" in error
    assert len(error.splitlines()) == 1


def test_cfg_job_shows_an_incomplete_config(capsys: pytest.CaptureFixture[str]) -> None:
    """The message about a mistyped key recommends it, so it must work before there is a corpus."""
    assert main(["train", "--cfg", "job"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["data"] == "???"


def test_unknown_recipes_list_those_of_the_users_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A recipe of --config-dir is among the known ones."""
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "whistles.yaml").write_text("# @package _global_\nname: whistles\n")
    assert main(["train", "--config-dir", str(tmp_path), "recipe=whistle"]) == 2
    error = capsys.readouterr().err
    assert "did you mean 'whistles'?" in error
    assert "synth_digits" in error


@pytest.mark.parametrize("name", recipes.recipe_names())
def test_every_recipe_composes(name: str) -> None:
    """A typed run with its own name, a first comment, and words that are words (YAML takes yes and no for truths)."""
    config = compose("train", [f"recipe={name}"])
    assert config.name == name
    words = getattr(config.data, "words", [])
    assert all(isinstance(word, str) and word.lower() not in ("true", "false") for word in words)
    assert recipes._description(name)


def test_a_copied_recipe_runs_with_the_printed_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: the composed config, which must hold what was edited in the copy."""
    shipped = tmp_path / "shipped" / "recipe"
    shipped.mkdir(parents=True)
    lines = ["# @package _global_", "# Tones.", "defaults:", "  - override /data: folder", "name: tones"]
    (shipped / "tones.yaml").write_text("\n".join([*lines, "encoder:", "  hidden_size: 24", ""]))
    monkeypatch.setattr(recipes, "conf_dir", lambda: shipped.parent)
    monkeypatch.setattr(recipes, "recipes_dir", lambda: tmp_path / "none")
    monkeypatch.chdir(tmp_path)
    assert main(["recipes", "copy", "tones", "deep/mine"]) == 0
    command = capsys.readouterr().out.split()
    assert command == ["speechgru", "train", "--config-dir", "deep/mine", "recipe=mine"]
    copied = tmp_path / "deep" / "mine" / "recipe" / "mine.yaml"
    copied.write_text(copied.read_text().replace("24", "25"))
    assert main([*command[1:], "--cfg", "job"]) == 0
    config = yaml.safe_load(capsys.readouterr().out)
    assert config["name"] == "mine"
    assert config["encoder"]["hidden_size"] == 25
    assert config["run_dir"] in ("runs/mine", "runs/${name}")
