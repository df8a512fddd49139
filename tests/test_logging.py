import json
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speechgru.errors import ConfigError, DataError
from speechgru.training.logging import MetricsLog, read_metrics


def test_rows_are_read_back(tmp_path):
    """Oracle: plain Python values of what was written; each row is in the file at once."""
    with MetricsLog(tmp_path / "run") as log:
        log.write(1, epoch=0.5, train_loss=torch.tensor(2.0), steps=np.int64(3), note="a\nb", kept=True, skipped=None)
        rows = read_metrics(tmp_path / "run")
        log.write(2, train_loss=float("nan"), valid_loss=float("inf"))
    assert rows == [
        {"step": 1, "epoch": 0.5, "train_loss": 2.0, "steps": 3, "note": "a\nb", "kept": True, "skipped": None}
    ]
    assert read_metrics(tmp_path / "run" / "metrics.jsonl") == [
        *rows,
        {"step": 2, "train_loss": None, "valid_loss": None},
    ]
    for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)


@settings(deadline=None, max_examples=30)
@given(cut=st.integers(0, 120))
def test_killed_anywhere_and_continued(tmp_path_factory, cut):
    """Oracle: the file of a run never killed; the cut row is the only one lost, and it is written again."""
    folder = tmp_path_factory.mktemp("run")
    rows = [{"step": step, "train_loss": 1 / step} for step in (1, 2, 3, 4)]
    with MetricsLog(folder) as log:
        for row in rows:
            log.write(**row)
    whole = (folder / "metrics.jsonl").read_bytes()
    (folder / "metrics.jsonl").write_bytes(whole[:cut])
    done = read_metrics(folder)
    assert done == rows[: len(done)]
    assert len(done) >= whole[:cut].count(b"\n")
    with MetricsLog(folder) as log:
        log.truncate_after(1)
        for row in rows[min(len(done), 1) :]:
            log.write(**row)
    assert (folder / "metrics.jsonl").read_bytes() == whole


def test_truncate_keeps_the_resumed_step(tmp_path):
    """Oracle: steps written by hand."""
    with MetricsLog(tmp_path) as log:
        for step in (10, 20, 20, 30, 40):
            log.write(step, valid_accuracy=step / 100)
        log.truncate_after(20)
        assert [row["step"] for row in read_metrics(tmp_path)] == [10, 20, 20]
        log.write(30, valid_accuracy=0.9)
    assert [(row["step"], row["valid_accuracy"]) for row in read_metrics(tmp_path)][-1] == (30, 0.9)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_damage_that_is_no_cut_is_told(tmp_path):
    """Oracle: the message names file and line; nothing is lost."""
    file = tmp_path / "metrics.jsonl"
    for text in ('{"step": 1}\nnonsense\n{"step": 2}\n', '{"step": 1}\n{"loss": 2}\n', '{"step": 1}\n[1]\n'):
        file.write_text(text)
        with pytest.raises(DataError, match=r"metrics\.jsonl: line 2"):
            read_metrics(file)
        with pytest.raises(DataError, match="line 2"):
            MetricsLog(tmp_path)
        assert file.read_text() == text
    with pytest.raises(DataError, match="give the folder of a training run"):
        read_metrics(tmp_path / "nowhere")
    file.write_text("")
    assert read_metrics(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    """Oracle: a file stands where the folder should be."""
    (tmp_path / "run").write_text("")
    with pytest.raises(DataError, match="choose another folder"):
        MetricsLog(tmp_path / "run")


def test_tensorboard_has_the_same_numbers_after_a_resume(tmp_path):
    """Oracle: TensorBoard's own reader; steps after the resumed one appear once, with the new value."""
    pytest.importorskip("tensorboard", reason="needs the extra log")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with MetricsLog(tmp_path, tensorboard=True) as log:
        for step in (1, 2, 3):
            log.write(step, valid_loss=step / 4, note="text", epoch=step, bad=float("nan"))
    with MetricsLog(tmp_path, tensorboard=True) as log:
        log.truncate_after(2)
        log.write(3, valid_loss=0.125, epoch=3)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert sorted(events.Tags()["scalars"]) == ["epoch", "loss/valid"]
    assert [(event.step, event.value) for event in events.Scalars("loss/valid")] == [(1, 0.25), (2, 0.5), (3, 0.125)]


def test_missing_extra_is_named(tmp_path, monkeypatch):
    """Oracle: the line tells what to install, before anything is written."""
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"pip install 'speechgru\[log\]'"):
        MetricsLog(tmp_path / "run", tensorboard=True)
    assert not (tmp_path / "run").exists()
    MetricsLog(tmp_path / "run").close()
