"""What every gated recurrent cell must give; the cells themselves stand one to a file beside this one."""

from __future__ import annotations

import abc

import torch
from torch import Tensor, nn


class Cell(nn.Module, abc.ABC):
    """A recurrent cell run over a sequence in one direction.

    The update gate follows one convention in this package, PyTorch's: ``h = (1 - z) * n + z * h``, so z keeps the old
    state.

    Args:
        input_size: features of a frame, at least 1.
        hidden_size: size of the state, at least 1.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size

    @abc.abstractmethod
    def step(self, frame: Tensor, state: Tensor) -> Tensor:
        """The next state from one frame: (batch, input), (batch, hidden) -> (batch, hidden)."""

    @abc.abstractmethod
    def run(self, sequence: Tensor, state: Tensor) -> Tensor:
        """The states after every frame: (batch, time, input), (batch, hidden) -> (batch, time, hidden). Fast."""

    @abc.abstractmethod
    def gates(self, sequence: Tensor, lengths: Tensor | None = None, state: Tensor | None = None) -> dict[str, Tensor]:
        """Every gate and the candidate by name, each (batch, time, hidden), and the states under ``hidden``."""

    @staticmethod
    @abc.abstractmethod
    def parameter_count(input_size: int, hidden_size: int) -> int:
        """How many parameters a cell of these sizes has."""

    @staticmethod
    @abc.abstractmethod
    def multiply_accumulates(input_size: int, hidden_size: int) -> int:
        """Multiply-accumulate operations of one step, element-wise products included."""

    def initial_state(self, sequence: Tensor) -> Tensor:
        """Zeros, (batch, hidden), on the device of ``sequence``."""
        return sequence.new_zeros(sequence.shape[0], self.hidden_size)

    def forward(
        self, sequence: Tensor, lengths: Tensor | None = None, state: Tensor | None = None, reverse: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Runs over every row's own ``lengths`` frames; finite values beyond them change nothing, zeros come out there.

        Args:
            sequence: (batch, time, input).
            lengths: (batch,), from 0 to time; None means all rows are full.
            state: the state to begin with, (batch, hidden); None means zeros.
            reverse: run from each row's own last valid frame to its first.

        Returns:
            The states in frame order, (batch, time, hidden), and the state after the last frame read, (batch, hidden).
        """
        state = self.initial_state(sequence) if state is None else state
        if reverse:
            sequence = reverse_within(sequence, lengths)
        # A causal recurrence is not moved by what follows, so rows may run on into their padding: no packing is needed.
        hidden = self.run(sequence, state)
        final = _last_valid(hidden, lengths, state)
        if lengths is not None:
            hidden = hidden.masked_fill(~valid_frames(lengths, hidden.shape[1])[..., None], 0.0)
        if reverse:
            hidden = reverse_within(hidden, lengths)
        return hidden, final


def valid_frames(lengths: Tensor, time: int) -> Tensor:
    """True where a frame belongs to its row: (batch,) -> (batch, time)."""
    return torch.arange(time, device=lengths.device) < lengths[:, None]


def reverse_within(sequence: Tensor, lengths: Tensor | None) -> Tensor:
    """Each row's first ``lengths`` frames in reverse order, the padding left where it is: (batch, time, feature)."""
    if lengths is None:
        return sequence.flip(1)
    frames = torch.arange(sequence.shape[1], device=sequence.device)
    mirrored = lengths[:, None] - 1 - frames
    order = torch.where(mirrored >= 0, mirrored, frames)
    return sequence.gather(1, order[..., None].expand_as(sequence))


def _last_valid(hidden: Tensor, lengths: Tensor | None, state: Tensor) -> Tensor:
    if lengths is None:
        return hidden[:, -1] if hidden.shape[1] else state
    if not hidden.shape[1]:
        return state
    last = (lengths - 1).clamp(min=0)[:, None, None].expand(-1, 1, hidden.shape[2])
    return torch.where(lengths[:, None] > 0, hidden.gather(1, last).squeeze(1), state)
