"""Settings of a corpus as words of the command line, ``root=FOLDER words=[left,right]``."""

from __future__ import annotations

import dataclasses
import re
import typing
from typing import TYPE_CHECKING, Any

from speechgru.errors import ConfigError
from speechgru.registry import entry, names

if TYPE_CHECKING:
    import yaml


def settings_of(words: list[str], config_type: type) -> dict[str, object]:
    """``KEY=VALUE`` words as plain values of a corpus's settings; text where the setting is text, YAML otherwise.

    A component is chosen by its name, its settings follow after a dot: ``synthesiser=kokoro synthesiser.model=FILE``.

    Raises:
        ConfigError: a word is not of that form, or not a value of its setting's type.
    """
    import yaml

    hints = typing.get_type_hints(config_type)
    families = {field.name: field.metadata["family"] for field in _fields(config_type) if "family" in field.metadata}
    values: dict[str, object] = {}
    of_components: dict[str, list[str]] = {}
    for word in words:
        key, equals, text = word.partition("=")
        key = key.removeprefix("data.")
        if not equals or not key:
            known = ", ".join(field.name for field in _fields(config_type))
            raise ConfigError(f"{word}: a setting is written key=value ({known})")
        part, dot, rest = key.partition(".")
        if part in families:
            of_components.setdefault(part, []).append(f"{rest}={text}" if dot else f"name={text}")
            continue
        if hints.get(key) is str:
            values[key] = text
            continue
        try:
            values[key] = yaml.load(text, _loader())
        except yaml.YAMLError as error:
            raise ConfigError(f"{word}: not a value ({' '.join(str(error).split())})") from error
        _check_type(word, hints.get(key), values[key])
    for part, settings in of_components.items():
        values[part] = _component(part, families[part], settings)
    return values


def _component(key: str, family: str, settings: list[str]) -> dict[str, object]:
    named = [word.removeprefix("name=") for word in settings if word.startswith("name=")]
    if not named:
        raise ConfigError(f"{key}.{settings[0]}: say which one first: {key}=NAME (known: {', '.join(names(family))})")
    rest = [word for word in settings if not word.startswith("name=")]
    return {"name": named[-1], **settings_of(rest, entry(family, named[-1]).config)}


def _fields(config_type: type) -> tuple[dataclasses.Field[object], ...]:
    return dataclasses.fields(config_type)


def _loader() -> type[yaml.SafeLoader]:
    """YAML's safe loader without yes, no, on and off for true and false, because people record these words."""
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$", re.IGNORECASE), list("tTfF"))
    return Loader


def _check_type(word: str, hint: Any, value: object) -> None:
    """Checks plain numbers, true or false, and lists; the registry checks keys, names and nested settings."""
    wanted: dict[object, str] = {int: "a whole number", float: "a number", bool: "true or false"}
    if typing.get_origin(hint) is list:
        items = typing.get_args(hint)[0]
        if not isinstance(value, list):
            raise ConfigError(f"{word}: a list, written [a,b]")
        for item in value:
            _check_type(word, items, item)
        return
    fits = isinstance(value, (int, float) if hint is float else hint) if hint in wanted else True
    if not fits or (hint in (int, float) and isinstance(value, bool)):
        raise ConfigError(f"{word}: {wanted[hint]} is expected")
