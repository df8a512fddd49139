"""From the command line of ``speechgru tune`` to a search, and what is reported about it at the end."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from speechgru.commands.hydra_job import full_settings, parse_flags
from speechgru.commands.tune_ranges import read_range
from speechgru.commands.tune_recipe import write_recipe
from speechgru.config import compose, hydra_of
from speechgru.errors import ConfigError, SpeechGRUError
from speechgru.evaluation.tasks import task_of
from speechgru.registry import name_of
from speechgru.search.coordinate import count_of_trials
from speechgru.search.ranges import Numbers, Range
from speechgru.search.report import best_table, write_report
from speechgru.search.search import Search
from speechgru.search.storage import check_installed, told_in_one_line
from speechgru.search.study import FILE, Study
from speechgru.search.trial_line import best_of
from speechgru.training.run_settings import FREE_ON_RESUME

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from speechgru.training.run import TrainConfig

_NUMBERS = ("trials", "heartbeat_s")
_OWN = (*_NUMBERS, "storage", "sampler", "pruner", "run_dir")
_OF_TUNE_LM = {
    "--lm", "--lexicon", "--closed", "--beam_size", "--lm_weights", "--word_bonuses", "--prior_weights", "--foreign",
}  # fmt: skip


def search_for_settings(words: list[str]) -> None:
    """Searches as a command line describes, prints a line for each trial on stderr, the recipe's file on stdout.

    Raises:
        ConfigError: a setting or range is wrong, there is nothing to search, the extra is not installed, or the study's
            storage cannot be used.
        Interrupted: Ctrl-C or SIGTERM.
        SpeechGRUError: no trial gave a figure.
    """
    search, config_dir = read_search(words)
    check_installed()
    search.folder.mkdir(parents=True, exist_ok=True)
    study = Study(search)
    with told_in_one_line():
        before = study.trials()
    kept = f"{search.folder / FILE}" if not search.storage else "the storage"
    print(
        f"{search.name}: {search.trials} trials, validation {search.metric}, trials so far {len(before)} ({kept})",
        file=sys.stderr,
    )
    try:
        study.go()
    except (SpeechGRUError, OSError):
        with contextlib.suppress(SpeechGRUError, OSError):  # the first error is reported, not one of the report
            _report(study, config_dir)
        raise
    recipe = _report(study, config_dir)
    if recipe is not None:
        print(recipe)


def _report(study: Study, config_dir: str | None) -> Path | None:
    """Writes and prints what was found so far; returns the recipe of the best settings, if one could be written.

    Raises:
        SpeechGRUError: no trial gave a figure, or the storage went away.
    """
    search = study.search
    with told_in_one_line():
        trials = study.trials()
        write_report(search, study.study, trials)
    best = best_of(trials, search.higher)
    if best is None:
        reasons = [one.user_attrs["failure"] for one in trials if "failure" in one.user_attrs]
        raise SpeechGRUError(f"none of {len(trials)} trials gave a figure; the last one said: {(reasons or ['?'])[-1]}")
    return _tell_best(search, best, trials, config_dir)


def read_search(words: list[str]) -> tuple[Search, str | None]:
    """The search that a command line describes, checked; and the folder of the user's own YAML files."""
    _not_tune_lm(words)
    own = {word.partition("=")[0]: word.partition("=")[2] for word in words if word.partition("=")[0] in _OWN}
    numbers = {key: _number(key, own[key]) for key in _NUMBERS if key in own}
    chosen = parse_flags("train", [word for word in words if word.partition("=")[0] not in _OWN])
    if chosen.multirun or chosen.cfg or chosen.package or chosen.resolve:
        raise ConfigError("tune takes ranges and runs many trainings; --multirun, --cfg and others are for train")
    given = full_settings("train", chosen)
    for word in given:
        if word.partition("=")[0] in ("resume", "overwrite"):
            raise ConfigError(f"{word}: the same command goes on with a search; another name=... begins a new one")
    ranges, fixed = _ranges(given, chosen.config_dir)
    configs = _checked(fixed, ranges, chosen.config_dir)
    metric, higher = _metric(configs)
    flags = [] if chosen.config_dir is None else ["--config-dir", str(Path(chosen.config_dir).resolve())]
    search = Search(
        name=configs[0].name,
        folder=Path(own.get("run_dir") or Path("runs", "tune", configs[0].name)),
        storage=own.get("storage", ""),
        metric=metric,
        higher=higher,
        ranges=ranges,
        words=fixed,
        flags=flags,
        told=[word for word in fixed if word.partition("=")[0] not in FREE_ON_RESUME],
        epochs=max(one.trainer.epochs for one in configs),
        seed=configs[0].seed,
    )
    more = {key: own[key] for key in ("sampler", "pruner") if key in own}
    search = dataclasses.replace(search, **numbers, **more)  # type: ignore[arg-type]
    if search.sampler == "coordinate":  # a sampler that comes to an end
        search = dataclasses.replace(search, trials=min(search.trials, count_of_trials(ranges)))
    return search, chosen.config_dir


def _not_tune_lm(words: list[str]) -> None:
    """Gives the new name to a user who means the command that was called tune before."""
    flags = {word.partition("=")[0] for word in words} & _OF_TUNE_LM
    models = [word for word in words if os.path.isfile(os.path.join(word, "config.yaml"))]
    if flags or models:
        command = shlex.join(["speechgru", "tune-lm", *words])
        raise ConfigError(f"tune searches for settings of a training; the weight of a language model: {command}")


def _ranges(words: list[str], config_dir: str | None) -> tuple[dict[str, Range], list[str]]:
    """What to try, by key, and the words that give one value.

    Raises:
        ConfigError: there is nothing to try.
    """
    ranges: dict[str, Range] = {}
    fixed = []
    with hydra_of("train", config_dir):
        for word in words:
            found = read_range(word) if word != "~recipe" else None
            if found is None:
                fixed.append(word)
            elif found[0] in ("recipe", "name"):
                raise ConfigError(f"{word}: a search has one {found[0]}")
            else:
                ranges[found[0]] = found[1]
    if not ranges:
        raise ConfigError("nothing to search: give a range, such as 'optimizer.learning_rate=log(1e-4,1e-2)'")
    return ranges, fixed


def _checked(fixed: list[str], ranges: dict[str, Range], config_dir: str | None) -> list[TrainConfig]:
    """The configs of the trainings at the ends of the ranges; all of them are legal.

    Raises:
        ConfigError: one of them is not legal.
    """
    first = {key: one.samples()[0] for key, one in ranges.items()}
    others = [{**first, key: value} for key, one in ranges.items() for value in one.samples()[1:]]
    configs = []
    for values in [first, *others]:
        words = [*fixed, *(f"{key}={value}" for key, value in values.items())]
        try:
            configs.append(compose("train", words, config_dir))
        except ConfigError as error:
            drawn = any(isinstance(one, Numbers) for one in ranges.values())
            if drawn and str(error).endswith("a whole number is expected"):
                raise ConfigError(f"{error}; log(8,64) and int(interval(8,64)) are whole numbers") from error
            raise
    return configs


def _metric(configs: list[TrainConfig]) -> tuple[str, bool]:
    """The validation figure that trials are compared by, and whether higher is better.

    Raises:
        ConfigError: there is none, or it is not the same for all.
    """
    found = set()
    for config in configs:
        head = name_of("head", config.head)
        task = task_of(head)
        metric = task.monitor(config.trainer.monitor, head)
        found.add((metric, task.monitors[metric]))
    if len(found) > 1:
        raise ConfigError(f"{', '.join(sorted(name for name, _ in found))}: trials are compared by one figure")
    return found.pop()


def _number(key: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f"{key}={text}: a whole number is expected") from None


def _tell_best(search: Search, best: FrozenTrial, trials: list[FrozenTrial], config_dir: str | None) -> Path | None:
    """Prints the best trials and how to train the best settings; writes them as a recipe."""
    words = [*search.words, *(f"{key}={value}" for key, value in best.user_attrs["drawn"].items())]
    about = [
        f"Found by speechgru tune: trial {best.number} of {len(trials)}, "
        f"validation {search.metric} {best.values[0]:.4f}."
    ]
    recipe = write_recipe(search.folder, search.name, words, about, config_dir)
    print(best_table(search, trials), file=sys.stderr)
    train = ["speechgru", "train", *([str(recipe)] if recipe else [*search.flags, *words])]
    print(
        f"all trials: {search.folder / 'trials.csv'}, pictures beside it\n"
        f"the best model: {search.folder / 'trials' / best.user_attrs['folder'] / 'model'}\n"
        f"train it again: {shlex.join(train)}",
        file=sys.stderr,
    )
    return recipe
