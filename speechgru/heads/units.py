"""Which heads score the units of transcripts."""

from typing import Any

from speechgru.errors import ConfigError
from speechgru.registry import entry, names
from speechgru.text import BLANK, Units
from speechgru.tokens import Tokens


def check_units(head: str, units: Units | None, tokens: Tokens | None = None) -> None:
    """A CTC head scores the blank and units of transcripts; other heads know no units.

    Raises:
        ConfigError: the head of this name needs units and is given none, or is given units and may have none, or the
            first of ``tokens`` is no blank.
    """
    component: Any = entry("head", head).component
    needed: bool = component.needs_units
    if needed and units is None:
        raise ConfigError(f"head={head}: needs units; add units=characters (known: {', '.join(names('units'))})")
    if units is not None and not needed:
        raise ConfigError(f"head={head}: knows no units; choose head=ctc for transcripts, or leave units out")
    if needed and tokens is not None and tokens.names[0] != BLANK:
        raise ConfigError(f"tokens: the first of a ctc head is {BLANK}, not {tokens.names[0]!r}; put it there")
