"""From YAML, dataclasses and command-line overrides to one typed run.

The tree ``conf/`` holds defaults lists and values; every registered component's dataclass is a node of Hydra's
ConfigStore, so ``encoder=gru encoder.hidden_size=64`` needs no YAML file and a wrong key or type fails before anything
runs. ``commands/hydra_job.py`` runs what is composed here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import re
from pathlib import Path
from typing import Any

from speechgru.errors import ConfigError
from speechgru.evaluation.evaluate import EvaluateConfig
from speechgru.registry import disable, families
from speechgru.shipped import conf_dir
from speechgru.training.run import TrainConfig

SCHEMAS = {"train": TrainConfig, "evaluate": EvaluateConfig}


def store_components() -> None:
    """Puts the roots and every registered component into Hydra's ConfigStore."""
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    import speechgru.augment
    import speechgru.data.corpora
    import speechgru.recognizer
    import speechgru.training.optimizer
    import speechgru.training.schedule  # noqa: F401  imports register components

    store = ConfigStore.instance()
    for root, schema in SCHEMAS.items():
        store.store(name=f"{root}_schema", node=schema)
    for family, entries in families().items():
        for name, entry in list(entries.items()):
            try:
                node = OmegaConf.structured(entry.config)
            except OmegaConfBaseException as error:
                disable(family, name, error)
                continue
            for field in dataclasses.fields(entry.config):
                if "family" in field.metadata:
                    # cell=... is a choice of the run; the encoder's own field follows it.
                    node[field.name] = f"${{{field.metadata['family']}}}"
                elif "follows" in field.metadata:
                    node[field.name] = f"${{{field.metadata['follows']}}}"
            store.store(group=family, name=name, node=node)


def compose(root: str, overrides: list[str], config_dir: str | None = None) -> Any:
    """The typed config of ``root`` (``train`` or ``evaluate``) with ``overrides`` such as ``encoder.hidden_size=64``.

    Args:
        root: the file in ``conf/``.
        overrides: as on the command line.
        config_dir: a folder of the user's own YAML files, searched after ours.

    Raises:
        ConfigError: an unknown key or option (the nearest one is named), a wrong type, or a value out of range.
    """
    return to_dataclass(root, compose_untyped(root, overrides, config_dir))


def compose_untyped(root: str, overrides: list[str], config_dir: str | None = None) -> Any:
    """The same as Hydra's DictConfig, whose values may still be missing or out of range.

    Raises:
        ConfigError: an unknown key or option (the nearest one is named), or a wrong type.
    """
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    store_components()
    GlobalHydra.instance().clear()
    if config_dir is not None:
        if not Path(config_dir).is_dir():
            raise ConfigError(f"--config-dir {config_dir}: no such folder")
        overrides = [*overrides, f"hydra.searchpath=['file://{Path(config_dir).resolve()}']"]
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        try:
            config = hydra.compose(root, overrides=overrides)
        except Exception as error:
            raise ConfigError(explain(error, root, overrides, config_dir)) from error
    # Hydra lets +key=value into typed configs, where it would then be ignored.
    strange = _strange_keys(config)
    if strange:
        raise ConfigError(_not_a_setting(strange[0], [key for key in _keys(config) if key not in strange], root))
    return config


def refuse_null_groups(overrides: list[str]) -> None:
    """``augment=null`` is no option of a group but the way to empty a value; Hydra's own answer is a traceback.

    Raises:
        ConfigError: with the override that leaves the group out.
    """
    for override in overrides:
        group, _, options = override.lstrip("+").partition("=")
        if "null" in options.split(",") and _options(group, None):
            raise ConfigError(f"{group}=null: a group has no option null; ~{group} leaves it out")


def to_dataclass(root: str, config: Any) -> Any:
    """The dataclasses of a composed config of ``root``, resolved and range-checked.

    Raises:
        ConfigError: a value is missing, unresolvable or out of range.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    schema = SCHEMAS[root]
    names = [field.name for field in dataclasses.fields(schema)]
    missing = sorted(key for key in OmegaConf.missing_keys(config) if key.split(".")[0] in names)
    if missing:
        mend = (
            "choose a recipe (recipe=...) or a corpus (data=...)" if missing[0] == "data" else f"add {missing[0]}=..."
        )
        raise ConfigError(f"{missing[0]} has no value; {mend}")
    values = {}
    for name in names:
        try:
            value = config[name]
            values[name] = OmegaConf.to_object(value) if OmegaConf.is_config(value) else value
        except OmegaConfBaseException as error:
            raise ConfigError(_first_line(error)) from error
        except ConfigError as error:
            raise ConfigError(str(error) if str(error).startswith(name) else f"{name}.{error}") from error
    return schema(**values)


def plain(config: Any) -> dict[str, Any]:
    """A composed config as plain values with components by name, for ``config.yaml`` of a run."""
    from speechgru.registry import to_plain

    values = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        family = "data" if field.name == "extra_data" else field.name
        values[field.name] = to_plain(value, family if family in families() and value is not None else None)
    return values


def read_plain(values: dict[str, Any]) -> TrainConfig:
    """The config of which :func:`plain` gave ``values``.

    Raises:
        ConfigError: a key or value that this version does not know.
    """
    from speechgru.registry import from_plain, read_dataclass

    values = dict(values)
    for name in list(values):
        family = "data" if name == "extra_data" else name
        if family in families():
            values[name] = None if values[name] is None else from_plain(values[name], family, name)
    return read_dataclass(TrainConfig, values, "settings")


def explain(error: Exception, root: str, overrides: list[str], config_dir: str | None) -> str:
    """One line for Hydra's and OmegaConf's errors, with the nearest key or option."""
    text = str(error) + " " + str(error.__cause__ or "")
    option = re.search(r"Could not find '([^']+)/([^'/]+)'", text)
    if option:
        group, name = option.groups()
        known = _options(group, config_dir)
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"{group}={name} is not known{hint} (known: {', '.join(known)})"
    unknown = re.search(r"(?:Could not override|Key|Could not delete from config\.) '([^']+)'", text)
    if unknown:
        key = unknown[1].split("@")[0]
        full = next((one.split("=")[0].lstrip("+~") for one in overrides if key in one.split("=")[0]), key)
        good = [one for one in overrides if one.split("=")[0].lstrip("+~") != full]
        keys: list[str] = []
        if good != overrides:
            with contextlib.suppress(ConfigError):  # a second mistake: the first one is told without a hint
                keys = _keys(compose_untyped(root, good, config_dir))
        return _not_a_setting(full, keys, root)
    return _first_line(error)


def _not_a_setting(key: str, keys: list[str], root: str) -> str:
    group = key.split(".")[0]
    if group != key and group in keys and not any(one.startswith(f"{group}.") for one in keys):
        return f"{key}: {group} has no value yet, so it has no settings; add {group}=... as well"
    near = _nearest(key, keys)
    hint = f"; did you mean {near}?" if near else ""
    return f"{key} is not a setting{hint} (speechgru {root} --cfg job lists them all)"


def _nearest(key: str, keys: list[str]) -> str | None:
    """The setting most likely meant: a neighbour by its initials or letters, the same name elsewhere, a like path."""
    parent, _, name = key.rpartition(".")
    keys = [one for one in keys if not f"{key}.".startswith(f"{one}.")]
    neighbours = {one.rpartition(".")[2]: one for one in keys if one.rpartition(".")[0] == parent}
    elsewhere = {one.rpartition(".")[2]: one for one in keys if not one.startswith("hydra.")}
    for leaves in (neighbours, elsewhere):
        for leaf, one in leaves.items():
            if name in (leaf, "".join(word[:1] for word in leaf.split("_"))):
                return one
        close = difflib.get_close_matches(name, leaves, n=1, cutoff=0.5 if leaves is neighbours else 0.8)
        if close:
            return leaves[close[0]]
    return next(iter(difflib.get_close_matches(key, keys, n=1)), None)


def _options(group: str, config_dir: str | None) -> list[str]:
    from hydra.core.config_store import ConfigStore

    folders = [conf_dir(), *([Path(config_dir)] if config_dir is not None else [])]
    options = {path.stem for folder in folders for path in (folder / group).glob("*.yaml")}
    with contextlib.suppress(OSError):  # a group of YAML files alone
        options |= {name.removesuffix(".yaml") for name in ConfigStore.instance().list(group)}
    return sorted(options)


def _strange_keys(config: Any, prefix: str = "") -> list[str]:
    """The keys below ``config`` that the dataclasses do not have."""
    from omegaconf import DictConfig, OmegaConf

    if not isinstance(config, DictConfig) or config._is_none() or config._is_missing() or config._is_interpolation():
        return []
    kind = OmegaConf.get_type(config)
    known = {field.name for field in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else set(config)
    strange = []
    for key in config:
        strange += _strange_keys(config._get_node(key), f"{prefix}{key!s}.") if key in known else [prefix + str(key)]
    return strange


def _keys(config: Any, prefix: str = "") -> list[str]:
    from omegaconf import DictConfig

    keys = []
    for key in config:
        node = config._get_node(key)
        keys.append(prefix + str(key))
        if isinstance(node, DictConfig) and not node._is_none() and not node._is_missing():
            keys += _keys(node, f"{prefix}{key!s}.")
    return keys


def _first_line(error: BaseException) -> str:
    """What an error of Hydra or OmegaConf says, without the lines that speak of Python types."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    cause = error.__cause__
    if cause is not None and not isinstance(error, ConfigError) and len(lines) < 2 and str(cause):
        lines.append(str(cause).splitlines()[0])
    return " ".join(dict.fromkeys(line for line in lines if not line.startswith(("object_type", "reference_type"))))
