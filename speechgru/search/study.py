"""A study: trials of a search, drawn from the results of earlier ones, shared by any number of processes and machines.

Optuna keeps the trials and draws their settings. Every trial of a process that died is put back, and the next free
process takes it up. If that process can see the folder of the trial, it goes on with what was begun there.
"""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from speechgru.errors import ConfigError, Interrupted, SpeechGRUError
from speechgru.plain import Record
from speechgru.search.coordinate import coordinate_sampler
from speechgru.search.report import write_table
from speechgru.search.sampler import REPLACES, seeded_sampler
from speechgru.search.search import Search
from speechgru.search.storage import check_whole, open_storage, told_in_one_line
from speechgru.search.trial_line import trial_line
from speechgru.search.trial_run import TrialFailed, TrialRun

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial, Trial

ATTEMPTS = 3  # at a trial whose process died
SAME_FAILURES = 5  # after which a search ends, if no trial has gone well
# What a trial and a study are told to remember.
FOLDER, DRAWN, FAILURE = "folder", "drawn", "failure"
ATTEMPT, SURPLUS = "attempt", "surplus"
SEARCH = "search"
FILE = "study.db"  # the storage of a search that has no other


class Study:
    """The trials of a search, in its storage.

    Args:
        search: what is searched for. An existing study of that name is joined.
        run: what trains: called with settings and the run's folder.

    Raises:
        ConfigError: the storage cannot be used, or holds another search of that name.
    """

    def __init__(self, search: Search, run: Callable[[list[str], Path], TrialRun] = TrialRun) -> None:
        self.search, self.run = search, run
        if not search.storage:
            _check_there(search.folder)
        self._storage = open_storage(
            search.storage or f"sqlite:///{quote(str(search.folder / FILE))}", search.heartbeat_s, put_back
        )
        import optuna

        with told_in_one_line():
            self.study = optuna.create_study(
                storage=self._storage,
                study_name=search.name,
                direction="maximize" if search.higher else "minimize",
                load_if_exists=True,
                sampler=_sampler(search),
                pruner=_pruner(search),
            )
            check_whole(self.study, "storage=..." if search.storage else str(search.folder / FILE))
            self._check_same()
        self._failures: list[str] = []

    def _check_same(self) -> None:
        """A study goes on with the search it began with."""
        search = self.search
        mine: Record = {"settings": sorted(search.told), "metric": search.metric}
        mine |= {"ranges": {key: repr(one) for key, one in search.ranges.items()}}
        if search.sampler == "coordinate":
            mine["sampler"] = search.sampler
        stored = self.study.user_attrs.get(SEARCH)
        if stored is None:
            self.study.set_user_attr(SEARCH, mine)
        elif stored != mine:
            raise ConfigError(
                f"the study {search.name} began with another search ({_difference(stored, mine)}); choose another "
                "name=..., or give the settings and ranges it began with"
            )

    def trials(self) -> list[FrozenTrial]:
        """All trials that count, in order: not those that were put back, nor surplus ones."""
        trials = self.study.get_trials(deepcopy=False)
        replaced = {trial.user_attrs.get(REPLACES) for trial in trials}
        return [one for one in trials if one.number not in replaced and SURPLUS not in one.user_attrs]

    def go(self) -> None:
        """Runs trials until the planned number is reached and all of them have ended.

        Raises:
            Interrupted: Ctrl-C or SIGTERM; the trial that ran is put back.
            SpeechGRUError: the first trials all failed alike, or the storage went away.
        """
        waits = False
        with told_in_one_line():
            try:
                while True:
                    self._fail_the_dead()
                    trials = self.trials()
                    ended = sum(one.state.is_finished() for one in trials)
                    running = sum(one.state.name == "RUNNING" for one in trials)
                    if ended >= self.search.trials:
                        return
                    if ended + running < self.search.trials:
                        self._one()
                        continue
                    if not waits:
                        after = (
                            f"one that is dead is taken up {4 * self.search.heartbeat_s} s after its last sign of life"
                        )
                        print(f"waiting for other processes' trials ({running}); {after}", file=sys.stderr)
                        waits = True
                    time.sleep(min(5, self.search.heartbeat_s))
            except KeyboardInterrupt:
                ended = sum(one.state.is_finished() for one in self.trials())
                raise Interrupted(
                    f"interrupted after {ended} of {self.search.trials} trials; the same command goes on",
                    signal.SIGINT,
                ) from None

    def _fail_the_dead(self) -> None:
        import warnings

        import optuna

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            optuna.storages.fail_stale_trials(self.study)

    def _one(self) -> None:
        """Draws a trial and runs it."""
        import optuna

        number = -1

        def objective(trial: Trial) -> float:
            nonlocal number
            number = trial.number
            return self._train(trial)

        try:
            self.study.optimize(objective, n_trials=1, catch=(TrialFailed,))
        except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
            if number < 0 or not self.study.get_trials(deepcopy=False)[number].state.is_finished():
                raise
            # The machine slept longer than others wait for a dead process; the trial was put back, and is another's
            # now.
            print(f"trial {number}: was taken for dead, and is run again", file=sys.stderr)
            return
        trial = self.study.get_trials(deepcopy=False)[number]
        if SURPLUS in trial.user_attrs:
            return
        print(trial_line(trial, self.trials(), self.search), file=sys.stderr, flush=True)
        write_table(self.search, self.trials())
        self._check_failures(trial)

    def _check_failures(self, trial: FrozenTrial) -> None:
        """Reports now, and not after all trials, a setting that no trial can have."""
        if FAILURE not in trial.user_attrs:
            return
        self._failures.append(trial.user_attrs[FAILURE])
        well = any(one.state.name in ("COMPLETE", "PRUNED") for one in self.trials())
        if not well and len(self._failures) >= SAME_FAILURES and len(set(self._failures)) == 1:
            raise SpeechGRUError(f"the first {len(self._failures)} trials all failed: {self._failures[0]}")

    def _train(self, trial: Trial) -> float:
        """Trains one setting; returns the validation figure of the epoch that is kept."""
        import optuna

        search = self.search
        earlier = [one for one in self.trials() if one.number < trial.number]
        if len(earlier) >= search.trials:  # several processes began the last one at once
            trial.set_user_attr(SURPLUS, True)
            raise TrialFailed("one too many")
        try:
            drawn = {key: one.draw(trial, key) for key, one in search.ranges.items()}
            name = trial.user_attrs.get(FOLDER, f"{trial.number:04d}")
            trial.set_user_attr(FOLDER, name)
            trial.set_user_attr(DRAWN, drawn)
            last = int(drawn.get("trainer.epochs", search.epochs))
            words = [*search.flags, *search.words, *(f"{key}={value}" for key, value in drawn.items())]
            with self.run(words, search.folder / "trials" / name) as run:
                for epoch, value in run.epochs(search.metric):
                    if not math.isfinite(value):
                        continue
                    trial.report(value, epoch)
                    if epoch < last and trial.should_prune():
                        raise optuna.TrialPruned
                figure = run.figure(search.higher)
            if not math.isfinite(figure):
                raise TrialFailed(f"its validation {search.metric} is not finite")
            return figure
        except TrialFailed as error:
            trial.set_user_attr(FAILURE, str(error))
            raise
        except KeyboardInterrupt:
            put_back(self.study, self.study.get_trials(deepcopy=False)[trial.number], died=False)
            raise


def put_back(study: optuna.Study, trial: FrozenTrial, died: bool = True) -> None:
    """Queues the settings of an unfinished trial for the next free process; after three deaths it fails."""
    attempt = trial.user_attrs.get(ATTEMPT, 1)
    if died and attempt >= ATTEMPTS:
        return
    kept = {FOLDER: trial.user_attrs.get(FOLDER, f"{trial.number:04d}")}
    params = trial.params if DRAWN in trial.user_attrs else {}  # of which some may be missing: all are drawn again
    study.enqueue_trial(params, kept | {REPLACES: trial.number, ATTEMPT: attempt + died})


def _check_there(folder: Path) -> None:
    """Refuses to begin a new search among the trials of an old one whose file was removed.

    Raises:
        ConfigError: there are trials, but no file, or the empty one that SQLite leaves when it looks for it.
    """
    path = folder / FILE
    is_gone = not path.exists() or (path.is_file() and not path.stat().st_size)
    if is_gone and any((folder / "trials").glob("*")):
        raise ConfigError(
            f"{path}: is not there or empty, but {folder / 'trials'} holds trials; put it back, give the storage=... "
            "they were begun with, or choose another run_dir=..."
        )


def _sampler(search: Search) -> optuna.samplers.BaseSampler:
    if search.sampler == "coordinate":
        return coordinate_sampler(search.ranges, search.higher)
    return seeded_sampler(search.seed)


def _pruner(search: Search) -> optuna.pruners.BasePruner:
    import optuna

    if search.pruner == "none":
        return optuna.pruners.NopPruner()
    if search.pruner == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=max(1, search.epochs), reduction_factor=3)
    # In the first epochs of a schedule a high learning rate looks worse than it will be.
    return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=search.epochs // 5 + 1)


def _difference(stored: Record, mine: Record) -> str:
    """What differs between two searches, in a few words."""
    found = []
    if stored.get("metric") != mine["metric"]:
        found.append(f"by {stored.get('metric')}, not {mine['metric']}")
    if stored.get("sampler") != mine.get("sampler"):
        found.append("another sampler")
    there, here = set(stored.get("settings", ())), set(mine["settings"])
    found += [f"{one} there" for one in sorted(there - here)] + [f"{one} here" for one in sorted(here - there)]
    ranges = stored.get("ranges", {})
    keys = {key for key in {**ranges, **mine["ranges"]} if ranges.get(key) != mine["ranges"].get(key)}
    return "; ".join(found + [f"another range of {key}" for key in sorted(keys)])
