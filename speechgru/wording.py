"""Figures, names and tables as people read them: on a terminal, and in Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence


def duration(seconds: float | None) -> str:
    """Seconds as people say them: ``48 s``, ``12 min 05 s``, ``3 h 20 min``; empty for None."""
    if seconds is None:
        return ""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s" if whole >= 10 else f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def markdown_cell(text: object) -> str:
    """``text`` so that Markdown shows it as it is, on one line, also inside a table."""
    return re.sub(r"([\\`*_\[\]<>|~#&$])", r"\\\1", " ".join(str(text).split()))


def markdown_grid(rows: Sequence[Sequence[str]]) -> str:
    """Finished cells as the lines of a Markdown table: the heading, a row of ``---`` or ``---:``, the others."""
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def table(header: list[str], rows: list[list[str]], left: int = 1) -> str:
    """Aligned columns under a header, two spaces apart.

    Args:
        header: the names of the columns.
        rows: the cells.
        left: how many first columns hold text and are aligned left; the others hold numbers and are aligned right.
    """
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
