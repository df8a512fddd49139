"""What every gated recurrent cell must provide; each cell has a file of its own beside this one.

The update gate follows one convention in this package, PyTorch's: ``h = (1 - z) * n + z * h``, so z keeps the old
state. Half of the literature (Chung et al. 1412.3555, Zhou et al. 1603.09420, Dey & Salem 1701.05923, Feng et al.
2410.01201) writes ``h = (1 - z) * h + z * n``, where z lets the new state in. Since sigmoid(-a) = 1 - sigmoid(a), a
cell of one convention becomes the same cell of the other when W_z, U_z and b_z are negated: :func:`other_convention`.
"""

from __future__ import annotations

import abc
import math
import warnings
from collections.abc import Callable, Sequence, Set
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.module import _has_any_global_hook

from speechgru import compiled
from speechgru.cells.rows import RowFunctions
from speechgru.cells.triton_rows import runs_triton
from speechgru.errors import ConfigError
from speechgru.lengths import check_lengths, full_lengths, last_valid, packed, reverse_within, valid_frames


class Weights(NamedTuple):
    """What a compiled stack reads of a cell that is one product with the frames and the loop.

    Attributes:
        cell: its row functions.
        input_weight: (rows, input).
        input_bias: (rows,).
        weight: of the recurrent product, (gate rows, hidden), if there is one; see ``recur`` in recurrence.py.
        bias: what the row functions see as ``vectors``, (gate rows,), if they see one.
        size: hidden.
    """

    cell: RowFunctions
    input_weight: Tensor
    input_bias: Tensor
    weight: Tensor | None
    bias: Tensor | None
    size: int


class Cell(nn.Module, abc.ABC):
    """A recurrent cell run over a sequence in one direction.

    A cell is defined once, in :meth:`advance`: one frame and the state give the next state and the gates. The loop over
    it is the definition, differentiable and exact wherever torch runs; a cell is fast because it overrides :meth:`run`
    (operators of torch) or :meth:`fused` (compiled kernels, on a CPU for float32).

    :meth:`project` holds what can be computed for all frames before any state is known. The state is one tensor
    (batch, state_size) whose first ``hidden_size`` values are the output.

    Args:
        input_size: features of a frame, at least 1.
        hidden_size: size of the output, at least 1.

    Attributes:
        framewise: whether :meth:`project` and :meth:`fused` look at each frame by itself. Then ``fused`` may be given
            the valid frames alone, all rows one after the other, (1, frames, projected).
        zoneout: share of state values that keep their old value, drawn anew for every frame while training; outside of
            training each value moves by the share it would move on average (1606.01305, section 3). The loop over
            frames computes it.

    Raises:
        ConfigError: a size below 1.
    """

    framewise: ClassVar[bool] = False

    if TYPE_CHECKING:  # torch's own signature lets a call take and return anything

        def __call__(
            self, sequence: Tensor, lengths: Tensor | None = None, state: Tensor | None = None, reverse: bool = False
        ) -> tuple[Tensor, Tensor]: ...

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        if input_size < 1 or hidden_size < 1:
            raise ConfigError(f"input_size={input_size} hidden_size={hidden_size}: both are at least 1")
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.zoneout = 0.0

    @property
    def state_size(self) -> int:
        """Values of the state, the ``hidden_size`` values of the output first."""
        return self.hidden_size

    @abc.abstractmethod
    def advance(self, frame: Tensor, state: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """One frame of :meth:`project`, (batch, projected), and the state -> the next state, and its gates by name.

        ``update`` is the gate that keeps, then ``reset``, ``candidate``: what the cell has, each (batch, hidden).
        """

    @staticmethod
    @abc.abstractmethod
    def parameter_count(input_size: int, hidden_size: int, config: Any = None) -> int:
        """How many parameters a cell of these sizes has; ``config`` None means the default settings."""

    @staticmethod
    @abc.abstractmethod
    def multiply_accumulates(input_size: int, hidden_size: int, config: Any = None) -> int:
        """Multiply-accumulate operations of one step, element-wise products included."""

    def project(self, sequence: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The part of the cell that needs no state: (batch, time, input) -> (batch, time, projected); here the frames.

        ``lengths`` (batch,) are for statistics over valid frames; what comes out beyond them is never read.
        """
        return sequence

    def linear(self, frames: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """``F.linear``, for :meth:`project`; outside of training a frame gives the same among few and among many."""
        if self.training or not compiled.usable(frames, weight):
            return F.linear(frames, weight, bias)
        from speechgru.cells.linear import linear  # imported here: numba takes half a second

        return linear(frames, weight, bias)

    def run(self, projected: Tensor, state: Tensor) -> Tensor:
        """The states after every frame: (batch, time, projected), (batch, state) -> (batch, time, state)."""
        states = []
        for frame in projected.unbind(1):
            state, _ = self._advance(frame, state)
            states.append(state)
        return torch.stack(states, 1) if states else state.new_zeros(state.shape[0], 0, self.state_size)

    def fused(self, projected: Tensor, lengths: Tensor, state: Tensor, reverse: bool) -> tuple[Tensor, Tensor] | None:
        """What :meth:`forward` returns, from compiled kernels; None where there are none for the device.

        Called only where compiled code may run (:mod:`speechgru.compiled`): float32 on a CPU, or on a GPU with Triton,
        outside of tracing. ``projected`` is in frame order; the kernel reads each row at its own places, backwards
        where ``reverse`` is true, and writes zeros beyond ``lengths``. Inside :func:`speechgru.cells.side_by_side` the
        results of the loop may not be written yet: do not read them here.
        """
        return None

    def weights(self) -> Weights | None:
        """What the compiled loop reads of a cell that is one product with the frames and the loop; None for others."""
        return None

    def _own(self, kind: type[Cell], names: Set[str]) -> dict[str, Tensor] | None:
        """The parameters, for :meth:`weights`; None for a cell that is of a subclass, parametrized or pruned.

        Such a cell has its weights or its equations elsewhere. None also with zoneout, which has no compiled loop.
        """
        own = cast("dict[str, Tensor]", self._parameters)  # torch takes a microsecond for each self.weight_ih
        return own if own.keys() == names and type(self) is kind and not self.zoneout else None

    def step(self, frame: Tensor, state: Tensor) -> Tensor:
        """The next state from one frame: (batch, input), (batch, state) -> (batch, state)."""
        return self._advance(self.project(frame[:, None])[:, 0], state)[0]

    def gates(
        self, sequence: Tensor, lengths: Tensor | None = None, state: Tensor | None = None, reverse: bool = False
    ) -> dict[str, Tensor]:
        """All that :meth:`advance` names, each (batch, time, hidden) in frame order, and the output as ``hidden``.

        Arguments as for :meth:`forward`; zeros beyond the lengths.
        """
        state = self.initial_state(sequence) if state is None else state
        projected = self.project(sequence, lengths)
        if reverse:
            projected = reverse_within(projected, lengths)
        # Without frames the names are still wanted.
        frames = projected.unbind(1) or (projected.new_zeros(projected.shape[0], projected.shape[2]),)
        trace: dict[str, list[Tensor]] = {}
        for frame in frames:
            state, values = self._advance(frame, state)
            for name, value in {**values, "hidden": state[:, : self.hidden_size]}.items():
                trace.setdefault(name, []).append(value)
        stacked = {name: torch.stack(values, 1)[:, : sequence.shape[1]] for name, values in trace.items()}
        if lengths is not None:
            padding = ~valid_frames(lengths, sequence.shape[1])[..., None]
            stacked = {name: values.masked_fill(padding, 0.0) for name, values in stacked.items()}
        return {name: reverse_within(values, lengths) for name, values in stacked.items()} if reverse else stacked

    def initial_state(self, sequence: Tensor) -> Tensor:
        """Zeros, (batch, state), on the device of ``sequence``."""
        return sequence.new_zeros(sequence.shape[0], self.state_size)

    def forward(
        self, sequence: Tensor, lengths: Tensor | None = None, state: Tensor | None = None, reverse: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Runs over every row's own ``lengths`` frames; finite values beyond them change nothing, zeros come out there.

        Args:
            sequence: (batch, time, input).
            lengths: (batch,), from 0 to time; None means all rows are full.
            state: the state to begin with, (batch, state); None means zeros.
            reverse: run from each row's own last valid frame to its first.

        Returns:
            The outputs in frame order, (batch, time, hidden), and the state after the last frame read, (batch, state).

        Raises:
            ConfigError: a sequence or a state of another size, or lengths of another batch; see :func:`check_lengths`.
        """
        if torch.compiler.is_dynamo_compiling():
            # Imported where it is needed: it loads torch's compiler.
            from speechgru.cells.tracing import uncompiled

            return uncompiled(self.forward, sequence, lengths, state, reverse)
        # Otherwise a kernel would read and write beyond the rows.
        self._check_shapes(sequence, state)
        full = lengths is None or check_lengths(lengths, sequence)
        # One type of integer, or the kernels would be compiled once more, or not at all.
        left = full_lengths(sequence) if lengths is None else lengths.to(torch.int64)
        state = self.initial_state(sequence) if state is None else state
        if sequence.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            # A bfloat16 recurrence is slower than a float32 one on CPU, and rounding would pile up over the frames.
            precision = next(self.parameters()).dtype
            with torch.autocast("cpu", enabled=False):
                return self.forward(sequence.to(precision), lengths, state.to(precision), reverse)
        compiles = not self.zoneout and sequence.shape[0] > 0
        # A gradient goes through products over all frames: here those of padding are left out.
        packs = compiles and self.framewise and not full and sequence.is_cpu and torch.is_grad_enabled()
        if packs and self._compiles(sequence, state):
            result = self._without_padding(sequence, left, state, reverse)
            if result is not None:
                return result
        projected = self.project(sequence, lengths)
        if compiles and self._compiles(projected, state):
            result = self.fused(projected, left, state, reverse)
            if result is not None:
                return result
        if reverse:
            projected = reverse_within(projected, lengths)
        # What follows does not change a causal recurrence, so rows may run on into their padding: no packing is needed.
        if torch.compiler.is_exporting():
            from speechgru.cells.tracing import scanned

            states = scanned(lambda frame, state: self._advance(frame, state)[0], self.parameters(), projected, state)
        else:
            states = Cell.run(self, projected, state) if self.zoneout else self.run(projected, state)
        final = last_valid(states, lengths, state)
        hidden = states[..., : self.hidden_size]
        if lengths is not None:
            hidden = hidden.masked_fill(~valid_frames(lengths, hidden.shape[1])[..., None], 0.0)
        if reverse:
            hidden = reverse_within(hidden, lengths)
        return hidden, final

    def _check_shapes(self, sequence: Tensor, state: Tensor | None) -> None:
        if sequence.dim() != 3 or sequence.shape[2] != self.input_size:
            raise ConfigError(f"a sequence of shape {tuple(sequence.shape)}: (batch, time, {self.input_size})")
        if state is not None and state.shape != (sequence.shape[0], self.state_size):
            raise ConfigError(f"a state of shape {tuple(state.shape)}: ({sequence.shape[0]}, {self.state_size})")

    def _without_padding(
        self, sequence: Tensor, lengths: Tensor, state: Tensor, reverse: bool
    ) -> tuple[Tensor, Tensor] | None:
        """:meth:`fused` over the valid frames alone."""
        result = self.fused(self.project(packed(sequence, lengths)), lengths, state, reverse)
        if result is None:
            return None
        hidden, final = result
        beyond = sequence.shape[1] - hidden.shape[1]  # frames beyond the longest row's end
        return F.pad(hidden, (0, 0, 0, beyond)) if beyond else hidden, final

    def zone_out(self, new: Tensor, old: Tensor) -> Tensor:
        """The state after zoneout: (batch, state) twice -> (batch, state); override it if some values are no memory."""
        if self.training:
            return torch.where(torch.rand_like(new) < self.zoneout, old, new)
        return new + self.zoneout * (old - new)

    def extra_repr(self) -> str:
        zoneout = f", zoneout={self.zoneout}" if self.zoneout else ""
        return f"{self.input_size}, {self.hidden_size}{zoneout}"

    def _compiles(self, projected: Tensor, state: Tensor) -> bool:
        """Whether :meth:`fused` may be called; on a GPU autocast may have made the frames half precision."""
        if projected.is_cuda:
            return runs_triton(projected.device) and compiled.usable(*self.parameters(), device="cuda")
        own = [parameter for parameter in self._parameters.values() if parameter is not None]  # no walk through modules
        return compiled.usable(projected, state, *own)

    def _advance(self, frame: Tensor, state: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        new, gates = self.advance(frame, state)
        return self.zone_out(new, state) if self.zoneout else new, gates


def is_changed(module: nn.Module) -> bool:
    """Whether a call would run more than the class says: a hook, or a ``forward`` set in place of its own."""
    own = module._forward_hooks or module._forward_pre_hooks or "forward" in module.__dict__
    return bool(own or _has_any_global_hook())


def initialize(cell: Cell, orthogonal: bool = False) -> None:
    """Starts every parameter uniform within 1 / sqrt(hidden_size), as torch does.

    ``orthogonal`` makes each square block of ``weight_hh`` orthogonal instead (Saxe et al., 1312.6120).
    """
    if any(parameter.is_meta for parameter in cell.parameters()):
        return  # shapes without values; to draw an orthogonal block of them torch would import its compiler
    bound = 1 / math.sqrt(cell.hidden_size)
    for parameter in cell.parameters():
        nn.init.uniform_(parameter, -bound, bound)
    if orthogonal:
        with torch.no_grad():
            for block in cell.get_parameter("weight_hh").split(cell.hidden_size):
                nn.init.orthogonal_(block)


def other_convention(weights: Tensor, gates: int = 3, update: int = 1) -> Tensor:
    """Weights or biases whose update gate is 1 - z instead of z, for ``h = (1 - z) * h + z * n``; its own inverse.

    Args:
        weights: (gates * hidden, columns) or (gates * hidden,), the rows of one gate together.
        gates: blocks of rows.
        update: which of them is the update gate, from 0; 1 in this package's order r, z, n.

    Returns:
        A copy with the update gate's rows negated, exactly.
    """
    blocks = list(weights.chunk(gates))
    blocks[update] = -blocks[update]
    return torch.cat(blocks)


def torch_recurrence(
    kernel: Callable[..., tuple[Tensor, ...]],
    sequence: Tensor,
    start: Tensor | tuple[Tensor, Tensor],
    weights: Sequence[Tensor],
    train: bool,
) -> tuple[Tensor, ...]:
    """Runs torch.gru, torch.lstm or torch.rnn_tanh over one layer in one direction, batch first."""
    with warnings.catch_warnings():
        if sequence.device.type == "cuda":
            # cuDNN copies the weights into one block at each call, which costs microseconds at these sizes.
            warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous chunk")
        return kernel(sequence, start, weights, True, 1, 0.0, train, False, True)
