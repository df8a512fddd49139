"""``speechgru models``: what ships inside and how good it is."""

from __future__ import annotations

import argparse
import json
import math
import re
from pathlib import Path
from typing import Any

from speechgru.errors import ConfigError, ModelError
from speechgru.shipped import model_names, shipped_model

_EPILOG = """\
examples:
  speechgru models                  name, labels, parameters, size and accuracy of each
  speechgru models show commands    its card: data, licence, accuracy per word, limits
  speechgru models path commands    its folder
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``speechgru models``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("action", nargs="?", choices=("list", "show", "path"), default="list", help="default: list")
    parser.add_argument("name", nargs="?", metavar="NAME", help="the model, for show and path")


def run(arguments: argparse.Namespace) -> int:
    """Lists the shipped models, or prints the card or the folder of one.

    Raises:
        ConfigError: no such model, or none named.
        ModelError: a shipped model is damaged.
    """
    if arguments.action == "list":
        if arguments.name is not None:
            raise ConfigError(f"models list takes no name; did you mean models show {arguments.name}?")
        _list()
        return 0
    folder = _folder(arguments.action, arguments.name)
    if arguments.action == "path":
        print(folder)
        return 0
    card = folder / "card.md"
    if not card.is_file():
        raise ConfigError(f"{card} is not there; install speechgru again")
    print(card.read_text(encoding="utf-8").rstrip())
    return 0


def _folder(action: str, name: str | None) -> Path:
    if name is None:
        raise ConfigError(f"models {action} needs a name ({', '.join(model_names()) or 'none ship with this version'})")
    return shipped_model(name)


def _list() -> None:
    from speechgru.commands.table import table
    from speechgru.tokens import Tokens

    rows = []
    for name in model_names():
        folder = shipped_model(name)
        size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
        accuracy = accuracy_of(folder / "card.md")
        rows.append(
            [
                name,
                str(len(Tokens.load(folder / "tokens.txt"))),
                f"{parameter_count(folder / 'model.safetensors'):,}",
                f"{size / 1e6:.1f} MB",
                f"{_sample_rate(folder / 'config.yaml') / 1000:g} kHz",
                "" if accuracy is None else f"{accuracy:.1f} %",
            ]
        )
    if not rows:
        print("no model ships with this version; train one: speechgru recipes")
        return
    print(table(["model", "labels", "parameters", "size", "rate", "test accuracy"], rows))


def parameter_count(weights: Path) -> int:
    """How many numbers of a weights file training adjusts, read from its header without loading torch.

    Source: the safetensors format, eight bytes of length and a JSON header (github.com/huggingface/safetensors).
    """
    try:
        with open(weights, "rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        # Statistics of the features and of batch normalisation are kept beside what is trained.
        trained = [
            name for name in header if not re.search(r"^__|^features\.|\.(running_\w+|num_batches_tracked)$", name)
        ]
        return sum(math.prod(header[name]["shape"]) for name in trained)
    except (OSError, ValueError, KeyError, TypeError, MemoryError, OverflowError) as error:
        raise ModelError(f"{weights} is damaged ({error}); install speechgru again") from error


def _sample_rate(config: Path) -> int:
    import yaml

    try:
        return int(yaml.safe_load(config.read_text(encoding="utf-8"))["features"]["sample_rate"])
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise ModelError(f"{config} is damaged ({error}); install speechgru again") from error


def accuracy_of(card: Path) -> float | None:
    """The first accuracy in a card's front matter (Hugging Face's ``model-index``), in percent; None without one."""
    import yaml

    try:
        found = re.match(r"---\n(.*?)\n---", card.read_text(encoding="utf-8"), re.DOTALL)
        index: Any = (yaml.safe_load(found[1]) or {}).get("model-index", []) if found else []
        metrics = [metric for model in index for result in model["results"] for metric in result["metrics"]]
        value = next(float(metric["value"]) for metric in metrics if metric["type"] == "accuracy")
    except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError, StopIteration):
        return None
    return 100 * value if value <= 1 else value
