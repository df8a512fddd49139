"""Checks of options that several commands have."""

from __future__ import annotations

import argparse

from speechgru.errors import ConfigError


def at_least_one(arguments: argparse.Namespace, *names: str) -> None:
    """Raises ConfigError where one of these options is below 1; None, for an option that was not given, is fine."""
    for name in names:
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise ConfigError(f"--{name} {value}: at least 1")
