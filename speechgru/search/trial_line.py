"""What is said of a trial when it ends: its settings, its value, the best so far and the time left."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from speechgru.wording import duration

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from speechgru.search.search import Search


def best_of(trials: Sequence[FrozenTrial], higher: bool) -> FrozenTrial | None:
    """The complete trial with the best value, the earliest among equals; None where there is none."""
    complete = [one for one in trials if one.state.name == "COMPLETE" and one.value is not None]
    return min(complete, key=lambda one: -one.values[0] if higher else one.values[0], default=None)


def settings_of(trial: FrozenTrial) -> str:
    """The settings that a trial tried, numbers with four digits."""
    return " ".join(f"{key}={brief(value)}" for key, value in trial.params.items())


def brief(value: object) -> str:
    """The value of a setting, numbers with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def seconds_of(trial: FrozenTrial) -> float:
    """How long a trial took; 0 for one that has not ended."""
    return trial.duration.total_seconds() if trial.duration is not None else 0.0


def trial_line(trial: FrozenTrial, trials: Sequence[FrozenTrial], search: Search) -> str:
    """The line of a trial that has ended.

    Args:
        trial: which.
        trials: all that count, this one included.
        search: what is searched for.
    """
    ended = sum(one.state.is_finished() for one in trials)
    best = best_of(trials, search.higher)
    so_far = f" (best {best.values[0]:.4f}, trial {best.number})" if best is not None else ""
    if trial.state.name == "COMPLETE":
        kept = ", the best so far" if best is not None and best.number == trial.number else so_far
        outcome = f"{search.metric} {trial.values[0]:.4f}{kept}"
    elif trial.state.name == "PRUNED":
        epoch, value = max(trial.intermediate_values.items())
        outcome = f"{search.metric} {value:.4f} in epoch {epoch}, stopped early{so_far}"
    else:
        log = search.folder / "trials" / f"{trial.user_attrs.get('folder')}.log"
        outcome = f"failed: {trial.user_attrs.get('failure', 'its process died')} ({log}){so_far}"
    took, left = seconds_of(trial), _seconds_left(trials, search.trials)
    times = duration(took) + (f"; about {duration(left)} left" if left else "")
    return f"{ended}/{search.trials} trial {trial.number}: {settings_of(trial)}: {outcome}, {times}"


def _seconds_left(trials: Sequence[FrozenTrial], planned: int) -> float:
    """The mean time of the trials that ended, times the number of those that have not, over the processes at work."""
    took = [seconds_of(one) for one in trials if one.state.name in ("COMPLETE", "PRUNED")]
    left = planned - sum(one.state.is_finished() for one in trials)
    others = sum(one.state.name == "RUNNING" for one in trials)
    return statistics.fmean(took) * left / (others + 1) if took and left > 0 else 0.0
