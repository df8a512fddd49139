"""Where the files that ship with the code are: inside an installed package, or beside it in a checkout."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path

from speechgru.errors import ConfigError

# The shipped model for each task, used where no other is named.
DEFAULT_MODELS = {"classification": "commands", "ctc": "an4", "keyword": "keywords"}
_ANSWERS_AS = {"keyword": "classification"}  # heads that do the task of another one


def conf_dir() -> Path:
    """The tree of YAML files a run is composed of."""
    return _beside("conf")


def recipes_dir() -> Path:
    """The folder of recipes."""
    return _beside("recipes")


def models_dir() -> Path:
    """The folder of trained models; it is there only if models ship."""
    return Path(__file__).resolve().parent / "models"


def model_names() -> list[str]:
    """The names of the models that ship inside, sorted."""
    return sorted(path.parent.name for path in models_dir().glob("*/config.yaml"))


def model_task(folder: Path) -> str:
    """The head of a shipped model, read without loading it."""
    found = re.search(r"^task: (\w+)", (folder / "config.yaml").read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else ""


def shipped_model(name: str) -> Path:
    """The folder of a model that ships inside.

    Raises:
        ConfigError: no shipped model has that name.
    """
    shipped = model_names()
    if name not in shipped:
        near = difflib.get_close_matches(name, shipped, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"no model is called {name}{hint} (known: {', '.join(shipped) or 'none ship'})")
    return models_dir() / name


def model_title(model: str) -> str:
    """The name of a model: the name it was given by, or that of its run: ``runs/NAME/0/model`` is NAME."""
    if not Path(model).is_dir():
        return model
    parts = Path(model).resolve().parts
    return next((part for part in reversed(parts) if part != "model" and not part.isdecimal()), parts[-1])


def model_path(model: str | os.PathLike[str]) -> Path:
    """The folder that the name of a model means, wherever a model may be given.

    The name of a shipped model means that model, even beside a folder of the same name: ``commands`` ships, and
    ``./commands`` is the folder. ``hf://owner/name`` is fetched from the Hugging Face Hub. A Path is always a folder.

    Raises:
        ConfigError: neither a folder nor a shipped model has that name.
        ModelError: it cannot be fetched.
    """
    if isinstance(model, str) and model.startswith("hf://"):
        from speechgru.hub import fetch

        return fetch(model)
    if isinstance(model, str) and model in model_names():
        return models_dir() / model
    if os.path.isdir(model):
        return Path(model)
    if os.path.exists(model):
        raise ConfigError(f"{model}: a file; name the model folder, which holds config.yaml and model.safetensors")
    if not isinstance(model, str):
        raise ConfigError(f"{model}: no such folder")
    try:
        return shipped_model(model)
    except ConfigError as error:
        raise ConfigError(f"{model}: no such folder, and {error}") from None


def default_model(task: str) -> Path | None:
    """The folder of the model that ships for ``classification``, ``ctc`` or ``keyword``; None where none does."""
    heads = {name: model_task(models_dir() / name) for name in model_names()}
    fitting = [name for name, head in heads.items() if task in (head, _ANSWERS_AS.get(head))]
    usual = DEFAULT_MODELS.get(task, "")
    return models_dir() / (usual if usual in fitting else fitting[0]) if fitting else None


def _beside(name: str) -> Path:
    package = Path(__file__).resolve().parent
    for folder in (package / name, package.parent / name):
        if folder.is_dir():
            return folder
    raise ConfigError(f"the folder {name} is neither in {package} nor beside it; install speechgru again")
