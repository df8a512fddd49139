"""How large an encoder may be so that the whole model has a given number of parameters."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from speechgru.errors import ConfigError
from speechgru.model_folder import RecognizerConfig
from speechgru.registry import build, name_of
from speechgru.tokens import Tokens

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

LARGEST = 1 << 16


def within_budget(config: RecognizerConfig, tokens: Tokens, parameters: int) -> DataclassInstance:
    """The settings of the encoder with the largest ``hidden_size`` that keeps the model within ``parameters``.

    To count the parameters, the model is built on a device that stores no values, so it may have any components whose
    count grows with the hidden size. If the head accepts only some sizes (the heads of an attention must divide its
    input size), the multiples of the smallest one are tried.

    Args:
        config: the components of the model.
        tokens: what its head scores.
        parameters: how many the whole model may have, at least 1.

    Raises:
        ConfigError: not even the smallest hidden size fits, or the encoder has no hidden size.
    """
    encoder = config.encoder
    if not hasattr(encoder, "hidden_size"):
        raise ConfigError(
            f"parameters={parameters}: encoder={name_of('encoder', encoder)} has no hidden_size to choose"
        )
    features = build("features", config.features)  # computes its tables, for which it needs real values

    def count(hidden_size: int) -> int:
        sized = dataclasses.replace(encoder, hidden_size=hidden_size)
        with torch.device("meta"):
            body = build("encoder", sized, features.output_size)
            head = build("head", config.head, body.output_size, tokens, directions=body.directions)
        return sum(one.numel() for part in (features, body, head) for one in part.parameters() if one.requires_grad)

    unit = _smallest(count)
    if count(unit) > parameters:
        raise ConfigError(
            f"parameters={parameters}: with hidden_size={unit} the model has {count(unit)} already; allow more"
        )
    fits, beyond = 1, 2
    while beyond * unit < LARGEST and count(beyond * unit) <= parameters:
        fits, beyond = beyond, 2 * beyond
    while beyond - fits > 1:
        middle = (fits + beyond) // 2
        fits, beyond = (middle, beyond) if count(middle * unit) <= parameters else (fits, middle)
    return dataclasses.replace(encoder, hidden_size=fits * unit)


def _smallest(count: Callable[[int], int]) -> int:
    """The smallest hidden size that can be built: the heads of an attention must divide the encoder's output size."""
    for size in range(1, 64):
        with contextlib.suppress(ConfigError):
            count(size)
            return size
    return 64  # if this cannot be built either, its error says why
