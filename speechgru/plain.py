"""Plain values: what JSON and YAML hold, such as a row of ``metrics.jsonl``, a ``results.json`` or a run's settings."""

from __future__ import annotations

from typing import Any

Record = dict[str, Any]
