"""``speechgru settings``: what may be set in a run or an evaluation, explained."""

from __future__ import annotations

import argparse
import difflib
import fnmatch
import textwrap

from speechgru.errors import ConfigError
from speechgru.settings import Setting, known_settings

_EPILOG = """\
PATTERN is a part of a setting's name or of a choice (mask, encoder, encoder=gru), a whole name, or a glob (trainer.*).
Where no name fits, the explanations are searched.

examples:
  speechgru settings                          every name
  speechgru settings mask                     the settings with mask in their name, explained
  speechgru settings trainer.gradient_clip    one of them
  speechgru settings cell=sru                 those of one component
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``speechgru settings``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("patterns", nargs="*", metavar="PATTERN", help="which to explain; none lists the names")


def run(arguments: argparse.Namespace) -> int:
    """Lists all settings by name, or explains those that fit a pattern.

    Raises:
        ConfigError: a pattern fits none.
    """
    settings = known_settings()
    if not arguments.patterns:
        print(overview(settings))
        return 0
    found = [setting for pattern in arguments.patterns for setting in fitting(settings, pattern)]
    print("\n".join(explained(list(dict.fromkeys(found)))))
    return 0


def fitting(settings: list[Setting], pattern: str) -> list[Setting]:
    """The settings a pattern means: the one of that name, else those with it in their names, else in their texts.

    Raises:
        ConfigError: there is none.
    """
    glob = pattern if set(pattern) & set("*?[") else f"*{pattern}*"
    for fits in (
        lambda one: pattern in (one.key, one.of),
        lambda one: one.key.startswith(f"{pattern}."),
        lambda one: fnmatch.fnmatch(one.key, glob) or fnmatch.fnmatch(one.of, glob),
        lambda one: pattern.lower() in one.text.lower(),
    ):
        found = [setting for setting in settings if fits(setting)]
        if found:
            return found
    names = {name: one.key for one in settings for name in (one.key, one.key.rpartition(".")[2])}
    near = difflib.get_close_matches(pattern, names, n=1)
    hint = f"; did you mean {names[near[0]]}?" if near else ""
    raise ConfigError(f"no setting has {pattern} in its name or explanation{hint}")


def explained(settings: list[Setting]) -> list[str]:
    """A paragraph for each setting; settings that several components share have one paragraph."""
    shared: dict[Setting, list[str]] = {}
    for setting in settings:
        shared.setdefault(setting._replace(of=""), []).append(setting.of)
    lines = []
    for setting, owners in shared.items():
        options = [one.partition("=")[2] for one in owners if "=" in one]
        # A choice of train and of evaluate is one; options are named where a group has several.
        of = f"of {owners[0].partition('=')[0]}={'|'.join(options)}; " if options else f"of {' and '.join(owners)}; "
        default = f"default {setting.default}" if setting.default else "no default"
        lines.append(f"{setting.key}  ({of}{setting.kind}; {default})")
        lines += textwrap.wrap(setting.text.replace("`", ""), 112, initial_indent="    ", subsequent_indent="    ")
    return lines


def overview(settings: list[Setting]) -> str:
    """All names, grouped by command and component."""
    parts: dict[str, list[str]] = {}
    for setting in settings:
        parts.setdefault(setting.of, []).append(setting.key.partition(".")[2] if "=" in setting.of else setting.key)
    lines = []
    for of, names in parts.items():
        text = f"{of}: {', '.join(names)}"
        lines += textwrap.wrap(text, 118, subsequent_indent="    ", break_on_hyphens=False)
    return "\n".join([*lines, "", "speechgru settings PATTERN explains those with PATTERN in their name."])
