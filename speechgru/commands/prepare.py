"""``speechgru prepare``: fetches or builds a corpus where the recipes look for it."""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
import typing
from pathlib import Path
from typing import Any

from speechgru.errors import ConfigError, DataError

_EPILOG = """\
Without CORPUS the corpora are listed. Settings are those of a recipe's data (root=... here is data.root=... there).
A second run finds the corpus and does nothing; an interrupted download goes on where it stopped.

examples:
  speechgru prepare
  speechgru prepare synth
  speechgru prepare speech_commands root=/data/speech_commands
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``speechgru prepare``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("corpus", nargs="?", metavar="CORPUS", help="what to fetch or build")
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="settings of the corpus, such as root=FOLDER")


def run(arguments: argparse.Namespace) -> int:
    """Lists the corpora, or prepares one and prints where it is.

    Raises:
        ConfigError: no such corpus or setting.
        DataError: the corpus cannot be fetched or built.
    """
    import speechgru.data.corpora  # noqa: F401  the import registers the corpora
    from speechgru.data.splits import SPLITS
    from speechgru.registry import entry, from_plain

    if arguments.corpus is None:
        _list()
        return 0
    name = arguments.corpus
    config_type, component = entry("data", name)
    if not _can_prepare(component):
        known = ", ".join(_preparable())
        raise ConfigError(f"{name} reads recordings of your own, there is nothing to prepare (known: {known})")
    corpus = component(from_plain({"name": name, **settings_of(arguments.settings, config_type)}, "data", where=name))
    root = Path(corpus.config.root).expanduser()
    facts = corpus.about()
    print(f"{name}: {facts['title']}", file=sys.stderr)
    for key in ("licence", "size", "url"):
        if facts[key]:
            print(f"  {key + ':':9}{facts[key]}", file=sys.stderr)
    print(f"  {'folder:':9}{root}", file=sys.stderr)
    before = _trace(root)
    corpus.prepare(progress=sys.stderr.isatty())
    if before and before == _trace(root):
        print(f"{name}: was there already, nothing to do", file=sys.stderr)
    print(root)
    for split in SPLITS:
        try:
            utterances = corpus.utterances(split)
        except DataError as error:
            # Some settings only make sense for one split, such as silence without background noise.
            print(f"{split}: {error}", file=sys.stderr)
            continue
        print(f"{split} {len(utterances)}")
    return 0


def _can_prepare(component: Any) -> bool:
    from speechgru.data.corpora import Corpus

    return getattr(component, "prepare", Corpus.prepare) is not Corpus.prepare


def _preparable() -> list[str]:
    from speechgru.registry import entry, names

    return [name for name in names("data") if _can_prepare(entry("data", name).component)]


def _list() -> None:
    from speechgru.registry import entry

    for name in _preparable():
        component: Any = entry("data", name).component
        facts = component.about()
        print(f"{name}: {facts['title']}")
        for key in ("licence", "size"):
            if facts[key]:
                print(f"  {key + ':':9}{facts[key]}")


def settings_of(words: list[str], config_type: type) -> dict[str, Any]:
    """``KEY=VALUE`` words as plain values of a corpus's settings; text where the setting is text, YAML otherwise.

    Raises:
        ConfigError: a word is not of that form, or not a value of its setting's type.
    """
    import yaml

    hints = typing.get_type_hints(config_type)
    values: dict[str, Any] = {}
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


def _loader() -> Any:
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


def _check_type(word: str, hint: Any, value: Any) -> None:
    """The registry checks keys, names and nested settings; plain numbers, truths and lists are checked here."""
    wanted = {int: "a whole number", float: "a number", bool: "true or false"}
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


def _trace(root: Path) -> list[tuple[str, int]]:
    """What changes when something is written below ``root`` or into one of its folders; empty if it is not there."""
    if not root.is_dir():
        return []
    folders = [root, *(path for path in root.iterdir() if path.is_dir())]
    return sorted((str(path), path.stat().st_mtime_ns) for path in folders)
