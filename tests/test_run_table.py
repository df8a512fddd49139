"""Runs side by side: what a sweep says, and ``speechgru runs`` over finished, stopped and damaged ones."""

import csv
import dataclasses
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from small_run import ALONE, command, cut, rows

from speechgru.cli import main
from speechgru.training.checkpoint import save_checkpoint
from speechgru.training.progress import Progress
from speechgru.training.run_table import COLUMNS, read_runs, run_rows


@pytest.fixture(scope="module")
def swept(three_tones: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a sweep over two settings, one value of which cannot be, and what it said."""
    folder = tmp_path_factory.mktemp("sweep")
    words = [word for word in command(three_tones, folder) if not word.startswith(("optimizer.", "trainer.epochs"))]
    # 45 recordings make no update out of 900 batches.
    words += ["--multirun", "trainer.epochs=2", "optimizer.learning_rate=0.01,1e-5", "trainer.accumulate=1,900"]
    done = subprocess.run([sys.executable, *words], env=ALONE, capture_output=True, text=True, timeout=600)
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines() == [str(folder / number / "model") for number in "02"]
    return folder, done.stderr


def test_a_sweep_says_what_it_does_and_ends_with_a_table(swept: tuple[Path, str]) -> None:
    """Each job with its own settings and no others; then all of them, best first; the failed ones are marked."""
    folder, said = swept
    lines = said.splitlines()
    jobs = ["0.01 trainer.accumulate=1", "0.01 trainer.accumulate=900", "1e-05 trainer.accumulate=1"]
    jobs += ["1e-05 trainer.accumulate=900"]
    for number, job in enumerate(jobs):
        assert f"{folder / str(number)}: optimizer.learning_rate={job}" in lines
    assert not (folder / "1").exists()
    start = next(number for number, line in enumerate(lines) if line.split()[:2] == ["run", "changed"])
    table = lines[start + 1 : start + 5]
    assert [line.split()[0] for line in table] == [str(folder / number) for number in ("0", "2", "1", "3")]
    assert [line.split("  ")[-1].strip() for line in table] == [
        "finished",
        "finished",
        "failed at its start",
        "failed at its start",
    ]
    assert table[0].split()[1:3] == ["optimizer.learning_rate=0.01", "2/2"]
    assert "2 of the multirun's jobs failed" in lines[start + 5]


def test_the_command_of_a_swept_run_is_its_own(swept: tuple[Path, str], tmp_path: Path) -> None:
    """Without the sweep and with its own values; run by itself it gives the same run. Oracle: metrics.jsonl."""
    folder, _ = swept
    said = json.loads((folder / "2" / "run.json").read_text())
    assert "--multirun" not in said["command"]
    assert said["command"].endswith("trainer.epochs=2 optimizer.learning_rate=1e-05 trainer.accumulate=1 run_dir=.../2")
    assert "optimizer.learning_rate=1e-05" in said["overrides"]
    assert not any(word.startswith("run_dir=") for word in said["overrides"])
    assert main(["train", *said["overrides"], f"run_dir={tmp_path / 'alone'}"]) == 0
    assert rows(tmp_path / "alone") == rows(folder / "2")


def test_runs_reads_and_never_computes(
    swept: tuple[Path, str], three_tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    """A finished, an evaluated, a stopped and a damaged run. Oracle: the files of each, read here."""
    import shutil

    for number in "02":
        shutil.copytree(swept[0] / number, tmp_path / number)
    assert main(["evaluate", f"model={tmp_path / '0' / 'model'}", "device=cpu"]) == 0
    tested = json.loads((tmp_path / "0" / "evaluation" / "test" / "results.json").read_text())["accuracy"]
    cut(monkeypatch, three_tones, tmp_path / "stopped", 8, "seed=3")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "checkpoint.safetensors").write_bytes(b"broken")
    (tmp_path / "newer").mkdir()
    progress = {**dataclasses.asdict(Progress()), "moons": 3}
    save_checkpoint(tmp_path / "newer", {"model": {"weight": torch.zeros(1)}}, {"progress": progress})
    capsys.readouterr()
    before = sorted(path for path in tmp_path.rglob("*"))
    assert main(["runs", str(tmp_path), "-f", "json"]) == 0
    found = {Path(one["run"]).name: one for one in json.loads(capsys.readouterr().out)}
    assert sorted(path for path in tmp_path.rglob("*")) == before
    assert "is damaged or of another version" in found["newer"]["state"]
    assert {name: one["state"] for name, one in found.items() if name not in ("broken", "newer")} == {
        "0": "finished",
        "2": "finished",
        "stopped": "stopped",
    }
    assert "is damaged" in found["broken"]["state"]
    assert found["0"]["test"] == {"accuracy": tested}
    assert found["2"]["test"] == found["stopped"]["test"] == {}
    for name in ("0", "2", "stopped"):
        best = max(row["valid_accuracy"] for row in rows(tmp_path / name))
        assert found[name]["validation"] == pytest.approx(best)
        assert found[name]["metric"] == "accuracy"
        assert found[name]["epochs"] == len(rows(tmp_path / name))
    assert found["stopped"]["planned_epochs"] == 4
    assert found["2"]["changed"]["optimizer.learning_rate"] == "1e-05"
    assert found["stopped"]["changed"]["seed"] == "3"
    assert "encoder.hidden_size" not in found["0"]["changed"]
    assert main(["runs", str(tmp_path), "-f", "csv"]) == 0
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert tuple(table[0]) == COLUMNS
    assert len(table) == 5
    # A test figure of another model than the one that is there is no figure of it.
    os.utime(tmp_path / "0" / "model" / "model.safetensors", (time.time() + 9, time.time() + 9))
    (row,) = run_rows(read_runs([tmp_path / "0"]))
    assert row["test"] == ""


def test_no_run_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, what to type."""
    assert main(["runs", str(tmp_path)]) == 2
    assert f"{tmp_path}: no run in it" in capsys.readouterr().err
