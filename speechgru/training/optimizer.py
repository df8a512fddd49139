"""Optimizers: the settings of torch's own, by name."""

from __future__ import annotations

import dataclasses

import torch
from torch import nn

from speechgru.errors import ConfigError
from speechgru.registry import register


@dataclasses.dataclass
class AdamWConfig:
    """Adam with decoupled weight decay (1711.05101).

    Attributes:
        learning_rate: the peak the schedule scales, above 0.
        weight_decay: pull of the matrices towards zero, at least 0; biases and norms are left alone.
        beta1: memory of the mean gradient, 0 to below 1.
        beta2: memory of the mean square, 0 to below 1.
        eps: added to the root of the mean square, above 0.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def __post_init__(self) -> None:
        _check(self, above_zero=("learning_rate", "eps"), shares=("beta1", "beta2"), at_least_zero=("weight_decay",))


@register("optimizer", "adamw", AdamWConfig)
def adamw(model: nn.Module, config: AdamWConfig) -> torch.optim.Optimizer:
    """AdamW over the parameters of ``model``."""
    betas = (config.beta1, config.beta2)
    groups = decay_groups(model, config.weight_decay)
    return torch.optim.AdamW(groups, config.learning_rate, betas, config.eps, fused=True)


@dataclasses.dataclass
class AdamConfig(AdamWConfig):
    """Adam (1412.6980) with the weight decay added to the gradient; settings as :class:`AdamWConfig`."""

    weight_decay: float = 0.0


@register("optimizer", "adam", AdamConfig)
def adam(model: nn.Module, config: AdamConfig) -> torch.optim.Optimizer:
    """Adam over the parameters of ``model``."""
    betas = (config.beta1, config.beta2)
    groups = decay_groups(model, config.weight_decay)
    return torch.optim.Adam(groups, config.learning_rate, betas, config.eps, fused=True)


@dataclasses.dataclass
class SGDConfig:
    """Stochastic gradient descent with momentum.

    Attributes:
        learning_rate: the peak the schedule scales, above 0.
        momentum: share of the last step kept, 0 to below 1.
        nesterov: look ahead along the momentum.
        weight_decay: pull of the matrices towards zero, at least 0.
    """

    learning_rate: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        _check(self, above_zero=("learning_rate",), shares=("momentum",), at_least_zero=("weight_decay",))


@register("optimizer", "sgd", SGDConfig)
def sgd(model: nn.Module, config: SGDConfig) -> torch.optim.Optimizer:
    """SGD over the parameters of ``model``."""
    groups = decay_groups(model, config.weight_decay)
    nesterov = config.nesterov and config.momentum > 0
    return torch.optim.SGD(groups, config.learning_rate, config.momentum, nesterov=nesterov)


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """The parameters in two groups: matrices with weight decay; biases, norms and scales without."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in parameters if parameter.dim() > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in parameters if parameter.dim() <= 1], "weight_decay": 0.0},
    ]


def _check(
    config: object, above_zero: tuple[str, ...], shares: tuple[str, ...], at_least_zero: tuple[str, ...]
) -> None:
    for name in above_zero:
        if not getattr(config, name) > 0:
            raise ConfigError(f"{name}={getattr(config, name)}: above 0")
    for name in shares:
        if not 0 <= getattr(config, name) < 1:
            raise ConfigError(f"{name}={getattr(config, name)}: from 0 to below 1")
    for name in at_least_zero:
        if not getattr(config, name) >= 0:
            raise ConfigError(f"{name}={getattr(config, name)}: at least 0")
