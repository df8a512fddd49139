"""Two problems that only a long memory solves: adding two marked numbers, and copying what was seen long ago."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechgru.cells.subnormals import flushed_subnormals
from speechgru.encoders import GRUEncoder
from speechgru.errors import ConfigError
from speechgru.plain import Record
from speechgru.registry import entry

SYMBOLS, COPIED = 8, 10


@dataclasses.dataclass
class ProblemConfig:
    """One training run on a problem.

    Attributes:
        task: ``adding`` or ``copying``.
        cell: registered name of the cell.
        lag: adding: frames of a sequence; copying: frames between what is seen and what is asked. At least 10.
        parameters: the most parameters that the cell may have, so that cells can be compared; at least 100.
        steps: the most training steps of a run, at least 1; it ends earlier when the problem is solved.
        batch_size: sequences of a step, at least 1.
        learning_rate: of Adam, above 0.
        seed: of the weights and the sequences.
    """

    task: str = "adding"
    cell: str = "gru"
    lag: int = 50
    parameters: int = 10_000
    steps: int = 3000
    batch_size: int = 64
    learning_rate: float = 0.003
    seed: int = 0

    def __post_init__(self) -> None:
        if self.task not in PROBLEMS:
            raise ConfigError(f"task={self.task}: one of {', '.join(PROBLEMS)}")
        for name, least in {"lag": 10, "parameters": 100, "steps": 1, "batch_size": 1}.items():
            if getattr(self, name) < least:
                raise ConfigError(f"{name}={getattr(self, name)}: at least {least}")
        if not self.learning_rate > 0:
            raise ConfigError(f"learning_rate={self.learning_rate}: above 0")


def adding(count: int, lag: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Numbers in [0, 1), two of them marked, one in each half: what is the sum of the two?

    Source: Hochreiter & Schmidhuber, Long short-term memory, 1997, experiment 4, in the form of Arjovsky et al.,
    1511.06464, section 4.2.

    Returns:
        sequences (count, lag, 2), numbers beside marks, and the sums (count,). Always to answer 1 has a mean squared
        error of 1/6.
    """
    values = torch.rand(count, lag, generator=generator)
    marks = torch.zeros(count, lag)
    half, rows = lag // 2, torch.arange(count)
    marks[rows, torch.randint(half, (count,), generator=generator)] = 1
    marks[rows, torch.randint(half, lag, (count,), generator=generator)] = 1
    return torch.stack((values, marks), 2), (values * marks).sum(1)


def copying(count: int, lag: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Ten symbols out of eight, blanks, a delimiter ``lag`` frames after the last symbol: the answer is the ten again.

    Source: Arjovsky et al., 1511.06464, section 4.1, after Hochreiter & Schmidhuber 1997.

    Returns:
        sequences (count, lag + 20, 10), one-hot over ten symbols in each frame, and the answers (count, lag + 20),
        blank until the ten symbols. Without memory the best cross entropy of a frame is 10 ln 8 / (lag + 20) nats.
    """
    blank, delimiter = SYMBOLS, SYMBOLS + 1
    symbols = torch.randint(SYMBOLS, (count, COPIED), generator=generator)
    shown = torch.full((count, lag + 2 * COPIED), blank)
    shown[:, :COPIED] = symbols
    shown[:, COPIED + lag - 1] = delimiter
    answers = torch.full((count, lag + 2 * COPIED), blank)
    answers[:, -COPIED:] = symbols
    return F.one_hot(shown, SYMBOLS + 2).float(), answers


PROBLEMS: dict[str, Callable[[int, int, torch.Generator], tuple[Tensor, Tensor]]] = {
    "adding": adding,
    "copying": copying,
}


def baseline(task: str, lag: int) -> float:
    """The loss of the best answer that remembers nothing."""
    return 1 / 6 if task == "adding" else COPIED * math.log(SYMBOLS) / (lag + 2 * COPIED)


class Solver(nn.Module):
    """One recurrent layer in one direction and a linear layer, no more."""

    def __init__(self, config: ProblemConfig) -> None:
        super().__init__()
        self.task = config.task
        inputs, outputs = (2, 1) if config.task == "adding" else (SYMBOLS + 2, SYMBOLS + 2)
        item = entry("cell", config.cell)
        settings, count = item.config(), item.component.parameter_count  # type: ignore[attr-defined]
        self.hidden_size = max(
            (h for h in range(1, 1025) if count(inputs, h, settings) <= config.parameters), default=1
        )
        self.encoder = GRUEncoder(
            inputs, hidden_size=self.hidden_size, num_layers=1, bidirectional=False, dropout=0.0, cell=settings
        )
        self.output = nn.Linear(self.hidden_size, outputs)

    def loss(self, sequences: Tensor, answers: Tensor) -> Tensor:
        """Mean squared error of the sum at the last frame, or mean cross entropy of all frames in nats."""
        hidden, _ = self.encoder(sequences)
        if self.task == "adding":
            return F.mse_loss(self.output(hidden[:, -1])[:, 0], answers)
        return F.cross_entropy(self.output(hidden).flatten(0, 1), answers.flatten())


@flushed_subnormals()
def train_on_problem(config: ProblemConfig, test_size: int = 256, test_every: int = 100) -> Record:
    """Trains one cell on one problem until it is solved (a tenth of the baseline's loss) or ``steps`` are over.

    Args:
        config: which cell to train on which problem.
        test_size: sequences that the cell is tested on and not trained on.
        test_every: steps from one test to the next.

    Returns:
        A record: the settings, ``hidden_size``, ``cell_parameters``, ``baseline``, ``loss`` (on sequences it never
        saw), ``solved_at`` (steps, None where it was not solved), ``curve`` ([step, loss], ...), ``wall_clock_s``.
    """
    started = time.monotonic()
    torch.manual_seed(config.seed)
    solver = Solver(config)
    draw = PROBLEMS[config.task]
    held_out = draw(test_size, config.lag, torch.Generator().manual_seed(2**31 + config.seed))
    generator = torch.Generator().manual_seed(config.seed)
    optimizer = torch.optim.Adam(solver.parameters(), config.learning_rate)
    level, curve, solved_at = baseline(config.task, config.lag), [], None
    for step in range(1, config.steps + 1):
        loss = solver.loss(*draw(config.batch_size, config.lag, generator))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(solver.parameters(), 1.0)
        optimizer.step()
        if step % test_every == 0 or step == config.steps:
            with torch.no_grad():
                curve.append([step, round(float(solver.loss(*held_out)), 6)])
            if curve[-1][1] <= level / 10:
                solved_at = step
                break
    return {
        **dataclasses.asdict(config),
        "hidden_size": solver.hidden_size,
        "cell_parameters": sum(parameter.numel() for parameter in solver.encoder.parameters()),
        "baseline": round(level, 6),
        "loss": curve[-1][1],
        "solved_at": solved_at,
        "curve": curve,
        "wall_clock_s": round(time.monotonic() - started, 1),
    }
