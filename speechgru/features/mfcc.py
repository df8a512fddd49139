"""Mel-frequency cepstral coefficients: the cosine transform of log-mel frames."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from speechgru.errors import ConfigError
from speechgru.features.convention import Convention
from speechgru.features.log_mel import LogMel, LogMelConfig
from speechgru.registry import register


@dataclasses.dataclass
class MFCCConfig(LogMelConfig):
    """Settings of :class:`MFCC`: those of log-mel frames and

    Attributes:
        coefficients: number of values kept of the cosine transform, the zeroth included; 1 to ``mels``.
        lifter: coefficient k is multiplied by 1 + lifter / 2 * sin(pi * k / lifter); librosa counts k from 1, Kaldi
            from 0. 0 switches it off. None: 0, Kaldi 22.
    """

    coefficients: int = 13
    lifter: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.coefficients <= self.mels:
            raise ConfigError(f"coefficients={self.coefficients}: must be from 1 to mels={self.mels}")
        if self.lifter is not None and not 0 <= self.lifter < math.inf:
            raise ConfigError(f"lifter={self.lifter}: must be 0 or more")


def cosine_transform(mels: int, coefficients: int) -> Tensor:
    """The orthonormal DCT-II of all three conventions, float64 ``(mels, coefficients)``, to multiply from the right."""
    place = (torch.arange(mels, dtype=torch.float64)[:, None] + 0.5) / mels
    transform = torch.cos(math.pi * place * torch.arange(coefficients)) * math.sqrt(2 / mels)
    transform[:, 0] = math.sqrt(1 / mels)
    return transform


def lifter_weights(coefficients: int, lifter: float, first: int) -> Tensor:
    """1 + lifter / 2 * sin(pi * k / lifter) for k = first, first + 1, ...: float64 ``(coefficients,)``."""
    if lifter == 0:
        return torch.ones(coefficients, dtype=torch.float64)
    order = torch.arange(first, first + coefficients, dtype=torch.float64)
    return 1 + lifter / 2 * torch.sin(math.pi * order / lifter)


@register("features", "mfcc", MFCCConfig)
class MFCC(LogMel):
    """MFCC frames of padded batches of waveforms.

    Equal on real speech (tests/test_features.py) to

    - librosa.feature.mfcc: 5e-3,
    - torchaudio.transforms.MFCC: 5e-3,
    - torchaudio.compliance.kaldi.mfcc with dither=0, use_energy=False: 5e-3,

    for the ``convention`` of that name with ``normalization=none``. Everything else is as in
    :class:`~speechgru.features.log_mel.LogMel`.

    Attributes:
        transform: from natural logarithms to coefficients, ``(coefficients, mels)``: cosines, lifter and unit.
    """

    transform: Tensor

    def __init__(self, config: MFCCConfig | None = None) -> None:
        config = config or MFCCConfig()
        self._coefficients = config.coefficients
        super().__init__(config)
        lifter = config.resolved().lifter
        first = 1 if config.convention is Convention.librosa else 0
        transform = cosine_transform(config.mels, config.coefficients)
        transform = transform * lifter_weights(config.coefficients, lifter, first) * self._log_unit
        self.register_buffer("transform", transform.T.float().contiguous(), persistent=False)

    @property
    def static_size(self) -> int:
        return self._coefficients

    def _project(self, log_mel: Tensor) -> Tensor:
        if self.spectrum.fuses(log_mel):
            from speechgru.features.fused_spectrum import project

            return project(log_mel, self.transform)
        # In float64: a matrix library may add the products of a few rows in another order than those of many, and a
        # frame must have the same values alone and in a batch.
        return (log_mel.double() @ self.transform.double().T).to(log_mel.dtype)
