"""The settings that a search found, as a recipe that ``speechgru train`` runs."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from speechgru.config import compose, hydra_of, plain
from speechgru.errors import ConfigError
from speechgru.files import write_atomically
from speechgru.overrides import is_choice, parse
from speechgru.plain import Record


def write_recipe(
    folder: Path, name: str, words: Sequence[str], about: Sequence[str], config_dir: str | None
) -> Path | None:
    """Writes ``folder/recipe/NAME_tuned.yaml``, which composes to the settings of ``words``.

    Args:
        folder: of the search.
        name: of the search.
        words: settings, each with one value.
        about: lines that say where the settings are from.
        config_dir: the user's own YAML files, among which the recipe that the search began with may be.

    Returns:
        The file; None where no recipe gives the same settings: a recipe of one corpus that was searched on another.
    """
    stem = re.sub(r"[^A-Za-z0-9_-]", "_", f"{name}_tuned")
    path = folder / "recipe" / f"{stem}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    with hydra_of("train", config_dir):
        base, choices, values = _parts(words, config_dir)
    if base is not None and config_dir is not None:
        own = Path(config_dir) / "recipe" / f"{base}.yaml"
        if own.is_file():  # one folder holds all that the new recipe needs
            shutil.copyfile(own, path.with_name(own.name))
    write_atomically(path, _yaml(base, choices, values | {"name": stem}, about))
    try:
        same = _settings([f"recipe={stem}"], str(folder)) == _settings(words, config_dir)
    except ConfigError:
        same = False
    if not same:
        path.unlink()
        return None
    return path


def _settings(words: Sequence[str], config_dir: str | None) -> Record:
    return {key: value for key, value in plain(compose("train", list(words), config_dir)).items() if key not in _PLACE}


_PLACE = ("name", "run_dir", "resume", "overwrite")


def _parts(words: Sequence[str], config_dir: str | None) -> tuple[str | None, dict[str, str], Record]:
    """The recipe to begin with, the component chosen in each group, and the values as a tree."""
    base: str | None = None
    choices: dict[str, str] = {}
    values: Record = {}
    for word in words:
        if word == "~recipe":
            continue
        override = parse(word)
        key = override.key_or_group
        if is_choice(override, config_dir):
            if key == "recipe":
                base = str(override.value())
                continue
            group = key if override.package is None else f"{key}@{override.package}"
            choices[group] = "null" if override.is_delete() else str(override.value())
            if override.is_delete():
                values[override.package or key] = None  # otherwise what the recipe sets in it would stay
            continue
        node = values
        *path, leaf = key.split(".")
        for part in path:
            node = node.setdefault(part, {})
        node[leaf] = override.value()
    return base, choices, values


def _yaml(base: str | None, choices: dict[str, str], values: Record, about: Sequence[str]) -> str:
    import yaml

    lines = ["# @package _global_", *(f"# {line}" for line in about), "defaults:"]
    lines += [f"  - {base}"] if base is not None else []
    lines += ["  - _self_", *(f"  - override /{group}: {option}" for group, option in choices.items()), ""]
    return "\n".join(lines) + "\n" + yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
