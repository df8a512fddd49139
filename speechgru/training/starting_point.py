"""Begins a training run with the weights of a trained model."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from speechgru.errors import ModelError
from speechgru.recognizer import Recognizer
from speechgru.registry import to_plain
from speechgru.training.run_settings import flat

_LAYERS = "encoder.num_layers"
ROWS_OF_TOKENS = ("head.output.weight", "head.output.bias", "head.speakers")


@torch.no_grad()
def start_from(recognizer: Recognizer, model: str, folder: Path, *, freeze: bool = False) -> None:
    """Copies the features' statistics, the encoder and what fits of the head from a trained model.

    The head's weights for a label (or a unit of transcripts) that both models know are copied, whatever its position;
    for other labels the head begins fresh. If the encoder has more layers than the given one, the given layers are at
    the bottom; the other layers, and what comes after the layers, the head too, begin fresh.

    Args:
        recognizer: the model to be trained; it is changed.
        model: how the trained model was named, for messages.
        folder: of the trained model.
        freeze: the weights that are copied into the encoder are not trained.

    Raises:
        ModelError: the folder is damaged, or its features or encoder are different.
    """
    given = Recognizer.load(folder)
    more = _check_same_body(recognizer, given, model)
    own, theirs = recognizer.state_dict(), given.state_dict()
    if more:
        theirs = {
            name: tensor
            for name, tensor in theirs.items()
            if name.startswith(("features.", "encoder.front_end.", "encoder.layers."))
        }
    shared = [token for token in recognizer.tokens if token in given.tokens and not more]
    for name, tensor in own.items():
        other = theirs.get(name)
        if other is None:
            continue
        if name in ROWS_OF_TOKENS and other.shape[1:] == tensor.shape[1:]:
            for token in shared:
                tensor[recognizer.tokens.index(token)] = other[given.tokens.index(token)]
        elif other.shape == tensor.shape:
            tensor.copy_(other)
    for name, parameter in recognizer.named_parameters():
        if name.startswith("encoder."):
            parameter.requires_grad_(not (freeze and name in theirs))
    names, new = "units" if recognizer.units else "labels", len(recognizer.tokens) - len(shared)
    print(f"begins with the weights of {model}: it knows {len(shared)} of the {names}, {new} are new", file=sys.stderr)


def _check_same_body(recognizer: Recognizer, given: Recognizer, model: str) -> bool:
    """Features and encoder must be those that the weights were trained for; dropout and normalisation may differ.

    Features that are normalised differently are still of order one, and the weights adapt to them in a few epochs. The
    recognizer may have more layers, too; the result is whether it has.
    """
    own, theirs = (
        flat(
            {"features": to_plain(one.config.features, "features"), "encoder": to_plain(one.config.encoder, "encoder")}
        )
        for one in (recognizer, given)
    )
    free = ("dropout", "features.normalization")
    other = [key for key in own | theirs if own.get(key) != theirs.get(key) and not key.endswith(free)]
    if more := other == [_LAYERS] and own[_LAYERS] > theirs[_LAYERS]:
        other = []
    if other:
        key, *_ = other
        mend = f"leave {key}=... out" if key in theirs else "choose another model"
        raise ModelError(
            f"init_from={model} has {key}={theirs.get(key)}, this run {own.get(key)}: its weights do not fit; {mend}"
        )
    return more
