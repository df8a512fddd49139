"""``speechgru train``: composes a run with Hydra and trains it, or goes on with one by its folder alone."""

from __future__ import annotations

import os
import sys
import typing
from pathlib import Path

from speechgru.commands.hydra_job import hydra_main
from speechgru.config import plain, read_plain
from speechgru.errors import ConfigError
from speechgru.evaluation.tasks import task_of
from speechgru.plain import Record
from speechgru.registry import name_of
from speechgru.training.run import TrainConfig, train
from speechgru.training.run_settings import differences, not_shared, other_settings, read_settings
from speechgru.training.run_table import read_runs, run_table


def run_hydra(words: list[str]) -> int:
    """Runs the training that the overrides ``words`` describe, or what Hydra's own flags ask for.

    ``run_dir=X resume=true`` alone, without a recipe or a corpus, goes on with the settings of the run in X. Only
    settings that change where and how it is computed may be added: ``FREE_ON_RESUME`` in ``run_settings.py``.
    """
    folder = _folder_alone(words)
    stored = read_settings(folder) if folder is not None else None
    follows = os.environ.get("RANK", "0") != "0"  # only the first process gives the messages below
    if folder is not None and stored is None and follows:
        raise not_shared(folder)
    if folder is not None and not folder.is_dir():
        raise ConfigError(f"run_dir={folder} holds no run to go on with; begin one: recipe=... or data=...")
    if folder is not None and stored is not None:
        _run(read_plain(_resumed(folder, stored["settings"], words)), folder, words)
        return 0
    folders: list[Path] = []

    def run(config: TrainConfig, folder: Path, words: list[str]) -> None:
        folders.append(folder)
        if many:  # each has a folder of its own
            words = [*(word for word in words if not word.startswith("run_dir=")), f"run_dir={folder}"]
        _run(config, folder, words)

    many = not {"-m", "--multirun"}.isdisjoint(words)
    try:
        return hydra_main("train", words, run)
    finally:
        if folders and many:
            print(run_table(read_runs(folders)), file=sys.stderr)


def _folder_alone(words: list[str]) -> Path | None:
    """The folder of ``run_dir=X resume=true`` without a recipe or a corpus; None where the words say more or less."""
    given = dict(word.partition("=")[::2] for word in words)
    more = any(word.startswith("-") or "=" not in word for word in words)
    if given.get("resume", "").lower() != "true" or more or {"recipe", "data"} & set(given):
        return None
    if "run_dir" in given:
        return Path(given["run_dir"])
    return Path("runs", given["name"]) if "name" in given else None


def _resumed(folder: Path, stored: Record, words: list[str]) -> Record:
    """The stored settings with the few that may change.

    Raises:
        ConfigError: another setting is changed, or a word is not a setting.
    """
    from omegaconf import OmegaConf

    try:
        given = OmegaConf.merge(OmegaConf.create(stored), OmegaConf.from_dotlist(words))
        settings = typing.cast(Record, OmegaConf.to_container(given))
    except Exception as error:  # of omegaconf or its YAML
        raise ConfigError(f"{' '.join(words)}: {' '.join(str(error).split())}") from error
    swapped = [key for key, value in settings.items() if isinstance(stored.get(key), dict) and isinstance(value, str)]
    if swapped:  # another component
        raise other_settings(folder, differences(stored, settings, set(stored) - set(swapped)))
    return settings | {"run_dir": str(folder)}


def _run(config: TrainConfig, folder: Path, words: list[str]) -> None:
    progress = train(config, folder, plain(config), words)
    if os.environ.get("RANK", "0") != "0":
        return  # only one of torchrun's processes prints
    head = name_of("head", config.head)
    monitor = task_of(head).monitor(config.trainer.monitor, head)
    which = "last" if config.trainer.keep_last else "best"
    figure = "" if progress.best_figure is None else f", {which} validation {monitor} {progress.best_figure:.4f}"
    print(
        f"{progress.epoch} epochs in {progress.seconds:.0f} s{figure} (epoch {progress.best_epoch})\n"
        f"learning curves: {folder / 'curves.png'}\n"
        f"next: speechgru evaluate model={folder / 'model'}",
        file=sys.stderr,
    )
    print(folder / "model")
