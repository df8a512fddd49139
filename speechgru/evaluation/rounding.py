"""Numbers as ``results.json`` and the tables have them."""

from __future__ import annotations

import math

from speechgru.plain import Record


def rounded(value: float | None, digits: int = 6) -> float | None:
    """The rounded value; None also for what is not finite, which JSON cannot express."""
    return round(float(value), digits) if value is not None and math.isfinite(value) else None


def spread(one: Record, name: str, interval: list[float] | None = None) -> str:
    """A measure in per cent, with its standard deviation or else its interval."""
    shown = f"{100 * one[name]:.2f}"
    if one[f"{name}_std"] is not None:
        shown += f" ± {100 * one[f'{name}_std']:.2f}"
    elif interval:
        shown += " ({:.2f} to {:.2f})".format(*(100 * end for end in interval))
    return shown
