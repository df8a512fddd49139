"""The command line in process: exit codes, what goes to which stream, and that every output parses."""

from __future__ import annotations

import csv
import functools
import importlib
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml

from speechgru import shipped as shipped_models
from speechgru.audio import read_audio
from speechgru.classification import Classification
from speechgru.cli import COMMANDS, main
from speechgru.commands import corpus_settings, models, recipes
from speechgru.decoding.operating_point import KeywordConfig
from speechgru.encoders import GRUEncoderConfig
from speechgru.errors import ModelError
from speechgru.features import LogMelConfig
from speechgru.heads import ClassificationConfig
from speechgru.model_folder import RecognizerConfig, write_chosen
from speechgru.recognizer import Recognizer
from speechgru.recordings import classification, parts
from speechgru.recordings.classification import ClassifiedRecording, classify_recordings, windows
from speechgru.recordings.classification_formats import FORMATS, JSONWriter
from speechgru.tokens import Tokens

LABELS = ["yes", "no, thanks", "ünknown"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny classifier with random weights."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    config = RecognizerConfig(
        LogMelConfig(mels=20), GRUEncoderConfig(hidden_size=8, num_layers=1), ClassificationConfig(attention_heads=1)
    )
    recognizer = Recognizer(config, Tokens(LABELS))
    with torch.no_grad():  # otherwise every answer is near 1/3 and a mixed-up order would hardly show
        recognizer.head.output.weight.mul_(30)
    recognizer.save(folder)
    return folder


def write_noise(path: Path, duration_s: float = 0.5, seed: int = 0) -> Path:
    """A recording of faint noise at 16 kHz with a slope of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).standard_normal(round(16000 * duration_s))
    shaped = np.convolve(noise, np.ones(1 + seed), mode="same")
    soundfile.write(path, 0.05 * shaped / max(1e-9, shaped.std()), 16000)
    return path


def lines(text: str) -> list[str]:
    return text.splitlines()


# The command itself


def test_help_needs_no_torch() -> None:
    """Oracle: sys.modules of a fresh interpreter."""
    code = (
        "import sys; from speechgru.cli import main; code = main(['--help']); "
        "heavy = {'torch', 'librosa', 'hydra', 'numpy', 'matplotlib'} & set(sys.modules); sys.exit(code or bool(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in COMMANDS)


def test_help_of_no_command_needs_torch() -> None:
    """Oracle: sys.modules of a fresh interpreter, after each command by itself."""
    code = """
import contextlib, io, sys
from speechgru.cli import COMMANDS, main
for name in COMMANDS:
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(SystemExit):
        main([name, "--help"])
    if "usage: speechgru" not in said.getvalue() or {"torch", "numba", "optuna"} & set(sys.modules):
        sys.exit(name)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["classify", "transcribe", "align", "prepare", "recipes", "models", "bench"])
def test_each_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([name, "--help"])
    assert stopped.value.code == 0
    assert "usage: speechgru " + name in capsys.readouterr().out


def test_mistyped_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["clasify"]) == 2
    captured = capsys.readouterr()
    assert "did you mean classify?" in captured.err
    assert len(lines(captured.err)) == 1
    assert not captured.out


# classify


def test_text_is_tab_separated_in_the_order_of_the_arguments(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Oracle: Recognizer.classify of each alone. Lengths rise and fall, so batches are not computed in order."""
    paths = [write_noise(tmp_path / f"{i}.wav", s, i) for i, s in enumerate([1.3, 0.2, 2.5, 0.21, 0.9])]
    assert main(["classify", *map(str, paths), "-m", str(model), "--batch_size", "3"]) == 0
    captured = capsys.readouterr()
    rows = [line.split("\t") for line in lines(captured.out)]
    assert [row[0] for row in rows] == [str(path) for path in paths]
    recognizer = Recognizer.load(model)
    for row, path in zip(rows, paths, strict=True):
        alone = recognizer.classify(str(path))
        assert row[1] == alone.label
        assert float(row[2]) == pytest.approx(alone.confidence, abs=1e-4)
    assert not captured.err


def test_one_bad_file_stops_nothing(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = write_noise(tmp_path / "good.wav")
    bad = tmp_path / "bad.wav"
    bad.write_text("not audio")
    (tmp_path / "zero.wav").write_bytes(b"")
    names = [str(bad), str(good), str(tmp_path / "missing.wav"), str(good), str(tmp_path / "zero.wav")]
    assert main(["classify", *names, "-m", str(model)]) == 1
    captured = capsys.readouterr()
    assert [line.split("\t")[0] for line in lines(captured.out)] == [str(good), str(good)]
    failures = [line for line in lines(captured.err) if "\terror: " in line]
    assert [line.split("\t")[0] for line in failures] == [names[0], names[2], names[4]]
    assert all(line.count(line.split("\t")[0]) == 1 for line in failures), "the name is there once"
    assert lines(captured.err)[-1] == "speechgru classify: 3 of 5 failed"


@pytest.mark.parametrize("output_format", ["json", "jsonl"])
def test_json(output_format: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = write_noise(tmp_path / "ü b" / 'new\nline, "quoted".wav', 0.7)
    (tmp_path / "ü b" / "z.wav").write_text("not audio")
    assert main(["classify", str(tmp_path), "-m", str(model), "-f", output_format, "-k", "9"]) == 1
    out = capsys.readouterr().out
    records = json.loads(out) if output_format == "json" else [json.loads(line) for line in lines(out)]
    assert [record["audio"] for record in records] == [str(good), str(tmp_path / "ü b" / "z.wav")]
    assert set(records[0]) == {"audio", "label", "confidence", "scores", "duration_s"}
    assert set(records[1]) == {"audio", "error"}
    scores = records[0]["scores"]
    assert set(scores) == set(LABELS)
    assert sum(scores.values()) == pytest.approx(1, abs=1e-5)
    assert list(scores.values()) == sorted(scores.values(), reverse=True)
    assert records[0]["label"] == next(iter(scores))
    assert records[0]["confidence"] == scores[records[0]["label"]]
    assert records[0]["duration_s"] == pytest.approx(0.7)


def test_csv(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = write_noise(tmp_path / 'new\nline, "quoted".wav')
    carriage = write_noise(tmp_path / "return\r.wav")
    (tmp_path / "z.wav").write_text("not audio")
    assert main(["classify", str(tmp_path), "-m", str(model), "-f", "csv", "-k", "2"]) == 1
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out, newline="")))
    header = ["audio", "label", "confidence", "label_2", "confidence_2", "duration_s", "error"]
    assert list(rows[0]) == header
    assert [row["audio"] for row in rows] == [str(good), str(carriage), str(tmp_path / "z.wav")]
    assert [bool(row["error"]) for row in rows] == [False, False, True]
    assert {row["label"] for row in rows[:2]} <= set(LABELS)
    assert float(rows[0]["confidence"]) >= float(rows[0]["confidence_2"])
    assert rows[2]["label"] == rows[2]["confidence"] == rows[2]["duration_s"] == ""


def test_a_word_that_is_not_sure_enough_is_unknown(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Oracle: Recognizer.classify. A threshold of the command line, just above a confidence; and one of the model."""
    audio = write_noise(tmp_path / "clip.wav")
    recognizer = Recognizer.load(model)
    word, confidence = recognizer.classify(str(audio)).label, recognizer.classify(str(audio)).confidence

    def told(output_format: str, *more: str, folder: Path = model) -> str:
        assert main(["classify", str(audio), "-m", str(folder), "-k", "2", "-f", output_format, *more]) == 0
        return capsys.readouterr().out

    above, below = str(confidence + 1e-4), str(confidence - 1e-4)
    assert told("txt", "--threshold", below) == told("txt", "--threshold", "0") == told("txt")
    assert told("txt", "--threshold", above) == told("txt").replace(f"\t{word}\t", "\t_unknown_\t", 1)
    record = json.loads(told("jsonl", "--threshold", above))
    assert (record["label"], record["rejected"]) == ("_unknown_", word)
    assert record["confidence"] == record["scores"][word] == pytest.approx(confidence, abs=1e-6)
    assert "rejected" not in json.loads(told("jsonl", "--threshold", below))
    for threshold, label, rejected in ((above, "_unknown_", word), (below, word, "")):
        (row,) = csv.DictReader(io.StringIO(told("csv", "--threshold", threshold)))
        assert (row["label"], row["rejected"]) == (label, rejected)
        assert float(row["confidence"]) == pytest.approx(confidence, abs=1e-6)
    shutil.copytree(model, tmp_path / "own")
    write_chosen(tmp_path / "own", KeywordConfig(thresholds={word: confidence + 1e-4}))
    assert told("txt", folder=tmp_path / "own") == told("txt", "--threshold", above)
    assert told("txt", "--threshold", "0", folder=tmp_path / "own") == told("txt")
    assert main(["classify", str(audio), "--threshold", "1.5"]) == 2
    assert capsys.readouterr().err == "speechgru classify: --threshold 1.5: 0 to 1\n"


def test_text_keeps_a_record_on_its_line(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_noise(tmp_path / "tab\tnew\nline.wav")
    assert main(["classify", str(tmp_path), "-m", str(model)]) == 0
    (line,) = lines(capsys.readouterr().out)
    assert line.split("\t")[0] == str(tmp_path / "tab\\tnew\\nline.wav")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names that are not text")
@pytest.mark.parametrize("output_format", FORMATS)
def test_names_that_are_not_utf8(output_format: str, model: Path, tmp_path: Path) -> None:
    """Oracle: the bytes of the name come back from the file that is written (JSON: through Python's own escapes)."""
    name = os.fsencode(tmp_path) + b"/\xff.wav"
    write_noise(tmp_path / "a.wav").rename(os.fsdecode(name))
    assert main(["classify", str(tmp_path), "-m", str(model), "-f", output_format, "-o", str(tmp_path / "out")]) == 0
    content = (tmp_path / "out" / f"classify.{output_format}").read_bytes()
    if output_format in ("txt", "csv"):
        assert name in content
    else:
        record = json.loads(content)
        record = record[0] if isinstance(record, list) else record
        assert os.fsencode(record["audio"]) == name


def test_standard_input(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_noise(tmp_path / "a.wav", seed=3)
    stdin = types.SimpleNamespace(buffer=io.BytesIO(path.read_bytes()))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert main(["classify", "-", str(path), "-m", str(model)]) == 0
    first, second = (line.split("\t") for line in lines(capsys.readouterr().out))
    assert first[0] == "-"
    assert first[1:] == second[1:]


def test_output_folder(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_noise(tmp_path / "a.wav")
    target = tmp_path / "deep" / "er"
    for _ in range(2):  # a second run replaces the first
        assert main(["classify", str(path), "-m", str(model), "-f", "json", "-o", str(target)]) == 0
        assert capsys.readouterr().out == f"{target / 'classify.json'}\n"
        assert len(json.loads((target / "classify.json").read_text())) == 1
    assert main(["classify", str(path), "-m", str(model), "-o", str(path)]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_nothing_to_classify_is_a_usage_error(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for argument in (str(empty), str(tmp_path / "*.wav")):
        assert main(["classify", argument, "-m", str(model)]) == 2
        captured = capsys.readouterr()
        assert len(lines(captured.err)) == 1
        assert argument in captured.err
        assert not captured.out


def test_an_empty_folder_beside_others_fails_alone(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    path = write_noise(tmp_path / "a.wav")
    assert main(["classify", str(empty), str(path), "-m", str(model), "-f", "json"]) == 1
    first, second = json.loads(capsys.readouterr().out)
    assert first["audio"] == str(empty)
    assert "error" in first
    assert second["audio"] == str(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-k", "0"], "--top_k 0: at least 1"),
        (["--batch_size", "0"], "--batch_size 0: at least 1"),
        (["--threads", "-1"], "--threads -1: at least 1"),
        (["--device", "gpu"], "--device gpu: auto, cpu, cuda, cuda:<number> or mps"),
        (["-m", "no/such/folder"], "-m no/such/folder: no such folder"),
    ],
)
def test_bad_options(
    options: list[str], message: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_noise(tmp_path / "a.wav")
    assert main(["classify", str(path), "-m", str(model), *options]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(lines(captured.err)) == 1


def test_a_folder_without_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_noise(tmp_path / "a.wav")
    assert main(["classify", str(path), "-m", str(tmp_path)]) == 1
    assert "config.yaml" in capsys.readouterr().err


def test_at_most_a_batch_is_read_ahead(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: a count of the recordings opened before each record comes out."""
    read = []
    path = str(write_noise(tmp_path / "a.wav"))
    original = parts.read_blocks
    monkeypatch.setattr(parts, "read_blocks", lambda *given, **more: read.append(given) or original(*given, **more))
    recognizer = Recognizer.load(model)
    for count, _ in enumerate(classify_recordings(recognizer, [(path, "")] * 20, batch_size=4)):
        assert len(read) <= 4 * (count // 4 + 1)
    assert len(read) == 20


def test_long_recordings_end_a_batch(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the seconds in the largest call of the model, with the limit set to two."""
    monkeypatch.setattr(parts, "MOST_S", 2.0)
    path = str(write_noise(tmp_path / "a.wav", 0.9))
    recognizer = Recognizer.load(model)
    sizes = []
    original = recognizer.classify_waveforms
    monkeypatch.setattr(recognizer, "classify_waveforms", lambda w, k: sizes.append(len(w)) or original(w, k))
    assert len(list(classify_recordings(recognizer, [(path, "")] * 5))) == 5
    assert sizes == [2, 2, 1]


def test_a_clip_the_model_cannot_take_fails_alone(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: a model that refuses whatever batch holds the clip of 0.6 s."""
    paths = [str(write_noise(tmp_path / f"{i}.wav", s, i)) for i, s in enumerate([0.5, 0.6, 0.55])]
    recognizer = Recognizer.load(model)
    original = recognizer.classify_waveforms

    def refuse(waveforms: list[torch.Tensor], top_k: int) -> list:
        if any(len(waveform) == 9600 for waveform in waveforms):
            raise RuntimeError("out of memory")
        return original(waveforms, top_k)

    monkeypatch.setattr(recognizer, "classify_waveforms", refuse)
    records = list(classify_recordings(recognizer, [(path, "") for path in paths]))
    assert [record.error for record in records] == ["", "out of memory", ""]


@pytest.mark.parametrize("lengths", [[700], [0.5, 1300, 0.5], [600.9], [601.1]])
def test_a_long_recording_is_the_mean_of_its_windows(lengths: list[float], model: Path, tmp_path: Path) -> None:
    """Oracle: Recognizer.classify of each ten minutes, weighted by length; of the whole where there are no more."""
    noise = np.random.default_rng(0).standard_normal(1_300 * 1000).astype(np.float32)
    loudness = np.repeat(np.linspace(1e-4, 0.2, 130), 10_000).astype(np.float32)  # no two windows alike
    waveforms = [(noise * loudness)[: round(1000 * length_s)] for length_s in lengths]
    paths = [str(tmp_path / f"{i}.wav") for i in range(len(lengths))]
    for path, waveform in zip(paths, waveforms, strict=True):
        soundfile.write(path, waveform, 1000, subtype="FLOAT")
    recognizer = Recognizer.load(model)
    records = list(classify_recordings(recognizer, [(path, "") for path in paths], top_k=3))
    for path, record in zip(paths, records, strict=True):
        whole, rate = read_audio(path, recognizer.sample_rate)
        window = 600 * rate if len(whole) >= 601 * rate else len(whole)
        each = [whole[start : start + window] for start in range(0, len(whole), window)]
        alone = recognizer.classify(each, top_k=3, source_rate=rate)
        assert record.windows == len(each)
        assert record.result is not None
        assert record.result.duration_s == pytest.approx(len(whole) / rate)
        for label, score in record.result.scores.items():
            expected = sum(one.scores[label] * len(part) for one, part in zip(alone, each, strict=True)) / len(whole)
            assert score == pytest.approx(expected, abs=1e-5)
        assert list(record.result.scores.values()) == sorted(record.result.scores.values(), reverse=True)


def test_windows_hold_every_sample_once() -> None:
    """Oracle: the samples themselves, whatever the blocks; a tail of less than a second is no window of its own."""
    rate = 100
    for seconds, expected in ((3.0, [3.0]), (20.0, [10.0, 10.0]), (20.9, [10.0, 10.9]), (21.0, [10.0, 10.0, 1.0])):
        waveform = np.arange(round(seconds * rate), dtype=np.float32)
        for size in (7, 250, 5000):
            blocks = [waveform[start : start + size] for start in range(0, len(waveform), size)]
            found = list(windows(blocks, rate, longest_s=10.0))
            assert np.array_equal(np.concatenate([one.waveform for one in found]), waveform)
            assert [len(one.waveform) / rate for one in found] == expected
            assert [one.start_s for one in found] == [10.0 * i for i in range(len(found))]
    assert list(windows([], rate)) == []


def test_a_long_recording_is_noted(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_noise(tmp_path / "a.wav", 5.0)
    monkeypatch.setattr(classification, "windows", lambda blocks, rate: windows(blocks, rate, 2.0))
    assert main(["classify", str(path), "-m", str(model), "-f", "json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)[0]["windows"] == 3
    assert captured.err == f"{path}\tnote: 0 min, the mean of 3 windows\n"


def test_scores_that_are_no_numbers_are_an_error(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A damaged weight: no label with a NaN beside it, and no exit code 0."""
    recognizer = Recognizer.load(model)
    path = write_noise(tmp_path / "a.wav")
    with torch.no_grad():
        recognizer.head.output.weight[0, 0] = float("nan")
    with pytest.raises(ModelError, match="the model's scores are no numbers"):
        recognizer.classify(str(path))
    recognizer.save(tmp_path / "damaged")
    assert main(["classify", str(path), "-m", str(tmp_path / "damaged"), "-f", "json"]) == 1
    assert "head.output.weight" in capsys.readouterr().err
    with pytest.raises(ValueError, match="not JSON compliant"):
        JSONWriter(io.StringIO(), lines=True).write(
            ClassifiedRecording("a.wav", Classification("yes", float("nan"), {"yes": float("nan")}, 1.0))
        )


@pytest.mark.parametrize("command", ["classify", "transcribe"])
@pytest.mark.parametrize("encoding", ["ascii", pytest.param("latin-1", marks=pytest.mark.slow)])
def test_json_is_json_in_every_encoding(command: str, encoding: str, model: Path, tmp_path: Path) -> None:
    """Oracle: the bytes are UTF-8 that parses, and the name of the file comes back."""
    path = write_noise(tmp_path / "ünï😀\n.wav")
    words = [sys.executable, "-m", "speechgru.cli", command, str(path), "-f", "json"]
    words += ["-m", str(model)] if command == "classify" else []
    done = subprocess.run(words, capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding}, check=True)
    found = json.loads(done.stdout.decode("utf-8"))
    assert (found[0] if isinstance(found, list) else found)["audio"] == str(path)


# How a command ends


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "speechgru.cli", *map(str, words)]


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_noise(tmp_path_factory.mktemp("noise") / "a.wav", 0.1)


def test_a_closed_pipe_ends_in_silence(model: Path, noise: Path) -> None:
    """``speechgru classify ... | head -1``: the exit code of SIGPIPE, as a shell tells it."""
    words = command("classify", *[noise] * 50, "-m", model, "--batch_size", 1)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141
    help_read_by_nobody = f"{shlex.join(command('classify', '--help'))} | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", help_read_by_nobody], capture_output=True, text=True, check=True)
    assert done.stdout in ("141\n", "0\n")  # 0: it had written all before its reader was gone
    assert done.stderr == ""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("times", [1, 3])
def test_signals(number: int, code: int, times: int, model: Path, noise: Path) -> None:
    """Exit code 128 + signal, one line at most, JSON that is closed; three in a row change nothing."""
    words = command("classify", *[noise] * 3000, "-m", model, "--batch_size", 1, "-f", "json")

    def heeding() -> None:
        """A shell may have started the tests with Ctrl-C ignored, which is inherited."""
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    pipes: dict[str, int] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(words, text=True, preexec_fn=heeding, **pipes) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        head = [process.stdout.readline() for _ in range(3)]
        for _ in range(times):
            process.send_signal(number)
            time.sleep(0.05)
        rest = process.stdout.read()
        error = process.stderr.read()
    assert process.returncode == code
    assert error == "speechgru classify: interrupted\n"
    found = json.loads("".join(head) + rest)
    assert 1 < len(found) < 3000


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("name", ["models", "classify", pytest.param("transcribe", marks=pytest.mark.slow)])
def test_a_full_disk_is_one_line(name: str, model: Path, noise: Path, tmp_path: Path) -> None:
    """Standard output on a device that is always full; and a file that may not grow."""
    words = {"models": [], "classify": [noise, "-m", model], "transcribe": [noise]}[name]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command(name, *words), stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    full_disk = "the output cannot be written: No space left on device; fix that and try again"
    assert done.stderr == f"speechgru {name}: {full_disk}\n"
    if words:
        small = ["bash", "-c", 'ulimit -f 0; exec "$@"', "bash"]
        more = ["-o", str(tmp_path), "-f", "json"]
        done = subprocess.run([*small, *command(name, *words, *more)], capture_output=True, text=True)
        path = tmp_path / ("classify.json" if name == "classify" else "a.json")
        assert done.returncode == 1
        assert done.stderr == f"speechgru {name}: {path}: File too large; fix that and try again\n"


def test_closed_standard_streams(model: Path, noise: Path, tmp_path: Path) -> None:
    """``>&-``, ``<&-`` and ``2>&-``: one line, or nothing where the stream is not needed."""

    def closed(streams: str, *words: object) -> tuple[int, str]:
        line = f"{shlex.join(command('classify', *words, '-m', model))} {streams}"
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
        return done.returncode, done.stderr

    assert closed(">&-", noise) == (2, "speechgru classify: standard output is closed; name a folder with -o\n")
    assert closed(">&-", noise, "-o", tmp_path) == (0, "")
    assert (tmp_path / "classify.txt").read_text().startswith(f"{noise}\t")
    code, error = closed("<&-", "-")
    assert code == 1
    assert error.splitlines()[0] == "-\terror: standard input: is closed; give a file"
    assert closed("2>&-", noise, tmp_path / "missing.wav", "-f", "json", "-o", tmp_path) == (1, "")
    line = shlex.join(command("classify", noise, tmp_path / "missing.wav", "-f", "json", "-m", model))
    done = subprocess.run(["bash", "-c", f"{line} 2>&-"], capture_output=True, text=True)
    assert len(json.loads(done.stdout)) == 2  # messages do not go into it


# prepare


def test_prepare_lists_what_can_be_prepared(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare"]) == 0
    out = capsys.readouterr().out
    assert "\n  licence: CC BY-SA 4.0" in out
    assert "2.43 GB" in out
    assert "manifest" not in out


def test_prepare_finds_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A complete FSDD: 6 speakers, 10 digits, 50 takes. Official split: takes 0-4 test, 5-9 valid."""
    for digit in range(10):
        for speaker in "abcdef":
            for take in range(50):
                path = tmp_path / "recordings" / f"{digit}_{speaker}_{take}.wav"
                path.parent.mkdir(exist_ok=True)
                path.touch()
    for settings in ([f"root={tmp_path}"], [f"data.root={tmp_path}", "valid_takes=5"]):
        assert main(["prepare", "fsdd", *settings]) == 0
        captured = capsys.readouterr()
        assert lines(captured.out) == [str(tmp_path), "train 2400", "valid 300", "test 300"]
        assert "was there already" in captured.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fsd"], "did you mean 'fsdd'?"),
        (["fsdd", "rot=x"], "did you mean 'root'?"),
        (["fsdd", "root"], "root: a setting is written key=value"),
        (["fsdd", "valid_takes=five"], "valid_takes=five: a whole number"),
        (["fsdd", "valid_takes=true"], "valid_takes=true: a whole number"),
        (["fsdd", "valid_takes=99"], "valid_takes=99: from 1 to 40"),
        (["fsdd", "valid_takes=[1"], "valid_takes=[1: not a value"),
        (["speech_commands", "words=yes"], "words=yes: a list"),
        (["speech_commands", "unknown=yes"], "unknown=yes: true or false"),
        (["folder"], "nothing to prepare"),
        (["wake_word", "phrase=hey you", "synthesiser.model=x"], "say which one first: synthesiser=NAME"),
        (["wake_word", "phrase=hey you", "synthesiser=kokro"], "did you mean 'kokoro'"),
    ],
)
def test_prepare_refuses(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", *words]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(lines(captured.err)) == 1


def test_settings_of_a_corpus_are_typed() -> None:
    """yes, no, on and off are words; YAML 1.1 reads them as truths."""
    from speechgru.data.corpora.speech_commands import SpeechCommandsConfig

    words = ["words=[yes,no,on,off]", "root=2024", "unknown=true", "unknown_percent=20"]
    assert corpus_settings.settings_of(words, SpeechCommandsConfig) == {
        "words": ["yes", "no", "on", "off"],
        "root": "2024",
        "unknown": True,
        "unknown_percent": 20,
    }


def test_a_component_of_a_corpus_is_chosen_by_name_with_its_settings() -> None:
    """As ``train`` takes them: synthesiser=kokoro synthesiser.model=FILE."""
    from speechgru.data.corpora.wake_word import WakeWordConfig

    words = ["synthesiser.model=a=b.onnx", "phrase=hey you", "synthesiser=kokoro", "synthesiser.threads=2"]
    assert corpus_settings.settings_of(words, WakeWordConfig) == {
        "phrase": "hey you",
        "synthesiser": {"name": "kokoro", "model": "a=b.onnx", "threads": 2},
    }


def test_what_a_synthesiser_lacks_is_told_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["phrase=hey you", "synthesiser=kokoro", f"root={tmp_path}"]
    assert main(["prepare", "wake_word", *words]) == 2
    assert "synthesiser.model is not given; download" in lines(capsys.readouterr().err)[-1]
    assert not list(tmp_path.rglob("*.flac"))


@pytest.mark.parametrize("words", [["classify"], ["recipes", "shw"], ["prepare", "--x"], ["bench", "--repeats", "a"]])
def test_wrong_options_are_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What argparse refuses has the form and the exit code of every other usage error."""
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"speechgru {words[0]}: ")
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("name", ["recipes", "models"])
def test_lists_need_no_torch(name: str) -> None:
    """Oracle: sys.modules of a fresh process."""
    code = f"import sys; from speechgru.cli import main; main([{name!r}]); print('torch' in sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.splitlines()[-1] == "False"


# models

CARD = """---
license: apache-2.0
model-index:
- name: tiny
  results:
  - task: {type: audio-classification}
    dataset: {name: noise, type: noise}
    metrics:
    - {type: loss, value: 3.0}
    - {type: accuracy, value: 0.9625}
---
# A tiny model
"""


@pytest.fixture
def shipped(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of shipped models that holds one, called commands."""
    folder = tmp_path / "models" / "commands"
    Recognizer.load(model).save(folder)
    (folder / "card.md").write_text(CARD)
    monkeypatch.setattr(shipped_models, "models_dir", lambda: folder.parent)
    return folder


def test_models(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Oracle: the parameter count by PyTorch, the accuracy in the card."""
    assert main(["models"]) == 0
    header, line = lines(capsys.readouterr().out)
    assert header.split()[0] == "model"
    count = sum(parameter.numel() for parameter in Recognizer.load(shipped).parameters())
    assert line.split()[:3] == ["commands", "3", f"{count:,}"]
    assert line.endswith("96.2 %")
    assert main(["models", "show", "commands"]) == 0
    assert capsys.readouterr().out == CARD
    assert main(["models", "path", "commands"]) == 0
    assert capsys.readouterr().out == f"{shipped}\n"
    assert main(["models", "show", "comands"]) == 2
    assert "did you mean commands?" in capsys.readouterr().err
    assert main(["models", "show"]) == 2


def test_classify_without_a_model_uses_the_shipped_one(
    shipped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_noise(tmp_path / "a.wav")
    outputs = []
    for options in ([], ["-m", "commands"], ["-m", str(shipped)]):
        assert main(["classify", str(path), *options]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1] == outputs[2] != ""


@pytest.mark.parametrize("card", ["", "---\n- 1\n---\n", "---\na: [\n---\n", "---\nmodel-index: {}\n---\n"])
def test_accuracy_of_a_card_without_one(card: str, tmp_path: Path) -> None:
    (tmp_path / "card.md").write_text(card)
    assert models.measure_of(tmp_path / "card.md", "accuracy") is None


# recipes


@pytest.fixture
def one_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A conf and a recipes folder that hold a recipe ``tones`` and one without a folder, ``tones_12``."""
    (tmp_path / "conf" / "recipe").mkdir(parents=True)
    (tmp_path / "recipes" / "tones").mkdir(parents=True)
    text = "# @package _global_\n# Two tones.\n#   speechgru train recipe=tones\nname: tones\ndefaults: []\n"
    (tmp_path / "conf" / "recipe" / "tones.yaml").write_text(text)
    (tmp_path / "conf" / "recipe" / "tones_12.yaml").write_text("# Twelve tones.\nname: tones_12\n")
    (tmp_path / "recipes" / "tones" / "README.md").write_text("# How it was done\n")
    (tmp_path / "recipes" / "tones" / "results.json").write_text("{}")
    (tmp_path / "conf" / "recipe" / "tones_loud.yaml").write_text("# Loud tones, by the script of tones.\n")
    trains = "speechgru train recipe=tones\n  speechgru train recipe=tones_loud\n"
    script = trains + "speechgru evaluate model=runs/tones/model\n# not recipe=tones_12\n"
    (tmp_path / "recipes" / "tones" / "run.sh").write_text(script)
    monkeypatch.setattr(recipes, "conf_dir", lambda: tmp_path / "conf")
    monkeypatch.setattr(recipes, "recipes_dir", lambda: tmp_path / "recipes")
    return tmp_path


def test_recipes_list_and_show(one_recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    rows = [line.split(maxsplit=1) for line in lines(capsys.readouterr().out)[1:]]
    assert [row[0] for row in rows] == ["tones", "tones_12", "tones_loud"]
    assert rows[2][1].startswith("yes")
    assert rows[0][1].split(maxsplit=1) == ["yes", "Two tones."]
    assert "not yet" in rows[1][1]
    assert main(["recipes", "show", "tones"]) == 0
    out = capsys.readouterr().out
    assert "name: tones" in out
    assert "# How it was done" in out
    assert main(["recipes", "show", "tons"]) == 2
    assert "did you mean tones?" in capsys.readouterr().err


def test_recipes_copy(
    one_recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["recipes", "copy", "tones"]) == 0
    assert capsys.readouterr().out == "speechgru train --config-dir my_tones recipe=my_tones\n"
    copied = tmp_path / "my_tones"
    settings = (copied / "recipe" / "my_tones.yaml").read_text()
    assert settings.startswith("# @package _global_\n")
    assert yaml.safe_load(settings)["name"] == "my_tones"
    assert "train --config-dir my_tones recipe=my_tones\n" in settings
    script = (copied / "run.sh").read_text()
    assert "train --config-dir my_tones recipe=my_tones\n" in script
    assert "model=runs/my_tones/model" in script
    assert "recipe=tones_12" in script
    assert not (copied / "results.json").exists(), "the results are those of the recipe that ships"
    assert main(["recipes", "copy", "tones"]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["recipes", "copy", "tones", "tones_12"]) == 2
    assert "ships inside" in capsys.readouterr().err
    assert main(["recipes", "copy", "tones", "a b"]) == 2


# bench


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # librosa imports what Python 3.13 drops
def test_bench_table_and_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: the installed version of the peer, and peer / ours by hand."""
    import importlib.metadata

    file = tmp_path / "bench.json"
    limits = {"gemm_gflops": 100.0, "gemm_bf16_gflops": 200.0, "cache_gb_s": 50.0, "memory_gb_s": 10.0}
    monkeypatch.setattr("speechgru.lab.bench.limits.machine_limits", lambda: limits)
    page = tmp_path / "speed.md"
    stands = "| augment | speed, a clip |  | 1.06 ms |  |  |", "| features | mfcc | peer 1.0 | 1 ms | 2.00 ms | 2.00x |"
    gone = "| load | read | peer 1.0 | 1 ms | 2.00 ms | 2.00x |"
    page.write_text("\n".join(["<!-- bench -->", "Machine:", stands[0], gone, stands[1], "<!-- /bench -->"]))
    assert main(["bench", "load", "--repeats", "2", "--readme", str(page)]) == 2
    message = capsys.readouterr().err
    assert "its rows of augment are not of this machine and day" in message
    now = re.search(r"day \((.+)\); run all", message)
    assert now
    page.write_text(page.read_text().replace("Machine", now[1]))
    assert main(["bench", "load", "--repeats", "2", "--json", str(file), "--readme", str(page)]) == 0
    renewed = page.read_text().splitlines()
    assert gone not in renewed
    assert [line for line in renewed if line in stands] == [stands[1], stands[0]]  # in the order of the benches
    written = json.loads(file.read_text())
    rows = written["rows"]
    assert {row["bench"] for row in rows} == {"load"}
    assert written["limits"] == limits
    assert sum(line.startswith("| load | ") for line in renewed) == len(rows)
    for row in rows:
        assert row["ratio"] == pytest.approx(row["peer_ms"] / row["ours_ms"])
        assert row["peer_version"] == importlib.metadata.version("librosa")
    table = lines(capsys.readouterr().out)
    assert len(table) == 1 + len(rows)
    assert all(line.endswith("x") for line in table[1:])
    assert main(["bench", "encoders"]) == 2
    assert "known: features" in capsys.readouterr().err
    assert main(["bench", "--json", str(tmp_path / "no" / "file")]) == 2


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # librosa imports what Python 3.13 drops
def test_bench_features_compares_equals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: torchaudio inside the bench, which must refuse features of another number of mel bands."""
    pytest.importorskip("torchaudio")
    from speechgru.errors import SpeechGRUError
    from speechgru.lab.bench import features as bench

    monkeypatch.setattr(bench, "MFCCConfig", functools.partial(bench.MFCCConfig, mels=39))
    with pytest.raises(SpeechGRUError, match="bench features: differs from torchaudio by"):
        bench.bench_features(repeats=1)


@pytest.mark.parametrize("name", ["encoder", "inference"])
def test_bench_of_encoders_compares_equals(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: torch.nn.GRU inside the bench, which must refuse an encoder that computes something else."""
    from speechgru.encoders import GRUEncoder
    from speechgru.errors import SpeechGRUError

    bench = importlib.import_module(f"speechgru.lab.bench.{name}")
    monkeypatch.setattr(bench, "SMALL", (5, 4, 2))
    if name == "encoder":
        measure, peers = functools.partial(bench.bench_encoder, quick=True), [bench.PACKED, bench.PADDED]
    else:
        pytest.importorskip("onnxruntime")
        measure, peers = bench.bench_inference, [bench.TORCH, bench.ONNXRUNTIME]
        monkeypatch.setattr(bench, "LARGE", (3, 6, 1))
        monkeypatch.setattr(bench, "WHOLE", [((5, 4, 2), False, 1, 7), ((5, 4, 3), True, 2, 7)])
        monkeypatch.setattr(bench, "BFLOAT16_BATCHES", (2,))
    rows = measure(repeats=1)
    half = [row for row in rows if "bfloat16" in row["name"]]
    assert [row["peer"] for row in half] == [peers[0]] * (name == "inference")
    both = [row["peer"] for row in rows if row not in half]
    assert both == len(both) // 2 * peers
    assert all(row["ratio"] == row["peer_ms"] / row["ours_ms"] for row in rows)
    original = GRUEncoder.from_torch

    def spoiled(module: torch.nn.GRU) -> GRUEncoder:
        encoder = original(module)
        encoder.layers[0].forward_cell.weight_hh.data.neg_()
        return encoder

    monkeypatch.setattr(bench.GRUEncoder, "from_torch", spoiled)
    with pytest.raises(SpeechGRUError, match="differs from torch"):
        measure(repeats=1)


def test_bench_inference_refuses_another_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: torch.nn.GRU; onnxruntime is given weights with the gates in torch's order."""
    pytest.importorskip("onnxruntime")
    from speechgru.errors import SpeechGRUError
    from speechgru.lab.bench import inference as bench
    from speechgru.lab.bench import onnx_gru

    monkeypatch.setattr(onnx_gru, "_zrn", lambda rows: rows)
    monkeypatch.setattr(bench, "WHOLE", [((5, 4, 1), False, 1, 7)])
    with pytest.raises(SpeechGRUError, match="onnxruntime differs from torch"):
        bench.bench_inference(repeats=1)


def test_bench_of_autocast_compares_equals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the names of the rows; the gradient's norm is that of the packed GRU in float32 to a hundredth."""
    from speechgru.lab.bench import encoder as bench
    from speechgru.lab.bench import limits

    monkeypatch.setattr(bench, "SMALL", (5, 4, 2))
    monkeypatch.setattr(bench, "LARGE", (3, 6, 1))
    monkeypatch.setattr(bench, "BATCH", 2)
    rows = bench.bench_encoder(repeats=1)
    assert rows[-1]["name"] == f"training step, 3 -> 1 x 6, 2 x 100 frames, autocast in {limits.bfloat16_name()}"
    assert len(rows) == 10


def test_limits_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: by hand, where every call takes 2 ms: 2 * 8^3 operations and 8 kB in 2 ms, what is cached twice."""
    from speechgru.lab.bench import limits

    calls: dict[str, object] = {}
    monkeypatch.setattr(limits, "GEMM_SIZE", 8)
    monkeypatch.setattr(limits, "CACHED_BYTES", 8000000)
    monkeypatch.setattr(limits, "UNCACHED_BYTES", 8192)
    monkeypatch.setattr(limits, "CACHED_READS", 2)
    taking = lambda candidates, *rest, **more: calls.update(candidates) or dict.fromkeys(candidates, 2e-6)  # noqa: E731
    monkeypatch.setattr(limits, "interleaved_ms", taking)
    found = limits.machine_limits()
    assert found == {"gemm_gflops": 512.0, "gemm_bf16_gflops": 512.0, "cache_gb_s": 8000000.0, "memory_gb_s": 4096.0}
    assert all(torch.is_tensor(call()) for call in calls.values())
    assert "512 GFLOP/s" in limits.in_words(found)


def test_bench_cells_times_every_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the registry; torch.nn.LSTM inside the bench, which must refuse a cell that computes something else."""
    from speechgru.errors import SpeechGRUError
    from speechgru.lab.bench import cells as bench
    from speechgru.registry import names

    monkeypatch.setattr(bench, "SIZE", 4)
    monkeypatch.setattr(bench, "FRAMES", 3)
    rows = bench.bench_cells(repeats=1)
    assert {row["name"].split(",")[0] for row in rows} == {
        *names("cell"),
        "gru with layer_norm",
        "lstm with layer_norm",
    }
    assert [row["peer"] for row in rows if row["name"].startswith("lstm, inf")] == ["torch.nn.LSTM", "torch.nn.GRU"]
    monkeypatch.setattr(bench, "_copy", lambda cell, module: None)
    with pytest.raises(SpeechGRUError, match="differs from torch"):
        bench.bench_cells(repeats=1)


def test_interleaved_timing() -> None:
    """Oracle: a clock of our own; candidates take 2 and 5 ms, one round in three is slow, warm-up is slower."""
    from speechgru.lab.bench.timing import interleaved_ms

    clock = types.SimpleNamespace(now=0.0, calls=0)

    def lasting(duration_ms: float):
        def call() -> None:
            clock.calls += 1
            slow = 100 if clock.calls <= 4 or clock.calls > 8 else 1
            clock.now += slow * duration_ms / 1000

        return call

    both = {"a": lasting(2), "b": lasting(5)}
    taken = interleaved_ms(both, repeats=3, warmup=2, settle=False, clock=lambda: clock.now)
    assert clock.calls == 2 * 5
    assert taken == pytest.approx({"a": 2, "b": 5})
    clock.calls = 4
    taken = interleaved_ms({"a": lasting(2)}, repeats=1, warmup=0, clock=lambda: clock.now)
    assert taken == pytest.approx({"a": 2})
    assert clock.calls == 4 + 2


def test_bench_augment_applies_what_it_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: every timed candidate changes its input; a probability left at zero would time nothing."""
    from speechgru.lab.bench import augment as bench

    def changed(candidates: dict, repeats: int) -> dict[str, float]:
        return {name: float(_differs(candidate)) for name, candidate in candidates.items()}

    def _differs(candidate) -> bool:
        first, second = candidate(), candidate()
        if isinstance(first, tuple):
            first, second = first[0].numpy(), second[0].numpy()
        return first.shape != second.shape or not np.array_equal(first, second)

    monkeypatch.setattr(bench, "interleaved_ms", changed)
    rows = bench.bench_augment(repeats=1)
    assert len(rows) == 10
    assert all(row["ours_ms"] > 0 and row["peer_ms"] is None and row["ratio"] is None for row in rows)
