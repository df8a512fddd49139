"""From YAML, dataclasses and command-line overrides to one typed run: the only room besides the registry that knows Hydra.

The tree ``conf/`` holds defaults lists and values; every registered component's dataclass is a node of Hydra's ConfigStore,
so ``encoder=gru encoder.hidden_size=64`` needs no YAML file and a wrong key or type fails before anything runs.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from speechgru.card import CardConfig
from speechgru.errors import ConfigError, SpeechGRUError
from speechgru.registry import families
from speechgru.training.trainer import TrainerConfig

MISSING = "???"


@dataclasses.dataclass
class TrainConfig:
    """One training run, complete.

    Attributes:
        name: names the run's folder, runs/<name>.
        run_dir: where the run writes.
        seed: fixes weights, data order, augmentation and dropout; at least 0.
        resume: go on from the checkpoint in run_dir.
        overwrite: discard the run that is in run_dir.
        features, augment, cell, front_end, encoder, head, data, optimizer, schedule: the chosen components.
        trainer: the loop.
        extra_data: a second corpus whose training split is learned from as well; its labels are among those of data.
        card: what the model's card says beyond its numbers.
        init_from: a model folder whose weights to start from where names and shapes agree; empty means fresh weights.
        recipe: a complete run from conf/recipe.
    """

    name: str = "run"
    run_dir: str = MISSING
    seed: int = 0
    resume: bool = False
    overwrite: bool = False
    features: Any = MISSING
    augment: Any = None
    cell: Any = MISSING
    front_end: Any = None
    encoder: Any = MISSING
    head: Any = MISSING
    data: Any = MISSING
    optimizer: Any = MISSING
    schedule: Any = MISSING
    extra_data: Any = None
    trainer: TrainerConfig = dataclasses.field(default_factory=TrainerConfig)
    card: CardConfig = dataclasses.field(default_factory=CardConfig)
    init_from: str = ""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ConfigError(f"seed={self.seed}: at least 0")


@dataclasses.dataclass
class EvaluateConfig:
    """One evaluation, complete.

    Attributes:
        model: the model folder, or a list of them, [runs/a/model,runs/b/model].
        split: train, valid or test.
        data: the corpus; left out, it is the one the model was trained on.
        root: where the recordings of the model's own corpus are; empty means where its config says.
        output_dir: where results.json and the report go; empty means <model>/../evaluation/<split>.
        recipe_dir: a recipe's folder whose results.json and table in README.md are written from all models given.
        batch_size: utterances at a time, at least 1.
        device: auto, cpu or cuda.
    """

    model: Any = MISSING
    split: str = "test"
    data: Any = None
    root: str = ""
    output_dir: str = ""
    recipe_dir: str = ""
    batch_size: int = 64
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.split not in ("train", "valid", "test"):
            raise ConfigError(f"split={self.split}: train, valid or test")
        if self.batch_size < 1:
            raise ConfigError(f"batch_size={self.batch_size}: at least 1")


SCHEMAS = {"train": TrainConfig, "evaluate": EvaluateConfig}


def conf_dir() -> Path:
    """The tree of YAML files: inside an installed package, or beside it in a checkout."""
    return _beside("conf")


def recipes_dir() -> Path:
    """The folder of recipes: inside an installed package, or beside it in a checkout."""
    return _beside("recipes")


def _beside(name: str) -> Path:
    package = Path(__file__).resolve().parent
    for folder in (package / name, package.parent / name):
        if folder.is_dir():
            return folder
    raise ConfigError(f"the folder {name} is neither in {package} nor beside it; install speechgru again")


def store_components() -> None:
    """Puts the roots and every registered component into Hydra's ConfigStore."""
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    import speechgru.augment
    import speechgru.data.corpora
    import speechgru.recognizer
    import speechgru.training.optimizer
    import speechgru.training.schedule  # noqa: F401  imports register components

    store = ConfigStore.instance()
    for root, schema in SCHEMAS.items():
        store.store(name=f"{root}_schema", node=schema)
    for family, entries in families().items():
        for name, entry in entries.items():
            node = OmegaConf.structured(entry.config)
            for field in dataclasses.fields(entry.config):
                if "family" in field.metadata:
                    # cell=... is a choice of the run; the encoder's own field follows it.
                    node[field.name] = f"${{{field.metadata['family']}}}"
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
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    store_components()
    GlobalHydra.instance().clear()
    if config_dir is not None:
        overrides = [*overrides, f"hydra.searchpath=['file://{Path(config_dir).resolve()}']"]
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        try:
            config = hydra.compose(root, overrides=overrides)
        except Exception as error:
            raise ConfigError(_explain(error, root, overrides)) from error
    return to_dataclass(root, config)


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


def hydra_main(root: str, words: list[str], task: Callable[[Any, Path], None]) -> int:
    """Runs ``task`` on the typed config of ``root`` and the run's folder, through Hydra, once per job of a multirun.

    Args:
        root: ``train`` or ``evaluate``.
        words: the command line: overrides and Hydra's own flags (--cfg job, --multirun, --help, --resolve ...).
        task: what to do.

    Raises:
        ConfigError: the overrides do not compose; raised before anything runs.
    """
    import hydra
    from hydra._internal.utils import get_args_parser
    from hydra.core.hydra_config import HydraConfig

    # Hydra's own parser refuses flags between overrides, so they go first.
    chosen = get_args_parser().parse_intermixed_args(words)
    flags = list(words)
    for override in chosen.overrides:
        flags.remove(override)
    if not (chosen.multirun or chosen.help or chosen.hydra_help or chosen.info):
        compose(root, chosen.overrides, chosen.config_dir)
    store_components()
    failed: list[SpeechGRUError] = []

    def job(config: Any) -> None:
        try:
            task(to_dataclass(root, config), Path(HydraConfig.get().runtime.output_dir))
        except SpeechGRUError as error:
            # Hydra would print a traceback of its own; the command line prints one line.
            failed.append(error)

    os.environ["HYDRA_FULL_ERROR"] = "1"  # what is no SpeechGRUError is a bug: show where
    before = sys.argv
    sys.argv = [f"speechgru {root}", *flags, *chosen.overrides]
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=root)(job)()
    finally:
        sys.argv = before
    if failed:
        raise failed[0]
    return 0


def plain(config: Any) -> dict[str, Any]:
    """A composed config as plain values with components by name, for ``config.yaml`` of a run."""
    from speechgru.registry import to_plain

    values = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        family = "data" if field.name == "extra_data" else field.name
        values[field.name] = to_plain(value, family if family in families() and value is not None else None)
    return values


def _explain(error: Exception, root: str, overrides: list[str]) -> str:
    """One line for Hydra's and OmegaConf's errors, with the nearest key or option."""
    import hydra
    from hydra.core.config_loader import ConfigLoader  # noqa: F401  fails early where Hydra is broken

    text = str(error) + " " + str(error.__cause__ or "")
    unknown = re.search(r"Could not override '([^']+)'", text) or re.search(r"Key '([^']+)' (?:is )?not in", text)
    option = re.search(r"Could not find '([^']+)/([^'/]+)'", text)
    if option:
        group, name = option.groups()
        known = sorted(_options(group))
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"{group}={name} is not known{hint} (known: {', '.join(known)})"
    group_missing = re.search(r"Could not override '([^']+)'\.\s*No match in the defaults list", text)
    if group_missing or unknown:
        key = (group_missing or unknown).group(1).split("@")[0]  # type: ignore[union-attr]
        full = next((one.split("=")[0].lstrip("+~") for one in overrides if key in one.split("=")[0]), key)
        good = [one for one in overrides if one.split("=")[0].lstrip("+~") != full]
        try:
            keys = _keys(hydra.compose(root, overrides=good))
        except Exception:
            keys = []
        near = difflib.get_close_matches(full, keys, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"{full} is not a setting{hint} (speechgru {root} --cfg job lists them all)"
    return _first_line(error)


def _options(group: str) -> list[str]:
    from hydra.core.config_store import ConfigStore

    options = {path.stem for path in (conf_dir() / group).glob("*.yaml")}
    try:
        options |= {name.removesuffix(".yaml") for name in ConfigStore.instance().list(group)}
    except OSError:
        pass
    return sorted(options)


def _keys(config: Any, prefix: str = "") -> list[str]:
    from omegaconf import DictConfig

    keys = []
    for key in config:
        node = config._get_node(key)
        keys.append(prefix + str(key))
        if isinstance(node, DictConfig) and not node._is_none() and not node._is_missing():
            keys += _keys(node, f"{prefix}{key}.")
    return keys


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    cause = error.__cause__
    if cause is not None and not isinstance(error, ConfigError) and len(lines) < 2 and str(cause):
        lines.append(str(cause).splitlines()[0])
    return " ".join(dict.fromkeys(line for line in lines if not line.startswith(("object_type", "reference_type"))))
