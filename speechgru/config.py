"""From YAML, dataclasses and command-line overrides to one typed run.

The tree ``conf/`` holds defaults lists and values; every registered component's dataclass is a node of Hydra's
ConfigStore, so ``encoder=gru encoder.hidden_size=64`` needs no YAML file and a wrong key or type fails before anything
runs. ``commands/hydra_job.py`` runs what is composed here.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

from speechgru.adaptation import leave_corpus_of_recipe, leave_out_foreign, take_model
from speechgru.errors import ConfigError
from speechgru.evaluation.evaluate import EvaluateConfig
from speechgru.overrides import apply, is_choice, parse
from speechgru.plain import Record
from speechgru.registry import disable, families
from speechgru.settings import Setting, describe
from speechgru.shipped import conf_dir
from speechgru.training.run import TrainConfig

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

SCHEMAS: dict[str, type[TrainConfig] | type[EvaluateConfig]] = {"train": TrainConfig, "evaluate": EvaluateConfig}


def register_components() -> None:
    """Imports every subpackage whose components a run can choose."""
    import speechgru.augment
    import speechgru.data.corpora
    import speechgru.recognizer
    import speechgru.synthesis
    import speechgru.training.optimizer
    import speechgru.training.schedule  # noqa: F401  imports register components


def store_components() -> None:
    """Puts the roots and every registered component into Hydra's ConfigStore."""
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    register_components()
    store = ConfigStore.instance()
    for root, schema in SCHEMAS.items():
        store.store(name=f"{root}_schema", node=schema)
    for family, entries in families().items():
        for name, entry in list(entries.items()):
            stored = store.repo.get(family, {}).get(f"{name}.yaml")
            if stored is not None and OmegaConf.get_type(stored.node) is entry.config:
                continue  # stored by an earlier call: the store lives as long as the process
            try:
                node = OmegaConf.structured(entry.config)
            except OmegaConfBaseException as error:
                disable(family, name, error)
                continue
            for field in dataclasses.fields(entry.config):
                if "family" in field.metadata:
                    # cell=... is a choice of the run; the encoder's own field follows it.
                    node[field.name] = f"${{{field.metadata['family']}}}"
            # A recipe may set what the component of another corpus does not have: adaptation.py removes it.
            OmegaConf.set_struct(node, False)
            store.store(group=family, name=name, node=node)


@overload
def compose(root: Literal["train"], overrides: list[str], config_dir: str | None = None) -> TrainConfig: ...
@overload
def compose(root: Literal["evaluate"], overrides: list[str], config_dir: str | None = None) -> EvaluateConfig: ...
def compose(root: str, overrides: list[str], config_dir: str | None = None) -> TrainConfig | EvaluateConfig:
    """The typed config of ``root`` (``train`` or ``evaluate``) with ``overrides`` such as ``encoder.hidden_size=64``.

    Args:
        root: the file in ``conf/``.
        overrides: as on the command line.
        config_dir: a folder of the user's own YAML files, searched after ours.

    Raises:
        ConfigError: an unknown key or option (the nearest one is named), a wrong type, or a value out of range.
    """
    return to_dataclass(root, compose_untyped(root, overrides, config_dir))


def compose_untyped(
    root: str, words: list[str], config_dir: str | None = None, tell: Callable[[str], None] = lambda line: None
) -> DictConfig:
    """The same config as a DictConfig, with Hydra's own settings as ``hydra``; values may be missing or out of range.

    ``tell`` is called with a line about settings of the recipe that do not apply, and about what a given model sets.

    Raises:
        ConfigError: an unknown key or option (the nearest one is named), or a wrong type.
    """
    import hydra

    with hydra_of(root, config_dir) as more:
        overrides = [parse(word) for word in words if word != "~recipe"]  # there is no recipe unless one is named
        choices = [override for override in overrides if is_choice(override, config_dir)]
        try:
            config = hydra.compose(
                root, overrides=[*more, *(str(one.input_line) for one in choices)], return_hydra_config=True
            )
        except Exception as error:
            raise ConfigError(explain(error)) from error
        empty = {field.name: field.default for field in dataclasses.fields(SCHEMAS[root])}
        for one in choices:
            if one.is_delete() and not one.is_hydra_override():
                name = one.package or one.key_or_group
                config[name] = empty[name]  # this removes what a recipe says about it, too
        if root == "train":
            _adapt(config, overrides, choices, more, tell)
        for override in overrides:
            if override not in choices:
                apply(config, override)
    return config


def _adapt(
    config: DictConfig, overrides: list[Override], choices: list[Override], more: list[str], tell: Callable[[str], None]
) -> None:
    """Changes what must change when the corpus is not the recipe's, and when the run begins with a model."""
    import hydra

    chosen = {one.package or one.key_or_group for one in choices}
    gone = leave_out_foreign(config, chosen)
    recipe = next((str(one.input_line) for one in choices if one.key_or_group == "recipe"), None)
    if recipe is not None and "data" in chosen:
        gone += leave_corpus_of_recipe(config, hydra.compose("train", overrides=[*more, recipe]), chosen)
    if gone:
        tell(f"{recipe or 'the defaults'}: {', '.join(gone)} left out, for another corpus or component was chosen")
    given = [str(one.value()) for one in overrides if one.key_or_group == "init_from"]
    model = given[-1] if given else config.init_from
    if model:
        layers = config.encoder.num_layers
        take_model(config, model, chosen)
        if config.init_from:  # a recipe that begins with a model gives the number of layers with the fresh ones
            config.encoder.num_layers = max(layers, config.encoder.num_layers)
        tell(f"init_from={model}: features, cell, front end and encoder are those of this model")


@contextlib.contextmanager
def hydra_of(root: str, config_dir: str | None = None) -> Iterator[list[str]]:
    """Hydra, ready to compose; gives the overrides that add the user's own YAML files.

    Raises:
        ConfigError: there is no folder ``config_dir``.
    """
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    if config_dir is not None and not Path(config_dir).is_dir():
        raise ConfigError(f"--config-dir {config_dir}: no such folder")
    store_components()
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(conf_dir()), job_name=root, version_base="1.3"):
        yield [] if config_dir is None else [f"hydra.searchpath=['file://{Path(config_dir).resolve()}']"]


def to_dataclass(root: str, config: DictConfig) -> TrainConfig | EvaluateConfig:
    """The dataclasses of a composed config of ``root``, resolved and range-checked.

    Raises:
        ConfigError: a value is missing, unresolvable or out of range.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

    schema = SCHEMAS[root]
    names = [field.name for field in dataclasses.fields(schema)]
    if OmegaConf.is_missing(config, "data") and "data" in names:
        raise ConfigError("data has no value; choose a recipe (recipe=...) or a corpus (data=...)")
    values: Record = {}
    for name in names:
        try:
            value = config[name]
            values[name] = OmegaConf.to_object(value) if OmegaConf.is_config(value) else value
        except MissingMandatoryValue as error:
            raise ConfigError(f"{error.full_key} has no value; add {error.full_key}=...") from error
        except OmegaConfBaseException as error:
            raise ConfigError(explain(error)) from error
        except ConfigError as error:
            raise ConfigError(str(error) if str(error).startswith(name) else f"{name}.{error}") from error
    return schema(**values)


def described() -> list[Setting]:
    """Every setting in words, including those of components of other packages."""
    import yaml

    store_components()
    chosen: dict[str, dict[str, str]] = {}
    for root in SCHEMAS:
        file = yaml.safe_load((conf_dir() / f"{root}.yaml").read_text(encoding="utf-8"))
        chosen[root] = {key: value for key, value in file.items() if isinstance(value, str)}
        for choice in file["defaults"]:
            if isinstance(choice, dict):  # group: option, or data@extra_data: option
                chosen[root] |= {key.partition("@")[2] or key: value or "null" for key, value in choice.items()}
    # In an order that does not depend on which module was imported first.
    return describe(SCHEMAS, dict(sorted(families().items())), chosen)


def plain(config: TrainConfig | EvaluateConfig) -> Record:
    """A composed config as plain values with components by name, for ``config.yaml`` of a run."""
    from speechgru.registry import to_plain

    values = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        family = "data" if field.name == "extra_data" else field.name
        values[field.name] = to_plain(value, family if family in families() and value is not None else None)
    return values


def read_plain(values: Record) -> TrainConfig:
    """The config from which :func:`plain` made ``values``.

    Raises:
        ConfigError: a key or value that this version does not know.
    """
    from speechgru.registry import from_plain, read_dataclass

    register_components()
    values = dict(values)
    for name in list(values):
        family = "data" if name == "extra_data" else name
        if family in families():
            values[name] = None if values[name] is None else from_plain(values[name], family, name)
    return read_dataclass(TrainConfig, values, "settings")


def explain(error: Exception) -> str:
    """One line for an error of Hydra or OmegaConf in a YAML file, which is not caused by a user's override."""
    cause = error.__cause__
    key = getattr(cause, "full_key", None)
    known = getattr(error, "options", None)
    hint = f" (known: {', '.join(known)})" if known else ""
    return f"{f'{key}: ' if key else ''}{_first_line(error)}{hint}"


def _first_line(error: BaseException) -> str:
    """The message of an error of Hydra or OmegaConf, without the lines about Python types."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    cause = error.__cause__
    if cause is not None and not isinstance(error, ConfigError) and len(lines) < 2 and str(cause):
        lines.append(str(cause).splitlines()[0])
    return " ".join(dict.fromkeys(line for line in lines if not line.startswith(("object_type", "reference_type"))))
