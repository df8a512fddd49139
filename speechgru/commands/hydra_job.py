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
from speechgru.errors import ConfigError, Interrupted, SpeechGRUError
from speechgru.shipped import conf_dir

MULTIRUN = ("-m", "--multirun")


def hydra_main(root: str, words: list[str], task: Callable[[Any, Path, list[str]], None]) -> int:
    """Runs ``task`` on the config of ``root``, the run's folder and the words of a command that does this job alone.

    Hydra calls it once per job of a multirun. Each job is told with its overrides; one that fails is told at once, and
    the others go on; only an interrupted one ends them all.

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
        own, folder = list(HydraConfig.get().overrides.task), Path(HydraConfig.get().runtime.output_dir)
        if not Path(config.get("run_dir", folder)).is_absolute():
            folder = Path(os.path.relpath(folder))  # as it was given
        if chosen.multirun:
            print(f"{folder}: {' '.join(_swept(own, chosen.overrides))}", file=sys.stderr, flush=True)
        try:
            task(to_dataclass(root, config), folder, [*(flag for flag in flags if flag not in MULTIRUN), *own])
        except BrokenPipeError:
            raise
        except (SpeechGRUError, OSError) as error:
            # Hydra would print a traceback of its own; the command line prints one line.
            failed.append(error if isinstance(error, SpeechGRUError) else _of_the_system(error))
            if chosen.multirun:
                print(f"{folder}: {failed[-1]}", file=sys.stderr, flush=True)
            if chosen.multirun and isinstance(error, Interrupted):
                raise KeyboardInterrupt from error  # of other errors Hydra goes on with the next job

    os.environ["HYDRA_FULL_ERROR"] = "1"  # what is no SpeechGRUError is a bug: show where
    before = sys.argv
    sys.argv = [f"speechgru {root}", *flags, *chosen.overrides]
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=root)(job)()
    except KeyboardInterrupt:
        if not failed:
            raise
    except (HydraException, OmegaConfBaseException) as error:  # of a multirun, or while a config is shown
        raise ConfigError(explain(error, root, chosen.overrides, chosen.config_dir)) from error
    finally:
        sys.argv = before
    if failed and chosen.multirun and not isinstance(failed[-1], Interrupted):
        raise SpeechGRUError(f"{len(failed)} of the multirun's jobs failed; what each said stands above")
    if failed:
        raise failed[-1]
    return 0


def _of_the_system(error: OSError) -> SpeechGRUError:
    """A full or read-only disk, or a file that may not be read, in one line."""
    return SpeechGRUError(f"{error.filename or 'a file'}: {error.strerror or error}; mend that and try again")


def _swept(own: list[str], given: list[str]) -> list[str]:
    """Those of a job's own overrides that the command line gave in another way: several values, a range ..."""
    return [one for one in own if any(two.split("=")[0] == one.split("=")[0] and two != one for two in given)]


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
