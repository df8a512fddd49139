"""Vocal tract length perturbation: other speakers from the same recordings, by a warp of the frequency axis."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from speechgru.augment.draw import check_probability, check_range
from speechgru.errors import ConfigError
from speechgru.lengths import valid_frames


@dataclasses.dataclass
class VocalTractConfig:
    """Settings of :class:`VocalTract`; for log-mel features only (the coefficients of an MFCC are not frequencies).

    Attributes:
        probability: of warping an utterance, 0 to 1.
        min_factor, max_factor: frequencies are multiplied by a factor drawn uniformly between the two, 0.5 to 2; above
            1 is a shorter vocal tract.
        low_hz, high_hz: the lower edge of the lowest and the upper edge of the highest band **of the features**.
        boundary: the warp is linear up to this fraction of high_hz (divided by the factor, where that is above 1), and
            then bends so that high_hz stays where it is; above 0 and below 1; 0.6 is the 4800 Hz of the paper.
        groups: 1; 2 or 3 where the features carry deltas, which are then warped alike.
    """

    probability: float = 0.0
    min_factor: float = 0.9
    max_factor: float = 1.1
    low_hz: float = 20.0
    high_hz: float = 8000.0
    boundary: float = 0.6
    groups: int = 1

    def __post_init__(self) -> None:
        check_probability("vocal_tract", self)
        check_range("vocal_tract", self, "min_factor", "max_factor", 0.5, 2.0)
        if not 0 <= self.low_hz < self.high_hz < math.inf:
            raise ConfigError(f"vocal_tract.low_hz={self.low_hz}: from 0 to below high_hz={self.high_hz}")
        if not 0 < self.boundary < 1:
            raise ConfigError(f"vocal_tract.boundary={self.boundary}: above 0 and below 1")
        if self.groups not in (1, 2, 3):
            raise ConfigError(f"vocal_tract.groups={self.groups}: 1, 2 or 3 (1 + the deltas of the features)")


def source_hz(warped_hz: Tensor, factor: Tensor, boundary_hz: float, high_hz: float) -> Tensor:
    """The frequency that the warp moves to ``warped_hz``: the inverse of Jaitly and Hinton's equation.

    The warp multiplies by ``factor`` up to ``boundary_hz * min(factor, 1) / factor`` and is a straight line from there
    to (high_hz, high_hz).
    """
    knee_after = boundary_hz * factor.clamp(max=1)
    knee_before = knee_after / factor
    above = high_hz - (high_hz - warped_hz) * (high_hz - knee_before) / (high_hz - knee_after)
    return torch.where(warped_hz <= knee_after, warped_hz / factor, above)


class VocalTract:
    """Jaitly and Hinton, Vocal Tract Length Perturbation improves speech recognition (ICML workshop 2013), section 2.

    The warp is applied to the log-mel features: each band takes the value at the frequency that the warp moves there,
    interpolated linearly between band centres; beyond the outermost centres the outermost value holds. Band centres are
    evenly spaced on the mel scale of torchaudio and Kaldi; with librosa's scale the warp is a little uneven.

    Shape:
        features ``(batch, time, feature)``, lengths ``(batch,)`` in frames -> features of the same shape. Frames beyond
        the length are never touched.
    """

    def __init__(self, config: VocalTractConfig) -> None:
        self.config = config

    def __call__(self, features: Tensor, lengths: Tensor, generator: torch.Generator) -> Tensor:
        """The warped features; all draws come from ``generator``, and their number does not depend on the features."""
        config = self.config
        if config.probability <= 0:
            return features
        batch, frames, size = features.shape
        if size % config.groups:
            raise ConfigError(f"vocal_tract.groups={config.groups}: {size} features are not so many groups")
        draws = torch.rand(2, batch, generator=generator, device=generator.device).to(features.device)
        factor = config.min_factor + (config.max_factor - config.min_factor) * draws[1]
        factor = torch.where(draws[0] < config.probability, factor, 1.0)
        position = self.positions(size // config.groups, factor)
        below = position.floor()
        weight = (position - below).to(features.dtype)[:, None, None, :]
        grouped = features.reshape(batch, frames, config.groups, -1)
        shape = grouped.shape
        lower = grouped.gather(3, below.long()[:, None, None, :].expand(shape))
        upper = grouped.gather(3, position.ceil().long()[:, None, None, :].expand(shape))
        warped = torch.lerp(lower, upper, weight.expand(shape)).reshape(features.shape)
        valid = valid_frames(lengths.to(features.device), frames)
        return torch.where(valid[:, :, None] & (factor != 1)[:, None, None], warped, features)

    def positions(self, bands: int, factor: Tensor) -> Tensor:
        """Where each band of the warped features is in the given ones: float ``(batch, bands)``, 0 to bands - 1."""
        config = self.config
        low, high = (1127 * math.log1p(hz / 700) for hz in (config.low_hz, config.high_hz))
        step = (high - low) / (bands + 1)
        centre_mel = low + step * torch.arange(1, bands + 1, dtype=torch.float32, device=factor.device)
        centre_hz = 700 * torch.expm1(centre_mel / 1127)
        hz = source_hz(centre_hz, factor[:, None], config.boundary * config.high_hz, config.high_hz)
        return ((1127 * torch.log1p(hz / 700) - low) / step - 1).clamp(0, bands - 1)
