"""Delta coefficients: the slope of each feature over a few frames."""

from __future__ import annotations

import torch
from torch import Tensor


def deltas(features: Tensor, lengths: Tensor, window: int = 5) -> Tensor:
    """Slope of every feature, by regression over ``window`` frames; frames beyond an end repeat the end frame.

    d_t = sum_n n * (c_{t+n} - c_{t-n}) / (2 * sum_n n^2), n = 1 .. (window - 1) / 2
    (HTK Book 3.4, eq. 5.16; equals torchaudio.functional.compute_deltas to 1e-5).

    Args:
        features: ``(batch, time, feature)``.
        lengths: valid frames of each, ``(batch,)``.
        window: odd number of frames, at least 3.

    Returns:
        ``(batch, time, feature)``; frames beyond a length are undefined.
    """
    reach = (window - 1) // 2
    time = torch.arange(features.shape[1], device=features.device)
    last = (lengths - 1).clamp(min=0)[:, None]

    def shifted(by: int) -> Tensor:
        index = torch.minimum((time + by).clamp(min=0)[None], last)
        return features.gather(1, index[..., None].expand(-1, -1, features.shape[2]))

    slope = shifted(1) - shifted(-1)
    for n in range(2, reach + 1):
        slope = slope + n * (shifted(n) - shifted(-n))
    return slope / (reach * (reach + 1) * (2 * reach + 1) / 3)


def with_deltas(features: Tensor, lengths: Tensor, order: int, window: int) -> Tensor:
    """Features, their deltas, the deltas of those, ..., side by side: ``(batch, time, feature * (order + 1))``."""
    parts = [features]
    for _ in range(order):
        parts.append(deltas(parts[-1], lengths, window))
    return torch.cat(parts, dim=2) if order else features
