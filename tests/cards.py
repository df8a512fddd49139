"""What a model's card says, for tests to read."""

from pathlib import Path
from typing import Any

import yaml


def read_card(folder: Path) -> tuple[dict[str, Any], str]:
    """The front matter of ``card.md``, as PyYAML reads it, and the Markdown below it."""
    front, body = (folder / "card.md").read_text("utf-8").removeprefix("---\n").split("\n---\n", 1)
    return yaml.safe_load(front), body.lstrip("\n")
