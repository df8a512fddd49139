"""Runs a command whose settings Hydra composes: its flags, one job or many, and one line for every error of a user."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from speechgru.config import compose_untyped, explain, hydra_of, to_dataclass
from speechgru.errors import ConfigError, Interrupted, SpeechGRUError
from speechgru.overrides import keys, nearest, not_a_setting, options, parse, quote

if TYPE_CHECKING:
    from omegaconf import DictConfig

Task = Callable[[Any, Path, list[str]], None]


def hydra_main(root: str, words: list[str], task: Task) -> int:
    """Runs ``task`` on the config of ``root``, the run's folder and the words of a command that does only this job.

    In a multirun the task is called once per job. A line announces each job with its overrides. A job that fails is
    reported at once, and the others go on; only an interrupted job ends them all.

    Args:
        root: ``train`` or ``evaluate``.
        words: the command line: settings and flags (--cfg job, --multirun, --resolve ...).
        task: what to do.

    Raises:
        ConfigError: the flags or settings are wrong; raised before anything runs.
        SpeechGRUError: what the task raised; for a multirun, after its last job, how many jobs failed.
    """
    chosen = parse_flags(root, words)
    settings = full_settings(root, chosen)
    if chosen.cfg:  # an incomplete config is shown, too
        print(_yaml(compose_untyped(root, settings, chosen.config_dir), chosen), end="")
    elif chosen.multirun:
        _run_many(root, settings, chosen.config_dir, task)
    else:
        config = compose_untyped(root, settings, chosen.config_dir, _tell)
        try:
            task(to_dataclass(root, config), Path(config.hydra.run.dir), words)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise _of_the_system(error) from error
    return 0


def _run_many(root: str, settings: list[str], config_dir: str | None, task: Task) -> None:
    """Every job of a multirun, by the sweeper and the launcher that the settings choose (Hydra's own: one by one)."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    for one in _each_value_once(root, settings, config_dir):
        to_dataclass(root, compose_untyped(root, one, config_dir))
    flags = [] if config_dir is None else ["--config-dir", config_dir]
    flags += [word for word in settings if word == "~recipe"]
    interrupted: list[Interrupted] = []

    def job(config: DictConfig) -> str:
        """What went wrong, empty if nothing did: a text comes back from a process of a launcher, too."""
        own, folder = list(HydraConfig.get().overrides.task), Path(HydraConfig.get().runtime.output_dir)
        if not Path(config.get("run_dir", folder)).is_absolute():
            folder = Path(os.path.relpath(folder))  # as it was given
        print(f"{folder}: {' '.join(_swept(own, settings))}", file=sys.stderr, flush=True)
        try:
            task(to_dataclass(root, compose_untyped(root, own, config_dir, _tell)), folder, [*flags, *own])
        except BrokenPipeError:
            raise
        except (SpeechGRUError, OSError) as error:
            # Hydra would print a traceback of its own; the command line prints one line.
            told = error if isinstance(error, SpeechGRUError) else _of_the_system(error)
            print(f"{folder}: {told}", file=sys.stderr, flush=True)
            if isinstance(error, Interrupted):
                interrupted.append(error)
                raise KeyboardInterrupt from error  # after other errors Hydra goes on with the next job
            return str(told)
        return ""

    with hydra_of(root, config_dir) as more:
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        try:
            returned = hydra.multirun(
                config_name=root,
                task_function=job,
                overrides=[*more, *(word for word in settings if word != "~recipe")],
            )
        except KeyboardInterrupt:
            if not interrupted:
                raise
            raise interrupted[0] from None
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(explain(error)) from error
    failed = [one for batch in returned or [] for one in batch if one.return_value]
    if failed:
        raise SpeechGRUError(f"{len(failed)} of the multirun's jobs failed; what each said stands above")


def _tell(line: str) -> None:
    if os.environ.get("RANK", "0") == "0":  # only one of torchrun's processes prints
        print(line, file=sys.stderr, flush=True)


def _of_the_system(error: OSError) -> SpeechGRUError:
    """A full or read-only disk, or a file that may not be read, in one line."""
    return SpeechGRUError(f"{error.filename or 'a file'}: {error.strerror or error}; fix that and try again")


def _swept(own: list[str], given: list[str]) -> list[str]:
    """The overrides of a job that the command line gave in another form: several values, a range ..."""
    return [one for one in own if any(two.split("=")[0] == one.split("=")[0] and two != one for two in given)]


def _each_value_once(root: str, settings: list[str], config_dir: str | None) -> Iterator[list[str]]:
    """Settings of single runs that together hold every value of a multirun: checked before the first run begins."""
    lists = []
    with hydra_of(root, config_dir):
        for one in map(parse, settings):
            if not one.is_sweep_override():
                lists.append([str(one.input_line)])
            elif one.is_discrete_sweep():  # a sweeper draws from the others
                lists.append([f"{one.get_key_element()}={value}" for value in one.sweep_string_iterator()])
                if not lists[-1]:
                    raise ConfigError(f"{one.input_line}: no option is called so")
    firsts = [values[0] for values in lists]
    yield firsts
    for place, values in enumerate(lists):
        for value in values[1:]:
            yield [*firsts[:place], value, *firsts[place + 1 :]]


def _yaml(config: DictConfig, chosen: argparse.Namespace) -> str:
    """What ``--cfg`` shows of a config: the job, Hydra's own settings or all; ``--package`` a part of it."""
    from omegaconf import OmegaConf, open_dict, read_write

    if chosen.package:
        part = OmegaConf.select(config, chosen.package)
        if part is None:
            known = list(keys(config))
            raise ConfigError(f"--package {chosen.package}: {not_a_setting(chosen.package, known)}")
        return OmegaConf.to_yaml(part, resolve=chosen.resolve) if OmegaConf.is_config(part) else f"{part}\n"
    with read_write(config), open_dict(config):
        for name in list(config):
            if (name == "hydra" and chosen.cfg == "job") or (name != "hydra" and chosen.cfg == "hydra"):
                del config[name]
    return OmegaConf.to_yaml(config, resolve=chosen.resolve)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(message)


def parse_flags(root: str, words: list[str]) -> argparse.Namespace:
    """The flags, and the other words as ``words``."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("words", nargs="*")
    parser.add_argument("-m", "--multirun", action="store_true")
    parser.add_argument("-c", "--cfg", choices=("job", "hydra", "all"))
    parser.add_argument("-p", "--package")
    parser.add_argument("--resolve", action="store_true")
    parser.add_argument("-cd", "--config-dir")
    flags = {name for action in parser._actions for name in action.option_strings}
    for place, word in enumerate(words):
        if word.startswith("--") and word.split("=")[0] not in flags:
            raise ConfigError(_mend_flag(root, word, words[place + 1 : place + 2], sorted(flags)))
    chosen = parser.parse_intermixed_args(words)
    if root == "train":
        _find_recipe(chosen)
    return chosen


def _find_recipe(chosen: argparse.Namespace) -> None:
    """A recipe may be given by its file, ``mine/recipe/NAME.yaml``: that is NAME with ``--config-dir mine``.

    Raises:
        ConfigError: there is no such file, or it is not where Hydra finds it.
    """
    for place, word in enumerate(chosen.words):
        path = Path(word.removeprefix("recipe="))
        if path.suffix not in (".yaml", ".yml") or "=" in str(path):
            continue
        if not path.is_file():
            raise ConfigError(f"{word}: no such file (speechgru recipes lists the recipes that ship)")
        if path.parent.absolute().name != "recipe" or path.suffix != ".yaml":
            raise ConfigError(f"{word}: a recipe is a file .yaml in a folder called recipe; put it there")
        if chosen.config_dir is not None:
            raise ConfigError(f"{word}: it lies in a folder of its own, so leave out --config-dir")
        chosen.words[place], chosen.config_dir = f"recipe={path.stem}", str(path.absolute().parent.parent)


def _mend_flag(root: str, word: str, following: list[str], flags: list[str]) -> str:
    """What to write instead of an unknown flag, which is most often a setting with dashes before it."""
    from omegaconf import OmegaConf

    flag, equals, value = word.partition("=")
    if flag in ("--config-name", "--config-path"):
        return f"{flag} is not supported; --config-dir FOLDER adds YAML files, recipe=NAME chooses one"
    config = compose_untyped(root, [])
    known = list(keys(config))
    name = flag.strip("-").replace("-", "_")
    near_flags = difflib.get_close_matches(flag, flags, n=1, cutoff=0.7)
    near = name if name in known else nearest(name, known)
    if near is None or (near.rpartition(".")[2] != name and near_flags):
        hint = f"; did you mean {near_flags[0]}?" if near_flags else ""
        return f"{flag} is not an option{hint} (settings have no dashes: key=value)"
    if not equals:
        switch = isinstance(OmegaConf.select(config, near), bool)
        value = "true" if switch else "..."
        if not switch and following and "=" not in following[0] and following[0][:1] != "-":
            value = following[0]
    return f"{flag} is not an option: settings have no dashes; write {near}={value}"


def full_settings(root: str, chosen: argparse.Namespace) -> list[str]:
    """The words as settings: a word alone is the recipe to train or the model to evaluate.

    Raises:
        ConfigError: there is no such recipe, or the word is something else.
    """
    alone = [word for word in chosen.words if "=" not in word and not word.startswith("~")]
    settings = [_in_full(root, word) for word in chosen.words if word not in alone]
    if any(word.startswith("=") for word in settings) or (any(word.endswith("=") for word in settings) and alone):
        raise ConfigError(f"{' '.join(chosen.words)}: settings are written key=value, without spaces")
    if not alone:
        return _with_recipe(settings) if root == "train" else settings
    if root == "evaluate":
        return [quote("model", alone[0]) if len(alone) == 1 else _list_of(alone), *settings]
    recipes = options("recipe", chosen.config_dir)
    for word in alone:
        if word not in recipes:
            raise ConfigError(_mend_word(root, word, recipes))
    return [f"recipe={','.join(alone)}", *settings]


def _in_full(root: str, word: str) -> str:
    """The phrase of a wake word may be given without ``data.``, and without quotes for Hydra."""
    key, _, value = word.partition("=")
    return quote("data.phrase", value) if root == "train" and key == "phrase" else word


def _with_recipe(settings: list[str]) -> list[str]:
    """The settings; with the recipe for own recordings if they name such a corpus but no recipe, head or units.

    ``~recipe`` asks for no recipe.
    """
    groups = {word.partition("=")[0] for word in settings}
    if not {"data=folder", "data=manifest"} & set(settings) or groups & {"recipe", "~recipe", "head", "units"}:
        return settings
    return ["recipe=own_recordings", *settings]


def _list_of(models: list[str]) -> str:
    return "model=[" + ",".join(quote("", model).removeprefix("=") for model in models) + "]"


def _mend_word(root: str, word: str, recipes: list[str]) -> str:
    if Path(word).is_dir():
        return f"{word} is a folder; to train on the recordings in it, write data=folder {quote('data.root', word)}"
    if word in keys(compose_untyped(root, [])):
        return f"{word} has no value; write {word}=..."
    near = difflib.get_close_matches(word, recipes, n=1)
    hint = f"; did you mean {near[0]}?" if near else " (speechgru recipes lists them)"
    return f"{word} is no recipe{hint}; settings are written key=value"
