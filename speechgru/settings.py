"""Every setting in words, from the dataclasses and their docstrings: what it takes, its default, what it does.

``settings.json`` beside this file holds them all, so that help needs no import of torch; ``scripts/settings_page.py``
writes it and docs/settings.md, and a test compares both with the dataclasses.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import importlib.metadata
import inspect
import json
import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from speechgru.registry import Entry

STORED = Path(__file__).with_name("settings.json")
CHOICE = "choice of "
_KINDS: dict[object, str] = {int: "whole number", float: "number", bool: "true or false", str: "text"}


class Setting(NamedTuple):
    """One setting.

    Attributes:
        key: as on the command line, encoder.hidden_size.
        of: the command it belongs to, train or evaluate, or the choice it comes with, encoder=gru.
        kind: what it takes, in words; for a group of components its options.
        default: as on the command line; empty where there is none.
        text: what it does, with unit and range.
    """

    key: str
    of: str
    kind: str
    default: str
    text: str


def describe(
    roots: dict[str, type], families: dict[str, dict[str, Entry]], chosen: dict[str, dict[str, str]]
) -> list[Setting]:
    """The settings of the commands in ``roots`` and of every registered component.

    A setting without an entry in its docstring has no text. ``chosen`` holds what the YAML file of each command sets.
    """
    found = []
    for root, schema in roots.items():
        for setting in _fields(schema, "", root):
            default = chosen[root].get(setting.key, setting.default)
            options = families.get("data" if setting.key == "extra_data" else setting.key)
            kind = f"{CHOICE}{', '.join(options)}" if options else setting.kind
            found.append(setting._replace(kind=kind, default=default))
    for family, entries in families.items():
        for name, entry in sorted(entries.items()):
            found += _fields(entry.config, f"{family}.", f"{family}={name}")
    return found


def known_settings() -> list[Setting]:
    """All settings: as stored, or from the dataclasses where other packages add components."""
    if not importlib.metadata.entry_points(group="speechgru.components"):
        return [Setting(*row) for row in json.loads(STORED.read_text(encoding="utf-8"))]
    from importlib import import_module

    return import_module("speechgru.config").described()


def write_settings(settings: list[Setting], path: Path) -> None:
    """Stores settings, one a line."""
    rows = ",\n".join(json.dumps(setting, ensure_ascii=False) for setting in settings)
    path.write_text(f"[\n{rows}\n]\n", encoding="utf-8")


def _fields(config: type, prefix: str, of: str) -> Iterator[Setting]:
    """The settings of a dataclass and of the dataclasses in it, without those that another setting gives."""
    hints = typing.get_type_hints(config)
    for field in dataclasses.fields(config):
        if "family" in field.metadata and prefix:
            continue  # cell=... is a choice of the run, and the encoder's own field follows it
        hint, text = hints[field.name], entry_of(config, field.name)
        if dataclasses.is_dataclass(hint):
            yield from _fields(typing.cast(type, hint), f"{prefix}{field.name}.", of)
        else:
            default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
            if "follows" in field.metadata:  # in a run it follows another setting
                default = f"${{{field.metadata['follows']}}}"
            yield Setting(prefix + field.name, of, _kind(hint), _value(default), text)


def entry_of(config: type, name: str) -> str:
    """What the docstring of a dataclass, or of one it inherits from, says about a field; empty if it says nothing."""
    return next((found[name] for base in config.__mro__ if name in (found := _entries(base))), "")


@functools.cache
def _entries(config: type) -> dict[str, str]:
    """The entries ``name: text`` or ``name, name: text`` under Attributes, each on one line."""
    text = inspect.cleandoc(config.__doc__ or "")
    found: dict[str, str] = {}
    names: list[str] = []
    for line in text.partition("\nAttributes:\n")[2].splitlines():
        if line and not line.startswith(" "):
            break  # another section
        begins = re.match(r" {4}(\w+(?:, \w+)*): +(.*)", line)
        if begins:
            names = begins[1].split(", ")
        for name in names:
            found[name] = f"{found[name]} {line.strip()}" if not begins else begins[2]
    return {name: _plain(text) for name, text in found.items()}


def _plain(text: str) -> str:
    """The text without the marks of docstrings that Markdown does not have."""
    text = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", text)
    return text.replace("``", "`").replace("\\|", "|").strip()


def _kind(hint: object) -> str:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        inner = [one for one in typing.get_args(hint) if one is not type(None)]
        return f"{_kind(inner[0])} or null"
    if typing.get_origin(hint) is list:
        inner = typing.get_args(hint)[0]
        return f"list of {_kind(inner).removeprefix('one of ')}{'s' if inner in _KINDS else ''}"
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return f"one of {', '.join(hint.__members__)}"
    return _KINDS.get(hint, "text or list of texts")


def _value(default: object) -> str:
    """A default as it would be written after ``key=``."""
    if default is dataclasses.MISSING or default == "???":
        return ""
    if isinstance(default, enum.Enum):
        return default.name
    if isinstance(default, bool) or default is None:
        return json.dumps(default)
    if isinstance(default, list):
        return f"[{','.join(map(_value, default))}]"
    return f"{default:g}" if isinstance(default, float) else str(default)
