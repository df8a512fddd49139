"""How fast the recurrent encoder trains beside torch.nn.GRU, with the same weights, equal outputs and gradients."""

from __future__ import annotations

import copy
import sys

import torch
from torch import Tensor, nn

from speechgru.encoders import GRUEncoder
from speechgru.lab.bench.limits import bfloat16_name
from speechgru.lab.bench.timing import check_equal, interleaved_ms, row
from speechgru.plain import Record

BATCH = 32
# Inputs, hidden values of a direction, layers.
SMALL, LARGE = (40, 128, 2), (80, 256, 3)
PACKED, PADDED = "torch.nn.GRU, packed", "torch.nn.GRU, padded"


def bench_encoder(repeats: int = 10, quick: bool = False) -> list[Record]:
    """A training step over utterances of half to all of the frames: 2 x 128 and 3 x 256, bidirectional.

    The peer that computes the same is ``pack_padded_sequence``, ``nn.GRU``, ``pad_packed_sequence``. Its backward pass
    is quadratic in time, so its step over 1,000 frames takes many seconds and is done once. The other is ``nn.GRU``
    over whole padded batches, which is quicker and wrong: its backward direction begins in the padding.

    Args:
        repeats: measured rounds, at least 1.
        quick: leave out the step over 1,000 frames and the larger encoder, also in bfloat16 under autocast.

    Raises:
        SpeechGRUError: the encoder and the packed GRU do not compute the same.
    """
    rows = _step(SMALL, 100, repeats)
    if not quick:
        print("bench: a packed step over 1000 frames takes many seconds (--quick leaves it out)", file=sys.stderr)
        rows += _step(SMALL, 1000, 1) + _step(LARGE, 100, max(3, repeats // 4)) + _step(LARGE, 300, 3)
        rows += _step(LARGE, 100, max(3, repeats // 4), autocast=True)
    return rows


def _step(sizes: tuple[int, int, int], frames: int, repeats: int, autocast: bool = False) -> list[Record]:
    inputs, hidden, layers = sizes
    module = nn.GRU(inputs, hidden, layers, batch_first=True, bidirectional=True)
    encoder, other = GRUEncoder.from_torch(module), copy.deepcopy(module)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(BATCH, frames, inputs, generator=generator)
    lengths = torch.randint(frames // 2, frames + 1, (BATCH,), generator=generator)
    lengths[0] = frames

    def ours() -> None:
        encoder.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            hidden = encoder(features, lengths)[0]
        hidden.float().square().mean().backward()

    def packed() -> None:
        module.zero_grad()
        _packed(module, features, lengths).square().mean().backward()

    def padded() -> None:
        other.zero_grad()
        other(features)[0].square().mean().backward()

    name = f"training step, {inputs} -> {layers} x {hidden}, {BATCH} x {frames} frames"
    if autocast:
        name += f", autocast in {bfloat16_name()}"
    with torch.no_grad():
        check_equal(name, encoder(features, lengths)[0], _packed(module, features, lengths))
    # These run for so long that what was in the cache before does not matter.
    candidates = {"ours": ours, PADDED: padded, PACKED: packed}
    taken = interleaved_ms(candidates, repeats, warmup=min(1, repeats - 1), settle=False)
    norms = _gradient_norm(encoder), _gradient_norm(module)
    check_equal(f"{name}, norm of the gradient", *norms, within=0.01 * float(norms[1]) if autocast else 1e-4)
    return [row(name, taken["ours"], peer, taken[peer]) for peer in (PACKED, PADDED)]


def _packed(module: nn.GRU, features: Tensor, lengths: Tensor) -> Tensor:
    packed = nn.utils.rnn.pack_padded_sequence(features, lengths, batch_first=True, enforce_sorted=False)
    hidden, _ = nn.utils.rnn.pad_packed_sequence(module(packed)[0], batch_first=True)
    return hidden


def _gradient_norm(module: nn.Module) -> Tensor:
    return torch.stack(
        [parameter.grad.norm() for parameter in module.parameters() if parameter.grad is not None]
    ).norm()
