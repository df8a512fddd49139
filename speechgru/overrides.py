"""The words ``key=value`` of a command line, applied one by one, so that each mistake gives one line with its fix.

Hydra puts the chosen components together; what is set in them is checked here against their dataclasses.
"""

from __future__ import annotations

import contextlib
import difflib
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechgru.errors import ConfigError
from speechgru.registry import families
from speechgru.shipped import conf_dir

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig, ListConfig

_KINDS = {int: "a whole number", float: "a number", bool: "true or false"}


def parse(word: str) -> Override:
    """One override; Hydra must be initialized, because a glob(*) looks at the options of its group.

    Raises:
        ConfigError: the word is not ``key=value``, or its value can be read only in quotes.
    """
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create(GlobalHydra.instance().config_loader())
    key, equals, value = word.partition("=")
    if not (equals or word.startswith("~")):
        raise ConfigError(f"{word} is not a setting with a value: settings are written key=value")
    try:
        return parser.parse_overrides([word])[0]
    except HydraException as error:
        quoted = quote(key, value)
        try:
            parser.parse_override(quoted)
        except HydraException:
            raise ConfigError(f"{word} is not written key=value") from error
        special = re.search(r'["$`!]|\\[\\\n]', quoted)
        shell = shlex.quote(quoted) if special else f'"{quoted}"'
        raise ConfigError(f"{word}: the value needs quotes, and the shell a pair of its own: {shell}") from error


def quote(key: str, value: str) -> str:
    """``key='value'`` that means the text ``value``, whatever is in it."""
    # Backslashes stand for themselves except before a quote.
    escaped = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), value)
    return f"{key}='{escaped}'"


def options(group: str, config_dir: str | None = None) -> list[str]:
    """What may be chosen in a group: registered components and YAML files, including the user's own; sorted."""
    from hydra.core.config_store import ConfigStore

    folders = [conf_dir(), *([Path(config_dir)] if config_dir is not None else [])]
    found = {path.stem for folder in folders for path in (folder / group).glob("*.yaml")}
    with contextlib.suppress(OSError):  # a group that has only YAML files
        found |= {name.removesuffix(".yaml") for name in ConfigStore.instance().list(group)}
    return sorted(found)


def is_choice(override: Override, config_dir: str | None = None) -> bool:
    """Whether Hydra must be given an override: it chooses an option of a group, or is one of Hydra's own settings.

    Raises:
        ConfigError: the group has no such option.
    """
    key, word = override.key_or_group, override.input_line or ""
    if override.is_hydra_override() and "/" not in key:
        return True
    known = options(key, config_dir)
    if not known:
        if "/" in key or override.package is not None:
            raise ConfigError(f"{word}: there is no group {key}")
        return False
    if override.is_delete():
        return True
    chosen = override.value()
    group = override.get_key_element().lstrip("+")
    if chosen is None:
        raise ConfigError(f"{group}=null: a group has no option null; ~{group} leaves it out")
    if not isinstance(chosen, str):
        raise ConfigError(f"{word}: one option of {', '.join(known)} is chosen by its name")
    if chosen not in known:
        near = difflib.get_close_matches(chosen, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        if key.startswith("hydra/"):
            hint = f"; pip install hydra-{chosen.partition('_')[0]}-{key.removeprefix('hydra/')} may add it"
        raise ConfigError(f"{group}={chosen} is not known{hint} (known: {', '.join(known)})")
    return True


def apply(config: DictConfig, override: Override) -> None:
    """Sets one value in a composed config.

    Raises:
        ConfigError: no such setting (the nearest one is named), or a value of the wrong type.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    key, word = override.key_or_group, override.input_line or ""
    if override.is_sweep_override():
        raise ConfigError(
            f"{word}: several values are several runs, with --multirun; a list is {key}=[{word.partition('=')[2]}]"
        )
    parent, leaf = _parent(config, key)
    if override.is_delete():
        raise ConfigError(f"{word}: ~ leaves out a group, and {key} is a setting; give it another value")
    value = override.value()
    if not isinstance(value, (dict, list)) and value is not None and _is_component(parent, leaf):
        raise ConfigError(f"{word}: a component is chosen as {_choice_of(key)}={value}")
    try:
        OmegaConf.update(config, key, value, merge=True)
    except OmegaConfBaseException as error:
        text = override.get_value_element_as_str()
        raise ConfigError(f"{key}={text}: {_expected(parent, leaf, error)}") from error


def _parent(config: DictConfig, key: str) -> tuple[DictConfig | ListConfig, str]:
    """The part of the config that holds the setting ``key``, and the setting's name in it."""
    from omegaconf import DictConfig, ListConfig, OmegaConf

    node: Any = config
    *path, leaf = key.split(".")
    for place, part in enumerate(path):
        if not isinstance(node, DictConfig) or part not in node.keys():  # noqa: SIM118  `in` denies missing values
            break
        name = ".".join(path[: place + 1])
        if OmegaConf.is_interpolation(node, part):
            other = OmegaConf.to_container(node, resolve=False)[part][2:-1]  # type: ignore[call-overload, index]
            rest = key.removeprefix(name)
            raise ConfigError(f"{key}: {name} follows {other}; write {other}{rest}=...")
        if OmegaConf.is_missing(node, part) or node[part] is None:
            raise ConfigError(
                f"{key}: {name} has no value yet, so it has no settings; add {_choice_of(name)}=... as well"
            )
        node = node[part]
    else:
        if isinstance(node, DictConfig) and leaf in node.keys():  # noqa: SIM118
            return node, leaf
        if isinstance(node, ListConfig) and leaf.isdigit() and int(leaf) < len(node):
            return node, leaf
    raise ConfigError(not_a_setting(key, list(keys(config))))


def _choice_of(name: str) -> str:
    """The group whose option fills a part of the config."""
    return "data@extra_data" if name == "extra_data" else name.rpartition(".")[2]


def _is_component(parent: DictConfig | ListConfig, leaf: str) -> bool:
    """Whether a setting holds a component, which cannot be given as a single value."""
    from omegaconf import DictConfig, OmegaConf

    if not isinstance(parent, DictConfig):
        return False
    raw = OmegaConf.to_container(parent, resolve=False)[leaf]  # type: ignore[call-overload, index]
    return leaf == "extra_data" or (isinstance(raw, str) and raw.startswith("${") and raw[2:-1] in families())


def _expected(parent: DictConfig | ListConfig, leaf: str, error: Exception) -> str:
    """What a setting takes, in words."""
    import dataclasses
    import typing

    from omegaconf import OmegaConf

    kind = OmegaConf.get_type(parent)
    hint = typing.get_type_hints(kind).get(leaf) if dataclasses.is_dataclass(kind) else None
    if dataclasses.is_dataclass(hint):
        return f"it holds settings of its own, such as {leaf}.{dataclasses.fields(hint)[0].name}"
    wanted = next((one for one in (hint, *typing.get_args(hint)) if one in _KINDS), None)
    return f"{_KINDS[wanted]} is expected" if wanted else str(getattr(error, "msg", error)).splitlines()[0]


def not_a_setting(key: str, known: Sequence[str]) -> str:
    """The message about a key that is not among the ``known`` ones."""
    near = nearest(key, known)
    hint = f"; did you mean {near}?" if near else ""
    return f"{key} is not a setting{hint} (speechgru settings lists them all)"


def nearest(key: str, known: Sequence[str]) -> str | None:
    """The most likely setting: a neighbour by initials or similar letters, the same name elsewhere, a similar path."""
    parent, _, name = key.rpartition(".")
    known = [one for one in known if not f"{key}.".startswith(f"{one}.")]
    neighbours = {one.rpartition(".")[2]: one for one in known if one.rpartition(".")[0] == parent}
    elsewhere = {one.rpartition(".")[2]: one for one in known if not one.startswith("hydra.")}
    for leaves in (neighbours, elsewhere):
        for leaf, one in leaves.items():
            if name in (leaf, "".join(word[:1] for word in leaf.split("_"))):
                return one
        close = difflib.get_close_matches(name, leaves, n=1, cutoff=0.6 if leaves is neighbours else 0.8)
        if close:
            return leaves[close[0]]
    return next(iter(difflib.get_close_matches(key, known, n=1)), None)


def keys(config: DictConfig, prefix: str = "") -> Iterator[str]:
    """Every setting of a composed config, each part before what is in it; Hydra's own settings are left out."""
    from omegaconf import DictConfig, OmegaConf

    for key in map(str, config.keys()):
        if f"{prefix}{key}" == "hydra":
            continue
        yield f"{prefix}{key}"
        plain = OmegaConf.is_missing(config, key) or OmegaConf.is_interpolation(config, key)
        if not plain and isinstance(config[key], DictConfig):
            yield from keys(config[key], f"{prefix}{key}.")
