"""What the next trial tries: Optuna's tree-structured Parzen estimator, seeded by the number of the trial."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial


def seeded_sampler(seed: int) -> optuna.samplers.BaseSampler:
    """A sampler whose draws follow from the seed, the number of the trial and the trials before it.

    So a study that was stopped goes on as if it had not been, and two processes that share one never draw the same.
    """
    import optuna

    class SeededByTrial(optuna.samplers.BaseSampler):
        def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
            drawn = int(np.random.SeedSequence((seed, trial.number)).generate_state(1)[0])
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
