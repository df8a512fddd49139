"""What the next trial tries: Optuna's tree-structured Parzen estimator, seeded by the number of the trial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial


# What a trial that was put back is told to remember: the number of the one whose place it takes.
REPLACES = "replaces"


def seeded_sampler(seed: int) -> optuna.samplers.BaseSampler:
    """A sampler whose draws follow from the seed, the number of the trial and the trials before it.

    So a stopped study goes on as if it had not been stopped, and two processes that share a study never draw the same.
    """
    import optuna

    class SeededByTrial(optuna.samplers.BaseSampler):
        def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
            place = place_of(trial.number, study.get_trials(deepcopy=False))
            drawn = int(np.random.SeedSequence((seed, place)).generate_state(1)[0])
            self.of_trial = optuna.samplers.TPESampler(seed=drawn)
            self.of_trial.before_trial(study, trial)

        def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
            return self.of_trial.infer_relative_search_space(study, trial)

        def sample_relative(
            self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
        ) -> dict[str, Any]:
            return self.of_trial.sample_relative(study, trial, search_space)

        def sample_independent(
            self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
        ) -> Any:
            return self.of_trial.sample_independent(study, trial, param_name, param_distribution)

    return SeededByTrial()


def place_of(number: int, trials: Sequence[FrozenTrial]) -> int:
    """The number that a trial would have if none had been put back.

    Args:
        number: of the trial.
        trials: all of the study.
    """
    replaced = {one.number: one.user_attrs[REPLACES] for one in trials if REPLACES in one.user_attrs}
    while number in replaced:
        number = replaced[number]
    return number - sum(one < number for one in replaced)
