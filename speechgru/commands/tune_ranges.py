"""What ``speechgru tune`` is to try, from words such as ``encoder.hidden_size=range(32,129,16)``."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from speechgru.errors import ConfigError
from speechgru.overrides import parse
from speechgru.search.ranges import Choices, Numbers, Range, WholeNumbers

if TYPE_CHECKING:
    from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

_LOG = re.compile(r"([^=]+)=log\(([^,()]+),([^,()]+)\)")
_WHOLE = re.compile(r"\s*[+-]?\d[\d_]*\s*")


def read_range(word: str) -> tuple[str, Range] | None:
    """The setting's key and the values to try; None for a word that gives one value.

    All of Hydra's ways to write several values are read: ``a,b`` and ``choice(a,b)``, ``range(first,end,step)`` without
    its end, ``interval(low,high)``, ``tag(log,interval(low,high))``, ``glob(*)``; and ``log(low,high)``, which is short
    for ``tag(log,interval(low,high))``. An interval gives whole numbers if it is cast, ``int(interval(8,64))``; log
    gives whole numbers if both ends are whole.

    Raises:
        ConfigError: the word is not a setting, or is a range without a value in it.
    """
    logarithmic = _LOG.fullmatch(word)
    if logarithmic:
        key, low, high = logarithmic.groups()
        interval = f"interval({low},{high})"
        if _WHOLE.fullmatch(low) and _WHOLE.fullmatch(high):
            interval = f"int({interval})"
        try:
            override = parse(f"{key}=tag(log,{interval})")
        except ConfigError:
            raise ConfigError(f"{word}: log takes two numbers, log(1e-4,1e-2)") from None
    else:
        override = parse(word)
    if not override.is_sweep_override():
        return None
    return override.get_key_element(), _range(word, override)


def _range(word: str, override: Override) -> Range:
    from hydra.core.override_parser.types import IntervalSweep, RangeSweep

    sweep = override.value()
    if isinstance(sweep, RangeSweep):
        return _steps(word, sweep)
    if isinstance(sweep, IntervalSweep):
        return _interval(word, sweep)
    if getattr(sweep, "shuffle", False):
        raise ConfigError(f"{word}: the search chooses the order itself; leave shuffle out")
    values = tuple(dict.fromkeys(override.sweep_string_iterator()))
    if not values:
        raise ConfigError(f"{word}: no option is called so")
    return Choices(values)


def _steps(word: str, sweep: RangeSweep) -> Range:
    values = sorted(sweep.range())
    if not values:
        raise ConfigError(f"{word}: no number lies in it; the end, which is left out, comes after the first")
    step = values[1] - values[0] if len(values) > 1 else 1
    if all(isinstance(one, int) for one in values):
        return WholeNumbers(values[0], values[-1], step)
    return Numbers(float(values[0]), float(values[-1]), abs(float(sweep.step)) if len(values) > 1 else None)


def _interval(word: str, sweep: IntervalSweep) -> Range:
    low, high, log = sweep.start, sweep.end, "log" in sweep.tags
    assert low is not None
    assert high is not None
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ConfigError(f"{word}: both ends are finite numbers")
    if not low < high:
        raise ConfigError(f"{word}: the second number is above the first")
    if log and low <= 0:
        raise ConfigError(f"{word}: a logarithm is of numbers above 0")
    if isinstance(low, int) and isinstance(high, int):
        return WholeNumbers(low, high, log=log)
    return Numbers(float(low), float(high), log=log)
