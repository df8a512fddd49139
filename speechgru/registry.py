"""The table of named components: one family per room of the package, one entry per component.

A component is registered where it is defined::

    @register("cell", "mgu", MGUConfig)
    class MGU(Cell): ...

From then on ``cell=mgu`` works on the command line (``config.py`` hands every entry to Hydra), a model folder can name it,
and an unknown name lists the known ones. Packages outside this one do the same and announce their module under the entry
point group ``speechgru.components``. Configs are dataclasses of plain values; a field that holds another component says
of which family with :func:`component`.
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
import functools
import importlib.metadata
import types
import typing
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from speechgru.errors import ConfigError

Class = TypeVar("Class", bound=type)


class Entry(NamedTuple):
    """A registered component: the dataclass of its settings and the class they configure."""

    config: type
    component: type


_FAMILIES: dict[str, dict[str, Entry]] = {}


def register(family: str, name: str, config: type) -> Callable[[Class], Class]:
    """Class decorator: put the class into ``family`` under ``name``, configured by the dataclass ``config``.

    Raises:
        ConfigError: the name is taken by another class, or ``config`` is not a dataclass.
    """

    def enter(component: Class) -> Class:
        if not dataclasses.is_dataclass(config):
            raise ConfigError(f"{family}={name}: {config!r} is not a dataclass; a component's settings are a dataclass")
        entries = _FAMILIES.setdefault(family, {})
        known = entries.get(name)
        if known and known.component.__qualname__ != component.__qualname__:
            raise ConfigError(f"{family}={name} is taken by {known.component.__qualname__}; choose another name")
        entries[name] = Entry(config, component)
        return component

    return enter


def component(family: str, default: Any = dataclasses.MISSING) -> Any:
    """A dataclass field that holds the settings of another component of ``family`` (``default``: a factory)."""
    return dataclasses.field(default_factory=default, metadata={"family": family})


@functools.cache
def load_plugins() -> None:
    """Imports the modules that other installed packages announce, once, so that their components are registered."""
    for point in importlib.metadata.entry_points(group="speechgru.components"):
        point.load()


def families() -> dict[str, dict[str, Entry]]:
    """Every family with its entries, by name."""
    load_plugins()
    return _FAMILIES


def names(family: str) -> list[str]:
    """The registered names of a family, sorted."""
    return sorted(families().get(family, {}))


def entry(family: str, name: str) -> Entry:
    """The entry called ``name``; an unknown name raises ConfigError that lists the known ones."""
    entries = families().get(family, {})
    if name not in entries:
        near = difflib.get_close_matches(name, entries, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"{family}={name} is not known{hint} (known: {', '.join(sorted(entries)) or 'none'})")
    return entries[name]


def name_of(family: str, config: Any) -> str:
    """The name under which the class of ``config`` is registered in ``family``."""
    for name, item in _FAMILIES.get(family, {}).items():
        if item.config is type(config):
            return name
    raise ConfigError(f"{family}: {type(config).__name__} belongs to no registered component ({', '.join(names(family))})")


def build(family: str, config: Any, *arguments: Any) -> Any:
    """The component of ``family`` that ``config`` configures: ``Component(*arguments, config)``."""
    return entry(family, name_of(family, config)).component(*arguments, config)


def to_plain(config: Any, family: str | None = None) -> Any:
    """Settings as plain dicts, lists and scalars, each component with its ``name`` first: what a model folder stores."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        plain = {"name": name_of(family, config)} if family else {}
        for field in dataclasses.fields(config):
            plain[field.name] = to_plain(getattr(config, field.name), field.metadata.get("family"))
        return plain
    if isinstance(config, enum.Enum):
        return config.name
    if isinstance(config, (list, tuple)):
        return [to_plain(item) for item in config]
    if isinstance(config, dict):
        return {key: to_plain(value) for key, value in config.items()}
    return config


def from_plain(plain: dict[str, Any], family: str, where: str = "") -> Any:
    """The settings written by :func:`to_plain`; unknown keys and names raise ConfigError that says where."""
    values = dict(plain)
    if "name" not in values:
        raise ConfigError(f"{where or family}: the key 'name' is missing (known: {', '.join(names(family))})")
    return _read(entry(family, values.pop("name")).config, values, where or family)


def _read(kind: type, values: dict[str, Any], where: str) -> Any:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    for key in values:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"{where}.{key} is not a setting of {kind.__name__}{hint}")
    return kind(**{key: _value(fields[key], hints[key], value, f"{where}.{key}") for key, value in values.items()})


def _value(field: dataclasses.Field, hint: Any, value: Any, where: str) -> Any:
    if value is None:
        return None
    if "family" in field.metadata:
        return from_plain(value, field.metadata["family"], where)
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        hint = next(option for option in typing.get_args(hint) if option is not type(None))
    if dataclasses.is_dataclass(hint):
        return _read(typing.cast(type, hint), value, where)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        if value not in hint.__members__:
            raise ConfigError(f"{where}={value} is not one of {', '.join(hint.__members__)}")
        return hint[value]
    if typing.get_origin(hint) is list:
        item = typing.get_args(hint)[0]
        return [_read(item, one, where) if dataclasses.is_dataclass(item) else one for one in value]
    return value
