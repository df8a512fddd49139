"""Plain values (dicts with names, lists, texts, numbers, truth values, null) as YAML text, and back."""

from __future__ import annotations

import json
import re
from typing import Any

from speechgru.errors import ConfigError, one_line

# A model's settings never come near these limits; PyYAML takes a second for that many values.
_MOST_CHARACTERS = 1 << 20
_MOST_VALUES = 20_000
_MOST_DEPTH = 20


def to_yaml(plain: object, width: int = 80) -> str:
    """Plain values as YAML text that reads back the same, in the order they have."""
    import yaml

    # PyYAML reads back a space for the line breaks of Unicode unless they are escaped.
    breaks = re.search("[\x85\u2028\u2029]", json.dumps(plain, ensure_ascii=False))
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=breaks is None, width=width)


def from_yaml(text: str) -> Any:
    """The plain values of untrusted YAML text.

    Raises:
        ConfigError: it is not YAML, or has what settings never have: other types (dates, objects), aliases, whole
            numbers beyond 64 bits, more than a million characters, 20,000 values or 20 levels.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """Counts while it reads: nothing is built from a text of endless length or depth."""

        values = depth = 0

        def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
            self.values, self.depth = self.values + 1, self.depth + 1
            if self.check_event(yaml.AliasEvent):
                raise ConfigError("aliases (&, *) are not for settings; write the values out")
            if self.values > _MOST_VALUES or self.depth > _MOST_DEPTH:
                raise ConfigError(f"more than {_MOST_VALUES:,} values or {_MOST_DEPTH} levels are no settings")
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

    if len(text) > _MOST_CHARACTERS:
        raise ConfigError(f"{len(text):,} characters are no settings")
    try:
        plain = yaml.load(text, Loader)
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"is not YAML of plain values: {one_line(error)}") from None
    _check(plain)
    return plain


def _check(plain: object) -> None:
    if isinstance(plain, dict):
        for key, value in plain.items():
            if not isinstance(key, str):
                raise ConfigError(f"a {type(key).__name__} is no name of a setting; put it in quotes")
            _check(value)
    elif isinstance(plain, list):
        for value in plain:
            _check(value)
    elif isinstance(plain, int):
        if not -(2**63) <= plain < 2**63:
            raise ConfigError("a whole number is beyond 64 bits")
    elif not (plain is None or isinstance(plain, (str, float))):
        raise ConfigError(f"a {type(plain).__name__} is no plain value; put it in quotes")
