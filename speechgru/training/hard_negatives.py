"""Which windows of background an epoch uses: those that the model took most for a word, and others that are drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from speechgru.data.background import BackgroundConfig
from speechgru.data.utterance import Utterance


class HardNegatives:
    """Draws the windows of each epoch, and remembers how hard each one was when it was last used.

    The loss of a window is how hard it is: -log of the probability of being none of the words. The same losses and
    (seed, epoch) give the same windows, so a resumed run goes on with those of the uninterrupted run.

    Args:
        config: how many windows, and how many of them hard ones.
        utterances: all training utterances.
        rows: the indices of the windows among them.
        seed: of the draws.

    Attributes:
        losses: loss of each window when it was last used, float64 (rows,); minus infinity before.
        drawn: whether each window is used in this epoch, bool (rows,).
    """

    def __init__(
        self, config: BackgroundConfig, utterances: Sequence[Utterance], rows: Sequence[int], seed: int
    ) -> None:
        self.seed, self.rows = seed, np.asarray(rows, np.int64)
        self.count = min(config.windows or len(rows), len(rows))
        self.hard = round(config.hard * self.count)
        self._others = np.setdiff1d(np.arange(len(utterances)), self.rows)
        self._places = {utterances[index]: place for place, index in enumerate(rows)}
        self.losses = torch.full((len(rows),), -torch.inf, dtype=torch.float64)
        self.drawn = torch.zeros(len(rows), dtype=torch.bool)

    def __len__(self) -> int:
        """Utterances in an epoch."""
        return len(self._others) + self.count

    def draw(self, epoch: int) -> None:
        """Decides which windows the epoch uses."""
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(len(self.rows))  # decides among equals
        hardest = order[np.argsort(-self.losses.numpy()[order], kind="stable")]
        heard = hardest[: self.hard]
        drawn = rng.permutation(hardest[self.hard :])[: self.count - self.hard]
        self.drawn.zero_()
        self.drawn[torch.from_numpy(np.concatenate([heard, drawn]))] = True

    def indices(self) -> list[int]:
        """What the epoch uses, as indices of utterances in ascending order."""
        return np.sort(np.concatenate([self._others, self.rows[self.drawn.numpy()]])).tolist()

    def note(self, utterances: Sequence[Utterance], losses: Tensor) -> None:
        """Remembers the losses (batch,) of a batch."""
        for utterance, loss in zip(utterances, losses.tolist(), strict=True):
            place = self._places.get(utterance)
            if place is not None:
                self.losses[place] = loss

    def state(self) -> dict[str, Tensor]:
        """For a checkpoint; :meth:`restore` takes it."""
        return {"losses": self.losses, "drawn": self.drawn}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Goes on where :meth:`state` was taken."""
        self.losses, self.drawn = state["losses"].clone(), state["drawn"].clone()
