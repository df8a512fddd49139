"""Accuracy against latency: how long frames wait, the command that measures it, and its recipe."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from matplotlib.figure import Figure
from test_recipes import between_marks, commands_in, composed, recorded

import speechgru.lab.latency.picture as latency_module
from speechgru.cli import main
from speechgru.commands.latency import CONTEXTS
from speechgru.commands.recipes import recipe_names
from speechgru.encoders import ConvolutionConfig, GRUEncoderConfig, LatencyControlledConfig, LookAheadConfig
from speechgru.errors import DataError, ModelError
from speechgru.evaluation.evaluate import EvaluateConfig, evaluate
from speechgru.features import Convention, LogMelConfig, Normalization
from speechgru.heads import ClassificationConfig
from speechgru.heads.classification import Pooling
from speechgru.lab.latency.latency import PICTURE, WHOLE, encoder_and_context, latency_markdown, summarize, waits_ms
from speechgru.lab.latency.picture import latency_picture
from speechgru.model_folder import RecognizerConfig
from speechgru.recognizer import Recognizer
from speechgru.shipped import conf_dir, recipes_dir
from speechgru.tokens import Tokens

FOLDER = recipes_dir() / "latency"
PAGE = Path(__file__).parent.parent / "docs" / "lab-report.md"
RECIPES = {"latency_an4": "cells_an4", "latency_speech_commands": "cells_speech_commands"}
RATE = 8000
SMALL = ["features.sample_rate=8000", "features.mels=12", "features.normalization=global", "encoder.num_layers=1"]
SMALL += ["encoder.hidden_size=8", "trainer.batch_size=8", "trainer.epochs=2", "trainer.device=cpu"]
SMALL += ["trainer.threads=1", "data=folder", "~recipe", "~augment"]


def recognizer(encoder: Any, head: Any = None, **features: Any) -> Recognizer:
    torch.manual_seed(0)
    settings = {"sample_rate": RATE, "mels": 6, "normalization": Normalization.none} | features
    parts = RecognizerConfig(LogMelConfig(**settings), encoder, head or ClassificationConfig(attention_heads=1))
    return Recognizer(parts, Tokens(["a", "b"])).eval()


TINY: dict[str, Any] = {"hidden_size": 3, "num_layers": 2}
FRONT_END = ConvolutionConfig(channels=[2, 2], kernel_time=5, stride_time=[2, 1], stride_feature=[1, 2])
STRIDES = ConvolutionConfig(channels=[2], kernel_time=1, stride_time=[2], stride_feature=[1])


@pytest.mark.parametrize(
    ("encoder", "features"),
    [
        (GRUEncoderConfig(**TINY), {}),
        (GRUEncoderConfig(**TINY, bidirectional=False, pyramid=[1, 2]), {"deltas": 1}),
        (LookAheadConfig(**TINY, context=3, front_end=FRONT_END), {"window_ms": 30.0}),
        (LookAheadConfig(**TINY, context=3, front_end=STRIDES), {"window_ms": 35.0}),  # the last of 30 goes nowhere
        (LookAheadConfig(**TINY, context=0), {"normalization": Normalization.sliding, "sliding_minimum_ms": 90.0}),
        (
            LatencyControlledConfig(**TINY, chunk=4, right=3),
            {"normalization": Normalization.sliding, "sliding_minimum_ms": 0.0, "sliding_lookahead_ms": 20.0},
        ),
        (LatencyControlledConfig(**TINY, chunk=3, right=1, front_end=FRONT_END), {"deltas": 2}),
        (LatencyControlledConfig(**TINY, chunk=WHOLE, right=0, pyramid=[2, 1]), {}),
    ],
)
def test_a_frame_waits_for_what_changes_it_and_no_longer(encoder: Any, features: dict[str, Any]) -> None:
    """Oracle: waveforms that are others from a sample on; the windows begin every 10 ms and are not padded."""
    model = recognizer(encoder, **features)
    if isinstance(encoder, LookAheadConfig):  # fresh, it does not look ahead
        torch.nn.init.normal_(model.encoder.row_weight)
    samples = 2640
    waveform = 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(1))
    other = 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(2))
    waits = waits_ms(model, samples)
    config = model.features.config
    ends = [
        round((frame * model.encoder.subsampling * 10 + config.window_ms / 2 + wait) * RATE / 1000)
        for frame, wait in enumerate(waits)
    ]
    last = 80 * (int(model.features.output_lengths(torch.tensor([samples]))) - 1) + round(config.window_ms * 8)
    assert max(ends) <= last
    lengths = torch.full((len(ends),), samples)

    def hidden(back: int) -> torch.Tensor:
        """Of waveforms that change so many samples before the end of what their own frame is said to know."""
        rows = [torch.cat((waveform[: end - back], other[end - back :])) for end in ends]
        return model.encoder(*model.features(torch.stack(rows), lengths))[0]

    with torch.no_grad():
        same = model.encoder(*model.features(waveform[None], lengths[:1]))[0][0]
        moved = [(hidden(back).diagonal().T - same).abs().amax(1) for back in (0, 80)]
    assert len(waits) == len(same) > 5
    assert moved[0].max() < 1e-6
    assert moved[1].min() > 1e-6


def test_what_an_encoder_is_called() -> None:
    """Written out by hand; an encoder from elsewhere and features that need the end are refused in one line."""
    keyword = ClassificationConfig(pooling=Pooling.best_frame)
    found = [
        encoder_and_context(recognizer(encoder, head))
        for encoder, head in (
            (GRUEncoderConfig(**TINY), None),
            (GRUEncoderConfig(**TINY, bidirectional=False), keyword),
            (LookAheadConfig(**TINY, context=7), keyword),
            (LatencyControlledConfig(**TINY, chunk=5, right=3), None),
            (LatencyControlledConfig(**TINY, chunk=WHOLE), None),
        )
    ]
    assert found == [
        ("gru", "all"),
        ("gru best_frame", "0"),
        ("look_ahead best_frame", "7"),
        ("latency_controlled", "5+3"),
        ("latency_controlled", "all"),
    ]
    whole: list[dict[str, Any]] = [{"normalization": Normalization.utterance}, {"convention": Convention.librosa}]
    for features in whole:
        with pytest.raises(ModelError, match="nothing is known before the end"):
            waits_ms(recognizer(GRUEncoderConfig(**TINY), **features), 4000)


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tones a recording: their letters are its text, the first of them its label."""
    root = tmp_path_factory.mktemp("tones")
    rng = np.random.default_rng(0)
    rows = ["audio\tlabel\ttext\tsplit"]
    for number in range(40):
        letters = rng.choice(["a", "b"], 2)
        pieces = [np.zeros(400)]
        for letter in letters:
            time = np.arange(rng.integers(1000, 3000)) / RATE
            pieces += [0.3 * np.sin(2 * np.pi * {"a": 300, "b": 2000}[letter] * time), np.zeros(400)]
        wave = np.concatenate(pieces) + 0.01 * rng.standard_normal(sum(map(len, pieces)))
        soundfile.write(root / f"{number}.wav", wave, RATE)
        split = "train" if number < 24 else "valid" if number < 32 else "test"
        rows.append(f"{number}.wav\t{letters[0]}\t{' '.join(letters)}\t{split}")
    (root / "manifest.tsv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="module")
def runs(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained: chunks for letters and for labels. Beside these, runs as they would be with other encoders and seeds."""
    folder = tmp_path_factory.mktemp("latency")
    own = ["encoder=latency_controlled", "encoder.training_chunks=[2,4]", "encoder.training_rights=[0,2]", *SMALL]
    own += [f"data.root={tones}"]
    letters = ["head=ctc", "units=characters"]
    assert main(["train", *own, *letters, f"run_dir={folder}/letters/latency_controlled-0"]) == 0
    assert main(["train", *own, f"run_dir={folder}/labels/latency_controlled-0"]) == 0
    trained = Recognizer.load(folder / "labels" / "latency_controlled-0" / "model")
    said = json.loads((folder / "labels" / "latency_controlled-0" / "run.json").read_text())
    sizes = {"hidden_size": 8, "num_layers": 1}
    keyword = ClassificationConfig(pooling=Pooling.best_frame)
    for name, encoder, head in (
        ("gru-0", GRUEncoderConfig(**sizes), trained.config.head),
        ("look_ahead-0", LookAheadConfig(**sizes, context=3), keyword),
        ("latency_controlled-1", trained.config.encoder, trained.config.head),
    ):
        torch.manual_seed(1)
        model = Recognizer(dataclasses.replace(trained.config, encoder=encoder, head=head), trained.tokens)
        model.features.load_state_dict(trained.features.state_dict())
        model.save(folder / "labels" / name / "model")
        (folder / "labels" / name / "run.json").write_text(json.dumps(said | {"seed": int(name[-1])}))
    (folder / "labels" / "look_ahead-0" / "metrics.jsonl").touch()
    return folder


def test_latency_measures_what_is_there(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Oracle: evaluate's results of the same models with the context written into their folders by hand.

    The second time nothing is measured again, and with another context only that.
    """
    folder = tmp_path / "labels"
    shutil.copytree(runs / "labels", folder)
    recipe = tmp_path / "recipe"
    recipe.mkdir()
    (recipe / "README.md").write_text("before\n<!-- results -->\n<!-- /results -->\nafter\n")
    page = tmp_path / "page.md"
    page.write_text("<!-- latency -->\n<!-- /latency -->\n")
    words = ["latency", str(folder), "--repeats", "1"]
    written = ["--recipe_dir", str(recipe), "--readme", str(page)]
    assert main([*words, "--contexts", "2+0,all", *written]) == 0
    printed, told = capsys.readouterr()
    assert "latency_controlled 2+0, valid" in told
    content = json.loads((recipe / "results.json").read_text())
    assert [one["model"] for one in content["summary"]] == [
        "latency_controlled 2+0",
        "look_ahead best_frame 3",
        "gru all",
        "latency_controlled all",
    ]
    assert [one["seeds"] for one in content["summary"]] == [[0, 1], [0], [0], [0, 1]]
    assert len(content["runs"]) == 2 * 6
    for one in content["runs"]:
        run = folder / f"{one['encoder'].split()[0]}-{one['seed']}"
        said = json.loads((run / "run.json").read_text())
        assert (one["command"], one["epochs"], one["budget"], one["hidden_size"]) == (said["command"], 2, 0, 8)
        if one["context"] != "2+0" or one["seed"]:
            continue
        settings = run / "model" / "config.yaml"
        text = re.sub(r"(?m)^  right: .*$", "  right: 0", settings.read_text())
        settings.write_text(re.sub(r"(?m)^  chunk: .*$", "  chunk: 2", text))
        config = EvaluateConfig(model=str(run / "model"), split=one["split"], output_dir=str(tmp_path / "own"))
        ((result, record, _),) = evaluate(config)
        assert {key: one[key] for key in ("accuracy", "n", "parameters", "interval", "dataset")} == {
            key: record[key] for key in ("accuracy", "n", "parameters", "interval", "dataset")
        }
        model = Recognizer.load(run / "model")
        assert encoder_and_context(model) == ("latency_controlled", "2+0")
        waits = [waits_ms(model, soundfile.info(row.audio).frames) for row in result.utterances]
        assert one["wait_ms"] == pytest.approx(np.concatenate(waits).mean(), abs=0.06)
        assert one["longest_wait_ms"] == max(wait.max() for wait in waits)
    tables = latency_markdown(content["summary"])
    assert printed.strip() == tables == page.read_text().split("\n", 1)[1].rsplit("\n", 2)[0]
    assert between_marks(recipe / "README.md") == f"{tables}\n\n{PICTURE}"
    assert (recipe / re.search(r"\((.+)\)", PICTURE)[1]).is_file()
    from speechgru.lab.latency import runs as module

    real, measured = module.measure, []
    monkeypatch.setattr(module, "measure", lambda *arguments: measured.append(arguments) or real(*arguments))
    assert main([*words, "--contexts", "2+0,all"]) == 0
    assert not measured
    assert main([*words, "--contexts", "all,1+1"]) == 0
    assert len(measured) == 2 * 2
    assert "latency_controlled 2+0" not in capsys.readouterr().out.splitlines()[-1]
    kept = json.loads((folder / "latency_controlled-0" / "evaluation" / "latency" / "results.json").read_text())
    assert [one["context"] for one in kept["runs"]] == ["2+0", "all", "2+0", "all", "1+1", "1+1"]
    (folder / "latency_controlled-0" / "model" / "model.safetensors").touch()  # trained again
    assert main([*words, "--contexts", "1+1"]) == 0
    assert len(measured) == 2 * 3


def test_a_chunk_that_holds_the_utterance_is_the_bidirectional_model(runs: Path, tones: Path) -> None:
    """Oracle: a model of the encoder ``gru`` with the trained weights; a smaller chunk gives other scores."""
    for task in ("labels", "letters"):
        model = Recognizer.load(runs / task / "latency_controlled-0" / "model").eval()
        own = ("chunk", "right", "training_chunks", "training_rights")
        settings = {name: value for name, value in vars(model.config.encoder).items() if name not in own}
        config = dataclasses.replace(model.config, encoder=GRUEncoderConfig(**settings))
        plain = Recognizer(config, model.tokens).eval()
        plain.load_state_dict(model.state_dict())
        waveforms = [torch.from_numpy(soundfile.read(tones / f"{n}.wav", dtype="float32")[0]) for n in (33, 34)]
        longest = int(model.output_lengths(torch.tensor([max(map(len, waveforms))])))
        batch = torch.nn.utils.rnn.pad_sequence(waveforms, batch_first=True), torch.tensor([*map(len, waveforms)])
        with torch.no_grad():
            wanted, _ = plain(*batch)
            for chunk, right in ((WHOLE, 0), (longest, 0), (1, longest)):
                model.encoder.config.chunk, model.encoder.config.right = chunk, right
                torch.testing.assert_close(model(*batch)[0], wanted, atol=1e-5, rtol=0)
            model.encoder.config.chunk, model.encoder.config.right = 2, 0
            assert (model(*batch)[0] - wanted).abs().max() > 1e-3


def test_latency_of_transcripts(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Oracle: evaluate's own result for the context in the model folder, which is that of the training's default."""
    run = runs / "letters" / "latency_controlled-0"
    assert main(["latency", str(run), "--repeats", "1", "--contexts", "20+20"]) == 0
    assert "WER, %" in capsys.readouterr().out
    ((_, record, _),) = evaluate(EvaluateConfig(model=str(run / "model"), device="cpu"))
    (kept,) = (
        one
        for one in json.loads((run / "evaluation" / "latency" / "results.json").read_text())["runs"]
        if one["split"] == "test"
    )
    assert {key: kept[key] for key in ("wer", "cer", "decoder", "words")} == {
        key: record[key] for key in ("wer", "cer", "decoder", "words")
    }


def test_runs_that_cannot_be_measured(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each; the others are measured, and the exit code is 1."""
    folder = tmp_path / "labels"
    shutil.copytree(runs / "labels", folder)
    shutil.rmtree(folder / "latency_controlled-1")
    settings = folder / "gru-0" / "model" / "config.yaml"
    settings.write_text(settings.read_text().replace("normalization: global", "normalization: utterance"))
    (folder / "look_ahead-0" / "run.json").unlink()
    assert main(["latency", str(folder), str(tmp_path / "none"), "--repeats", "1", "--contexts", "2+0"]) == 1
    printed, told = capsys.readouterr()
    assert printed.count("\n| latency") == 1
    assert "| gru" not in printed
    assert f"{tmp_path / 'none'}: no run in it" in told
    assert f"{folder / 'look_ahead-0'}: not finished" in told
    assert [line for line in told.splitlines() if line.startswith(f"{folder / 'gru-0'}: ") and "valid" not in line]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{empty}"], "no run to measure; train some first"),
        (["{empty}", "--contexts", "5"], "--contexts 5: '5' is not CHUNK+RIGHT"),
        (["{empty}", "--contexts", "5+0,0+3"], "'0+3' is not CHUNK+RIGHT"),
        (["{empty}", "--contexts", "all,"], "'' is not CHUNK+RIGHT"),
        (["{empty}", "--repeats", "0"], "--repeats 0: at least 1"),
        (["{empty}", "--threads", "-1"], "--threads -1: at least 1"),
        (["{empty}", "--recipe_dir", "{empty}/none"], "no such folder"),
        (["{empty}", "--readme", "{empty}/none"], "no such file"),
    ],
)
def test_what_latency_refuses(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, and one for each folder without runs; exit code 2."""
    assert main(["latency", *(word.format(empty=tmp_path) for word in words)]) == 2
    error = capsys.readouterr().err
    assert message in error.splitlines()[-1]
    assert len([line for line in error.splitlines() if "no run in it" not in line]) == 1


def record(encoder: str, context: str, seed: int, score: float, **settings: Any) -> dict[str, Any]:
    text = settings.get("task") == "transcription"
    own: dict[str, Any] = {"task": "classification", "dataset": "digits", "split": "test", "seed": seed}
    own |= {"model": f"{encoder} {context}", "encoder": encoder, "context": context, "parameters": 900, "fold": ""}
    own |= {"n": 300, "interval": [0.1, 0.2], "train_wall_clock_s": 60.0, "machine": {}, "wait_ms": 120.0}
    own |= {"longest_wait_ms": 1234.5, "hidden_size": 7, "budget": 1000, "epochs": 3}
    own |= {"decoder": "greedy", "words": 70, "wer": score, "cer": score / 2} if text else {"accuracy": score}
    return own | {"date": "2026-11-21", "command": "speechgru train"} | settings


RECORDS = [
    one | {"split": split, **({"accuracy": one["accuracy"] - 0.02} if split == "valid" and "accuracy" in one else {})}
    for one in (
        record("gru", "all", 0, 0.95, wait_ms=480.0),
        record("gru", "all", 1, 0.97, wait_ms=480.0),
        record("latency_controlled", "5+2", 0, 0.90),
        record("latency_controlled", "all", 0, 0.91, wait_ms=480.4),
        record("look_ahead", "3", 0, 0.20, task="transcription", dataset="letters", budget=0),
    )
    for split in ("valid", "test")
]
COSTS = {("digits", "gru all"): 2.04, ("digits", "latency_controlled 5+2"): 3.5}
COSTS |= {("digits", "latency_controlled all"): 2.0, ("letters", "look_ahead 3"): 4.26}


def test_tables_of_latency() -> None:
    """Oracle: the rows written out by hand from the records; the shortest wait first."""
    lines = latency_markdown(summarize(RECORDS, COSTS)).splitlines()
    assert "**digits**, test, 300 utterances; at most 1,000 parameters, epochs: 3." in lines
    assert "**letters**, test, 300 utterances; epochs: 3." in lines
    assert [line for line in lines if line.startswith(("| g", "| l"))] == [
        r"| latency\_controlled 5+2 | 7 | 900 | 120 | 1,234 | 88.00 | 90.00 (10.00 to 20.00) | 1 | 3.5 |",
        "| gru all | 7 | 900 | 480 | 1,234 | 94.00 ± 1.41 | 96.00 ± 1.41 | 2 | 2.0 |",
        r"| latency\_controlled all | 7 | 900 | 480 | 1,234 | 89.00 | 91.00 (10.00 to 20.00) | 1 | 2.0 |",
        r"| look\_ahead 3 | 7 | 900 | 120 | 1,234 | 20.00 | 20.00 (10.00 to 20.00) | 1 | 4.3 |",
    ]
    with pytest.raises(DataError, match="seed 0 is there twice"):
        summarize([*RECORDS, RECORDS[1]], COSTS)


def test_picture_of_latency(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the PNG signature; drawn twice it is the same bytes, and a moved point gives others; better is up."""
    summary = summarize(RECORDS, COSTS)
    panels: dict[str, tuple[str, bool]] = {}
    kept = latency_module.png

    def looked_at(figure: Figure, path: str | os.PathLike[str] | None = None) -> bytes:
        panels.update({one.get_title(): (one.get_ylabel(), one.yaxis_inverted()) for one in figure.axes})
        return kept(figure, path)

    monkeypatch.setattr(latency_module, "png", looked_at)
    drawn = latency_picture(summary, tmp_path / "latency.png")
    assert drawn.startswith(b"\x89PNG")
    assert drawn == (tmp_path / "latency.png").read_bytes() == latency_picture(summary)
    assert panels == {
        "digits": ("Accuracy, %      better \N{RIGHTWARDS ARROW}", False),
        "letters": ("Word error rate, %      better \N{RIGHTWARDS ARROW}", True),
    }
    for change in ({"wait_ms": 300.0}, {"accuracy": 0.5}):
        assert latency_picture([summary[0] | change, *summary[1:]]) != drawn


@pytest.mark.parametrize(("name", "origin"), RECIPES.items())
def test_a_recipe_of_latency_changes_little(name: str, origin: str) -> None:
    """Oracle: the recipe it comes from, setting by setting; only the statistics of the features are others."""
    assert name in recipe_names()
    ours, theirs = composed(["train", f"recipe={name}"]), composed(["train", f"recipe={origin}"])
    assert (ours.name, ours.features.normalization) == (name, Normalization["global"])
    features = dataclasses.replace(ours.features, normalization=theirs.features.normalization)
    same = dataclasses.replace(ours, name=origin, run_dir=theirs.run_dir, features=features)
    assert same == theirs
    text = (conf_dir() / "recipe" / f"{name}.yaml").read_text()
    assert text.count("${hydra.runtime.choices.encoder}-${oc.select:encoder.context,all}-${seed}") == 2


def test_script_trains_each_encoder_once(tmp_path: Path) -> None:
    """Oracle: bash with a program that notes what it is called with; then Hydra's own reading of the overrides."""
    found = recorded(FOLDER / "run.sh", tmp_path / "default")
    wanted, roots = [], {}
    for words in found:
        if words[0] == "train":
            chosen = dict(word.split("=", 1) for word in words[2:])
            assert (words[1], chosen["resume"]) == ("--multirun", "true")
            roots[chosen["recipe"]] = chosen["data.root"]
            contexts = chosen.get("encoder.context", "all").split(",")
            place = chosen.get("run_dir", f"runs/{chosen['recipe']}").removeprefix("runs/")
            wanted += [
                f"{place}/{chosen['encoder']}-{context}-{seed}"
                for seed in chosen["seed"].split(",")
                for context in contexts
            ]
            config = composed(words)
            assert config.encoder.bidirectional == (chosen["encoder"] != "look_ahead")
            if chosen["encoder"] == "latency_controlled":  # each context of the table can come of those that are drawn
                drawn = {f"{a}+{b}" for a in config.encoder.training_chunks for b in config.encoder.training_rights}
                assert set(CONTEXTS.split(",")) - {"all"} <= drawn
        composed(words)
    encoders = ["gru-all", "look_ahead-0", "look_ahead-5", "look_ahead-20", "latency_controlled-all"]
    expected = [f"latency_speech_commands/{one}-{seed}" for one in encoders for seed in range(3)]
    expected += [f"latency_speech_commands/best_frame/look_ahead-0-{seed}" for seed in range(3)]
    expected += [f"latency_an4/{one}-0" for one in encoders]
    assert sorted(wanted) == sorted(expected)
    assert len(wanted) == int(re.search(r"runs all of it, (\d+) runs", (FOLDER / "README.md").read_text())[1])
    prepared = {words[2].removeprefix("root="): words[1] for words in found if words[0] == "prepare"}
    assert {recipe: prepared[root] for recipe, root in roots.items()} == {
        f"latency_{corpus}": corpus for corpus in ("speech_commands", "an4")
    }
    last = found[-1]
    assert last[:3] == ["latency", *(f"runs/{recipe}" for recipe in sorted(RECIPES, reverse=True))]
    assert last[last.index("--recipe_dir") + 1] == str(FOLDER)
    elsewhere = recorded(FOLDER / "run.sh", tmp_path / "elsewhere", "a b", "c")
    swapped = {"data/speech_commands": "a b", "data/an4": "c"}
    assert elsewhere == [
        [re.sub(r"^data\.root=(.*)", lambda one: f"data.root={swapped[one[1]]}", word) for word in words]
        for words in found
        if words[0] != "prepare"
    ]


def test_readme_of_latency() -> None:
    """Oracle: results.json makes its table and that of the page; its commands compose and its links lead somewhere."""
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    results = FOLDER / "results.json"
    content = json.loads(results.read_text()) if results.is_file() else None
    table = f"{latency_markdown(content['summary'])}\n\n{PICTURE}" if content else ""
    assert between_marks(FOLDER / "README.md") == table
    page = PAGE.read_text(encoding="utf-8")
    assert f"{page.split('<!-- latency -->')[1].split('<!-- /latency -->')[0].strip()}\n\n{PICTURE}" == table
    (command,) = [words for words in commands_in(page) if words[0] == "latency"]
    composed(command)
    for part in ("Task", "Data", "Model", "Results", "Commands", "Limits"):
        assert f"**{part}.**" in text
    found = list(commands_in(text))
    assert {"train", "prepare", "latency"} <= {words[0] for words in found}
    for words in found:
        composed(words)
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (FOLDER / link).exists(), link
