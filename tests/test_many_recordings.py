"""Lists in parts: each recording once, whatever is killed, whoever computes.

The oracle is one process that does the whole list without a stop.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from speechgru.cli import main
from speechgru.commands.recordings import listed_recordings
from speechgru.encoders import GRUEncoderConfig
from speechgru.errors import ConfigError
from speechgru.features import LogMelConfig
from speechgru.heads import ClassificationConfig
from speechgru.model_folder import RecognizerConfig
from speechgru.recognizer import Recognizer
from speechgru.recordings.list_part import ListPart, read_part
from speechgru.recordings.part_files import PartFile, PartJob
from speechgru.tokens import Tokens

COUNT = 11


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny classifier with random weights, a list of recordings, of which one is missing, and the whole answer."""
    folder = tmp_path_factory.mktemp("many")
    torch.manual_seed(0)
    config = RecognizerConfig(
        LogMelConfig(mels=20), GRUEncoderConfig(hidden_size=8, num_layers=1), ClassificationConfig(attention_heads=1)
    )
    recognizer = Recognizer(config, Tokens(["yes", "no", "go"]))
    with torch.no_grad():  # so that a mixed-up order shows
        for parameter in recognizer.head.parameters():
            parameter.mul_(5)
    recognizer.save(folder / "model")
    rows = []
    for number in range(COUNT):
        noise = np.random.default_rng(number).standard_normal(6000 + 400 * number)
        shaped = np.convolve(noise, np.ones(1 + number), mode="same")
        soundfile.write(folder / f"{number}.wav", 0.05 * shaped / shaped.std(), 16000)
        rows.append({"audio_filepath": f"{number}.wav" if number != 4 else "nowhere.wav"})
    (folder / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert classify(folder, "whole", "--part", "1/1") == 1
    return folder


def classify(place: Path, output: str, *words: str) -> int:
    return main(["classify", str(place / "list.jsonl"), "-m", str(place / "model"), "-o", str(place / output), *words])


def records(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def same_answers(found: list[dict[str, object]], expected: list[dict[str, object]]) -> None:
    """The same recordings in the same order; scores up to the rounding that another batch brings."""
    assert [one["index"] for one in found] == list(range(len(expected)))
    for one, other in zip(found, expected, strict=True):
        assert {**one, "confidence": 0, "scores": 0} == {**other, "confidence": 0, "scores": 0}
        assert one.get("scores", {}) == pytest.approx(other.get("scores", {}), abs=1e-5)


@pytest.mark.parametrize("count", [0, 1, 7, 64, 1000])
@pytest.mark.parametrize("parts", [1, 3, 64])
def test_every_recording_is_in_one_part(count: int, parts: int) -> None:
    """Counted; no part has more than one recording more than another."""
    places = [ListPart(number, parts).places(count) for number in range(1, parts + 1)]
    assert [place for one in places for place in one] == list(range(count))
    assert max(map(len, places)) - min(map(len, places)) <= 1


@pytest.mark.parametrize("text", ["0/4", "5/4", "4", "1/0", "a/b", "1/4/2", "-1/4", "1/99999999", "١/٤"])
def test_no_such_part(text: str) -> None:
    with pytest.raises(ConfigError, match="write NUMBER/PARTS"):
        read_part(text)


def test_parts_joined_are_the_whole(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Oracle: one process. Twice does nothing; what is missing is told, and nothing is joined without it."""
    assert [classify(place, "three", "--part", f"{number}/3") for number in (1, 3)] == [0, 0]
    capsys.readouterr()
    assert main(["join-parts", str(place / "three")]) == 1
    assert capsys.readouterr().out == "part 2/3: none done of 4 recordings\n"
    assert not (place / "three/classify.jsonl").exists()
    assert classify(place, "three", "--part", "2/3") == 1
    before = (place / "three/classify-00002-of-00003.jsonl").stat().st_mtime_ns
    capsys.readouterr()
    assert classify(place, "three", "--part", "2/3") == 0
    assert "is finished, nothing to do" in capsys.readouterr().err
    assert (place / "three/classify-00002-of-00003.jsonl").stat().st_mtime_ns == before
    assert main(["join-parts", str(place / "three")]) == 0
    told = capsys.readouterr().err
    assert told.endswith(f"{COUNT} recordings of 3 parts, each once; 1 of them could not be heard, see their error\n")
    found = records(place / "three/classify.jsonl")
    same_answers(found, records(place / "whole/classify-00001-of-00001.jsonl"))
    assert found[4] == {"index": 4, "audio": str(place / "nowhere.wav"), "error": "no such file; check the path"}


@pytest.mark.parametrize("half", [b'{"index": 6, "aud', b'{"index": 6}', b"\0\0\0\0"])
def test_a_part_goes_on_behind_what_is_written(
    place: Path, tmp_path: Path, half: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a kill in the middle of a line only the rest is computed, and the file is that of a run never stopped."""
    whole = (place / "whole/classify-00001-of-00001.jsonl").read_bytes()
    kept = b"".join(whole.splitlines(keepends=True)[:6])
    (place / "whole/classify.parts.json").read_bytes()
    (tmp_path / "classify.parts.json").write_bytes((place / "whole/classify.parts.json").read_bytes())
    (tmp_path / "classify-00001-of-00001.jsonl.unfinished").write_bytes(kept + half)
    written: list[int] = []
    write = PartFile.write
    monkeypatch.setattr(PartFile, "write", lambda self, values: (written.append(self.places[0]), write(self, values)))
    assert classify(place, str(tmp_path), "--part", "1/1") == 1
    assert written == list(range(6, COUNT))
    found = (tmp_path / "classify-00001-of-00001.jsonl").read_bytes()
    assert found.startswith(kept)
    same_answers(records(tmp_path / "classify-00001-of-00001.jsonl"), [json.loads(line) for line in whole.splitlines()])
    assert not list(tmp_path.glob("*.unfinished"))


def test_another_job_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Other parts, options or recordings do not go into the same folder."""
    for words, name in ((["--part", "1/2"], "parts"), (["--part", "1/1", "-k", "2"], "options")):
        assert classify(place, "whole", *words) == 2
        assert f"holds parts of another job, its {name} differs" in capsys.readouterr().err
    assert main(["classify", str(place / "list.jsonl"), "--part", "1/2"]) == 2
    assert "name the folder of the results with -o" in capsys.readouterr().err
    assert classify(place, "csv", "--part", "1/2", "-f", "csv") == 2
    assert "-f csv: --part writes jsonl or parquet" in capsys.readouterr().err
    (place / "empty.jsonl").write_text("")
    assert main(["classify", str(place / "empty.jsonl"), "-o", str(place / "none"), "--part", "1/2"]) == 2
    assert "holds no utterance" in capsys.readouterr().err


def test_two_processes_do_not_write_one_part(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A lock of POSIX is between processes, so a child holds it here."""
    code = (
        "import fcntl, sys; file = open(sys.argv[1], 'a+b'); fcntl.lockf(file, fcntl.LOCK_EX); "
        "print(flush=True); sys.stdin.read()"
    )
    path = tmp_path / "classify-00001-of-00001.jsonl.unfinished"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert classify(place, str(tmp_path), "--part", "1/1") == 2
        assert "another process writes this part" in capsys.readouterr().err
        child.communicate()
    assert classify(place, str(tmp_path), "--part", "1/1") == 1


@pytest.mark.parametrize("lines", [[0, 1, 1], [1, 0, 2], [0, 2], [0, 1], [0, 1, 2, 3]])
def test_twice_or_missing_is_found_when_joined(tmp_path: Path, lines: list[int], capsys) -> None:
    """Planted: a part whose file is not 0, 1, 2."""
    PartJob("classify", 3, 1, "jsonl", "", "", "").join(tmp_path)
    path = tmp_path / "classify-00001-of-00001.jsonl"
    path.write_text("".join(json.dumps({"index": index}) + "\n" for index in lines))
    assert main(["join-parts", str(tmp_path)]) == 1
    assert str(path) in capsys.readouterr().err
    assert not (tmp_path / "classify.jsonl").exists()


def test_a_table_keeps_the_order_of_its_rows(tmp_path: Path) -> None:
    """Whatever their splits: the place in the list is what answers are joined to it by."""
    (tmp_path / "list.csv").write_text("audio,split\na.wav,train\nb.wav,test\nc.wav,train\n")
    assert [Path(one.path).name for one in listed_recordings([str(tmp_path / "list.csv")])] == [
        "a.wav",
        "b.wav",
        "c.wav",
    ]


def test_join_tells_of_damage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line each."""
    assert main(["join-parts", str(tmp_path)]) == 2
    assert "no parts in this folder" in capsys.readouterr().err
    described = tmp_path / "classify.parts.json"
    told = {"command": "classify", "recordings": 1, "parts": 1, "output_format": "jsonl"}
    told |= {"listed": "", "model": "", "options": ""}
    wrong = [told | {"recordings": 10**30}, told | {"command": "../evil"}]
    for text in ("{", '{"command": 1}', "[]", '{"parts": 1e9}', "[" * 100_000, *map(json.dumps, wrong)):
        described.write_text(text)
        assert main(["join-parts", str(tmp_path)]) == 1
        assert capsys.readouterr().err.count("\n") == 1
    described.unlink()
    PartJob("classify", 1, 1, "jsonl", "", "", "").join(tmp_path)
    (tmp_path / "classify-00001-of-00001.jsonl").write_text('{"index": 0}')
    assert main(["join-parts", str(tmp_path)]) == 1
    assert "classify-00001-of-00001.jsonl:1: is damaged" in capsys.readouterr().err


def test_a_list_may_name_stretches(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Oracle: the stretch as a file of its own."""
    samples, rate = soundfile.read(place / "10.wav")
    soundfile.write(tmp_path / "cut.wav", samples[2000:8000], rate)
    row = {"audio_filepath": str(place / "10.wav"), "offset": 2000 / rate, "duration": 6000 / rate}
    (tmp_path / "list.jsonl").write_text(json.dumps(row) + "\n")
    found = []
    for audio in (tmp_path / "list.jsonl", tmp_path / "cut.wav"):
        assert main(["classify", str(audio), "-m", str(place / "model"), "-f", "jsonl"]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0] | {"audio": ""} == found[1] | {"audio": ""}


def test_parquet_holds_what_json_holds(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Oracle: the JSON lines. Files of parts have the same columns, one with an error alone included."""
    pq = pytest.importorskip("pyarrow.parquet", reason="needs the extra parquet")
    for number in range(1, COUNT + 1):
        classify(place, "parquet", "--part", f"{number}/{COUNT}", "-f", "parquet")
    assert main(["join-parts", str(place / "parquet")]) == 0
    assert "each once; 1 of them could not be heard" in capsys.readouterr().err
    rows = pq.read_table(place / "parquet/classify.parquet").to_pylist()
    found = [{key: value for key, value in row.items() if value is not None} for row in rows]
    for row in found:
        if "scores" in row:
            row["scores"] = dict(row["scores"])
    same_answers(found, records(place / "whole/classify-00001-of-00001.jsonl"))


def test_transcribe_in_parts(tones, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Oracle: transcribe without parts."""
    tones.recognizer.save(tmp_path / "model")
    rng = np.random.default_rng(1)
    for number in range(3):
        waveform, _ = tones.say(tones.words(3, rng), rng)
        soundfile.write(tmp_path / f"{number}.wav", waveform, tones.sample_rate)
    given = ["transcribe", f"{tmp_path}/*.wav", "-m", str(tmp_path / "model"), "--decoder", "greedy"]
    assert main([*given, "-f", "json"]) == 0
    expected = json.loads(capsys.readouterr().out)
    for number in (1, 2):
        assert main([*given, "-o", str(tmp_path / "out"), "--part", f"{number}/2"]) == 0
    assert main(["join-parts", str(tmp_path / "out")]) == 0
    found = records(tmp_path / "out/transcribe.jsonl")
    assert [one.pop("index") for one in found] == [0, 1, 2]
    assert [one["text"] for one in found] == [one["text"] for one in expected]
    assert found[0]["text"]
    assert [one["audio"] for one in found] == [one["audio"] for one in expected]


def listed(recordings: Path, folder: Path, count: int) -> Path:
    """A manifest of real recordings."""
    paths = sorted((recordings / "fsdd/recordings").glob("*.flac"))[:count]
    (folder / "list.jsonl").write_text("".join(json.dumps({"audio_filepath": str(path)}) + "\n" for path in paths))
    return folder / "list.jsonl"


def lines_of(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.slow
def test_killed_in_the_middle(recordings: Path, tmp_path: Path) -> None:
    """kill -9, three times; what was written stays byte for byte, and nothing is missing or twice."""
    words = [str(listed(recordings, tmp_path, 600)), "--part", "1/1", "--batch_size", "4"]
    assert main(["classify", *words, "-o", str(tmp_path / "whole")]) == 0
    expected = records(tmp_path / "whole/classify-00001-of-00001.jsonl")
    unfinished = tmp_path / "killed/classify-00001-of-00001.jsonl.unfinished"
    kept = b""
    for least in (50, 200, 400):
        command = [sys.executable, "-m", "speechgru.cli", "classify", *words, "-o", str(tmp_path / "killed")]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as child:
            while lines_of(unfinished) < least:
                time.sleep(0.001)
                assert child.poll() is None
            child.kill()
        now = unfinished.read_bytes()
        assert now.startswith(kept)
        kept = now[: now.rindex(b"\n") + 1]
    assert main(["classify", *words, "-o", str(tmp_path / "killed")]) == 0
    finished = tmp_path / "killed/classify-00001-of-00001.jsonl"
    assert finished.read_bytes().startswith(kept)
    same_answers(records(finished), expected)


def workers_of(mark: str) -> list[int]:
    """The processes of Ray that compute for the cluster with this mark in its environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title, environment = (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()
        except OSError:
            continue
        if title.startswith(b"ray::") and b"_Worker" in title and mark.encode() in environment:
            found.append(int(folder.name))
    return found


@pytest.mark.slow
def test_ray_with_a_worker_killed(recordings: Path, tmp_path: Path) -> None:
    """Two workers, one killed with -9 in the middle. Oracle: one process without Ray."""
    pytest.importorskip("ray", reason="needs the extra ray")
    words = [str(listed(recordings, tmp_path, 600)), "--batch_size", "8"]
    assert main(["classify", *words, "--part", "1/1", "-o", str(tmp_path / "whole")]) == 0
    mark = f"SPEECHGRU_TEST={uuid.uuid4()}"
    command = [sys.executable, "-m", "speechgru.cli", "classify", *words, "-o", str(tmp_path / "ray")]
    environment = os.environ | dict([mark.split("=")])
    with subprocess.Popen([*command, "--engine", "ray", "--workers", "2"], env=environment) as child:
        while lines_of(tmp_path / "ray/classify-00001-of-00001.jsonl.unfinished") < 100:
            time.sleep(0.01)
            assert child.poll() is None
        workers = workers_of(mark)
        assert len(workers) == 2
        os.kill(workers[0], signal.SIGKILL)
        assert child.wait(300) == 0
    expected = records(tmp_path / "whole/classify-00001-of-00001.jsonl")
    same_answers(records(tmp_path / "ray/classify-00001-of-00001.jsonl"), expected)
