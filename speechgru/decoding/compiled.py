"""Machine code for loops that NumPy cannot express."""

from __future__ import annotations

from speechgru.compiled import kernel

compiled = kernel(error_model="numpy")  # x / 0 as in NumPy
