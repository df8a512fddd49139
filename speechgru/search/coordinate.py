"""What the next trial tries in a coordinate search: the values of one setting after those of another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from speechgru.search.ranges import Range
from speechgru.search.trial_line import best_of

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial


def coordinate_sampler(ranges: Mapping[str, Range], higher: bool) -> optuna.samplers.BaseSampler:
    """A sampler that tries every value of the first setting, then with the best of them every value of the second.

    The next trial depends only on the trials before, so a stopped study goes on as if it had not been stopped.

    Args:
        ranges: what to try, by key; each has a list of values, of which the first is where the search begins.
        higher: whether more of the figure is better.
    """
    import optuna

    class Coordinate(optuna.samplers.BaseSampler):
        def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
            self.point = next_point(ranges, study.get_trials(deepcopy=False), higher)

        def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
            return {}

        def sample_relative(
            self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
        ) -> dict[str, Any]:
            return {}

        def sample_independent(
            self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
        ) -> Any:
            return self.point[param_name]

    return Coordinate()


def next_point(ranges: Mapping[str, Range], trials: Sequence[FrozenTrial], higher: bool) -> dict[str, Any]:
    """The values of the trial that comes next; those of the best one where all were tried.

    Args:
        ranges: what to try, by key.
        trials: those before it, in any state.
        higher: whether more of the figure is better.
    """
    point = {key: one.values_in_order()[0] for key, one in ranges.items()}
    for key, wanted in ranges.items():
        options = [point | {key: value} for value in wanted.values_in_order()]
        for option in options:
            if all(one.params != option for one in trials):
                return option
        best = best_of([one for one in trials if one.params in options], higher)
        point = point if best is None else dict(best.params)
    return point


def count_of_trials(ranges: Mapping[str, Range]) -> int:
    """How many trials a coordinate search takes: the value that a setting keeps is not tried again.

    Raises:
        ConfigError: a range has no list of values.
    """
    return sum(len(one.values_in_order()) - 1 for one in ranges.values()) + 1
