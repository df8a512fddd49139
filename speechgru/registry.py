"""The table of named components: one family per subpackage, one entry per component.

A component is registered where it is defined::

    @register("cell", "mgu", MGUConfig)
    class MGU(Cell): ...

From then on ``cell=mgu`` works on the command line (``config.py`` hands every entry to Hydra), a model folder can name
it, and an unknown name lists the known ones. Packages outside this one do the same and announce their module under the
entry point group ``speechgru.components``. Configs are dataclasses of plain values; a field that holds a component
names its family with :func:`component`.
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
import functools
import importlib.metadata
import reprlib
import sys
import types
import typing
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from speechgru.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MISSING = "???"  # the value of a setting without a default, until it is given one

Settings = TypeVar("Settings", bound="DataclassInstance")
Component = TypeVar("Component", bound=Callable[..., object])


class Entry(NamedTuple):
    """A registered component: the dataclass of its settings and the class they configure."""

    config: type
    component: Callable[..., Any]


_FAMILIES: dict[str, dict[str, Entry]] = {}


def register(family: str, name: str, config: type) -> Callable[[Component], Component]:
    """Decorator: put a class (or a function making one) into ``family`` under ``name``; ``config`` holds its settings.

    Raises:
        ConfigError: the name is taken by another class; or ``config`` is not a dataclass, configures another component
            of the family, or has a setting called ``name``, which is the component's own name in a model folder.
    """

    def enter(component: Component) -> Component:
        if not dataclasses.is_dataclass(config):
            raise ConfigError(f"{family}={name}: {config!r} is not a dataclass; a component's settings are a dataclass")
        if any(field.name == "name" for field in dataclasses.fields(config)):
            raise ConfigError(f"{family}={name}: a setting of {config.__name__} is called name; choose another word")
        entries = _FAMILIES.setdefault(family, {})
        for other, known in entries.items():
            if other != name and known.config is config:
                raise ConfigError(f"{family}={name}: {config.__name__} configures {other} already; give it a subclass")
            # The same class again is a reloaded module.
            if other == name and _path(known.component) != _path(component):
                raise ConfigError(f"{family}={name} is taken by {_path(known.component)}; choose another name")
        entries[name] = Entry(config, component)
        return component

    return enter


def _path(component: Callable[..., object]) -> str:
    return f"{component.__module__}.{component.__qualname__}"


def component(family: str, default: Callable[[], object] | None = None) -> Any:
    """A dataclass field that holds the settings of another component of ``family`` (``default``: a factory)."""
    metadata = {"family": family}
    if default is None:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default_factory=default, metadata=metadata)


@functools.cache
def load_plugins() -> None:
    """Imports the modules that other installed packages announce, once, so that their components are registered.

    A module that cannot be imported is reported in one line on stderr; everything else works without it.
    """
    for point in importlib.metadata.entry_points(group="speechgru.components"):
        try:
            point.load()
        except (Exception, SystemExit) as error:  # code of others may fail in any way
            package = point.dist.name if point.dist else "no installed package"
            _warn_of_plugin(f"{point.name} of the package {package} ({point.value}) cannot be imported", error)


def disable(family: str, name: str, error: Exception) -> None:
    """Removes a component of another package, which ``error`` shows to be broken, from the table; prints one line."""
    component = _FAMILIES[family].pop(name).component
    _warn_of_plugin(f"{family}={name} of {component.__module__} cannot be used", error)


def _warn_of_plugin(what: str, error: BaseException) -> None:
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    print(f"speechgru: the plugin {what} and is left out: {reason}", file=sys.stderr)


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


def name_of(family: str, config: object) -> str:
    """The name under which the class of ``config`` is registered in ``family``."""
    for name, item in _FAMILIES.get(family, {}).items():
        if item.config is type(config):
            return name
    raise ConfigError(
        f"{family}: {type(config).__name__} belongs to no registered component ({', '.join(names(family))})"
    )


def build(family: str, config: object, *arguments: object, **more: object) -> Any:
    """The component of ``family`` that ``config`` configures: ``Component(*arguments, config, **more)``."""
    return entry(family, name_of(family, config)).component(*arguments, config, **more)


def to_plain(config: object, family: str | None = None) -> Any:
    """Settings as plain dicts, lists and scalars, components with their ``name`` first: what a model folder stores."""
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


def from_plain(plain: object, family: str, where: str = "") -> Any:
    """The settings written by :func:`to_plain`; unknown keys and names raise ConfigError that says where."""
    if not isinstance(plain, dict):
        raise ConfigError(f"{where or family}={reprlib.repr(plain)}: a component is written as its name and settings")
    values = dict(plain)
    if "name" not in values:
        raise ConfigError(f"{where or family}: the key 'name' is missing (known: {', '.join(names(family))})")
    if not isinstance(values["name"], str):
        raise ConfigError(f"{where or family}.name={reprlib.repr(values['name'])} is not a name")
    return read_dataclass(entry(family, values.pop("name")).config, values, where or family)


def read_dataclass(kind: type[Settings], values: object, where: str) -> Settings:
    """The dataclass ``kind`` of plain values; unknown keys and wrong types raise ConfigError that says where."""
    if not isinstance(values, dict):
        raise ConfigError(f"{where}={reprlib.repr(values)}: the settings of a {kind.__name__} are expected")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    # Settings that older model folders carry and that nothing needs any more.
    values = {key: value for key, value in values.items() if key not in getattr(kind, "RETIRED", ())}
    for key in values:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"{where}.{key} is not a setting of {kind.__name__}{hint}")
    read = {}
    for key, value in values.items():
        read[key] = _value(hints[key], value, f"{where}.{key}", fields[key].metadata.get("family"))
    return kind(**read)


def _value(hint: object, value: Any, where: str, family: str | None = None) -> object:
    optional = isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
    if value is None and (family or optional):
        return None
    if family:
        return from_plain(value, family, where)
    if optional:
        hint = next(option for option in typing.get_args(hint) if option is not type(None))
    if dataclasses.is_dataclass(hint):
        return read_dataclass(typing.cast(type, hint), value, where)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        if not isinstance(value, str) or value not in hint.__members__:
            raise ConfigError(f"{where}={reprlib.repr(value)} is not one of {', '.join(hint.__members__)}")
        return hint[value]
    if typing.get_origin(hint) is list:
        if not isinstance(value, list):
            raise ConfigError(f"{where}={reprlib.repr(value)} is not a list")
        return [_value(typing.get_args(hint)[0], one, f"{where}[{index}]") for index, one in enumerate(value)]
    if hint in (bool, int, float, str):
        legal = isinstance(value, (int, float) if hint is float else hint)
        if not legal or isinstance(value, bool) is not (hint is bool):
            raise ConfigError(f"{where}={reprlib.repr(value)} is not of type {hint.__name__}")
        return hint(value)
    return value
