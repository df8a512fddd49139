"""A run killed before any of its writes and resumed leaves the folder of a run never killed, byte for byte.

The oracle is the folder of the run never killed. What is on the disk changes through a few calls of the system: opening
a file for writing, flushing, renaming, removing, making a folder. Before each of them in turn a process that trains is
killed, and another one goes on with ``run_dir=X resume=true``. Only the clock's figures may differ.
"""

import builtins
import io
import json
import os
import re
import signal
import traceback
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from small_run import SMALL

from speechgru.cli import main
from speechgru.config import compose, plain
from speechgru.decoding.calibration import Calibration
from speechgru.recognizer import Recognizer
from speechgru.training.run import train

CLASSES = [*SMALL, "trainer.epochs=2", "trainer.batch_size=24"]
WORDS = [
    *(word for word in CLASSES if not word.startswith("head.")),
    "head=ctc",
    "units=characters",
    "optimizer.learning_rate=1e-4",  # it says letters at random, which is enough to have confidences
]


def in_a_child(task: Callable[[], int], log: Path) -> int:
    """Runs ``task`` in a process of its own, output to ``log``, and returns its exit code: -9 where it was killed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12, about threads and fork
        child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 99
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        code = task()
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)


def creates(mode: str | int = "r", *given: Any, **named: Any) -> bool:
    """Whether a file is opened in such a way that it may be new."""
    return bool(mode & os.O_CREAT) if isinstance(mode, int) else mode[0] in "wxa"


class Writes:
    """Counts the calls of this process that change what is below ``folder``, and kills it before the ``last``."""

    def __init__(self, folder: Path, last: int) -> None:
        self.folder, self.last, self.count = str(folder), last, 0
        for name in ("fsync", "replace", "unlink", "mkdir", "rmdir", "ftruncate", "open"):
            setattr(os, name, self._watched(name, getattr(os, name)))
        io.open = builtins.open = self._watched("open", io.open)  # type: ignore[assignment]

    def _watched(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watching(target: Any, *given: Any, **named: Any) -> Any:
            below = isinstance(target, int) or os.fsdecode(target).startswith(self.folder)
            if below and (name != "open" or creates(*given, **named)):
                self.count += 1
                if self.count == self.last:
                    os.kill(os.getpid(), signal.SIGKILL)
            return call(target, *given, **named)

        return watching


def contents(folder: Path) -> dict[str, Any]:
    """What is in a run's folder, without the clock's figures and without the folder's own name."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir():
            found[name] = "folder"
        elif path.suffix == ".safetensors":
            with safe_open(path, "np") as file:
                metadata = file.metadata() or {}
                found[name] = {key: file.get_tensor(key).tobytes() for key in file.keys()}  # noqa: SIM118
            if "state" in metadata:
                state = json.loads(metadata["state"])
                del state["progress"]["seconds"]
                found[name]["state"] = state
        elif path.suffix in (".json", ".jsonl", ".md"):
            text = path.read_text().replace(str(folder), "RUN")
            text = re.sub(r'"(seconds|wall_clock_s)": [\d.e-]+', r'"\1": 0', text)
            found[name] = re.sub(r"Made in [\w .]+ by", "Made by", text)
        else:
            found[name] = path.read_bytes()
    return found


@pytest.fixture(scope="module", params=["classes", "words"])
def whole(request: pytest.FixtureRequest, three_tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A short run of each kind: how to train it, what its folder holds in the end, and how many writes it takes."""
    place = tmp_path_factory.mktemp(request.param)
    if request.param == "classes":
        words = [f"data.root={three_tones}", *CLASSES]
    else:
        rows = ["audio\ttext"]
        for path in sorted(three_tones.rglob("*.wav")):
            rows.append(f"{path}\t{ {'low': 'a', 'middle': 'b a', 'high': 'c'}[path.parent.name] }")
        (place / "table.tsv").write_text("\n".join(rows) + "\n")
        words = [f"data.root={place / 'table.tsv'}", *WORDS]
    config = compose("train", ["data=folder", *words])

    def task(folder: Path, last: int) -> Callable[[], int]:
        def trained() -> int:
            writes = Writes(folder, last)
            train(config, folder, plain(config) | {"run_dir": str(folder)}, words)
            (folder.parent / "count").write_text(str(writes.count))
            return 0

        return trained

    train(config, place / "warm", plain(config))  # so that every child finds what it imports
    assert in_a_child(task(place / "run", 0), place / "log") == 0, (place / "log").read_text()
    found = contents(place / "run")
    assert {"run.json", "settings.json", "model/card.md", "curves.png", "metrics.jsonl"} <= set(found)
    if request.param == "words":
        assert Recognizer.load(place / "run" / "model").config.calibration != Calibration()
    return task, found, int((place / "count").read_text())


def killed_and_resumed(task: Callable[[Path, int], Callable[[], int]], folder: Path, last: int) -> dict[str, Any]:
    """What the folder holds after a kill before the write ``last`` and a second process that goes on."""
    folder.parent.mkdir()
    log = folder.with_suffix(".log")
    assert in_a_child(task(folder, last), log) == -signal.SIGKILL, log.read_text()
    # Before its settings are written there is nothing to go on with; then the same command begins.
    begun = (folder / "settings.json").is_file()
    again = partial(main, ["train", f"run_dir={folder}", "resume=true"]) if begun else task(folder, 0)
    assert in_a_child(again, log) == 0, log.read_text()
    return contents(folder)


def test_killed_before_some_writes(whole: Any, tmp_path: Path) -> None:
    """In the beginning, in the middle, and before several of the last writes, after the last epoch's checkpoint."""
    task, found, count = whole
    assert count > 60
    for last in (count // 2, count - 20, count - 11, count - 4):
        assert killed_and_resumed(task, tmp_path / str(last) / "run", last) == found, last


@pytest.mark.slow
def test_killed_before_every_write(whole: Any, tmp_path: Path) -> None:
    """Each of them."""
    task, found, count = whole
    for last in range(1, count + 1):
        assert killed_and_resumed(task, tmp_path / str(last) / "run", last) == found, last
