"""The folder of a run: its settings are the first thing written there, the mark that it is finished the last.

- ``settings.json``: what the run began with, so that it can go on without being given settings and is not taken for
  another run;
- ``checkpoint.safetensors``: how far the run is, and whether everything below is written;
- ``metrics.jsonl``, ``curves.png``, ``left_out.tsv``: what happened;
- ``model/``: the best epoch so far, at the end with its card;
- ``run.json``: what the run was and how it ended.

Each file is whole or not there. What a kill leaves undone, the resumed run does again, with the same result.
"""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from speechgru.errors import ConfigError, ModelError
from speechgru.evaluation.results import plain_command
from speechgru.files import write_atomically
from speechgru.plain import Record
from speechgru.training.checkpoint import NAME, read_state
from speechgru.training.progress import Progress
from speechgru.training.trainer_config import TrainerConfig

SETTINGS, SUMMARY = "settings.json", "run.json"

# Where a run is kept does not make it another run.
NOT_TOLD = ("run_dir", "resume", "overwrite")
# Where and how a run is computed, and what is no setting any more: another value does not make it another run.
FREE = set(NOT_TOLD) | {
    f"trainer.{name}"
    for name in ("device", "threads", "workers", "cache_mb", "checkpoint_s", "tensorboard", *TrainerConfig.RETIRED)
}
# The recordings may have moved while a run was stopped; the checkpoint knows whether they are the same.
FREE_ON_RESUME = FREE | {f"{data}.{name}" for data in ("data", "extra_data") for name in ("root", "cache", "cache_gb")}


def progress_of(folder: Path) -> Progress | None:
    """The progress kept in a run's folder, or None where no run was begun.

    Raises:
        ModelError: the checkpoint is damaged.
    """
    path = folder / NAME
    return Progress.read(read_state(path), path) if path.is_file() else None


def go_on(folder: Path) -> str:
    """How to go on with the run in ``folder``, for a message."""
    return f"go on with speechgru train {shlex.quote(f'run_dir={folder}')} resume=true"


def begin(folder: Path, settings: Record, words: Sequence[str]) -> None:
    """Removes an earlier run and writes ``settings.json``.

    Args:
        folder: of the run.
        settings: all of them as plain values.
        words: the command line that begins this run alone.
    """
    clear_run(folder)
    settings = settings | {"resume": False, "overwrite": False}
    told = [word for word in words if "=" in word or word == "~recipe"]
    places = ("-", "hydra.", *(f"{key}=" for key in NOT_TOLD))
    overrides = [word for word in told if not word.startswith(places)]
    command = plain_command(["speechgru", "train", *words])
    content = {"command": command, "overrides": overrides, "settings": settings}
    write_atomically(folder / SETTINGS, json.dumps(content, indent=2) + "\n")


def read_settings(folder: Path) -> Record | None:
    """What :func:`begin` wrote, or None where no run was begun.

    Raises:
        ModelError: it is damaged.
    """
    path = folder / SETTINGS
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        kinds = {"settings": dict, "command": str, "overrides": list}
        if not all(isinstance(content[key], kind) for key, kind in kinds.items()):
            raise TypeError("no settings in it")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is damaged ({error}); begin again with overwrite=true") from None
    return content


def earlier_run(folder: Path, settings: Record, resume: bool) -> Progress | None:
    """The progress of the run in ``folder``, if it is finished or goes on; None if a run is to begin.

    Args:
        folder: of the run.
        settings: all of those given now, as plain values.
        resume: whether the user said to go on.

    Raises:
        ConfigError: it is a run of other settings, or finished and its checkpoint is gone, or the user did not say to
            go on with it.
        ModelError: its checkpoint or settings are damaged.
    """
    before, stored = progress_of(folder), read_settings(folder)
    if before is None and (folder / SUMMARY).is_file():
        raise ConfigError(
            f"run_dir={folder} holds a finished run without its {NAME}; choose another run_dir=..., or discard it with "
            "overwrite=true"
        )
    if before is None and not (resume and stored):
        return None
    before = before or Progress()
    goes_on = resume and not before.finished
    free = FREE_ON_RESUME if goes_on else FREE
    other = differences(stored["settings"], settings, free) if stored is not None else []
    if other and goes_on:
        raise other_settings(folder, other)
    state = "a finished run" if before.finished else f"a run stopped after {before.epoch} epochs"
    if other:
        raise ConfigError(
            f"run_dir={folder} holds {state} of other settings: {'; '.join(other)}; choose another run_dir=..., or "
            "discard it with overwrite=true"
        )
    if not before.finished and not resume:
        raise ConfigError(
            f"run_dir={folder} holds {state}; {go_on(folder)}, or discard it with overwrite=true, or choose another "
            "run_dir=..."
        )
    return before


def other_settings(folder: Path, other: list[str]) -> ConfigError:
    """The error of a run that was to go on with ``other`` settings."""
    return ConfigError(
        f"run_dir={folder}: a run goes on with the settings it began with, but {'; '.join(other)}; {go_on(folder)} "
        f"alone, or choose another run_dir=... (init_from={folder / 'model'} begins with the weights of this one)"
    )


def not_shared(folder: Path) -> ConfigError:
    """The error of a run under torchrun where not all processes see the checkpoint that one sees."""
    return ConfigError(
        f"run_dir={folder}: torchrun goes on from one checkpoint, but not all processes see the same "
        f"{NAME} there; put run_dir on a disk that all machines share, or copy the first one's to each"
    )


def differences(stored: Record, given: Record, free: set[str]) -> list[str]:
    """The settings that differ, each as ``key=<stored> there, <given> here``; those in ``free`` are ignored.

    If two components have different names, only the names are given.
    """
    found = []
    for key in [*stored, *(key for key in given if key not in stored)]:
        one, other = stored.get(key), given.get(key)
        if one == other or key in free:
            continue
        if isinstance(one, dict) and isinstance(other, dict) and one.get("name") == other.get("name"):
            inner = {name.removeprefix(f"{key}.") for name in free if name.startswith(f"{key}.")}
            found += [f"{key}.{text}" for text in differences(one, other, inner)]
        else:
            found.append(f"{key}={_short(one)} there, {_short(other)} here")
    return found


def flat(settings: Record, prefix: str = "") -> dict[str, str]:
    """Settings by dotted key, each as a command line has it; the name of a component stands for the component."""
    values: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            if "name" in value:
                values[f"{prefix}{key}"] = value["name"]
            values |= flat({name: one for name, one in value.items() if name != "name"}, f"{prefix}{key}.")
        else:
            values[f"{prefix}{key}"] = _short(value)
    return values


def _short(value: object) -> str:
    """A value as a command line has it; of a component its name."""
    if isinstance(value, dict):
        return str(value.get("name", "{...}"))
    return str(value) if isinstance(value, str) else json.dumps(value)


def clear_run(folder: Path) -> None:
    """Removes what an earlier run left in ``folder``, and nothing else; where none was begun nothing is touched."""
    if not any((folder / name).is_file() for name in (SETTINGS, NAME, SUMMARY)):
        return
    if (folder / "model" / "config.yaml").is_file():
        shutil.rmtree(folder / "model")
    shutil.rmtree(folder / "tensorboard", ignore_errors=True)
    for name in ("metrics.jsonl", "curves.png", "left_out.tsv", SUMMARY, NAME, SETTINGS):
        (folder / name).unlink(missing_ok=True)


def write_run(folder: Path, summary: Record) -> None:
    """Writes ``run.json``: what the run was and how it ended."""
    write_atomically(folder / SUMMARY, json.dumps(summary, indent=2) + "\n")
