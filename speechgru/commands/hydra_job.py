"""Runs a command whose settings Hydra composes: its flags, one job or many, and one line for every error of a user."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from speechgru.config import compose_untyped, explain, refuse_null_groups, store_components, to_dataclass
from speechgru.errors import ConfigError, SpeechGRUError
from speechgru.shipped import conf_dir
from speechgru.training.trainer import TrainingInterrupted


def hydra_main(root: str, words: list[str], task: Callable[[Any, Path], None]) -> int:
    """Runs ``task`` on the typed config of ``root`` and the run's folder, through Hydra, once per job of a multirun.

    A job of a multirun that fails is told at once, and the others go on; only an interrupted one ends them all.

    Args:
        root: ``train`` or ``evaluate``.
        words: the command line: overrides and Hydra's own flags (--cfg job, --multirun, --help, --resolve ...).
        task: what to do.

    Raises:
        ConfigError: the flags or overrides are wrong; raised before anything runs.
        SpeechGRUError: what the task raised; of a multirun, how many of its jobs failed, after the last one.
    """
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    chosen = _parse(words)
    # Hydra's own parser refuses flags between overrides, so they go first.
    flags = list(words)
    for override in chosen.overrides:
        flags.remove(override)
    store_components()
    refuse_null_groups(chosen.overrides)
    if not (chosen.multirun or chosen.help or chosen.hydra_help or chosen.info or chosen.shell_completion):
        config = compose_untyped(root, chosen.overrides, chosen.config_dir)
        if not chosen.cfg:  # a config is shown before it is complete, too
            to_dataclass(root, config)
    failed: list[SpeechGRUError] = []

    def job(config: Any) -> None:
        try:
            task(to_dataclass(root, config), Path(HydraConfig.get().runtime.output_dir))
        except SpeechGRUError as error:
            # Hydra would print a traceback of its own; the command line prints one line.
            failed.append(error)
            if chosen.multirun:
                print(f"{' '.join(HydraConfig.get().overrides.task)}: {error}", file=sys.stderr, flush=True)
            if chosen.multirun and isinstance(error, TrainingInterrupted):
                raise KeyboardInterrupt from error  # Hydra would begin the next job

    os.environ["HYDRA_FULL_ERROR"] = "1"  # what is no SpeechGRUError is a bug: show where
    before = sys.argv
    sys.argv = [f"speechgru {root}", *flags, *chosen.overrides]
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=root)(job)()
    except (HydraException, OmegaConfBaseException) as error:  # of a multirun, or while a config is shown
        raise ConfigError(explain(error, root, chosen.overrides, chosen.config_dir)) from error
    finally:
        sys.argv = before
    if failed and chosen.multirun:
        raise SpeechGRUError(f"{len(failed)} of the multirun's jobs failed; what each said stands above")
    if failed:
        raise failed[0]
    return 0


def _parse(words: list[str]) -> argparse.Namespace:
    """The flags and overrides as Hydra's own parser reads them, with what makes no sense here refused."""
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()
    known = [name for action in parser._actions for name in action.option_strings]

    def refuse(message: str) -> NoReturn:
        raise ConfigError(message)

    parser.error = refuse  # type: ignore[method-assign]
    for word in words:
        name = word.split("=")[0]
        if name.startswith("--") and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(f"{name} is not an option{hint}")
    chosen = parser.parse_intermixed_args(words)
    for name in ("config_name", "config_path", "experimental_rerun"):
        if getattr(chosen, name) is not None:
            flag = f"--{name.replace('_', '-')}"
            raise ConfigError(f"{flag} is not supported; --config-dir FOLDER adds YAML files, recipe=NAME chooses one")
    return chosen
