"""The models that ship: whole, small, found by their names, as good as their cards say; and how one is packed."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from cards import read_card

import speechgru
from speechgru.cli import main
from speechgru.commands.models import measure_of
from speechgru.config import compose
from speechgru.data.corpora.an4 import AN4, AN4Config
from speechgru.data.utterance import Utterance
from speechgru.errors import ModelError
from speechgru.evaluation.error_rate import edit_distance
from speechgru.evaluation.results import markdown_cell
from speechgru.recognizer import Recognizer
from speechgru.shipped import (
    DEFAULT_MODELS,
    default_model,
    model_names,
    model_task,
    model_title,
    models_dir,
    shipped_model,
)


@pytest.mark.parametrize(
    ("given", "title"),
    [
        ("keywords", "keywords"),
        ("hf://me/one", "hf://me/one"),
        ("runs/mine/model", "mine"),
        ("runs/mine/0/model", "mine"),
        ("model/0", "runs"),
    ],
)
def test_what_a_model_is_called(given: str, title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: by hand, from how runs are laid out; names that are no folders stay."""
    inside = tmp_path / "runs" if given == "model/0" else tmp_path
    inside.mkdir(exist_ok=True)
    monkeypatch.chdir(inside)
    if given.endswith(("model", "0")):
        Path(given).mkdir(parents=True)
    assert model_title(given) == title


@pytest.mark.parametrize("name", model_names())
def test_a_shipped_model_is_whole_and_small(name: str) -> None:
    """Oracle: the folder loads; its card names licence, data, limits, a measure; no file names a folder elsewhere."""
    folder = shipped_model(name)
    recognizer = speechgru.load(name)
    assert recognizer.task == model_task(folder)
    assert folder == models_dir() / name
    front, text = read_card(folder)
    assert front["license"]
    recipe = re.search(r"speechgru train recipe=(\w+)", text)[1]
    for limit in compose("train", [f"recipe={recipe}"]).card.limits:  # a model trained again says the same
        assert f"- {markdown_cell(limit)}\n" in text
    assert "## Training data" in text
    assert (
        measure_of(folder / "card.md", {"classify": "accuracy", "transcribe": "wer"}[recognizer.head.verb]) is not None
    )
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 8e6
    known = {"config.yaml", "model.safetensors", "tokens.txt", "fingerprint.json", "card.md", "SHA256SUMS"}
    assert {path.name for path in folder.iterdir()} <= known | {
        "language_model.arpa.gz",
        "lexicon.txt",
        "pronunciations.txt",
    }
    for path in (folder / "config.yaml", folder / "card.md"):
        assert not {"/tmp", "/home", "/root"} & set(path.read_text().replace("=", " ").split())


def test_a_model_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """By hand: a folder of that name is never in the way, ./NAME is the folder, another name tells the near one."""
    for task, name in DEFAULT_MODELS.items():
        assert default_model(task) == shipped_model(name)
    with pytest.raises(ModelError, match=r"an5: no such folder, and no model is called an5; did you mean an4\?"):
        speechgru.load("an5")
    monkeypatch.chdir(tmp_path)
    Path("an4").mkdir()
    shutil.copytree(shipped_model("commands"), "commands")
    Path("commands/tokens.txt").write_text("no such model\n")
    assert speechgru.load("an4").task == "ctc"
    for folder in (Path("an4"), "./an4", str(tmp_path / "an4")):
        with pytest.raises(ModelError, match=r"an4 holds no config\.yaml"):
            speechgru.load(folder)
    soundfile.write("quiet.wav", np.zeros(16_000), 16_000)
    assert main(["classify", "quiet.wav", "-m", "commands"]) == 0
    assert main(["classify", "quiet.wav", "-m", "./commands"]) == 1
    assert main(["classify", "quiet.wav", "-m", "quiet.wav"]) == 2
    error = capsys.readouterr().err
    assert "commands/tokens.txt is not what its line in SHA256SUMS says" in error
    assert "-m quiet.wav: a file; name the model folder" in error


def spoken(recordings: Path) -> list[Utterance]:
    if not (recordings / "an4").is_dir():
        pytest.skip("SPEECHGRU_DATA has no an4/")
    return AN4(AN4Config(root=str(recordings / "an4"))).utterances("test")


def test_recordings_are_transcribed_without_a_model_of_ones_own(recordings: Path, capsys: pytest.CaptureFixture[str]):
    """Oracle: the transcripts of AN4's test; the command, with and without the name, says what Python does."""
    some = spoken(recordings)[::13]
    paths = [one.audio for one in some]
    found = speechgru.load("an4").transcribe(paths)
    wrong = sum(edit_distance(one.text.split(), heard.text.split()) for one, heard in zip(some, found, strict=True))
    assert wrong <= 0.2 * sum(len(one.text.split()) for one in some)
    for options in ([], ["-m", "an4"]):
        assert main(["transcribe", *paths, *options]) == 0
        said = [line.partition("\t")[2] for line in capsys.readouterr().out.splitlines()]
        assert said == [one.text for one in found]


@pytest.mark.slow
def test_the_transcriber_is_as_good_as_its_card_says(recordings: Path) -> None:
    """Oracle: the card; half precision and another machine may change a word of the 773."""
    utterances = spoken(recordings)
    found = speechgru.load("an4").transcribe([one.audio for one in utterances])
    pairs = [(one.text.split(), heard.text.split()) for one, heard in zip(utterances, found, strict=True)]
    wrong = sum(edit_distance(*pair) for pair in pairs) / sum(len(reference) for reference, _ in pairs)
    assert 100 * wrong == pytest.approx(measure_of(shipped_model("an4") / "card.md", "wer"), abs=0.3)


def test_packing(tones, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Oracle: the model itself with rounded parameters; the card goes with it, and nothing is packed without one."""
    source, target = tmp_path / "run" / "model", tmp_path / "small"
    tones.recognizer.save(source)
    assert main(["models", "pack", str(source), str(target), "--half"]) == 2
    assert "holds no card.md" in capsys.readouterr().err
    (source / "card.md").write_text("---\nlicense: mit\n---\n# A card\n")
    assert main(["models", "pack", str(source), str(target), "--half"]) == 0
    assert capsys.readouterr().out == f"{target}\n"
    assert (target / "card.md").read_bytes() == (source / "card.md").read_bytes()
    assert 2 * (target / "model.safetensors").stat().st_size < 1.2 * (source / "model.safetensors").stat().st_size
    for exact, packed in zip(Recognizer.load(source).parameters(), Recognizer.load(target).parameters(), strict=True):
        assert packed.equal(exact.half().float())
    assert main(["models", "pack", str(source), str(tmp_path / "whole")]) == 0
    assert (tmp_path / "whole" / "model.safetensors").read_bytes() == (source / "model.safetensors").read_bytes()
    for words, message in (
        (["pack", str(source)], "needs the folder of a model and the folder to write"),
        (["pack", str(source), str(source)], "the same folder"),
        (["list", "--half"], "--half: is for models pack"),
    ):
        assert main(["models", *words]) == 2
        assert message in capsys.readouterr().err


def test_the_transcriber_says_what_it_does_not_know(recordings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Oracle: what the recordings are. Read speech is marked, AN4 is not, and nothing is heard in silence and hiss."""
    if not (recordings / "librispeech_samples").is_dir():
        pytest.skip("SPEECHGRU_DATA has no librispeech_samples/")
    model = speechgru.load("an4")
    own = [one.audio for one in spoken(recordings)][:20]
    assert [one.familiar for one in model.transcribe(own)].count(False) <= 1
    foreign = [str(path) for path in sorted((recordings / "librispeech_samples").rglob("*.flac"))]
    assert len(foreign) == 4
    assert main(["transcribe", *foreign]) == 0
    told = capsys.readouterr().err.splitlines()
    assert told == [f"{path}\tthis does not sound like what the model knows" for path in foreign]
    hiss = 0.01 * np.random.default_rng(0).standard_normal((3, 32000))
    assert [model.transcribe(one, source_rate=16000).text for one in (*hiss, np.zeros(32000))] == [""] * 4
