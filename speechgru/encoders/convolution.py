"""A convolutional front end: a few masked convolutions over time and frequency before the recurrent layers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from speechgru.encoders.batch_norm import MaskedBatchNorm
from speechgru.encoders.stepping import Waiting, Windows, within
from speechgru.errors import ConfigError
from speechgru.lengths import divided
from speechgru.registry import register


@dataclasses.dataclass
class ConvolutionConfig:
    """Settings of the convolutional front end.

    Attributes:
        channels: output channels of each layer, at least 1 each.
        kernel_time: frames a kernel sees, odd.
        kernel_feature: features (mel bands) a kernel sees, odd.
        stride_time: frames a kernel moves by in each layer; their product is the subsampling.
        stride_feature: features a kernel moves by in each layer.
        residual: every layer that keeps its shape adds its input to its output.
        dropout: share of whole channels dropped after each layer while training, 0 to below 1.
    """

    channels: list[int] = dataclasses.field(default_factory=lambda: [16, 32, 48])
    kernel_time: int = 3
    kernel_feature: int = 3
    stride_time: list[int] = dataclasses.field(default_factory=lambda: [1, 2, 1])
    stride_feature: list[int] = dataclasses.field(default_factory=lambda: [2, 2, 2])
    residual: bool = True
    dropout: float = 0.0

    def __post_init__(self) -> None:
        layers = len(self.channels)
        if not layers or min(self.channels) < 1:
            raise ConfigError(f"channels={self.channels}: at least one layer, each of at least 1 channel")
        for name in ("stride_time", "stride_feature"):
            strides = getattr(self, name)
            if len(strides) != layers or min(strides) < 1 or max(strides) > 100:
                raise ConfigError(f"{name}={strides}: one stride from 1 to 100 for each of the {layers} channels")
        for name in ("kernel_time", "kernel_feature"):
            if getattr(self, name) < 1 or getattr(self, name) % 2 == 0:
                raise ConfigError(f"{name}={getattr(self, name)}: an odd number of at least 1")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout={self.dropout}: from 0 to below 1")


@register("front_end", "convolution", ConvolutionConfig)
class Convolution(nn.Module):
    """Layers of convolution, batch normalisation and ReLU over (time, feature), as in Deep Speech 2 (1512.02595, 3.5).

    Frames beyond a row's length come in as zeros and are set to zero after every layer, so they act as the
    convolution's own zero padding, and batch statistics run over valid frames only: padding changes nothing, also in
    training.

    Args:
        input_size: features of a frame.
    """

    def __init__(self, input_size: int, config: ConvolutionConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ConvolutionConfig()
        self.convolutions = nn.ModuleList()
        self.normalizations = nn.ModuleList()
        channels, size = 1, input_size
        for out, stride in zip(config.channels, config.stride_feature, strict=True):
            kernel = (config.kernel_time, config.kernel_feature)
            self.convolutions.append(nn.Conv2d(channels, out, kernel, bias=False))
            self.normalizations.append(MaskedBatchNorm(out))
            channels, size = out, -(-size // stride)
        self.input_size = input_size
        self.output_size = channels * size
        self.subsampling = 1
        for stride in config.stride_time:
            self.subsampling *= stride
        width = config.kernel_time
        self._windows = [Windows(width, stride, width // 2) for stride in config.stride_time]

    @property
    def reach(self) -> int:
        """Input frames after ``t * subsampling`` that output frame t is made of."""
        frames, stride = 0, 1
        for step in self.config.stride_time:
            frames += self.config.kernel_time // 2 * stride
            stride *= step
        return frames

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Frames that come out for ``lengths`` that go in: divided by each stride, rounded up."""
        for stride in self.config.stride_time:
            lengths = divided(lengths, stride)
        return lengths

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """(batch, time, feature) zeros beyond the lengths (batch,) -> (batch, shorter time, output_size), (batch,)."""
        config = self.config
        if not features.shape[1]:
            return features.new_zeros(features.shape[0], 0, self.output_size), lengths
        planes = features[:, None]
        strides = zip(config.stride_time, config.stride_feature, strict=True)
        for convolution, normalization, stride in zip(self.convolutions, self.normalizations, strides, strict=True):
            before = planes
            assert isinstance(convolution, nn.Conv2d)
            planes = convolution_same(planes, convolution.weight, stride)
            if lengths is not None:
                lengths = divided(lengths, stride[0])
            planes = normalization(planes, lengths)
            # With a stride of two one frame is still one frame: by the shape alone, padding would decide whether to
            # add.
            if config.residual and stride[0] == 1 and planes.shape == before.shape:
                planes = planes + before
            planes = F.dropout2d(planes, config.dropout, self.training)
        return planes.transpose(1, 2).flatten(2), lengths

    def start(self, batch: int) -> tuple[Waiting, ...]:
        """What waits before each layer at the beginning of ``batch`` streams."""
        found, size = [], self.input_size
        for convolution, windows, stride in zip(
            self.convolutions, self._windows, self.config.stride_feature, strict=True
        ):
            assert isinstance(convolution, nn.Conv2d)
            found.append(windows.start(convolution.weight, (size, convolution.in_channels), batch))
            size = -(-size // stride)
        return tuple(found)

    def step(
        self, features: Tensor, lengths: Sequence[int], ended: Sequence[bool], state: tuple[Waiting, ...]
    ) -> tuple[Tensor, Sequence[int], tuple[Waiting, ...]]:
        """:meth:`forward` in eval mode, as far as the frames that have come determine it.

        Channels are last in memory: in this order convolutions of many small planes are fastest.

        Args:
            features: (batch, time, feature).
            lengths: valid frames of each row.
            ended: whether these are the last frames of each row.
            state: what :meth:`start` or the last step gave.
        """
        config = self.config
        planes, waiting = features[..., None], []
        strides = zip(config.stride_time, config.stride_feature, strict=True)
        for convolution, normalization, windows, stride, kept in zip(
            self.convolutions, self.normalizations, self._windows, strides, state, strict=True
        ):
            assert isinstance(convolution, nn.Conv2d)
            stretch, lengths, kept = windows.slide(kept, planes, lengths, ended)
            waiting.append(kept)
            if stretch.shape[1]:
                padding = (0, config.kernel_feature // 2)
                found = F.conv2d(stretch.permute(0, 3, 1, 2), convolution.weight, stride=stride, padding=padding)
                planes = normalization(found, None).permute(0, 2, 3, 1)
            else:
                planes = stretch.new_zeros(len(stretch), 0, -(-stretch.shape[2] // stride[1]), convolution.out_channels)
            if config.residual and stride[0] == 1 and planes.shape[2:] == stretch.shape[2:]:
                planes = planes + stretch[:, windows.before : windows.before + planes.shape[1]]
        return within(lengths, planes.transpose(2, 3).flatten(2)), lengths, tuple(waiting)


def convolution_same(planes: Tensor, weight: Tensor, stride: tuple[int, int]) -> Tensor:
    """A convolution whose output has ceil(size / stride) frames and features; its first kernel is centred on frame 0.

    The padding on the left does not depend on the size, so a row gives the same output however far it is padded.
    """
    time, feature = weight.shape[2:]
    padded = F.pad(planes, (feature // 2, feature // 2, time // 2, time // 2))
    return F.conv2d(padded, weight, stride=stride)
