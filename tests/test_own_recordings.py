"""From a recipe or a trained model to recordings of one's own: what is composed, what is learned, what stays."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path
from statistics import fmean, stdev

import pytest
import torch
from safetensors.torch import load_file

import speechgru
from speechgru.cli import main
from speechgru.commands.recipes import recipe_names
from speechgru.config import compose, compose_untyped, to_dataclass
from speechgru.data.corpora.folder import Folder, FolderConfig
from speechgru.data.splits import SPLITS
from speechgru.errors import ConfigError
from speechgru.evaluation.intervals import wilson_interval
from speechgru.registry import name_of, to_plain
from speechgru.shipped import shipped_model

BRIEF = ["trainer.epochs=1", "trainer.batch_size=16", "trainer.device=cpu", "trainer.threads=1", "trainer.workers=0"]


@pytest.fixture
def mine(three_tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The overrides that name a corpus of three tones; the working directory has folders in the way of every name."""
    monkeypatch.chdir(tmp_path)
    for name in ("commands", "an4"):
        Path(name).mkdir()
    return f"data.root={three_tones}"


@pytest.mark.parametrize("recipe", recipe_names())
def test_every_recipe_takes_a_corpus_of_ones_own(recipe: str) -> None:
    """Oracle: the recipe with its own corpus: all else is the same, and what is told is what is gone."""
    told: list[str] = []
    words = [f"recipe={recipe}", "data=folder", "data.root=mine"]
    config = to_dataclass("train", compose_untyped("train", words, None, told.append))
    assert (name_of("data", config.data), config.data.root, config.extra_data) == ("folder", "mine", None)
    own = compose("train", [f"recipe={recipe}"])
    for family in ("features", "encoder", "head", "optimizer", "schedule"):
        assert to_plain(getattr(config, family), family) == to_plain(getattr(own, family), family)
    assert config.trainer == own.trainer
    assert (own.extra_data is not None) == ("extra_data" in " ".join(told))
    if name_of("data", own.data) != "folder":
        assert not config.card.summary
        assert not config.card.limits
        assert not config.augment or not config.augment.noise.folder.startswith("mine")


def test_what_does_not_apply_is_told_and_what_is_mistyped_is_refused() -> None:
    """By hand: recipe commands has three settings of Speech Commands, a second corpus, a card, noises in the corpus."""
    told: list[str] = []
    compose_untyped("train", ["recipe=commands", "data=folder"], None, told.append)
    assert told == [
        "recipe=commands: data.words, data.unknown, data.silence, extra_data, card, augment.noise.folder left out, "
        "for another corpus or component was chosen"
    ]
    told.clear()
    config = compose_untyped("train", ["recipe=keywords", "data=folder"], None, told.append)
    assert "extra_data, background, card, augment.noise.folder left out" in told[0]
    assert config.background.recordings == []
    for words, message in (
        (["recipe=commands", "data=folder", "data.words=[a]"], "data.words is not a setting"),
        (["recipe=fsdd", "data.wrods=1"], "data.wrods is not a setting"),
        (["data=folder", "init_from=command"], "init_from=command: no such folder, .*did you mean commands"),
        (["data=folder", "init_from=commands", "cell=lstm"], "init_from=commands has another cell"),
        (["data=folder", "init_from=commands", "parameters=9"], "parameters=9: the size of the encoder is that of"),
        (["data=folder", "freeze_encoder=true"], "freeze_encoder=true: a fresh encoder has learned nothing"),
    ):
        with pytest.raises(ConfigError, match=message):
            compose("train", words)
    same: list[str] = []
    compose_untyped("train", ["recipe=commands", "data=speech_commands"], None, same.append)
    assert not same
    kept = compose("train", ["recipe=commands", "data=folder", "data@extra_data=synth", "augment.noise.folder=noises"])
    assert name_of("data", kept.extra_data) == "synth"
    assert kept.augment.noise.folder == "noises"
    bare = compose("train", ["recipe=an4", "~augment", "~units", "~front_end"])
    assert bare.augment is bare.units is bare.front_end is None


def test_a_wrong_key_of_a_recipe_of_ones_own_is_refused(tmp_path: Path) -> None:
    """Oracle: the key that the file has wrong; with another corpus it is told as one that does not apply."""
    (tmp_path / "recipe").mkdir()
    text = (
        "# @package _global_\ndefaults:\n  - override /data: fsdd\ndata:\n  held_out: theo\nencoder:\n  hiden_size: 3\n"
    )
    (tmp_path / "recipe" / "wrong.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"encoder\.hiden_size is not a setting; remove it from the YAML file"):
        compose("train", ["recipe=wrong", "data=folder"], str(tmp_path))


@pytest.mark.parametrize(
    "words",
    [
        ["init_from=commands"],
        ["recipe=commands", "init_from=commands"],
        ["recipe=speech_commands_8"],
        ["recipe=speech_commands_8", "init_from=commands", "freeze_encoder=true"],
        ["recipe=fsdd"],
        ["--config-dir", "copied", "recipe=copied", "init_from=commands"],
    ],
    ids=" ".join,
)
def test_from_a_recipe_or_the_shipped_model(words: list[str], mine: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Oracle: the shipped model's own settings, the names of the folders and the files in them, counted by hand."""
    if "--config-dir" in words:
        assert main(["recipes", "copy", "speech_commands_8", "copied"]) == 0
    assert main(["train", *words, "data=folder", mine, "run_dir=run", *BRIEF]) == 0
    said = capsys.readouterr().err
    assert "valid and test drawn by file name, no speakers found" in said
    counts = [int(one) for one in said.partition("Folder: ")[2].split() if one.isdigit()][:3]
    assert sum(counts) == 60
    assert min(counts) > 0
    trained = speechgru.load(Path("run/model"))
    assert list(trained.tokens) == ["high", "low", "middle"]
    if "init_from=commands" in words:
        shipped = speechgru.load("commands")
        assert "init_from=commands: features, cell, front end and encoder are those of this model" in said
        assert "begins with the weights of commands: it knows 0 of the labels, 3 are new" in said
        for name in ("features", "encoder"):
            assert to_plain(getattr(trained.config, name)) == to_plain(getattr(shipped.config, name))
        same = [
            torch.equal(tensor, shipped.state_dict()[name])
            for name, tensor in trained.state_dict().items()
            if name.startswith("encoder.")
        ]
        assert all(same) if "freeze_encoder=true" in words else not all(same)
        assert torch.equal(trained.features.mean, shipped.features.mean)
        if "freeze_encoder=true" in words:
            assert "of them frozen" in said
            assert json.loads(Path("run/run.json").read_text())["parameters"] == trained.parameter_count()


@pytest.mark.parametrize("freeze", [True, False])
def test_fresh_layers_on_a_given_encoder(freeze: bool, mine: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Oracle: the shipped model's weights; its number of layers, and the layers of the new one."""
    shipped = speechgru.load("commands")
    count = shipped.config.encoder.num_layers + 1
    words = ["init_from=commands", f"encoder.num_layers={count}", f"freeze_encoder={freeze}".lower()]
    assert main(["train", *words, "data=folder", mine, "run_dir=run", *BRIEF]) == 0
    trained = speechgru.load(Path("run/model"))
    assert trained.config.encoder.num_layers == count
    given = {name: tensor for name, tensor in shipped.state_dict().items() if name.startswith("encoder.")}
    assert given
    same = [torch.equal(trained.state_dict()[name], tensor) for name, tensor in given.items()]
    assert all(same) if freeze else not all(same)
    assert ("of them frozen" in capsys.readouterr().err) is freeze
    more = ["init_from=run/model", f"encoder.num_layers={count + 1}", "data=folder", mine, "run_dir=more"]
    assert main(["train", *more, *BRIEF]) == 0
    assert "it knows 0 of the labels, 3 are new" in capsys.readouterr().err  # the head has read other layers
    fewer = ["init_from=run/model", f"encoder.num_layers={count - 1}", "data=folder", mine, "run_dir=fewer"]
    assert main(["train", *fewer, *BRIEF]) == 1
    assert f"has encoder.num_layers={count}, this run {count - 1}: its weights do not fit" in capsys.readouterr().err


def test_what_the_head_knows_of_a_label_is_kept(three_tones: Path, tmp_path: Path) -> None:
    """Oracle: the rows of the shipped model's head by the names of its labels; with no learning rate nothing moves."""
    shipped = speechgru.load("commands")
    root = tmp_path / "words"
    for folder, word in (("low", "yes"), ("high", "door"), ("middle", "no")):
        shutil.copytree(three_tones / folder, root / word)
    words = ["data=folder", f"data.root={root}", "init_from=commands", "optimizer.learning_rate=1e-12", *BRIEF]
    assert main(["train", *words, f"run_dir={tmp_path / 'run'}"]) == 0
    found = load_file(tmp_path / "run" / "model" / "model.safetensors")
    for row, word in enumerate(["door", "no", "yes"]):
        for name in ("head.output.weight", "head.output.bias"):
            if word in shipped.tokens:
                expected = shipped.state_dict()[name][shipped.tokens.index(word)]
                torch.testing.assert_close(found[name][row], expected, atol=1e-6, rtol=0)
            else:
                assert not any(torch.equal(found[name][row], one) for one in shipped.state_dict()[name])


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("encoder.hidden_size=64", "encoder.hidden_size=80, this run 64"),
        ("features.sample_rate=8000", "features.sample_rate=16000, this run 8000"),
        ("front_end.stride_time=[1,1,1]", r"encoder.front_end.stride_time=\[1, 2, 1\], this run \[1, 1, 1\]"),
    ],
)
def test_a_setting_that_does_not_fit_the_model_is_one_line(
    word: str, message: str, mine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Oracle: config.yaml of the shipped model."""
    assert main(["train", "data=folder", mine, "init_from=commands", word, "run_dir=run", *BRIEF]) != 0
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.search(f"init_from=commands has {message}: its weights do not fit; leave", last)
    assert not Path("run").exists()


def test_recordings_of_ones_own_have_a_recipe(mine: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Oracle: the recipe itself; ~recipe and another recipe leave it out, and transcripts are not for it."""
    assert main(["train", "data=folder", mine, "--cfg", "job"]) == 0
    shown = capsys.readouterr().out
    assert main(["train", "recipe=own_recordings", mine, "--cfg", "job"]) == 0
    assert capsys.readouterr().out == shown
    assert "name: own_recordings" in shown
    for more in (["~recipe"], ["recipe=fsdd"], ["head=ctc", "units=characters"]):
        assert main(["train", "data=folder", mine, "--cfg", "job", *more]) == 0
        assert "name: own_recordings" not in capsys.readouterr().out


def test_a_shipped_model_is_evaluated_by_its_name(mine: str, three_tones: Path, tmp_path: Path, capsys) -> None:
    """Oracle: the folder of the model by its path; its reports are in the working directory and not in the package."""
    for word in ("yes", "no"):
        shutil.copytree(three_tones / "low", tmp_path / "words" / word)
    before = sorted(shipped_model("commands").parent.rglob("*"))
    words = ["evaluate", "data=folder", f"data.root={tmp_path / 'words'}", "split=train", "device=cpu"]
    assert main([*words, "model=commands"]) == 0
    said = capsys.readouterr().out
    assert main([*words, f"model={shipped_model('commands')}"]) == 0
    assert capsys.readouterr().out == said
    assert Path("evaluation/commands/train/results.json").is_file()
    assert sorted(shipped_model("commands").parent.rglob("*")) == before
    assert main([*words, "model=comands"]) == 2
    assert (
        "model=comands: no such folder, and no model is called comands; did you mean commands?"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("speakers", "by"),
    [(7, "speaker, 7 found, none in two of them"), (2, "file name: a speaker may be in all of them")],
)
def test_every_recording_is_once_in_the_test(speakers: int, by: str, tmp_path: Path) -> None:
    """Oracle: the files. With fewer speakers than parts each part has its share of every class."""
    for label, count in (("low", 14), ("high", 21)):
        for number in range(count):
            path = tmp_path / label / f"voice{number % speakers}_nohash_{number}.wav"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"")
    tested, chosen_on = [], []
    for fold in range(5):
        corpus = Folder(FolderConfig(root=str(tmp_path), folds=5, fold=fold))
        parts = {split: corpus.utterances(split) for split in SPLITS}
        assert (corpus.fold, corpus.can_fold) == (f"{fold} of 5", False)
        assert corpus.split_rule == f"part {fold} of 0 to 4 is the test, the next the validation set, drawn by {by}"
        assert len({one.audio for rows in parts.values() for one in rows}) == sum(map(len, parts.values())) == 35
        if speakers == 7:
            held = [{one.speaker for one in rows} for rows in parts.values()]
            assert not held[0] & held[1] | held[0] & held[2] | held[1] & held[2]
        else:
            assert Counter(one.label for one in parts["test"])["high"] in (4, 5)
            assert Counter(one.label for one in parts["test"])["low"] in (2, 3)
        tested += [one.audio for one in parts["test"]]
        chosen_on.append({one.audio for one in parts["valid"]})
        if fold:
            assert {one.audio for one in parts["test"]} == chosen_on[-2]
    assert len(tested) == len(set(tested)) == 35


def test_folds_that_cannot_be(three_tones: Path, tmp_path: Path) -> None:
    """A part that there is not, too few parts, and recordings whose splits are named."""
    for folds, fold, message in (
        (2, 0, "folds=2: 0 for no"),
        (5, 5, "fold=5: from 0 to below folds=5"),
        (0, 1, "fold=1"),
    ):
        with pytest.raises(ConfigError, match=message):
            FolderConfig(folds=folds, fold=fold)
    shutil.copytree(three_tones, tmp_path / "train")
    with pytest.raises(ConfigError, match=r"data.folds=5: .* names its splits \(train\); leave data.folds out"):
        Folder(FolderConfig(root=str(tmp_path), folds=5)).utterances("train")


def test_a_cross_validation_ends_with_its_mean(mine: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Oracle: the figures of the runs' own files, and of their evaluations."""
    words = ["train", "--multirun", "data=folder", mine, "run_dir=folds", "data.folds=3", "data.fold=0,1,2", *BRIEF]
    words.append("encoder.hidden_size=8")
    assert main(words) == 0
    said = capsys.readouterr().err
    assert "part 2 of 0 to 2 is the test" in said
    assert "are few" not in said
    kept = [json.loads((Path("folds") / str(fold) / "run.json").read_text())["best_valid"] for fold in range(3)]
    mean = f"mean and standard deviation: validation loss {fmean(kept):.4f} +- {stdev(kept):.4f}"
    assert f"3 of 3 folds, {mean}" in said
    tested = []
    for fold in range(2):
        assert main(["evaluate", f"model=folds/{fold}/model", mine.removeprefix("data."), "device=cpu"]) == 0
        record = json.loads((Path("folds") / str(fold) / "evaluation" / "test" / "results.json").read_text())
        assert (record["fold"], record["n"]) == (f"{fold} of 3", 20)
        tested.append(record["accuracy"])
    capsys.readouterr()
    assert main(["runs", "folds"]) == 0
    shown = capsys.readouterr().out
    assert f"{mean}, test accuracy {fmean(tested):.4f} +- {stdev(tested):.4f} (2 folds)" in shown


def test_few_validation_recordings_are_told(mine: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The line names the number, an interval, and the command that judges by all recordings."""
    assert main(["train", "data=folder", mine, "run_dir=run", *BRIEF]) == 0
    found = re.search(r"(\d+) validation utterances are few: .* may be (\d+) to (\d+) %", capsys.readouterr().err)
    assert found is not None
    low, high = wilson_interval(round(0.9 * int(found[1])), int(found[1]))
    assert (int(found[2]), int(found[3])) == (round(100 * low), round(100 * high))
