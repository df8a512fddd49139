"""How fast a stack of GRUs answers beside torch.nn.GRU and onnxruntime: whole recordings, batches, one frame."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from speechgru.encoders import GRUEncoder
from speechgru.lab.bench.limits import bfloat16_name
from speechgru.lab.bench.onnx_gru import NAME as ONNXRUNTIME
from speechgru.lab.bench.onnx_gru import OnnxGRU
from speechgru.lab.bench.timing import check_equal, interleaved_ms, row, threads
from speechgru.plain import Record

TORCH = "torch.nn.GRU"
# Inputs, hidden values of a direction, layers.
SMALL, LARGE = (40, 128, 2), (80, 256, 3)
# Which stack, whether in both directions, recordings, frames of each.
WHOLE = [
    (SMALL, False, 1, 100),
    (SMALL, True, 1, 100),
    (SMALL, True, 1, 1000),
    (LARGE, True, 1, 100),
    (LARGE, True, 1, 1000),
    (SMALL, True, 8, 100),
    (SMALL, True, 32, 100),
    (LARGE, True, 8, 100),
    (LARGE, True, 32, 100),
]
BFLOAT16_BATCHES = (16, 32)  # of LARGE, 100 frames
CORES = 2
STREAM_FRAMES = 100  # frames of a stream that are timed together, one call after the other


def bench_inference(repeats: int = 20) -> list[Record]:
    """The answers for batches of equal lengths, and for one frame of a stream, whose state the caller holds.

    Where there are two cores, one recording is also answered on both: our two directions at once, beside two threads of
    the peers. In the rows of bfloat16 all our weights and frames are bfloat16, and the peer is in float32.

    onnxruntime is given its frames in the order in which it reads them, time first.

    Raises:
        ConfigError: onnxruntime is not installed.
        SpeechGRUError: the three do not compute the same.
    """
    rows = []
    with torch.no_grad():
        for (inputs, hidden, layers), both, batch, frames in WHOLE:
            candidates = _whole(nn.GRU(inputs, hidden, layers, batch_first=True, bidirectional=both), batch, frames)
            name = f"{inputs} -> {layers} x {hidden} {_directions(both)}, {batch} x {frames} frames"
            taken = interleaved_ms(candidates, repeats if batch * frames < 1000 else max(3, repeats // 4), warmup=1)
            rows += [row(name, taken["ours"], peer, taken[peer]) for peer in (TORCH, ONNXRUNTIME)]
        rows += _bfloat16(max(3, repeats // 4))
        if (os.cpu_count() or 1) >= CORES and torch.get_num_threads() == 1:
            with threads(CORES):
                for frames in (100, 1000):
                    inputs, hidden, layers = LARGE
                    module = nn.GRU(inputs, hidden, layers, batch_first=True, bidirectional=True)
                    name = f"{inputs} -> {layers} x {hidden} {_directions(True)}, 1 x {frames} frames, {CORES} threads"
                    taken = interleaved_ms(_whole(module, 1, frames), repeats, warmup=1)
                    rows += [row(name, taken["ours"], peer, taken[peer]) for peer in (TORCH, ONNXRUNTIME)]
        for inputs, hidden, layers in (SMALL, LARGE):
            candidates = _stream(nn.GRU(inputs, hidden, layers, batch_first=True))
            taken = interleaved_ms(candidates, repeats, warmup=1, settle=False)
            taken = {name: one / STREAM_FRAMES for name, one in taken.items()}
            name = f"{inputs} -> {layers} x {hidden} {_directions(False)}, one frame of a stream"
            rows += [row(name, taken["ours"], peer, taken[peer]) for peer in (TORCH, ONNXRUNTIME)]
    return rows


def _bfloat16(repeats: int) -> list[Record]:
    """Weights and frames in bfloat16 beside torch's GRU in float32; the outputs differ by no more than 0.02."""
    inputs, hidden, layers = LARGE
    module = nn.GRU(inputs, hidden, layers, batch_first=True, bidirectional=True)
    encoder = GRUEncoder.from_torch(module).eval().bfloat16()
    rows = []
    for batch in BFLOAT16_BATCHES:
        features = torch.randn(batch, 100, inputs, generator=torch.Generator().manual_seed(0))
        short, lengths = features.bfloat16(), torch.full((batch,), 100)
        check_equal("inference: bfloat16", encoder(short, lengths)[0].float(), module(features)[0], within=0.02)
        candidates = {
            "ours": functools.partial(encoder, short, lengths),
            TORCH: functools.partial(module, features),
        }
        taken = interleaved_ms(candidates, repeats, warmup=1)
        name = f"{inputs} -> {layers} x {hidden} {_directions(True)}, {batch} x 100 frames, {bfloat16_name()}"
        rows.append(row(name, taken["ours"], TORCH, taken[TORCH]))
    return rows


def _directions(both: bool) -> str:
    return "bidirectional" if both else "forwards"


def _whole(module: nn.GRU, batch: int, frames: int) -> dict[str, Callable[[], object]]:
    encoder, session = GRUEncoder.from_torch(module).eval(), OnnxGRU(module)
    features = torch.randn(batch, frames, module.input_size, generator=torch.Generator().manual_seed(0))
    lengths = torch.full((batch,), frames)
    turned, states = features.transpose(0, 1).contiguous().numpy(), _states(module, batch)
    expected = module(features)[0]
    check_equal("inference: speechgru", encoder(features, lengths)[0], expected)
    check_equal(f"inference: {ONNXRUNTIME}", torch.from_numpy(session(turned, states)[0]).transpose(0, 1), expected)
    return {
        "ours": lambda: encoder(features, lengths),
        TORCH: lambda: module(features),
        ONNXRUNTIME: lambda: session(turned, states),
    }


def _stream(module: nn.GRU) -> dict[str, Callable[[], object]]:
    """Each gives the last frame's outputs, (hidden,)."""
    encoder, session = GRUEncoder.from_torch(module).eval(), OnnxGRU(module)
    features = torch.randn(STREAM_FRAMES, 1, 1, module.input_size, generator=torch.Generator().manual_seed(0))
    frames, arrays = list(features), list(features.numpy())

    def ours() -> Tensor:
        state = encoder.start()
        for frame in frames:
            hidden, _, state = encoder.step(frame, state)
        return hidden[0, 0]

    def theirs() -> Tensor:
        state = None
        for frame in frames:
            hidden, state = module(frame, state)
        return hidden[0, 0]

    def onnx() -> Tensor:
        states = _states(module, 1)
        for frame in arrays:
            hidden, *states = session(frame, states)
        return torch.from_numpy(hidden[0, 0])

    expected = theirs()
    check_equal("inference: speechgru", ours(), expected)
    check_equal(f"inference: {ONNXRUNTIME}", onnx(), expected)
    return {"ours": ours, TORCH: theirs, ONNXRUNTIME: onnx}


def _states(module: nn.GRU, batch: int) -> list[np.ndarray]:
    size = (2 if module.bidirectional else 1, batch, module.hidden_size)
    return [np.zeros(size, np.float32) for _ in range(module.num_layers)]
