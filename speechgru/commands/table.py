"""Tables for the terminal."""

from __future__ import annotations


def table(header: list[str], rows: list[list[str]], left: int = 1) -> str:
    """Aligned columns under a header, two spaces apart.

    Args:
        header: the names of the columns.
        rows: the cells.
        left: the first columns that hold text and are aligned left; the others hold numbers and are aligned right.
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
