"""Machine code for loops that NumPy cannot say: numba's, kept between runs where a folder can be written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Any:
    """``numba.njit`` with the machine code on disk; in a read-only installation it is made anew in every process."""
    try:
        return numba.njit(cache=True, error_model="numpy")(function)
    except RuntimeError:  # numba finds no folder for its cache
        return numba.njit(error_model="numpy")(function)
