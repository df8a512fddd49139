#!/usr/bin/env python3
"""Writes what is said of the settings from the dataclasses: speechgru/settings.json for help, docs/settings.md to read.

.venv/bin/python scripts/settings_page.py
"""

from __future__ import annotations

import re
from pathlib import Path

from speechgru.config import described
from speechgru.settings import STORED, Setting, write_settings
from speechgru.wording import markdown_grid

PAGE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"
HEAD = """\
<!-- written by scripts/settings_page.py from the dataclasses and their docstrings -->
# Settings

`speechgru train` and `speechgru evaluate` take settings as `key=value`, in any order:
`speechgru train fsdd seed=1 trainer.epochs=20`. What begins with dashes is no setting but says what to do with them:
`--cfg job` prints all settings of a run instead of running it.

- A group is chosen as `group=option`, such as `cell=lstm`; each option has settings of its own, such as
  `cell.forget_bias=2`. A recipe is a choice of all of them, and what stands on the command line goes before it.
  `~group` leaves a group out.
- A list is written `[a,b]`, no value `null`. A text that is more than a word stands in quotes, inside those of the
  shell: `"data.root='my recordings (2)'"`.
- Several values, `seed=0,1,2` with `--multirun`, are several runs.

`speechgru settings PATTERN` explains the same on the command line, with the components of installed plugins.
"""


def page(settings: list[Setting]) -> str:
    """The page: a table of each command, then one of each option of each group."""
    parts = [HEAD]
    sections = {"train": "A training run", "evaluate": "An evaluation"}
    for of, title in sections.items():
        parts += [f"## {title}\n", _table([one for one in settings if one.of == of])]
    by_group: dict[str, dict[str, list[Setting]]] = {}
    for setting in settings:
        if "=" in setting.of:
            by_group.setdefault(setting.of.partition("=")[0], {}).setdefault(setting.of, []).append(setting)
    for group, options in by_group.items():
        parts.append(f"## {group}\n")
        for of, rows in options.items():
            parts += [f"`{of}`\n", _table(rows)]
    return "\n".join(parts)


def _table(rows: list[Setting]) -> str:
    cells = [["setting", "default", "takes", "what it does"], ["---"] * 4]
    for row in rows:
        default = f"`{row.default}`" if row.default else ""
        cells.append([f"`{row.key}`", default, row.kind, _markdown(row.text)])
    return markdown_grid(cells) + "\n"


def _markdown(text: str) -> str:
    """Outside of code, what Markdown would take for marks; inside, the bar that would end a cell."""
    pieces = text.split("`")
    pieces[::2] = [re.sub(r"([\\\\*_\[\]<>])", r"\\\1", piece) for piece in pieces[::2]]
    return "`".join(pieces).replace("|", "\\|")


if __name__ == "__main__":
    found = described()
    write_settings(found, STORED)
    PAGE.write_text(page(found), encoding="utf-8")
