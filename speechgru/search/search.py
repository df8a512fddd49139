"""What is searched for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from speechgru.errors import ConfigError
from speechgru.search.ranges import Range

PRUNERS = ("median", "hyperband", "none")
SAMPLERS = ("tpe", "coordinate")


@dataclasses.dataclass(frozen=True)
class Search:
    """What is searched for.

    Attributes:
        name: of the study in its storage.
        folder: where the trials' runs are.
        storage: address of the database; empty: a file in ``folder``.
        metric: the validation figure that chooses: accuracy, wer, ...
        higher: whether more of it is better.
        ranges: what to try, by key.
        words: the settings that all trials have.
        told: those of ``words`` that identify the study; where the corpus is does not.
        flags: options before the settings, such as where the user's own YAML files are.
        trials: how many there are to be, over all processes.
        epochs: of a training.
        sampler: what draws the next trial: tpe (near what went well) or coordinate (one setting after another).
        pruner: what stops a trial early: median, hyperband or none.
        seed: of what is drawn.
        heartbeat_s: seconds between two signs of life, at least 1.
    """

    name: str
    folder: Path
    storage: str
    metric: str
    higher: bool
    ranges: Mapping[str, Range]
    words: Sequence[str]
    told: Sequence[str]
    flags: Sequence[str] = ()
    trials: int = 40
    epochs: int = 1
    sampler: Literal["tpe", "coordinate"] = "tpe"
    pruner: Literal["median", "hyperband", "none"] = "median"
    seed: int = 0
    heartbeat_s: int = 15

    def __post_init__(self) -> None:
        for key in ("trials", "heartbeat_s"):
            if getattr(self, key) < 1:
                raise ConfigError(f"{key}={getattr(self, key)}: at least 1")
        for key, known in (("sampler", SAMPLERS), ("pruner", PRUNERS)):
            if getattr(self, key) not in known:
                raise ConfigError(f"{key}={getattr(self, key)}: one of {', '.join(known)}")
        if (self.sampler, self.pruner) == ("coordinate", "hyperband"):
            raise ConfigError(
                "pruner=hyperband with sampler=coordinate: hyperband shows the sampler a part of the trials; take "
                "pruner=median or none"
            )
