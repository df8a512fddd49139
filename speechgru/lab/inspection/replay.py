"""The gates of every layer over one recording, proved to be those that the model answers with."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from speechgru.audio import read_audio
from speechgru.cells import Cell
from speechgru.decoding.transcription import Word
from speechgru.errors import AudioError, ModelError
from speechgru.heads import ClassificationHead, KeywordHead
from speechgru.lab.inspection.evidence import evidence
from speechgru.plain import Record
from speechgru.recognizer import Recognizer
from speechgru.tokens import Tokens

if TYPE_CHECKING:
    from speechgru.audio.reading import Source

TOLERANCE = 1e-5


@dataclasses.dataclass(frozen=True)
class LayerTrace:
    """One direction of one recurrent layer over a recording.

    Attributes:
        layer: its place in the stack, from 1.
        direction: ``forward`` or ``backward``; the frames of both are in the order of the recording.
        cell: the cell itself.
        gates: what the cell's ``gates`` gives, by name (``update``, ``reset``, ``candidate``, ``hidden``, ...), each
            float32 (time, hidden).
        inputs: what the cell read, float32 (time, input).
        frame_s: seconds from one frame to the next.
    """

    layer: int
    direction: str
    cell: Cell
    gates: dict[str, np.ndarray]
    inputs: np.ndarray
    frame_s: float

    @property
    def name(self) -> str:
        """Such as "layer 1 forward"."""
        return f"layer {self.layer} {self.direction}"

    @property
    def starts_s(self) -> np.ndarray:
        """Where each frame starts in the recording, in seconds, (time,)."""
        return np.arange(len(self.inputs)) * self.frame_s


@dataclasses.dataclass(frozen=True)
class Trace:
    """What a model computed over one recording. A frame ``t`` of any array starts at ``t`` times its ``frame_s``.

    Attributes:
        waveform: the recording, float32 (samples,).
        sample_rate: its samples per second.
        features: the frames the encoder was given, float32 (frames, feature).
        feature_frame_s: seconds from one of them to the next.
        layers: the recurrent layers in the order they ran.
        hidden: the encoder's output, float32 (time, hidden).
        frame_s: seconds from one frame of ``hidden``, and of all arrays below, to the next.
        tokens: the names of the columns of ``posteriors`` and ``evidence``.
        posteriors: probability of each token in each frame (time, token), where the model gives one.
        attention: the share of each frame in each attention head's weighted mean (time, heads), where there are heads.
        evidence: what each frame adds to the score of each label (time, label), where the model gives one label.
        probabilities: of the labels, by name, the most probable first, where the model gives one label.
        words: what was said and when, where the model transcribes.
    """

    waveform: np.ndarray
    sample_rate: int
    features: np.ndarray
    feature_frame_s: float
    layers: list[LayerTrace]
    hidden: np.ndarray
    frame_s: float
    tokens: list[str]
    posteriors: np.ndarray | None = None
    attention: np.ndarray | None = None
    evidence: np.ndarray | None = None
    probabilities: dict[str, float] | None = None
    words: list[Word] = dataclasses.field(default_factory=list)

    @property
    def duration_s(self) -> float:
        """Length of the recording in seconds."""
        return len(self.waveform) / self.sample_rate


@torch.no_grad()
def trace(model: Recognizer, audio: Source, source_rate: int | None = None) -> Trace:
    """Runs a model over one recording and keeps everything its recurrent cells did.

    Every cell is replayed gate by gate, and the rest of the model runs on what the replay gives. The states of each
    layer and the scores at the end must equal the model's own to 1e-5 (of the largest value, where that is above 1).

    Args:
        model: any recognizer with recurrent cells, on the CPU; it is run in eval mode.
        audio: a path, bytes, a file object or an array (with ``source_rate``).
        source_rate: samples per second of an array.

    Raises:
        AudioError: the recording cannot be read, or gives no frame.
        ModelError: the model has no recurrent cells, runs them in pieces, or the replay differs from the model.
    """
    if not any(isinstance(module, Cell) for module in model.modules()):
        raise ModelError("this model has no recurrent cells, so there are no gates to look into")
    waveform, _ = read_audio(audio, model.sample_rate, source_rate=source_rate)
    waveform = waveform.to(model.device)
    lengths = torch.tensor([len(waveform)], device=model.device)
    if not int(model.output_lengths(lengths)):
        duration_s = len(waveform) / model.sample_rate
        raise AudioError(f"{_named(audio)}{duration_s:.3f} s are too short: the encoder gives no frame for them")
    with model.in_eval_mode():
        features, frames = model.features(waveform[None], lengths)
        hidden, hidden_frames = model.encoder(features, frames)
        scores = model.head(hidden, hidden_frames)
        with _replay(model) as calls:
            replayed, _ = model.encoder(features, frames)
        again = model.head(replayed, hidden_frames)
        _check_equal("the encoder's output", replayed, hidden)
        _check_equal("the scores", again, scores)
        layers = _layers(calls, model, features.shape[1])
        answer: Record = {}
        if scores.dim() == 3:  # a score for every frame; the softmax of log-probabilities is the probabilities
            answer["posteriors"] = _array(scores.softmax(2)[0])
        if isinstance(model.head, ClassificationHead):
            answer |= _classification(model.head, model.tokens, hidden, hidden_frames, scores)
        if isinstance(model.head, KeywordHead):
            answer["posteriors"] = _array(model.head.frame_scores(hidden)[0])
            answer["probabilities"] = _ranked(model.tokens, scores)
        if model.units is not None:
            answer["words"] = model.transcribe_waveforms([waveform])[0].words
    return Trace(
        waveform=_array(waveform),
        sample_rate=model.sample_rate,
        features=_array(features[0]),
        feature_frame_s=model.features.hop_s,
        layers=layers,
        hidden=_array(hidden[0]),
        frame_s=model.frame_s,
        tokens=list(model.tokens.names),
        **answer,
    )


@dataclasses.dataclass(frozen=True)
class _Call:
    """One run of a cell: its place in the encoder, what it read and what its gates did, in frame order."""

    place: str
    cell: Cell
    reverse: bool
    inputs: Tensor
    gates: dict[str, Tensor]


@contextlib.contextmanager
def _replay(model: Recognizer) -> Iterator[list[_Call]]:
    """Until the block ends, every cell of the encoder returns the states that its gates give; the calls are listed."""
    calls: list[_Call] = []
    modules = model.get_submodule("encoder").named_modules()
    places = {module: name for name, module in modules if isinstance(module, Cell)}

    def answer(
        cell: Cell, args: tuple[object, ...], keywords: dict[str, object], output: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        given = inspect.signature(cell.forward).bind(*args, **keywords)
        given.apply_defaults()
        sequence, lengths, state, reverse = (
            given.arguments[name] for name in ("sequence", "lengths", "state", "reverse")
        )
        gates = cell.gates(sequence, lengths, state, reverse)
        _check_equal(f"the states of {places[cell]}", gates["hidden"], output[0])
        calls.append(_Call(places[cell], cell, reverse, sequence, gates))
        return gates["hidden"], output[1]

    with contextlib.ExitStack() as stack:
        for cell in places:
            handle = cell.register_forward_hook(answer, with_kwargs=True)
            stack.callback(handle.remove)
        yield calls


def _layers(calls: list[_Call], model: Recognizer, frames: int) -> list[LayerTrace]:
    stacks: list[str] = []
    layers = []
    for call in calls:
        if len(call.inputs) != 1 or sum(other.place == call.place for other in calls) > 1:
            raise ModelError(f"the encoder runs {call.place} in pieces; a trace needs one run over the whole recording")
        stack = call.place.rpartition(".")[0]
        if stack not in stacks:
            stacks.append(stack)
        # Every layer has 1 / k of the frames, rounded up, where k divides the whole subsampling.
        whole, time = model.encoder.subsampling, call.inputs.shape[1]
        factor = next((k for k in range(1, whole + 1) if whole % k == 0 and -(-frames // k) == time), whole)
        layers.append(
            LayerTrace(
                layer=stacks.index(stack) + 1,
                direction="backward" if call.reverse else "forward",
                cell=call.cell,
                gates={name: _array(values[0]) for name, values in call.gates.items()},
                inputs=_array(call.inputs[0]),
                frame_s=model.features.hop_s * factor,
            )
        )
    return layers


def _classification(
    head: ClassificationHead, tokens: Tokens, hidden: Tensor, lengths: Tensor, scores: Tensor
) -> Record:
    parts = evidence(head, hidden, lengths)
    _check_equal("the sum of what the frames add to the scores", parts.added.sum(1) + parts.bias, scores, 1e-4)
    return {
        "attention": None if parts.attention is None else _array(parts.attention[0]),
        "evidence": _array(parts.added[0]),
        "probabilities": _ranked(tokens, scores),
    }


def _ranked(tokens: Tokens, scores: Tensor) -> dict[str, float]:
    ranked = scores[0].softmax(0).sort(descending=True)
    names = [tokens.names[index] for index in ranked.indices.tolist()]
    return dict(zip(names, ranked.values.tolist(), strict=True))


def _check_equal(what: str, replayed: Tensor, own: Tensor, tolerance: float = TOLERANCE) -> None:
    if not own.numel():
        return
    furthest = float((replayed - own).abs().max() / own.abs().max().clamp(min=1))
    if not furthest <= tolerance:
        mend = "move the model to the CPU" if own.device.type != "cpu" else "its gates() must give what forward() gives"
        raise ModelError(
            f"replayed from the gates, {what} differ from the model's by {furthest:.2g} (at most {tolerance:g}); {mend}"
        )


def _array(values: Tensor) -> np.ndarray:
    return values.float().cpu().numpy()


def _named(audio: Source) -> str:
    return f"{os.fspath(audio)}: " if isinstance(audio, (str, os.PathLike)) else ""
