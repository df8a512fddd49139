"""The settings of the training loop."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from speechgru.errors import ConfigError
from speechgru.training.objective import Precision


@dataclasses.dataclass
class TrainerConfig:
    """Settings of the training loop.

    Attributes:
        epochs: passes over the training set, at least 1.
        batch_size: utterances of a step in each process, at least 1.
        accumulate: steps whose gradients are summed into one update, at least 1.
        gradient_clip: largest norm of the gradient; 0 means no limit.
        precision: fp32, or bf16 autocast (the recurrent cells stay in fp32 on CPU).
        ema_decay: decay of an exponential average of the weights, which is validated and kept instead of the weights; 0
            means none.
        mixup: strength of mixing pairs of waveforms and their targets (alpha of 1710.09412); 0 means none.
        consistency: for a CTC head, weight of the disagreement between two differently masked copies of every utterance
            (2410.05101, which has 0.2); 0 means one copy. With two, a step takes about twice as long.
        join: for transcripts, share of the training utterances that are followed by another one of their speaker, after
            a pause of up to 3 s, 0 to 1; without it a model does not learn that a recording may hold two sentences.
        monitor: the validation figure that chooses the best epoch; None means accuracy of labels, wer of transcripts.
        keep_last: keep the last epoch's weights whatever the validation says: with a few tens of recordings, which
            epoch is the best is luck.
        patience: stop after this many epochs without a new best; 0 means never.
        max_nonfinite: consecutive steps without a finite gradient that are skipped before the run stops, at least 1.
        checkpoint_s: seconds between checkpoints inside an epoch (there is always one after it), above 0.
        workers: processes that read and augment audio; 0 means the training process does.
        cache_mb: memory for decoded audio in each process, in MB; 0 means none.
        max_duration_s: longer utterances are left out and counted; 0 means no limit.
        device: auto (cuda where there is one), cpu, cuda, cuda:<number> or mps.
        threads: CPU threads of the matrix products; 0 means torch's choice.
        tensorboard: also write TensorBoard files (extra ``log``).
    """

    epochs: int = 30
    batch_size: int = 32
    accumulate: int = 1
    gradient_clip: float = 5.0
    precision: Precision = Precision.fp32
    ema_decay: float = 0.0
    mixup: float = 0.0
    consistency: float = 0.0
    join: float = 0.0
    monitor: str | None = None
    keep_last: bool = False
    patience: int = 0
    max_nonfinite: int = 5
    checkpoint_s: float = 120.0
    workers: int = 0
    cache_mb: int = 1024
    max_duration_s: float = 0.0
    device: str = "auto"
    threads: int = 0
    tensorboard: bool = False

    RETIRED: ClassVar = ("average_last",)  # tried the mean of the last epochs at the end

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulate", "max_nonfinite"):
            if not getattr(self, name) >= 1:
                raise ConfigError(f"{name}={getattr(self, name)}: at least 1")
        amounts = ("gradient_clip", "mixup", "consistency", "patience")
        for name in (*amounts, "workers", "cache_mb", "max_duration_s", "threads"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name}={getattr(self, name)}: at least 0")
        if not 0 <= self.join <= 1:
            raise ConfigError(f"join={self.join}: from 0 to 1")
        if self.keep_last and self.patience:
            raise ConfigError(f"patience={self.patience}: keep_last=true waits for no best epoch; leave one out")
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"ema_decay={self.ema_decay}: from 0 to below 1")
        if not self.checkpoint_s > 0:
            raise ConfigError(f"checkpoint_s={self.checkpoint_s}: above 0")
