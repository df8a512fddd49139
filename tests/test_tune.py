"""``speechgru tune``: ranges, studies that go on, what is written of them; searches over real trainings are slow tests.

The studies are real ones of Optuna in a file of SQLite; what they search is a function whose best point is known, in
the place of a training.
"""

import csv
import dataclasses
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from speechgru.cli import main
from speechgru.commands.tune_ranges import read_range
from speechgru.commands.tune_recipe import write_recipe
from speechgru.commands.tune_search import read_search
from speechgru.config import compose, compose_untyped, hydra_of, plain
from speechgru.errors import ConfigError, Interrupted, SpeechGRUError
from speechgru.search.pictures import place, ticks
from speechgru.search.ranges import Choices, Numbers, Range, WholeNumbers
from speechgru.search.search import Search
from speechgru.search.trial_run import TrialFailed, TrialRun
from speechgru.training.checkpoint import save_checkpoint
from speechgru.training.progress import Progress

RATE, SIZE = "optimizer.learning_rate", "encoder.hidden_size"


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("a=log(1e-4,1e-2)", Numbers(1e-4, 1e-2, log=True)),
        ("a=tag(log,interval(1e-4,1e-2))", Numbers(1e-4, 1e-2, log=True)),
        ("a=log(8,512)", WholeNumbers(8, 512, log=True)),
        ("a=interval(0,0.5)", Numbers(0.0, 0.5)),
        ("a=int(interval(8,64))", WholeNumbers(8, 64)),
        ("a=range(32,129,16)", WholeNumbers(32, 128, 16)),
        ("a=range(5)", WholeNumbers(0, 4)),
        ("a=range(0,0.5,0.1)", Numbers(0.0, 0.4, 0.1)),
        ("a=range(0.5,0,-0.125)", Numbers(0.125, 0.5, 0.125)),
        ("a=choice(1,[3,4],x)", Choices(("1", "[3,4]", "x"))),
        ("a=x,y,x", Choices(("x", "y"))),
        ("cell=glob(gru?)", Choices(("gru1", "gru2", "gru3"))),
        ("a=3", None),
        ("a=[1,2]", None),
    ],
)
def test_ranges_are_those_of_hydra(word: str, expected: Range | None) -> None:
    """Oracle: Hydra's override grammar, by hand: the end of a range is left out, an interval is of floats."""
    with hydra_of("train"):
        found = read_range(word)
    assert found == (None if expected is None else (word.partition("=")[0], expected))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fsdd"], "nothing to search: give a range, such as 'optimizer.learning_rate=log(1e-4,1e-2)'"),
        (["fsdd", f"{RATE}=log(0,1)"], f"{RATE}=log(0,1): a logarithm is of numbers above 0"),
        (["fsdd", f"{RATE}=log(1e-2,1e-4)"], f"{RATE}=log(1e-2,1e-4): the second number is above the first"),
        (["fsdd", f"{RATE}=interval(0.001,inf)"], f"{RATE}=interval(0.001,inf): both ends are finite numbers"),
        (["fsdd", f"{SIZE}=shuffle(8,16)"], f"{SIZE}=shuffle(8,16): the search chooses the order itself"),
        (["fsdd", f"{SIZE}=" + ",".join(map(str, range(100, 200))), "trials=many"], "trials=many"),
        (["fsdd", f"{SIZE}=8,16", "sampler=coordinate", "pruner=hyperband"], "take pruner=median or none"),
        (["fsdd", f"{RATE}=log(a,b)"], f"{RATE}=log(a,b): log takes two numbers, log(1e-4,1e-2)"),
        (["fsdd", f"{SIZE}=range(9,3)"], f"{SIZE}=range(9,3): no number lies in it"),
        (
            ["fsdd", f"{SIZE}=interval(8,64)"],
            f"{SIZE}=8.0: a whole number is expected; log(8,64) and int(interval(8,64))",
        ),
        (["fsdd", f"{SIZE}=range(0,9)"], f"{SIZE}=0"),
        (["fsdd", "encoder.hiden_size=8,16"], "encoder.hiden_size is not a setting; did you mean encoder.hidden_size?"),
        (["fsdd", "cell=glob(no*)"], "cell=glob(no*): no option is called so"),
        (["fsddd", f"{SIZE}=8,16"], "fsddd is no recipe; did you mean fsdd?"),
        (["nowhere/recipe/mine.yaml", f"{SIZE}=8,16"], "nowhere/recipe/mine.yaml: no such file"),
        (["recipe=fsdd,an4", f"{SIZE}=8,16"], "recipe=fsdd,an4: a search has one recipe"),
        (["fsdd", f"{SIZE}=8,16", "trials=many"], "trials=many: a whole number is expected"),
        (["fsdd", f"{SIZE}=8,16", "trials=0"], "trials=0: at least 1"),
        (["fsdd", f"{SIZE}=8,16", "pruner=mean"], "pruner=mean: one of median, hyperband, none"),
        (["fsdd", f"{SIZE}=8,16", "sampler=grid"], "sampler=grid: one of tpe, coordinate"),
        (["fsdd", f"{RATE}=log(1e-4,1e-2)", "sampler=coordinate"], "sampler=coordinate takes lists of values"),
        (["fsdd", f"{SIZE}=8,16", "overwrite=true"], "overwrite=true: the same command goes on with a search"),
        (["fsdd", f"{SIZE}=8,16", "--multirun"], "tune takes ranges and runs many trainings"),
        (["an4", "--lm", "words.arpa"], "the weight of a language model: speechgru tune-lm an4 --lm words.arpa"),
    ],
)
def test_what_cannot_be_searched_is_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything runs or is written: exit 2, and the mend."""
    monkeypatch.chdir(tmp_path)
    assert main(["tune", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


class Known:
    """In the place of a training: one epoch after another of a figure that the settings give, best near 0.003."""

    def __init__(self, words: list[str], folder: Path) -> None:
        self.values = dict(word.split("=") for word in words)
        self.folder = folder

    def __enter__(self) -> "Known":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def epochs(self, metric: str) -> Iterator[tuple[int, float]]:
        assert metric == "accuracy"
        if float(self.values[RATE]) > 0.5:
            raise TrialFailed("the gradient was not finite")
        for epoch in (1, 2):
            yield epoch, self.figure() * epoch / 2

    def figure(self, higher: bool = True) -> float:
        return 1 - abs(float(self.values[RATE]) - 0.003) / (1 + int(self.values[SIZE]))


def searched(folder: Path, **more: object) -> Search:
    ranges: dict[str, Range] = {RATE: Numbers(1e-4, 0.1, log=True), SIZE: WholeNumbers(8, 64, 8)}
    search = Search("known", folder, "", "accuracy", True, ranges, ["seed=0"], ["seed=0"], trials=12, epochs=2)
    return dataclasses.replace(search, **more)  # type: ignore[arg-type]


def study_of(search: Search, run: type = Known):
    pytest.importorskip("optuna")
    from speechgru.search.study import Study

    search.folder.mkdir(parents=True, exist_ok=True)
    return Study(search, run)


def tried(study) -> list[tuple]:
    return [(one.state.name, one.params, one.values, one.user_attrs["folder"]) for one in study.trials()]


def test_a_study_that_goes_on_is_the_one_that_was_not_stopped(tmp_path: Path) -> None:
    """Oracle: the uninterrupted study; past the random beginning, where draws depend on all trials before."""
    whole = study_of(searched(tmp_path / "whole"))
    whole.go()
    study_of(searched(tmp_path / "parts", trials=6)).go()
    parts = study_of(searched(tmp_path / "parts"))
    parts.go()
    assert tried(parts) == tried(whole)
    assert len(tried(whole)) == 12
    assert len({str(params) for _, params, _, _ in tried(whole)}) == 12


def test_ctrl_c_puts_the_trial_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Oracle: the study that was not stopped. The trial keeps its folder, so that its training goes on there."""
    whole = study_of(searched(tmp_path / "whole", trials=6))
    whole.go()

    class Stops(Known):
        def epochs(self, metric: str) -> Iterator[tuple[int, float]]:
            for epoch, value in super().epochs(metric):
                yield epoch, value
                if self.folder.name == "0002":
                    raise KeyboardInterrupt

    stopped = study_of(searched(tmp_path / "stopped", trials=6), Stops)
    with pytest.raises(Interrupted, match="interrupted after 2 of 6 trials; the same command goes on") as error:
        stopped.go()
    assert error.value.signal == signal.SIGINT
    on = study_of(searched(tmp_path / "stopped", trials=6))
    assert [one.state.name for one in on.trials()] == ["COMPLETE", "COMPLETE", "WAITING"]
    on.go()
    assert [params for _, params, *_ in tried(on)] == [params for _, params, *_ in tried(whole)]
    assert [folder for *_, folder in tried(on)] == ["0000", "0001", "0002", "0004", "0005", "0006"]  # 3 is 2 once more


def test_ctrl_c_while_settings_are_drawn_puts_the_trial_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the study that was not stopped; the trial had drawn its rate and not its size."""
    whole = study_of(searched(tmp_path / "whole", trials=5))
    whole.go()
    draw, drawn = WholeNumbers.draw, []

    def stops_once(self: WholeNumbers, trial: object, key: str) -> object:
        drawn.append(key)
        if len(drawn) == 3:
            raise KeyboardInterrupt
        return draw(self, trial, key)  # type: ignore[arg-type]

    monkeypatch.setattr(WholeNumbers, "draw", stops_once)
    with pytest.raises(Interrupted, match="interrupted after 2 of 5 trials"):
        study_of(searched(tmp_path / "stopped", trials=5)).go()
    on = study_of(searched(tmp_path / "stopped", trials=5))
    on.go()
    assert [params for _, params, *_ in tried(on)] == [params for _, params, *_ in tried(whole)]
    assert {state for state, *_ in tried(on)} <= {"COMPLETE", "PRUNED"}


@pytest.mark.parametrize("folder", ["größe", "a b", "it's (2), x=1", "what?", "a%20b", "a#b"])
def test_a_study_may_be_in_any_folder(tmp_path: Path, folder: str) -> None:
    """Oracle: Hydra's own reading of a trial's settings, and the file that is there."""
    study_of(searched(tmp_path / folder, trials=1)).go()
    study_of(searched(tmp_path / folder, trials=2)).go()
    assert (tmp_path / folder / "study.db").stat().st_size
    assert [path.name for path in tmp_path.iterdir()] == [folder]
    trial = tmp_path / folder / "trials" / "0000"
    composed = compose_untyped("train", TrialRun(["recipe=fsdd"], trial).settings())
    assert (composed.run_dir, composed.hydra.run.dir) == (str(trial), str(trial))


def test_a_failed_trial_is_failed_and_the_study_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The trials whose learning rate is above 0.5 fail, the others do not."""
    search = searched(tmp_path, ranges={RATE: Numbers(0.2, 0.8), SIZE: WholeNumbers(8, 64, 8)}, trials=6)
    study = study_of(search)
    study.go()
    states = {"FAIL": "failed", "COMPLETE": "complete", "PRUNED": "stopped early"}
    table = list(csv.DictReader((tmp_path / "trials.csv").read_text().splitlines()))  # written as trials end
    assert [row["state"] for row in table] == [states[one.state.name] for one in study.trials()]
    for one in study.trials():
        assert (one.state.name == "FAIL") == (one.params[RATE] > 0.5)
    assert {one.state.name for one in study.trials()} >= {"FAIL", "COMPLETE"}
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("/")[0] for line in lines] == [str(number) for number in range(1, 7)]
    failed = next(line for line in lines if "failed" in line)
    assert "failed: the gradient was not finite" in failed
    assert str(tmp_path / "trials") in failed


def test_a_study_in_which_all_trials_fail_ends_early(tmp_path: Path) -> None:
    """Five that fail alike are enough where none has gone well."""
    search = searched(tmp_path, ranges={RATE: Numbers(0.6, 1.0), SIZE: WholeNumbers(8, 64, 8)})
    study = study_of(search)
    with pytest.raises(SpeechGRUError, match="the first 5 trials all failed: the gradient was not finite"):
        study.go()
    assert len(study.trials()) == 5


def test_a_trial_worse_than_the_median_is_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Oracle: Optuna's rule for the median by hand: worse than the middle of the earlier ones at the same epoch."""
    ranges: dict[str, Range] = {RATE: Numbers(1e-4, 0.1), SIZE: WholeNumbers(8, 8)}
    study = study_of(searched(tmp_path, ranges=ranges, trials=9))
    study.go()
    trials = study.trials()
    stopped = [one for one in trials if one.state.name == "PRUNED"]
    assert stopped
    for one in stopped:
        epoch, value = max(one.intermediate_values.items())
        earlier = sorted(
            other.intermediate_values[epoch]
            for other in trials[: one.number]
            if other.state.name == "COMPLETE" and epoch in other.intermediate_values
        )
        assert value < (earlier[(len(earlier) - 1) // 2] + earlier[len(earlier) // 2]) / 2
    assert "stopped early" in capsys.readouterr().err


@pytest.mark.parametrize("recipe", ["fsdd", "cells_fsdd"])
def test_a_trial_is_in_its_folder(recipe: str) -> None:
    """Oracle: Hydra's own reading; the recipes of the cells put runs of a multirun into folders below ``run_dir``."""
    run = TrialRun([f"recipe={recipe}", "cell=lstm"], Path("runs/tune/x/trials/0000"))
    assert compose_untyped("train", run.settings()).hydra.run.dir == "runs/tune/x/trials/0000"


@pytest.mark.parametrize(("kept", "higher", "figure"), [(0.9, True, 0.9), (-0.2, False, 0.2), (0.3, False, -0.3)])
def test_the_figure_of_a_trial_has_its_sign(tmp_path: Path, kept: float, higher: bool, figure: float) -> None:
    """A loss may be below 0; a run keeps the negative of what is better when it is less."""
    progress = dataclasses.asdict(Progress(best=kept, finished=True))
    save_checkpoint(tmp_path, {"model": {"weight": torch.zeros(1)}}, {"progress": progress})
    assert TrialRun([], tmp_path).figure(higher) == figure


class Curve(Known):
    """Best at a rate of 0.003; there a size of 16 is best, elsewhere one of 32. A rate of 0.9 fails."""

    def figure(self, higher: bool = True) -> float:
        rate, size = float(self.values[RATE]), int(self.values[SIZE])
        if rate == 0.9:
            raise TrialFailed("the gradient was not finite")
        return 1 - abs(rate - 0.003) - abs(size - (16 if rate == 0.003 else 32)) / 1000


def test_a_coordinate_search_tries_one_setting_after_another(tmp_path: Path) -> None:
    """Oracle: the points by hand. Stopped and gone on with, it is the same; it never tries a point again."""
    ranges: dict[str, Range] = {RATE: Choices(("0.01", "0.003", "0.9", "0.001")), SIZE: WholeNumbers(8, 32, 8)}
    search = searched(tmp_path, ranges=ranges, sampler="coordinate", trials=3, pruner="none")
    study_of(search, Curve).go()
    study = study_of(dataclasses.replace(search, trials=7), Curve)
    study.go()
    points = [("0.01", 8), ("0.003", 8), ("0.9", 8), ("0.001", 8), ("0.003", 16), ("0.003", 24), ("0.003", 32)]
    assert [(params[RATE], params[SIZE]) for _, params, _, _ in tried(study)] == points
    assert [state for state, *_ in tried(study)] == ["COMPLETE"] * 2 + ["FAIL"] + ["COMPLETE"] * 4
    assert study.study.best_params == {RATE: "0.003", SIZE: 16}
    with pytest.raises(ConfigError, match="another sampler"):
        study_of(dataclasses.replace(search, sampler="tpe"))


def test_a_coordinate_search_has_as_many_trials_as_there_are_points() -> None:
    """Oracle: by hand: 3 rates, then 4 more sizes, then one more cell."""
    words = ["recipe=fsdd", f"{RATE}=0.003,0.001,0.01", f"{SIZE}=range(8,41,8)", "cell=gru,lstm", "sampler=coordinate"]
    assert read_search(words)[0].trials == 3 + 4 + 1
    assert read_search([*words, "trials=2"])[0].trials == 2
    assert read_search(words[:-1])[0].trials == 40
    assert Numbers(0.0, 0.4, 0.2).values_in_order() == [0.0, 0.2, 0.4]


def test_a_study_goes_on_with_its_own_search_only(tmp_path: Path) -> None:
    """Another setting or range is another study; more trials are not."""
    study_of(searched(tmp_path, trials=1)).go()
    with pytest.raises(ConfigError, match=r"began with another search \(seed=0 there; seed=1 here\)"):
        study_of(searched(tmp_path, told=["seed=1"]))
    with pytest.raises(ConfigError, match=f"another range of {SIZE}"):
        study_of(searched(tmp_path, ranges={RATE: Numbers(1e-4, 0.1, log=True), SIZE: WholeNumbers(8, 32, 8)}))
    study_of(searched(tmp_path, trials=2, words=["seed=0", "data.root=moved"])).go()


def test_a_storage_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    """A password is not shown."""
    with pytest.raises(ConfigError, match="no address of a database"):
        study_of(searched(tmp_path, storage="nothing"))
    with pytest.raises(ConfigError, match="no address of a database"):
        study_of(searched(tmp_path, storage="postgresql://me:secret@127.0.0.1:port/x"))
    with pytest.raises(
        ConfigError, match=r"oracle://me:\*\*\*@host/x: its driver is not installed; keep it in postgresql"
    ):
        study_of(searched(tmp_path, storage="oracle://me:secret@host/x"))
    pytest.importorskip("psycopg")
    with pytest.raises(ConfigError, match=r"postgresql://me:\*\*\*@127.0.0.1:9/x cannot be used: .*refused") as error:
        study_of(searched(tmp_path, storage="postgresql://me:secret@127.0.0.1:9/x"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda file: file.unlink(), "study.db: is not there or empty, but .*trials holds trials; put it back"),
        (lambda file: os.truncate(file, 0), "study.db: is not there or empty"),
        (lambda file: file.write_text("no database " * 100), "study.db cannot be used: file is not a database"),
        (lambda file: run_sql(file, "update trials set state='X'"), "study.db: the study known is damaged"),
        (
            lambda file: run_sql(file, "update trial_params set distribution_json='{'"),
            "study.db: the study known is da",
        ),
    ],
)
def test_a_study_whose_file_is_gone_or_damaged_is_one_line(
    tmp_path: Path, harm: Callable[[Path], object], said: str
) -> None:
    """Told before anything is trained, and not taken for a search that begins."""
    study = study_of(searched(tmp_path, trials=1))
    study.go()
    study._storage.engine.dispose()
    (tmp_path / "trials" / "0000").mkdir(parents=True)
    harm(tmp_path / "study.db")
    with pytest.raises(ConfigError, match=said) as error:
        study_of(searched(tmp_path, trials=2))
    assert "\n" not in str(error.value)


def run_sql(file: Path, statement: str) -> None:
    connection = sqlite3.connect(file)
    connection.execute(statement)
    connection.commit()
    connection.close()


@pytest.mark.parametrize("harm", [Path.unlink, lambda file: file.write_text("no database " * 1000)])
def test_a_study_whose_file_goes_away_meanwhile_is_one_line(
    tmp_path: Path, harm: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """In the second trial, whose signs of life then fail in a thread; the trial before is told all the same."""
    pytest.importorskip("optuna")
    from speechgru.commands import tune_search
    from speechgru.search.study import Study

    class Harmed(Known):
        def epochs(self, metric: str) -> Iterator[tuple[int, float]]:
            if self.folder.name == "0001":
                harm(tmp_path / "study.db")
                time.sleep(1.2)  # a sign of life is given each second
            yield from super().epochs(metric)

    monkeypatch.setattr(tune_search, "Study", lambda search: Study(search, Harmed))
    words = ["fsdd", f"{RATE}=log(1e-4,1e-2)", f"{SIZE}=8,16", "trials=3", "heartbeat_s=1", f"run_dir={tmp_path}"]
    assert main(["tune", *words]) == 1
    lines = capfd.readouterr().err.splitlines()
    assert lines[1].startswith("1/3 trial 0: ")
    assert lines[-1].startswith("speechgru tune: the study's storage cannot be used any more: ")
    assert not any("Traceback" in line for line in lines)


def test_the_table_and_the_pictures(tmp_path: Path) -> None:
    """The table has what the study has; places on the axes by hand."""
    from speechgru.search.report import best_table, importances, write_report

    study = study_of(searched(tmp_path, trials=3, pruner="none"))
    study.go()
    write_report(study.search, study.study, study.trials())
    rows = list(csv.DictReader((tmp_path / "trials.csv").read_text().splitlines()))
    assert [float(row["accuracy"]) for row in rows] == [one.values[0] for one in study.trials()]
    assert [(float(row[RATE]), int(row[SIZE])) for row in rows] == [
        (one.params[RATE], one.params[SIZE]) for one in study.trials()
    ]
    assert {row["state"] for row in rows} == {"complete"}
    best = max(study.trials(), key=lambda one: one.values[0])
    assert best_table(study.search, study.trials()).splitlines()[1].split()[0] == str(best.number)
    assert sum(importances(study.study).values()) == pytest.approx(1)
    for name in ("coordinates.png", "importance.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert place(0.01, Numbers(0.001, 0.1, log=True)) == pytest.approx(0.5)
    assert place(24, WholeNumbers(8, 40, 16)) == 0.5
    assert ticks(Choices(("a", "b", "c"))) == [(0.0, "a"), (0.5, "b"), (1.0, "c")]


def test_the_recipe_of_what_was_found_composes_to_it(tmp_path: Path) -> None:
    """Oracle: the same settings on the command line. The file stands for the recipe, and is found by its path."""
    words = ["recipe=fsdd", "cell=li_gru", "~front_end", "trainer.epochs=3", f"{RATE}=1.5e-05", f"{SIZE}=24"]
    path = write_recipe(tmp_path, "my search", words, ["Found."], None)
    assert path == tmp_path / "recipe" / "my_search_tuned.yaml"
    found = plain(compose("train", ["recipe=my_search_tuned"], str(tmp_path)))
    expected = plain(compose("train", [*words, "name=my_search_tuned"]))
    assert found == expected
    assert found["encoder"]["hidden_size"] == 24
    assert found["encoder"]["cell"]["name"] == "li_gru"


def test_no_recipe_is_written_that_would_be_another(tmp_path: Path) -> None:
    """A recipe of one corpus for another one leaves out what does not apply; a file on top of it cannot."""
    words = ["recipe=speech_commands_12", "data=folder", "data.root=x"]
    assert write_recipe(tmp_path, "other", words, [], None) is None
    assert not list((tmp_path / "recipe").iterdir())


def small_search(corpus: Path, folder: Path, *more: str) -> list[str]:
    """The command of a search over real trainings of an epoch."""
    from small_run import SMALL

    settings = [word for word in SMALL if not word.startswith((RATE, "trainer.epochs"))]
    words = ["data=folder", "~recipe", f"data.root={corpus}", *settings, "trainer.epochs=1", f"{RATE}=log(1e-3,1e-1)"]
    return [sys.executable, "-m", "speechgru.cli", "tune", *words, "name=small", f"run_dir={folder}", *more]


def processes_of(folder: Path) -> list[int]:
    """Those with the folder in their command line."""
    found = []
    for one in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in one.read_bytes():
                found.append(int(one.parent.name))
        except OSError:
            continue
    return found


def wait_for(condition, seconds: float = 600.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.slow
def test_a_search_over_real_trainings(three_tones: Path, tmp_path: Path) -> None:
    """Two trials; Ctrl-C in the first; the same command goes on; the recipe it writes trains the best to the bit."""
    pytest.importorskip("optuna")
    folder = tmp_path / "study"
    command = small_search(three_tones, folder, "trials=2")
    first = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: (folder / "trials" / "0000.log").is_file())
    first.send_signal(signal.SIGINT)
    assert "interrupted after 0 of 2 trials" in first.communicate(timeout=300)[1]
    assert first.returncode == 130
    assert not processes_of(folder)
    done = subprocess.run(command, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((folder / "trials.csv").read_text().splitlines()))
    assert [row["state"] for row in rows] == ["complete", "complete"]
    best = max(rows, key=lambda row: float(row["accuracy"]))
    recipe = done.stdout.strip()
    again = [sys.executable, "-m", "speechgru.cli", "train", recipe, f"run_dir={tmp_path / 'again'}"]
    subprocess.run(again, check=True, capture_output=True, timeout=900)
    weights = [one / "model" / "model.safetensors" for one in (folder / "trials" / best["run"], tmp_path / "again")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    run = json.loads((tmp_path / "again" / "run.json").read_text())
    assert run["best_valid"] == float(best["accuracy"])


@pytest.mark.slow
def test_two_workers_share_a_study_in_postgresql_and_one_is_killed(three_tones: Path, tmp_path: Path, postgres) -> None:
    """The killed worker's training stops; its trial is failed and run again by the other, with the same settings."""
    import optuna

    folder = tmp_path / "study"
    words = small_search(three_tones, folder, "trials=4", f"storage={postgres}", "heartbeat_s=2", "trainer.epochs=3")
    one = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: (folder / "trials" / "0000.log").is_file())
    other = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    one.kill()
    one.communicate()
    wait_for(lambda: not any(str(folder / "trials" / "0000") in command_of(p) for p in processes_of(folder)))
    said = other.communicate(timeout=1500)[1]
    assert other.returncode == 0, said
    url = postgres.replace("postgresql://", "postgresql+psycopg://")
    storage = optuna.storages.RDBStorage(url)
    trials = optuna.load_study(study_name="small", storage=storage).trials
    storage.remove_session()
    storage.engine.dispose()
    again = [trial for trial in trials if trial.user_attrs.get("replaces") == 0]
    assert trials[0].state.name == "FAIL"
    assert [(trial.params, trial.user_attrs["folder"]) for trial in again] == [(trials[0].params, "0000")]
    assert (
        sorted(trial.state.name for trial in trials).count("COMPLETE")
        + sum(trial.state.name == "PRUNED" for trial in trials)
        == 4
    )


def command_of(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().decode().replace("\0", " ")
    except OSError:
        return ""


@pytest.fixture
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real PostgreSQL server of the system's packages, which lasts as long as the test."""
    import shutil
    import socket
    import tempfile

    pytest.importorskip("optuna")
    pytest.importorskip("psycopg")
    found = [*sorted(Path("/usr/lib/postgresql").glob("*/bin")), *map(Path, os.environ["PATH"].split(os.pathsep))]
    programs = next((one for one in found if (one / "initdb").is_file() and (one / "postgres").is_file()), None)
    if programs is None:
        pytest.skip("no PostgreSQL is installed (apt-get install postgresql)")
    root = os.geteuid() == 0  # as whom the server refuses to run
    user = {"user": "postgres", "group": "postgres"} if root else {}
    data = Path(tempfile.mkdtemp(prefix="speechgru-postgres-"))
    try:
        if root:
            shutil.chown(data, "postgres", "postgres")
        make = [programs / "initdb", "-D", data / "data", "-A", "trust", "-U", "speech", "--no-sync"]
        subprocess.run(make, check=True, capture_output=True, cwd=data, **user)  # type: ignore[call-overload]
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        serve = [programs / "postgres", "-D", data / "data", "-h", "127.0.0.1", "-p", str(port), "-k", data]
        with open(tmp_path_factory.mktemp("postgres") / "log", "wb") as log:
            server = subprocess.Popen(serve, stdout=log, stderr=log, cwd=data, **user)  # type: ignore[call-overload]
        try:
            ready = [programs / "pg_isready", "-h", "127.0.0.1", "-p", str(port), "-q"]
            wait_for(lambda: subprocess.run(ready).returncode == 0, 60)
            yield f"postgresql://speech@127.0.0.1:{port}/postgres"
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)
    finally:
        shutil.rmtree(data, ignore_errors=True)
