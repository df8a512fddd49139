"""Settings of a corpus as words of the command line, ``root=FOLDER words=[left,right]``."""

from __future__ import annotations

import dataclasses
import re
import typing
from typing import TYPE_CHECKING, Any

from speechgru.errors import ConfigError

if TYPE_CHECKING:
    import yaml


def settings_of(words: list[str], config_type: type) -> dict[str, object]:
    """``KEY=VALUE`` words as plain values of a corpus's settings; text where the setting is text, YAML otherwise.

    Raises:
        ConfigError: a word is not of that form, or not a value of its setting's type.
    """
    import yaml

    hints = typing.get_type_hints(config_type)
    values: dict[str, object] = {}
    for word in words:
        key, equals, text = word.partition("=")
        key = key.removeprefix("data.")
        if not equals or not key:
            raise ConfigError(f"{word}: a setting is written key=value ({', '.join(_keys(config_type))})")
        if hints.get(key) is str:
            values[key] = text
            continue
        try:
            values[key] = yaml.load(text, _loader())
        except yaml.YAMLError as error:
            raise ConfigError(f"{word}: not a value ({' '.join(str(error).split())})") from error
        _check_type(word, hints.get(key), values[key])
    return values


def _keys(config_type: type) -> list[str]:
    return [field.name for field in dataclasses.fields(config_type)]


def _loader() -> type[yaml.SafeLoader]:
    """YAML's safe loader without its yes, no, on and off for true and false: they are words people record."""
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
    """The registry checks keys, names and nested settings; plain numbers, truths and lists are checked here."""
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
