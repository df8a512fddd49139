"""A stack of recurrent layers, one- or bidirectional: what every encoder is made of."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence

from speechgru import compiled
from speechgru.cells import Cell
from speechgru.cells.cell import is_changed
from speechgru.cells.side_by_side import another_thread, is_worth, side_by_side
from speechgru.encoders.arguments import refuse_torch_names
from speechgru.encoders.recurrent_config import GRUEncoderConfig, Merge
from speechgru.encoders.stepping import EncoderState, Waiting, Windows, within
from speechgru.errors import ConfigError
from speechgru.lengths import check_lengths, divided, full_lengths, valid_frames
from speechgru.registry import build

Lengths = Tensor | Sequence[int]  # as a caller may have them


class RecurrentEncoder(nn.Module):
    """A stack of gated recurrent layers, the base of every encoder.

    Args:
        input_size: features of a frame, at least 1.
        config: the settings.

    Attributes:
        output_size: features of an output frame.
        subsampling: input frames per output frame.
        directions: 2 where an output frame is a forward half beside a backward half, 1 where it knows only the past, 0
            where both directions are mixed in every value (merge=sum or a projection).
    """

    if TYPE_CHECKING:  # torch's own signature lets a call take and return anything

        def __call__(self, features: Tensor, lengths: Lengths | None = None) -> tuple[Tensor, Tensor]: ...

    def __init__(self, input_size: int, config: GRUEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.input_size = input_size
        self.front_end = build("front_end", config.front_end, input_size) if config.front_end is not None else None
        size = self.front_end.output_size if self.front_end is not None else input_size
        self.subsampling = self.front_end.subsampling if self.front_end is not None else 1
        self.factors = list(config.pyramid) or [1] * config.num_layers
        self.layers = nn.ModuleList()
        for factor in self.factors:
            layer = RecurrentLayer(size * factor, factor, config)
            self.layers.append(layer)
            self.subsampling *= factor
            size = layer.output_size
        self.output_size = size
        mixed = config.merge is not Merge.concat or config.projection_size > 0
        self.directions = (0 if mixed else 2) if config.bidirectional else 1
        self._cells = ("forward_cell", "backward_cell") if config.bidirectional else ("forward_cell",)
        more = config.pyramid or config.projection_size or config.residual or config.layer_norm
        self._bare = not more and config.merge is Merge.concat
        self.register_load_state_dict_pre_hook(refuse_torch_names)

    @property
    def reach(self) -> int:
        """Input frames after ``t * subsampling`` that the last layer's input at t is made of, without recurrences."""
        frames, stride = (self.front_end.reach, self.front_end.subsampling) if self.front_end is not None else (0, 1)
        for factor in self.factors:
            frames += (factor - 1) * stride
            stride *= factor
        return frames

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Frames that come out for ``lengths`` that go in, (batch,)."""
        if self.front_end is not None:
            lengths = self.front_end.output_lengths(lengths)
        for factor in self.factors:
            lengths = divided(lengths, factor)
        return lengths

    def forward(self, features: Tensor, lengths: Lengths | None = None) -> tuple[Tensor, Tensor]:
        """Encodes frames.

        Args:
            features: (batch, time, input_size).
            lengths: valid frames of each row, (batch,), on any device, or a list of them; None means all.

        Returns:
            hidden (batch, shorter time, output_size) with zeros beyond each row's length, and the lengths (batch,) on
            the device of the features.

        Raises:
            ConfigError: features of another size or packed, or lengths (checked on a CPU only) that do not fit the
                rows.
        """
        if isinstance(features, PackedSequence):
            raise ConfigError(
                "the encoder takes no PackedSequence; write encoder(*pad_packed_sequence(packed, batch_first=True))"
            )
        if features.dim() != 3 or features.shape[2] != self.input_size:
            raise ConfigError(
                f"features of shape {tuple(features.shape)}: the encoder takes (batch, time, {self.input_size})"
            )
        padded = False
        left = full_lengths(features)
        if lengths is not None:
            if not isinstance(lengths, Tensor):
                lengths = torch.as_tensor(lengths) if len(lengths) else torch.zeros(0, dtype=torch.int64)
            padded = not check_lengths(lengths, features)
            # One type of integer, contiguous, or the kernels would be compiled once more.
            left = lengths.to(features.device, torch.int64).contiguous()
        if padded:
            # Zeros instead of whatever a caller padded with: a NaN there would reach the gradients of the weights.
            features = features.masked_fill(~valid_frames(left, features.shape[1])[..., None], 0.0)
        if self.front_end is not None:
            features, _ = self.front_end(features, left if padded else None)
            left = self.front_end.output_lengths(left)
        hidden = self.run_layers(features, left if padded else None)
        for factor in self.factors:
            left = divided(left, factor)
        return hidden, left

    def run_layers(self, features: Tensor, lengths: Tensor | None) -> Tensor:
        """The recurrent layers over the front end's output; zeros beyond ``lengths``, None if all rows are full."""
        several = is_worth(features, self.config.hidden_size)
        if not (self.training or torch.is_grad_enabled()):
            found = self._run_stack(features, lengths, None, several)
            if found is not None:
                return found[0]
        with another_thread(several):
            for layer, factor in zip(self.layers, self.factors, strict=True):
                features = layer(features, lengths)
                lengths = None if lengths is None else divided(lengths, factor)
        return features

    @property
    def look_ahead(self) -> int:
        """If it ``streams``: output frame t depends on no input frame after ``t * subsampling + look_ahead``."""
        return self.reach

    @property
    def least_look_ahead(self) -> int:
        """Frames ahead that every output frame has seen at least; some have seen up to ``look_ahead``."""
        return self.look_ahead

    @property
    def streams(self) -> bool:
        """Whether it can go step by step: without a backward direction, with a front end that can too."""
        return not self.config.bidirectional and (self.front_end is None or hasattr(self.front_end, "step"))

    def start(self, batch: int = 1) -> EncoderState:
        """The state before the first frame of ``batch`` streams; ConfigError if the encoder waits for the end."""
        if not self.streams:
            raise ConfigError(
                "this encoder waits for the end (bidirectional=True, or a front end without step); one that goes step "
                "by step is trained with encoder=look_ahead, encoder=latency_controlled or bidirectional=False"
            )
        front_end = self.front_end.start(batch) if self.front_end is not None else ()
        waiting, cells = zip(*(layer.start(batch) for layer in self.layers), strict=True)  # type: ignore[operator]
        return EncoderState(front_end, waiting, (), cells)

    def step(
        self, features: Tensor, state: EncoderState, lengths: list[int] | None = None, ended: list[bool] | None = None
    ) -> tuple[Tensor, list[int], EncoderState]:
        """Encodes the next frames of streams: outputs that no later frame can change, as :meth:`forward` in eval mode.

        Args:
            features: (batch, time, input_size); time may be 0.
            state: of :meth:`start` or the last step, or several of those (``stepping.stack``); it is not changed.
            lengths: valid frames of each row; None means all.
            ended: whether these were each row's last frames; None means not.

        Returns:
            hidden (batch, longest, output_size), zeros beyond what a row has, how many frames each row has, and the
            next state.

        Raises:
            ConfigError: in training mode.
        """
        if self.training:
            raise ConfigError("a step is one of eval mode; call encoder.eval() first")
        if torch.is_grad_enabled():
            with torch.no_grad():
                return RecurrentEncoder.step(self, features, state, lengths, ended)
        batch, time, _ = features.shape
        counts = [time] * batch if lengths is None else lengths
        features = within(counts, features)
        ends = [False] * batch if ended is None else ended
        if self.front_end is not None:
            features, counts, front_end = self.front_end.step(features, counts, ends, state.front_end)
            state = dataclasses.replace(state, front_end=front_end)
        return self.step_layers(features, counts, ends, state)

    def step_layers(
        self, features: Tensor, counts: list[int], ended: list[bool], state: EncoderState
    ) -> tuple[Tensor, list[int], EncoderState]:
        """A step of the recurrent layers."""
        if min(counts) == features.shape[1]:
            found = self._run_stack(features, None, state.cells)
            if found is not None:
                cells = tuple(torch.from_numpy(one) for one in found[1][:, 0])
                return found[0], counts, EncoderState(state.front_end, state.layers, state.ahead, cells)
        waiting, states = list(state.layers), list(state.cells)
        for place, layer in enumerate(self.layers):
            assert isinstance(layer, RecurrentLayer)
            if layer.factor > 1:
                features, counts, waiting[place] = layer.windows.slide(waiting[place], features, counts, ended)
                features = features.unflatten(1, (features.shape[1] // layer.factor, layer.factor)).flatten(2)
            full = min(counts) == features.shape[1]
            rows = None if full else torch.tensor(counts, device=features.device)
            hidden, states[place] = layer.forward_cell(features, rows, states[place])
            valid = None if rows is None else valid_frames(rows, hidden.shape[1])
            features = layer.finish(features, hidden, None, valid)
        return features, counts, dataclasses.replace(state, layers=tuple(waiting), cells=tuple(states))

    def _run_stack(
        self, features: Tensor, lengths: Tensor | None, states: Sequence[Tensor] | None, threads: bool = False
    ) -> tuple[Tensor, np.ndarray] | None:
        """All layers at once; None where a layer does more than put its cells side by side, or no stack fits them."""
        if not self._bare or not features.shape[0] or not compiled.usable(features):
            return None
        from speechgru.cells.stack import run_stack  # imported here: numba takes half a second

        return run_stack(self.layers, self._cells, features, lengths, states, threads)

    def extra_repr(self) -> str:
        config, default = self.config, type(self.config)()
        told = {name: getattr(config, name) for name in ("hidden_size", "num_layers", "bidirectional")}
        for field in dataclasses.fields(config):
            value = getattr(config, field.name)
            if "family" not in field.metadata and value != getattr(default, field.name):
                told[field.name] = value.name if isinstance(value, enum.Enum) else value
        sizes = ", ".join(f"{name}={value}" for name, value in told.items())
        return f"{self.input_size}, {sizes}, output_size={self.output_size}"


class RecurrentLayer(nn.Module):
    """One layer of the stack: join frames, run the cell in one or both directions, project, add, normalise, drop."""

    def __init__(self, input_size: int, factor: int, config: GRUEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.factor = factor
        self.forward_cell: Cell = build("cell", config.cell, input_size, config.hidden_size)
        self.backward_cell: Cell | None = (
            build("cell", config.cell, input_size, config.hidden_size) if config.bidirectional else None
        )
        for cell in (self.forward_cell, self.backward_cell):
            if cell is not None:
                cell.zoneout = config.zoneout
        size = config.hidden_size * (2 if config.bidirectional and config.merge is Merge.concat else 1)
        self.projection = nn.Linear(size, config.projection_size) if config.projection_size else None
        self.output_size = config.projection_size or size
        self.normalization = nn.LayerNorm(self.output_size) if config.layer_norm else None
        self.windows = Windows(factor, factor)

    def start(self, batch: int) -> tuple[Waiting, Tensor]:
        """What it keeps of ``batch`` streams at their beginning: frames to join, and the state of the forward cell."""
        like = next(self.parameters()).new_zeros(batch, 0)
        size = self.forward_cell.input_size // self.factor
        return self.windows.start(like, (size,), batch), self.forward_cell.initial_state(like)

    def forward(self, features: Tensor, lengths: Tensor | None) -> Tensor:
        """(batch, time, feature), lengths before the reduction or None -> (batch, shorter time, output_size)."""
        if self.factor > 1:
            features = join_frames(features, lengths, self.factor)
            lengths = None if lengths is None else divided(lengths, self.factor)
        backward = None
        if self.backward_cell is None:
            hidden, _ = self.forward_cell(features, lengths)
        else:
            # Hooks, and what prepares for a gradient, would read results that another thread has not written yet.
            reads = torch.is_grad_enabled() or is_changed(self.forward_cell) or is_changed(self.backward_cell)
            with contextlib.nullcontext() if reads else side_by_side():
                hidden, _ = self.forward_cell(features, lengths)
                backward, _ = self.backward_cell(features, lengths, reverse=True)
        valid = None if lengths is None else valid_frames(lengths, hidden.shape[1])
        return self.finish(features, hidden, backward, valid)

    def finish(self, features: Tensor, hidden: Tensor, backward: Tensor | None, valid: Tensor | None) -> Tensor:
        """What follows the cells, from what they read and gave, and where frames are valid, (batch, time) or None."""
        config = self.config
        if backward is not None:
            hidden = torch.cat((hidden, backward), 2) if config.merge is Merge.concat else hidden + backward
        if self.projection is not None:
            hidden = self.projection(hidden)
        if config.residual and hidden.shape == features.shape:
            hidden = hidden + features
        if self.normalization is not None:
            hidden = self.normalization(hidden)
        if self.training and config.dropout:
            if config.variational:
                hidden = hidden * F.dropout(hidden.new_ones(hidden.shape[0], 1, hidden.shape[2]), config.dropout)
            else:
                hidden = F.dropout(hidden, config.dropout)
        if valid is not None and (self.projection is not None or self.normalization is not None or config.residual):
            # The biases of the projection and the norm write into the padding.
            hidden = hidden.masked_fill(~valid[..., None], 0.0)
        return hidden


def join_frames(features: Tensor, lengths: Tensor | None, factor: int) -> Tensor:
    """``factor`` neighbouring frames side by side in one; a last incomplete group is filled with zeros.

    (batch, time, feature) -> (batch, ceil(time / factor), factor * feature)
    """
    if lengths is not None:
        features = features.masked_fill(~valid_frames(lengths, features.shape[1])[..., None], 0.0)
    batch, time, size = features.shape
    count = -(-time // factor)
    # Sizes by count, so that torch.export sees for any time that the result holds just as many values.
    return F.pad(features, (0, 0, 0, count * factor - time)).reshape(batch, count, factor * size)
