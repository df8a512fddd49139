"""``speechgru prepare``: fetches or builds a corpus where the recipes look for it."""

from __future__ import annotations

import argparse
import os
import sys
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
    from speechgru.commands.corpus_settings import settings_of
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
    root = Path(os.path.expanduser(corpus.config.root))
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


def _can_prepare(component: object) -> bool:
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


def _trace(root: Path) -> list[tuple[str, int]]:
    """What changes when something is written below ``root`` or into one of its folders; empty if it is not there."""
    if not root.is_dir():
        return []
    folders = [root, *(path for path in root.iterdir() if path.is_dir())]
    return sorted((str(path), path.stat().st_mtime_ns) for path in folders)
