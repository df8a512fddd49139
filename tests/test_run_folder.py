"""The folder of a run: it knows its settings, lets one process in, and survives a disk that is full."""

import json
import resource
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from small_run import ALONE, command, cut, rows, run, same

from speechgru.cli import main
from speechgru.errors import ConfigError, DataError
from speechgru.training.checkpoint import load_checkpoint, save_checkpoint
from speechgru.training.run_settings import differences, flat


@pytest.fixture(scope="module")
def whole(three_tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing cut."""
    folder = tmp_path_factory.mktemp("whole")
    run(three_tones, folder)
    return folder


def test_differences() -> None:
    """Oracle: written out by hand. Keys that are free are not looked at, of other components the names are enough."""
    stored = {"seed": 0, "a": {"name": "gru", "size": 3, "deep": {"x": None, "y": True}}, "b": {"name": "p", "z": [1]}}
    given = {"seed": 1, "a": {"name": "gru", "size": 4, "deep": {"x": "s", "y": False}}, "b": {"name": "q"}, "new": 1.5}
    assert differences(stored, stored, set()) == []
    assert differences(stored, given, {"seed", "a.deep.y"}) == [
        "a.size=3 there, 4 here",
        "a.deep.x=null there, s here",
        "b=p there, q here",
        "new=null there, 1.5 here",
    ]
    assert flat(stored) == {
        "seed": "0",
        "a": "gru",
        "a.size": "3",
        "a.deep.x": "null",
        "a.deep.y": "true",
        "b": "p",
        "b.z": "[1]",
    }


def test_the_same_settings_again_train_nothing(
    three_tones: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Said plainly, with the figures, exit code 0; how it is computed may differ. Oracle: the bytes of every file."""
    before = {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}
    assert main([*command(three_tones, whole)[2:], "trainer.device=cpu", "trainer.workers=1"]) == 0
    said = capsys.readouterr()
    assert f"{whole}: already finished with these settings, nothing trained\n4 epochs in " in said.err
    assert "best validation accuracy" in said.err
    assert said.out == f"{whole / 'model'}\n"
    assert {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()} == before


def test_other_settings_are_refused_by_name(three_tones: Path, whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each with both values, and what to do; exit code 2."""
    words = [*command(three_tones, whole)[2:], "optimizer.learning_rate=0.02", "schedule=constant"]
    for more in ([], ["resume=true"]):
        assert main([*words, *more]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "holds a finished run of other settings: " in line
        assert "optimizer.learning_rate=0.01 there, 0.02 here; schedule=cosine there, constant here; " in line
        assert "choose another run_dir=..., or discard it with overwrite=true" in line


def test_goes_on_by_its_folder_alone(
    three_tones: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``run_dir=X resume=true`` ends as the run that nothing cut; a setting that alters the training is refused."""
    folder = tmp_path / "cut"
    cut(monkeypatch, three_tones, folder, updates=8)
    begun = (folder / "settings.json").read_bytes()
    alone = ["train", f"run_dir={folder}", "resume=true"]
    capsys.readouterr()
    for word, told in (
        ("optimizer.learning_rate=0.005", "optimizer.learning_rate=0.01 there, 0.005 here"),
        ("trainer.epochs=9", "trainer.epochs=4 there, 9 here"),
        ("schedule=constant", "schedule=cosine there, constant here"),
        ("seed=3", "seed=0 there, 3 here"),
        ("trainer.epoch=9", "trainer.epoch is not a setting of TrainerConfig; did you mean 'epochs'?"),
        ("trainer.epochs=many", "trainer.epochs='many' is not of type int"),
    ):
        assert main([*alone, word]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert told in line
    # In a process of its own, which knows no component yet.
    words = [sys.executable, "-m", "speechgru.cli", *alone, "trainer.checkpoint_s=1", "trainer.cache_mb=1"]
    done = subprocess.run(words, env=ALONE, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    same(whole, folder)
    assert (folder / "settings.json").read_bytes() == begun
    assert json.loads((folder / "run.json").read_text())["settings"] == json.loads(begun)["settings"]


def test_a_setting_that_is_gone_stops_no_run(
    three_tones: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As an older version left it: with trainer.average_last and the weights of its epochs. Oracle: the run of now."""
    folder = tmp_path / "cut"
    cut(monkeypatch, three_tones, folder, updates=8)
    stored = json.loads((folder / "settings.json").read_text())
    stored["settings"]["trainer"]["average_last"] = 2
    (folder / "settings.json").write_text(json.dumps(stored))
    groups, state = load_checkpoint(folder / "checkpoint.safetensors")
    weights = {name: tensor.clone() for name, tensor in groups["average"].items()}
    save_checkpoint(folder, groups | {"last0": weights}, state | {"snapshots": 1})
    assert main(["train", f"run_dir={folder}", "resume=true"]) == 0
    same(whole, folder)
    assert main(command(three_tones, folder)[2:]) == 0
    assert "already finished with these settings" in capsys.readouterr().err


def test_other_recordings_are_refused(three_tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Moved recordings are the same, one more is not. Oracle: the counts of the folders."""
    import shutil

    corpus = tmp_path / "a"
    shutil.copytree(three_tones, corpus)
    folder = tmp_path / "cut"
    cut(monkeypatch, corpus, folder, 8)
    corpus = corpus.rename(tmp_path / "b")
    cut(monkeypatch, corpus, folder, 9, "resume=true")
    for number in range(30, 50):
        shutil.copy(corpus / "low" / "0.wav", corpus / "low" / f"{number}.wav")
    with pytest.raises(DataError, match=r"45 training utterances \(now \d\d\) and 12 validation utterances"):
        run(corpus, folder, "resume=true")


def test_one_process_a_folder(three_tones: Path, tmp_path: Path) -> None:
    """The second is refused with who, where and since when. After kill -9 of the first the folder is free."""
    code = (
        "import sys, time, pathlib\n"
        "from speechgru.training.lock import only_run\n"
        "with only_run(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(600)\n"
    )
    folder = tmp_path / "run"
    words = [sys.executable, "-c", code, str(folder)]
    with subprocess.Popen(words, env=ALONE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match=rf"process {holder.pid} on \S+ \(since 20\d\d-.*\) trains there"):
            run(three_tones, folder)
        holder.kill()
    assert (folder / ".lock").read_text().startswith(f"process {holder.pid} ")
    leftover = folder / ".0123456789abcdef.tmp"  # what such a process was writing
    leftover.write_bytes(b"half")
    assert run(three_tones, folder, "trainer.epochs=1").finished
    assert not leftover.exists()
    assert not (folder / ".lock").exists()


@pytest.mark.parametrize("word", ["data.root=nowhere", "trainer.accumulate=5000", "trainer.device=cuda:99"])
def test_a_start_that_failed_leaves_nothing(word: str, three_tones: Path, tmp_path: Path) -> None:
    """Neither a folder nor, where a run is to be overwritten, a scratch on it."""
    words = command(three_tones, tmp_path / "new" / "run")[2:]
    assert main([*words, word]) in (1, 2)
    assert not (tmp_path / "new").exists()
    run(three_tones, tmp_path / "old", "trainer.epochs=1")
    before = {path: path.read_bytes() for path in (tmp_path / "old").rglob("*") if path.is_file()}
    assert main([*command(three_tones, tmp_path / "old", "overwrite=true")[2:], word]) in (1, 2)
    assert {path: path.read_bytes() for path in (tmp_path / "old").rglob("*") if path.is_file()} == before


def test_a_finished_run_without_its_checkpoint_is_not_trained_over(
    three_tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused unless it is to be overwritten; a start that failed leaves it as it was. Oracle: the bytes of every file.

    A damaged checkpoint does not hide why the start failed.
    """
    folder = tmp_path / "run"
    words = command(three_tones, folder, "trainer.epochs=1")[2:]
    run(three_tones, folder, "trainer.epochs=1")
    (folder / "checkpoint.safetensors").unlink()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    nowhere, gone = "data.root=nowhere", "holds a finished run without its checkpoint.safetensors; choose another"
    for more, told in (
        ([], gone),
        (["resume=true"], gone),
        ([nowhere], gone),
        ([nowhere, "overwrite=true"], "nowhere: is not there"),
    ):
        assert main([*words, *more]) in (1, 2)
        assert told in capsys.readouterr().err
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    (folder / "checkpoint.safetensors").write_bytes(b"damaged")
    assert main([*words, nowhere, "overwrite=true"]) in (1, 2)
    assert "nowhere: is not there" in capsys.readouterr().err
    (folder / "checkpoint.safetensors").unlink()
    assert main([*words, "overwrite=true"]) == 0


def test_nothing_is_gone_on_with_where_no_run_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The folder alone says which run is meant; one that is not there is told, not what Hydra lacks."""
    assert main(["train", f"run_dir={tmp_path / 'nowhere'}", "resume=True"]) == 2
    assert "nowhere holds no run to go on with; begin one: recipe=... or data=..." in capsys.readouterr().err


def test_one_machine_without_the_folder_is_told_of_the_disk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second process of torchrun, on a machine that does not see what the first one wrote."""
    monkeypatch.setenv("RANK", "1")
    assert main(["train", f"run_dir={tmp_path / 'none'}", "resume=true"]) == 2
    error = capsys.readouterr().err
    assert "put run_dir on a disk that all machines share" in error
    assert error.count("\n") == 1


def as_of_torchrun(three_tones: Path, tmp_path: Path, *words: str) -> tuple[list[int], list[str]]:
    """The exit codes of two processes, each with a folder of its own, and what they say."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        meet = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, *command(three_tones, tmp_path / rank, *words)],
            env=ALONE | meet | {"RANK": rank},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]
    said = [process.communicate(timeout=300)[1] for process in processes]
    assert not any("Traceback" in one for one in said)
    return [process.returncode for process in processes], said


@pytest.mark.slow
def test_processes_go_on_from_one_checkpoint(
    three_tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes as of torchrun: refused without a copy of the first one's folder, and with one they go on."""
    cut(monkeypatch, three_tones, tmp_path / "0", 2)
    codes, said = as_of_torchrun(three_tones, tmp_path, "resume=true")
    assert codes == [2, 2]
    assert all("torchrun goes on from one checkpoint" in one for one in said)
    assert (tmp_path / "0" / "checkpoint.safetensors").is_file()
    shutil.copytree(tmp_path / "0", tmp_path / "1")
    assert as_of_torchrun(three_tones, tmp_path, "resume=true")[0] == [0, 0]


@pytest.mark.slow
def test_no_process_waits_for_one_that_is_finished(three_tones: Path, whole: Path, tmp_path: Path) -> None:
    """The first process alone sees a finished run: both stop. Where both see it, nothing is trained."""
    shutil.copytree(whole, tmp_path / "0")
    codes, said = as_of_torchrun(three_tones, tmp_path)
    assert codes == [2, 2]
    assert all("torchrun goes on from one checkpoint" in one for one in said)
    shutil.copytree(whole, tmp_path / "1")
    codes, said = as_of_torchrun(three_tones, tmp_path)
    assert codes == [0, 0]
    assert "already finished with these settings" in said[0]


def test_a_full_disk_is_one_line(
    three_tones: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files may not grow beyond 10 kB: the checkpoint does not fit. With room again the run ends as if nothing was."""
    folder = tmp_path / "cut"
    cut(monkeypatch, three_tones, folder, 8)
    before = rows(folder)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        assert main(["train", f"run_dir={folder}", "resume=true"]) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.endswith(f"once that is mended go on with speechgru train run_dir={folder} resume=true")
    assert "File too large" in line
    assert rows(folder) == before
    assert not list(folder.rglob(".*"))
    assert main(["train", f"run_dir={folder}", "resume=true"]) == 0
    same(whole, folder)


def test_resume_and_overwrite_contradict_each_other(three_tones: Path, tmp_path: Path) -> None:
    """Refused before anything is touched."""
    with pytest.raises(ConfigError, match="resume=true and overwrite=true"):
        run(three_tones, tmp_path / "run", "resume=true", "overwrite=true")
    assert not (tmp_path / "run").exists()
