"""SpecAugment: stretches of time and bands of frequency hidden from the network."""

from __future__ import annotations

import dataclasses
import enum

import torch
from torch import Tensor

from speechgru.augment.draw import check_probability
from speechgru.errors import ConfigError
from speechgru.lengths import valid_frames


class MaskFill(enum.Enum):
    """What stands under a mask: the mean of all valid values of the utterance, or zero (equal after normalisation)."""

    mean = "mean"
    zero = "zero"


@dataclasses.dataclass
class SpecAugmentConfig:
    """Settings of :class:`SpecAugment`.

    Attributes:
        probability: of masking an utterance, 0 to 1.
        time_masks: how many stretches of time, 0 or more; they may overlap.
        max_time_frames: the width of each stretch of time is drawn uniformly from 0 to this.
        max_time_fraction: no stretch is wider than this fraction of the utterance's frames, 0 to 1.
        frequency_masks: how many bands of frequency, 0 or more; they may overlap.
        max_frequency_bands: the width of each masked band of frequency is drawn uniformly from 0 to this; it is never
            all the bands.
        fill: mean or zero.
        groups: 1; 2 or 3 where the features carry deltas, which are then masked in the same bands.
    """

    probability: float = 0.0
    time_masks: int = 2
    max_time_frames: int = 25
    max_time_fraction: float = 0.25
    frequency_masks: int = 2
    max_frequency_bands: int = 7
    fill: MaskFill = MaskFill.mean
    groups: int = 1

    def __post_init__(self) -> None:
        check_probability("spectrogram", self)
        for key in ("time_masks", "max_time_frames", "frequency_masks", "max_frequency_bands"):
            if getattr(self, key) < 0:
                raise ConfigError(f"spectrogram.{key}={getattr(self, key)}: at least 0")
        if not 0 <= self.max_time_fraction <= 1:
            raise ConfigError(f"spectrogram.max_time_fraction={self.max_time_fraction}: from 0 to 1")
        if self.groups not in (1, 2, 3):
            raise ConfigError(f"spectrogram.groups={self.groups}: 1, 2 or 3 (1 + the deltas of the features)")


class SpecAugment:
    """Time and frequency masks of SpecAugment (Park et al., 1904.08779, section 2, without the time warp).

    Shape:
        features ``(batch, time, feature)``, lengths ``(batch,)`` in frames -> features of the same shape. Frames beyond
        the length are never touched, and the masks of an utterance do not depend on the padding around it.
    """

    def __init__(self, config: SpecAugmentConfig) -> None:
        self.config = config

    def __call__(self, features: Tensor, lengths: Tensor, generator: torch.Generator) -> Tensor:
        """The masked features; all draws come from ``generator``, and their number does not depend on the features."""
        config = self.config
        if config.probability <= 0:
            return features
        batch, frames, size = features.shape
        if size % config.groups:
            raise ConfigError(f"spectrogram.groups={config.groups}: {size} features are not so many groups")
        bands = size // config.groups
        # The draws are made on the generator's device, so that a CPU generator gives the same masks on every device.
        applied = torch.rand(batch, generator=generator, device=generator.device) < config.probability
        frames_each = lengths.to(generator.device, torch.float32)
        widest = (frames_each * config.max_time_fraction).floor().clamp(max=config.max_time_frames)
        in_time = _stretches(config.time_masks, widest, frames_each, frames, generator)
        widest = torch.full_like(frames_each, min(config.max_frequency_bands, bands - 1))
        in_frequency = _stretches(config.frequency_masks, widest, torch.full_like(frames_each, bands), bands, generator)
        valid = valid_frames(frames_each, frames)
        masked = in_time[:, :, None] | in_frequency.repeat(1, config.groups)[:, None, :]
        masked = (masked & (valid & applied[:, None])[:, :, None]).to(features.device)
        fill = torch.zeros((), dtype=features.dtype, device=features.device)
        if config.fill is MaskFill.mean:
            grouped = features.reshape(batch, frames, config.groups, bands).float()
            inside = valid.to(features.device)[:, :, None, None]
            total = torch.where(inside, grouped, 0).sum((1, 3))
            mean = total / (lengths.to(features.device)[:, None] * bands).clamp(min=1)
            fill = mean.to(features.dtype).repeat_interleave(bands, 1)[:, None, :]
        return torch.where(masked, fill, features)


def _stretches(count: int, widest: Tensor, room: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Boolean ``(batch, size)``: ``count`` stretches of 0 to ``widest`` places anywhere inside the first ``room``."""
    draws = torch.rand(2, len(room), count, generator=generator, device=generator.device)
    width = (draws[0] * (widest[:, None] + 1)).floor()
    start = (draws[1] * (room[:, None] - width + 1)).floor()
    place = torch.arange(size, device=generator.device)
    return ((place >= start[:, :, None]) & (place < (start + width)[:, :, None])).any(1)
