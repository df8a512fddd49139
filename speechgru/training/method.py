"""How a run learns, beside the settings of its loop."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import nn

from speechgru.augment import Augment
from speechgru.data.surroundings import Surroundings
from speechgru.training.hard_negatives import HardNegatives


@dataclasses.dataclass
class Method:
    """How a run learns, beside the settings of the loop.

    Attributes:
        optimizer: a function of the module giving its optimizer.
        schedule: a function of the number of steps; it gives a function from a step to the learning rate's factor.
        augment: augmentation of waveforms and frames, or None.
        seed: of the data order, augmentation, dropout and masks.
        surroundings: what recordings are mixed into, or None.
        negatives: which windows of background each epoch uses, or None.
    """

    optimizer: Callable[[nn.Module], torch.optim.Optimizer]
    schedule: Callable[[int], Callable[[int], float]]
    augment: Augment | None
    seed: int
    surroundings: Surroundings | None = None
    negatives: HardNegatives | None = None
