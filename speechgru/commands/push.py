"""``speechgru push``: puts a trained model on the Hugging Face Hub."""

from __future__ import annotations

import argparse

from speechgru.shipped import model_path

_EPILOG = """\
The folder is loaded first, so that nothing broken is pushed. What a model folder holds goes up in one commit:
settings, weights in safetensors, outputs, decoder, and the card as the page of the repository. The token comes from
HF_TOKEN, or from hf auth login. From then on hf://owner/name can be given wherever a model is asked for, and
hf://owner/name@REVISION for a fixed revision.

The exit code is 0, 1 when the Hub does not accept it, 2 for a wrong name or a folder without a card.

examples:
  speechgru push runs/fsdd/model me/spoken-digits
  speechgru push runs/fsdd/model me/spoken-digits --private
  speechgru classify clip.wav -m hf://me/spoken-digits
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``speechgru push``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("model", metavar="MODEL", help="model folder, or the name of a shipped model")
    parser.add_argument("repository", metavar="OWNER/NAME", help="the repository; made where there is none")
    parser.add_argument("--private", action="store_true", help="a new repository is private")
    parser.add_argument("--revision", metavar="BRANCH", help="an existing branch (default: main)")
    parser.add_argument("--message", default="", help="message of the commit")


def run(arguments: argparse.Namespace) -> int:
    """Pushes one model and prints the address of the commit; 0.

    Raises:
        ConfigError: no such model, a wrong name, or no card.
        ModelError: the folder cannot be loaded, or the Hub does not accept it.
    """
    folder = model_path(arguments.model)
    from speechgru.hub import push
    from speechgru.recognizer import Recognizer

    Recognizer.load(folder)
    print(push(folder, arguments.repository, arguments.private, arguments.revision, arguments.message))
    return 0
