"""How fast the recurrent encoder is beside torch.nn.GRU, with the same weights and equal outputs."""

from __future__ import annotations

import sys

import torch
from torch import Tensor, nn

from speechgru.encoders import GRUEncoder
from speechgru.errors import SpeechGRUError
from speechgru.lab.bench.timing import interleaved_ms, row
from speechgru.plain import Record

INPUT_SIZE, HIDDEN_SIZE, LAYERS, BATCH = 40, 128, 2, 32
PACKED, PLAIN = "torch.nn.GRU, packed", "torch.nn.GRU"


def bench_encoder(repeats: int = 10, quick: bool = False) -> list[Record]:
    """A training step over utterances of unequal length, and the answer for a single one; 2 x 128 bidirectional.

    The peer of the step is what everybody writes: ``pack_padded_sequence``, ``nn.GRU``, ``pad_packed_sequence``. Its
    backward pass is quadratic in time, so its step over 1,000 frames takes many seconds and is done once.

    Args:
        repeats: measured rounds, at least 1.
        quick: leave the step over 1,000 frames out.

    Raises:
        SpeechGRUError: the two do not compute the same.
    """
    module = nn.GRU(INPUT_SIZE, HIDDEN_SIZE, LAYERS, batch_first=True, bidirectional=True)
    encoder = GRUEncoder.from_torch(module)
    rows = [_step(module, encoder, 100, repeats)]
    if not quick:
        print("bench: a packed step over 1000 frames takes many seconds (--quick leaves it out)", file=sys.stderr)
        rows.append(_step(module, encoder, 1000, 1))
    return rows + [_single(module, encoder, frames, repeats) for frames in (100, 1000)]


def _step(module: nn.GRU, encoder: GRUEncoder, frames: int, repeats: int) -> Record:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(BATCH, frames, INPUT_SIZE, generator=generator)
    lengths = torch.randint(frames // 2, frames + 1, (BATCH,), generator=generator)
    lengths[0] = frames

    def ours() -> None:
        encoder.zero_grad()
        encoder(features, lengths)[0].square().mean().backward()

    def packed() -> None:
        module.zero_grad()
        _packed(module, features, lengths).square().mean().backward()

    name = f"training step, {BATCH} x {frames} frames"
    with torch.no_grad():
        _check_equal(name, encoder(features, lengths)[0], _packed(module, features, lengths))
    # These run for so long that what stood in the cache before does not count.
    taken = interleaved_ms({"ours": ours, PACKED: packed}, repeats, warmup=min(1, repeats - 1), settle=False)
    _check_equal(f"{name}, norm of the gradient", _gradient_norm(encoder), _gradient_norm(module))
    return row(name, taken["ours"], PACKED, taken[PACKED])


def _single(module: nn.GRU, encoder: GRUEncoder, frames: int, repeats: int) -> Record:
    features = torch.randn(1, frames, INPUT_SIZE, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([frames])
    name = f"inference, 1 x {frames} frames"
    with torch.no_grad():
        _check_equal(name, encoder(features, lengths)[0], module(features)[0])
        taken = interleaved_ms({"ours": lambda: encoder(features, lengths), PLAIN: lambda: module(features)}, repeats)
    return row(name, taken["ours"], PLAIN, taken[PLAIN])


def _packed(module: nn.GRU, features: Tensor, lengths: Tensor) -> Tensor:
    packed = nn.utils.rnn.pack_padded_sequence(features, lengths, batch_first=True, enforce_sorted=False)
    hidden, _ = nn.utils.rnn.pad_packed_sequence(module(packed)[0], batch_first=True)
    return hidden


def _gradient_norm(module: nn.Module) -> Tensor:
    return torch.stack(
        [parameter.grad.norm() for parameter in module.parameters() if parameter.grad is not None]
    ).norm()


def _check_equal(name: str, ours: Tensor, theirs: Tensor) -> None:
    furthest = float((ours - theirs).abs().max())
    if not furthest < 1e-4:
        raise SpeechGRUError(f"bench {name}: differs from torch.nn.GRU by {furthest:.2g}, so the times mean nothing")
