"""``speechgru models``: what ships inside and how good it is."""

from __future__ import annotations

import argparse
import json
import math
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from speechgru.errors import ConfigError, ModelError
from speechgru.shipped import model_names, model_path, shipped_model

_EPILOG = """\
examples:
  speechgru models                  name, labels, parameters, size and accuracy of each
  speechgru models show commands    its card: data, licence, accuracy per word, limits
  speechgru models path commands    its folder
  speechgru models pack runs/an4/0/model speechgru/models/an4 --half
                                    a trained model with its decoder and card for others, in half the bytes
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``speechgru models``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    actions = ("list", "show", "path", "pack")
    parser.add_argument("action", nargs="?", choices=actions, default="list", help="default: list")
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="the model, for show and path; the folder of one, for pack"
    )
    parser.add_argument("folder", nargs="?", metavar="FOLDER", help="where to, for pack")
    parser.add_argument("--half", action="store_true", help="pack parameters as float16")


def run(arguments: argparse.Namespace) -> int:
    """Lists the shipped models, prints the card or the folder of one, or packs one.

    Raises:
        ConfigError: no such model, or none named.
        ModelError: a model is damaged.
    """
    if arguments.action == "pack":
        return _pack(arguments.name, arguments.folder, arguments.half)
    if arguments.folder is not None or arguments.half:
        raise ConfigError(f"{arguments.folder or '--half'}: is for models pack")
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


def _pack(source: str | None, target: str | None, half: bool) -> int:
    """Writes a model as this version does, with its card; prints the folder and its size."""
    if source is None or target is None:
        raise ConfigError("models pack needs the folder of a model and the folder to write")
    model = model_path(source)
    if not (model / "card.md").is_file():
        raise ConfigError(f"{source} holds no card.md; pack what a training run has finished and evaluate has measured")
    if Path(target).exists() and Path(target).samefile(model):
        raise ConfigError(f"{target}: the same folder; give another one")
    from speechgru.recognizer import Recognizer

    Recognizer.load(model).save(target, half=half)
    shutil.copyfile(model / "card.md", Path(target) / "card.md")
    print(target)
    print(f"{_size(Path(target)) / 1e6:.2f} MB, was {_size(model) / 1e6:.2f} MB", file=sys.stderr)
    return 0


def _size(folder: Path) -> int:
    """Bytes of the files of a model folder."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def _list() -> None:
    from speechgru.tokens import Tokens
    from speechgru.wording import table

    rows = []
    for name in model_names():
        folder = shipped_model(name)
        rows.append(
            [
                name,
                str(len(Tokens.load(folder / "tokens.txt"))),
                f"{parameter_count(folder / 'model.safetensors'):,}",
                f"{_size(folder) / 1e6:.1f} MB",
                f"{_sample_rate(folder / 'config.yaml') / 1000:g} kHz",
                _measured(folder / "card.md"),
            ]
        )
    if not rows:
        print("no model ships with this version; train one: speechgru recipes")
        return
    print(table(["model", "outputs", "parameters", "size", "rate", "test"], rows))


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


def _measured(card: Path) -> str:
    """What a card says about the quality of the model, in short."""
    for kind, name in (("accuracy", "accuracy"), ("wer", "word error rate")):
        value = measure_of(card, kind)
        if value is not None:
            return f"{name} {value:.1f} %"
    return ""


def measure_of(card: Path, kind: str) -> float | None:
    """The first measure of a ``kind`` in a card's front matter (Hugging Face's ``model-index``), in percent, if any."""
    import yaml

    try:
        found = re.match(r"---\n(.*?)\n---", card.read_text(encoding="utf-8"), re.DOTALL)
        index: Any = (yaml.safe_load(found[1]) or {}).get("model-index", []) if found else []
        metrics = [metric for model in index for result in model["results"] for metric in result["metrics"]]
        value = next(float(metric["value"]) for metric in metrics if metric["type"] == kind)
    except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError, StopIteration):
        return None
    return 100 * value
