"""Which settings change when a recipe gets another corpus than its own, or a run begins with a trained model.

Both work on the config that Hydra composed, before the settings of the command line are applied.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from speechgru.errors import ConfigError
from speechgru.model_folder import read_config
from speechgru.shipped import model_path

if TYPE_CHECKING:
    from omegaconf import DictConfig


def leave_out_foreign(config: DictConfig, chosen: Collection[str]) -> list[str]:
    """Removes those settings of a recipe that a component chosen instead of the recipe's own does not have.

    Args:
        config: the config composed of the choices.
        chosen: the parts of it that the command line chose, such as ``data``.

    Returns:
        The settings that were removed.

    Raises:
        ConfigError: a part that the command line did not choose has a setting that does not exist: the YAML file is
            wrong.
    """
    from omegaconf import OmegaConf, open_dict

    gone = []
    for key in _strange_keys(config):
        if key.partition(".")[0] not in chosen:
            raise ConfigError(f"{key} is not a setting; remove it from the YAML file that sets it")
        parent, _, leaf = key.rpartition(".")
        node = OmegaConf.select(config, parent)
        with open_dict(node):
            del node[leaf]
        gone.append(key)
    return gone


def leave_corpus_of_recipe(config: DictConfig, recipe: DictConfig, chosen: Collection[str]) -> list[str]:
    """Removes what a recipe says about its own corpus, if another corpus was chosen.

    Args:
        config: the config composed of the choices; it is changed.
        recipe: the config composed of the recipe alone.
        chosen: the parts of it that the command line chose.

    Returns:
        What was removed: ``extra_data``, ``background``, ``card``, and the folder of noises if it is inside the
        recipe's corpus.
    """
    from omegaconf import OmegaConf

    if OmegaConf.get_type(recipe, "data") in (None, OmegaConf.get_type(config, "data")):
        return []
    gone = []
    if config.extra_data is not None and "extra_data" not in chosen:
        config.extra_data = None
        gone.append("extra_data")
    for name in ("background", "card"):
        empty = OmegaConf.structured(OmegaConf.get_type(config, name))
        if config[name] != empty:
            config[name] = empty
            gone.append(name)
    noise = OmegaConf.select(config, "augment.noise")
    if noise is not None and OmegaConf.is_interpolation(noise, "folder"):
        noise.folder = ""
        gone.append("augment.noise.folder")
    return gone


def take_model(config: DictConfig, model: str, chosen: Collection[str]) -> None:
    """Puts a trained model's features, cell, front end and encoder into the config: its weights fit no others.

    Args:
        config: the config composed of the choices; it is changed.
        model: its folder, or the name of a shipped model.
        chosen: the parts that the command line chose.

    Raises:
        ConfigError: there is no such model, or the command line chose another component.
        ModelError: its folder is damaged.
    """
    from omegaconf import OmegaConf

    try:
        given = read_config(model_path(model))
    except ConfigError as error:
        raise ConfigError(f"init_from={error}") from None
    parts: dict[str, object] = {"features": given.features, "encoder": given.encoder}
    for name in ("cell", "front_end"):
        if any(field.name == name for field in dataclasses.fields(given.encoder)):
            parts[name] = getattr(given.encoder, name)
    for name, part in parts.items():
        kind = None if part is None else type(part)
        if name in chosen and OmegaConf.get_type(config, name) is not kind:
            raise ConfigError(
                f"{name}=...: init_from={model} has another {name}, and its weights fit no other; leave it out"
            )
        config[name] = None if part is None else OmegaConf.structured(part)
    for name in set(parts) & {"cell", "front_end"}:
        config.encoder[name] = f"${{{name}}}"  # so that cell.KEY=... reaches the encoder


def _strange_keys(config: object, prefix: str = "") -> Iterator[str]:
    """The keys below ``config`` that the dataclasses do not have."""
    from omegaconf import DictConfig, OmegaConf

    if not isinstance(config, DictConfig) or config._is_none() or config._is_missing() or config._is_interpolation():
        return
    kind = OmegaConf.get_type(config)
    known = {field.name for field in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else set(config)
    for key in list(config):
        if key in known:
            yield from _strange_keys(config._get_node(key), f"{prefix}{key!s}.")
        elif key != "hydra" or prefix:
            yield f"{prefix}{key!s}"
