"""How fast CTC scores become token sequences, beside flashlight and pyctcdecode."""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Callable

import numpy as np

from speechgru.decoding import BeamConfig, BeamDecoder, FlashlightConfig, FlashlightDecoder, GreedyDecoder
from speechgru.errors import SpeechGRUError
from speechgru.lab.bench.timing import interleaved_ms, row
from speechgru.plain import Record
from speechgru.tokens import Tokens

FRAMES = 1000
TOKENS = Tokens(["<blank>", "|", "'", *"abcdefghijklmnopqrstuvwxyz"])
PEERS = {"flashlight-text": "flashlight", "pyctcdecode": "pyctcdecode"}


def bench_decoding(repeats: int = 10) -> list[Record]:
    """1,000 frames of 29 tokens into text, greedily and by beam search without a language model, on one thread.

    Times are milliseconds for 1,000 frames: a million divided by them is frames a second. All three add up the paths
    of equal sequences and give the frames of the tokens. pyctcdecode keeps its default pruning, of tokens below exp(-5)
    and of hypotheses 10 nats behind; flashlight drops hypotheses 50 nats behind; ours drops only those that fall out of
    the beam. A peer that is not installed has a row that says so.

    Raises:
        SpeechGRUError: flashlight finds a likelier sequence than our beam of the same size.
    """
    scores = peaky_scores(FRAMES, len(TOKENS), seed=0)
    greedy = GreedyDecoder(TOKENS)
    taken = interleaved_ms({"greedy": lambda: greedy.decode(scores)}, repeats)
    rows = [row(f"greedy, {FRAMES} frames", taken["greedy"])]
    installed = {peer for peer, module in PEERS.items() if importlib.util.find_spec(module)}
    for beam_size in (10, 50):
        candidates = {"ours": _ours(beam_size, scores)}
        if "flashlight-text" in installed:
            candidates["flashlight-text"] = _flashlight(beam_size, scores)
        if "pyctcdecode" in installed:
            candidates["pyctcdecode"] = _pyctcdecode(beam_size, scores)
        taken = interleaved_ms(candidates, repeats, warmup=1, settle=False)
        for peer in PEERS:
            name = f"beam of {beam_size}, {FRAMES} frames"
            if peer in installed:
                rows.append(row(name, taken["ours"], peer, taken[peer]))
            else:
                print(f"bench decoding: {peer} is not installed", file=sys.stderr)
                rows.append(row(f"{name} ({peer} is not installed)", taken["ours"]))
    return rows


def peaky_scores(frames: int, size: int, seed: int) -> np.ndarray:
    """Log-probabilities (frames, size) like those of a trained CTC model: spikes of tokens between confident blanks.

    A quarter of the frames have a token on top; one frame in ten is unsure between two tokens or token and blank.
    """
    draw = np.random.default_rng(seed)
    logits = 1.5 * draw.standard_normal((frames, size))
    top = np.where(draw.random(frames) < 0.25, draw.integers(1, size, frames), 0)
    logits[np.arange(frames), top] += draw.normal(10, 2, frames)
    unsure = np.flatnonzero(draw.random(frames) < 0.1)
    second = draw.integers(0, size, len(unsure))
    logits[unsure, second] = logits[unsure, top[unsure]] + draw.normal(-1, 1, len(unsure))
    return (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)


def _ours(beam_size: int, scores: np.ndarray) -> Callable[[], object]:
    decoder = BeamDecoder(TOKENS, None, BeamConfig(beam_size=beam_size))
    return lambda: decoder.decode(scores)


def _flashlight(beam_size: int, scores: np.ndarray) -> Callable[[], object]:
    (ours,) = BeamDecoder(TOKENS, None, BeamConfig(beam_size=beam_size)).decode(scores)
    (theirs,) = FlashlightDecoder(TOKENS, None, FlashlightConfig(beam_size=beam_size)).decode(scores)
    if theirs.score > ours.score + 0.01:
        raise SpeechGRUError(f"bench decoding: flashlight scores {theirs.score:.3f}, we {ours.score:.3f}")
    import torch
    from torchaudio.models.decoder import ctc_decoder

    # flashlight's decoder alone: our wrapper would add the time to find the tokens' frames.
    decoder = ctc_decoder(
        None, TOKENS.names, beam_size=beam_size, log_add=True, blank_token="<blank>", sil_token="<blank>"
    )
    batch = torch.from_numpy(scores)[None]
    return lambda: decoder(batch)


def _pyctcdecode(beam_size: int, scores: np.ndarray) -> Callable[[], object]:
    from pyctcdecode import build_ctcdecoder

    logging.getLogger("pyctcdecode").setLevel(logging.ERROR)
    decoder = build_ctcdecoder(["", " ", *TOKENS.names[2:]])
    return lambda: decoder.decode_beams(scores, beam_width=beam_size)
