"""Models as ONNX files, run by onnxruntime. Oracle: the model itself, by torch's operators."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

pytest.importorskip("onnx", reason="needs the extra export")
pytest.importorskip("onnxruntime", reason="needs the extra export")

import onnx
from onnx import numpy_helper

import speechgru
from speechgru.cli import main
from speechgru.decoding.greedy import GreedyConfig
from speechgru.export.int8 import with_int8_weights
from speechgru.export.onnx_model import write_onnx
from speechgru.export.parity import session_of
from speechgru.shipped import model_path

FILES = ["README.md", "model.onnx", "parity.json", "run.py", "tokens.txt"]


@pytest.fixture(scope="module")
def commands():
    return speechgru.load("commands")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The shipped classifier, exported from the command line."""
    target = tmp_path_factory.mktemp("export") / "commands"
    assert main(["export", "commands", "-o", str(target)]) == 0
    return target


def run_alone(folder, tmp_path, *recordings):
    """What run.py prints where torch and speechgru cannot be imported."""
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    for name in ("torch", "speechgru"):
        (blocked / f"{name}.py").write_text("raise ImportError('not here')\n")
    done = subprocess.run(
        [sys.executable, folder / "run.py", *recordings],
        env={**os.environ, "PYTHONPATH": str(blocked)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [line.split("\t") for line in done.stdout.splitlines()]


def test_the_folder_of_an_export_says_what_the_model_knows(folder, commands):
    """Oracles: the list of files; tokens, rate and card of the model; the limit of the gate."""
    assert sorted(path.name for path in folder.iterdir()) == FILES
    written = onnx.load(folder / "model.onnx")
    about = {one.key: one.value for one in written.metadata_props}
    assert json.loads(about["labels"]) == commands.tokens.names
    assert about["sample_rate"] == "16000"
    assert about["license"] == "cc-by-4.0"
    assert about["summary"].startswith("Tells eight English command words")
    assert [one.version for one in written.opset_import] == [int(about["opset"])]
    assert (folder / "tokens.txt").read_text() == "".join(f"{name}\n" for name in commands.tokens.names)
    parity = json.loads((folder / "parity.json").read_text())
    assert parity["draws"] >= 30
    assert 0 < parity["largest_difference"] <= parity["limit"] == 1e-4


def test_run_needs_neither_torch_nor_this_package(folder, commands, recordings, tmp_path):
    """Oracle: the label and confidence of the recognizer for real recordings."""
    clips = [str(next((recordings / "speech_commands" / word).glob("*.flac"))) for word in ("yes", "stop", "nine")]
    for line, result in zip(run_alone(folder, tmp_path, *clips), commands.classify(clips), strict=True):
        assert line[1] == result.label
        assert float(line[2]) == pytest.approx(result.confidence, abs=2e-4)


def test_run_refuses_another_rate_in_one_line(folder, tmp_path):
    path = tmp_path / "low.wav"
    soundfile.write(path, np.zeros(800), 8000)
    done = subprocess.run([sys.executable, folder / "run.py", path], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "8000 Hz" in done.stderr


def test_a_second_export_replaces_the_first_and_nothing_else(folder, tmp_path, capsys):
    target = tmp_path / "of_others"
    target.mkdir()
    (target / "letter.txt").write_text("dear")
    assert main(["export", "commands", "-o", str(target)]) == 2
    assert "letter.txt" in capsys.readouterr().err
    assert [path.name for path in target.iterdir()] == ["letter.txt"]
    (folder / "README.md").write_text("old")
    assert main(["export", "commands", "-o", str(folder)]) == 0
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert (folder / "README.md").read_text().startswith("# A model of speechgru")
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_broken_model_leaves_nothing(tmp_path, capsys):
    """Oracle: load refuses a folder whose weights were cut, and so does export."""
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in model_path("commands").iterdir():
        content = path.read_bytes()
        (broken / path.name).write_bytes(content[: len(content) // 2] if path.suffix == ".safetensors" else content)
    assert main(["export", str(broken), "-o", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]


def test_a_recording_that_cannot_be_read_is_told_and_the_others_are_compared(tmp_path, capsys):
    soundfile.write(tmp_path / "good.wav", 0.1 * np.random.default_rng(0).standard_normal(4000), 16000)
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    arguments = ["export", "commands", "-o", str(tmp_path / "out"), "--recordings"]
    assert main([*arguments, str(tmp_path / "bad.wav")]) == 2
    assert not (tmp_path / "out").exists()
    assert main([*arguments, str(tmp_path)]) == 1
    assert "bad.wav" in capsys.readouterr().err
    assert json.loads((tmp_path / "out" / "parity.json").read_text())["recordings"] == 1


def test_a_folder_of_ones_own_is_not_taken_for_an_export(commands, tmp_path, capsys):
    """Its files may be called like those of an export; one that holds parity.json as well is one."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("precious")
    assert main(["export", "commands", "-o", str(tmp_path / "mine")]) == 2
    assert "holds README.md, which is of no export" in capsys.readouterr().err
    assert (tmp_path / "mine" / "README.md").read_text() == "precious"


def test_a_file_that_answers_otherwise_is_not_written(commands, tmp_path, capsys, monkeypatch):
    """Oracle: a weight of the written graph moved by 1e-2, which no answer survives to 1e-4."""
    from speechgru.export import onnx_model

    def moved(model, about):
        written = write_onnx(model, about)
        largest = max(written.graph.initializer, key=lambda one: len(one.raw_data))
        weights = np.frombuffer(largest.raw_data, np.float32).copy()
        weights += 1e-2
        largest.raw_data = weights.tobytes()
        return written

    monkeypatch.setattr(onnx_model, "write_onnx", moved)
    assert main(["export", "commands", "-o", str(tmp_path / "out")]) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "differs from the model by" in told
    assert "row" in told
    assert not list(tmp_path.iterdir())


def test_padding_and_company_change_no_score(commands):
    """Oracle: the same rows alone, without padding."""
    session = session_of(write_onnx(commands, {}).SerializeToString())
    rng = np.random.default_rng(3)
    waveforms = 0.1 * rng.standard_normal((4, 9000)).astype(np.float32)
    lengths = np.array([9000, 4321, 1, 0])
    together, frames = session.run(None, {"waveforms": waveforms, "lengths": lengths})
    assert frames.tolist() == commands.output_lengths(torch.from_numpy(lengths)).tolist()
    for row, length in enumerate(lengths):
        alone = session.run(None, {"waveforms": waveforms[row : row + 1, :length], "lengths": lengths[row : row + 1]})
        np.testing.assert_allclose(alone[0][0], together[row], atol=1e-6)
    # A length that no row can have is the nearest one that it can.
    beyond, _ = session.run(None, {"waveforms": waveforms, "lengths": np.array([10**12, 4321, 1, -5])})
    np.testing.assert_array_equal(beyond, together)


def test_int8_weights_are_a_quarter_and_cost_what_is_told(commands, tmp_path, capsys):
    """Oracles: the rounding error of each weight, by hand; the answers of both files to the same recordings."""
    written = write_onnx(commands, {})
    small = with_int8_weights(written)
    exact = {one.name: numpy_helper.to_array(one) for one in written.graph.initializer}
    stored = {one.name: numpy_helper.to_array(one) for one in small.graph.initializer}
    rounded = [node for node in small.graph.node if node.op_type == "DequantizeLinear"]
    assert sum(stored[node.input[0]].size for node in rounded) > 290_000  # of the 301,704 parameters
    for node in rounded:
        (axis,) = (one.i for one in node.attribute)
        weights, scale = exact[node.output[0]], stored[node.input[1]]
        assert stored[node.input[0]].dtype == np.int8
        shape = [1] * weights.ndim
        shape[axis] = -1
        scale = scale.reshape(shape)
        assert (np.abs(stored[node.input[0]] * scale - weights) <= 0.5001 * scale).all()
    rng = np.random.default_rng(0)
    clips = [tmp_path / f"{place}.wav" for place in range(4)]
    for path in clips:
        soundfile.write(path, 0.1 * rng.standard_normal(8000), 16000)
    assert main(["export", "commands", "-o", str(tmp_path / "int8"), "--int8", "--recordings", *map(str, clips)]) == 0
    assert re.search(rf"int8: .* of {len(clips)} answers to recordings changed", capsys.readouterr().err)
    assert "rounded to 8 bits" in (tmp_path / "int8" / "README.md").read_text()
    told = json.loads((tmp_path / "int8" / "parity.json").read_text())
    assert told["bytes"] == (tmp_path / "int8" / "model.onnx").stat().st_size < told["int8"]["bytes_float32"] - 850_000
    sessions = [session_of(one.SerializeToString()) for one in (written, small)]
    changed = 0
    for path in clips:
        samples = soundfile.read(path, dtype="float32")[0][None]
        inputs = {"waveforms": samples, "lengths": np.array([samples.shape[1]])}
        one, other = (session.run(["scores"], inputs)[0].argmax() for session in sessions)
        changed += one != other
    assert told["int8"]["answers_changed"] == changed
    assert main(["export", "commands", "-o", str(tmp_path / "unheard"), "--int8"]) == 0
    assert "what it costs is not known: give --recordings" in capsys.readouterr().err


@pytest.mark.slow
def test_the_shipped_recognizer_of_speech(recordings, tmp_path):
    """Oracle: the recognizer's own log-probabilities and greedy text of real recordings."""
    target, model = tmp_path / "an4", speechgru.load("an4")
    clips = sorted(str(path) for path in (recordings / "an4").rglob("*.flac"))[::200]
    assert main(["export", "an4", "-o", str(target), "--recordings", *clips]) == 0
    assert json.loads((target / "parity.json").read_text())["recordings"] == len(clips)
    decoder = model.decoder(GreedyConfig())
    lines = run_alone(target, tmp_path, *clips)
    assert [line[1] for line in lines] == [model.transcribe(clip, decoder=decoder).text for clip in clips]


@pytest.mark.slow
def test_the_exports_of_the_readme_run(tmp_path, monkeypatch):
    """Oracle: the lines of the README as they stand; without a C compiler C is written unchecked."""
    page = Path(__file__).resolve().parent.parent / "README.md"
    lines = re.findall(r"^speechgru (export .*?)(?: +#.*)?$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(lines) >= 2
    monkeypatch.chdir(tmp_path)
    for line in lines:
        words = shlex.split(line)
        assert main(words) == 0
        assert (tmp_path / words[words.index("-o") + 1] / "parity.json").is_file()
