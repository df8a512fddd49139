"""Where the things that ship beside the code lie: inside an installed package, or beside it in a checkout."""

from __future__ import annotations

from pathlib import Path

from speechgru.errors import ConfigError


def conf_dir() -> Path:
    """The tree of YAML files a run is composed of."""
    return _beside("conf")


def recipes_dir() -> Path:
    """The folder of recipes."""
    return _beside("recipes")


def models_dir() -> Path:
    """The folder of trained models; it is there only where some ship."""
    return Path(__file__).resolve().parent / "models"


def _beside(name: str) -> Path:
    package = Path(__file__).resolve().parent
    for folder in (package / name, package.parent / name):
        if folder.is_dir():
            return folder
    raise ConfigError(f"the folder {name} is neither in {package} nor beside it; install speechgru again")
