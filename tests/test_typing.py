"""The types a user's code is checked against: right uses have the types they should have, wrong ones are refused."""

import re
from pathlib import Path

import pytest
from mypy import api

import speechgru

USER = """
from pathlib import Path

import numpy as np
import torch

import speechgru
from speechgru import Recognizer, load
from speechgru.contracts import Decoder, Encoder, Features, Head
from speechgru.decoding import BeamDecoder, GreedyDecoder
from speechgru.encoders import GRUEncoder
from speechgru.features import MFCC, LogMel
from speechgru.heads import ClassificationHead, CTCHead
from speechgru.tokens import Tokens

model = load("commands")
reveal_type(model)  # speechgru.recognizer.Recognizer
reveal_type(model.classify("yes.wav"))  # speechgru.classification.Classification
reveal_type(model.classify(np.zeros(100), source_rate=16000).scores)  # dict[str, float]
reveal_type(model.classify(["a.wav", "b.wav"], top_k=3))  # list[speechgru.classification.Classification]
reveal_type(model.classify((torch.zeros(9),), source_rate=8000)[0].confidence)  # float
reveal_type(model.transcribe(Path("a.wav")).words[0].start_s)  # float
reveal_type(model.transcribe([b"RIFF", b"RIFF"]))  # list[speechgru.decoding.transcription.Transcription]
reveal_type(model.embed(["a.wav"]))  # torch._tensor.Tensor
reveal_type(model.encoder.directions)  # int
reveal_type(model.decoder().decode(np.zeros((3, 4)))[0].score)  # float
tokens = Tokens(["a", "b"])
features: tuple[Features, ...] = (LogMel(), MFCC())
encoder: Encoder = GRUEncoder(40)
heads: tuple[Head, ...] = (ClassificationHead(8, tokens), CTCHead(8, tokens))
decoders: tuple[Decoder, ...] = (GreedyDecoder(tokens), BeamDecoder(tokens))
"""
WRONG = [
    ('model.classify("a.wav").confidense', '"Classification" has no attribute "confidense"'),
    ('model.classify("a.wav", top_k="3")', "No overload variant"),
    ('model.classify(["a.wav"]).label', 'has no attribute "label"'),
    ('model.transcribe("a.wav").segments', '"Transcription" has no attribute "segments"'),
    ("model.transcribe(3)", "No overload variant"),
    ('model.transcribe("a.wav", decoder="beam")', "No overload variant"),
    ("model.encoder.hidden", 'has no attribute "hidden"'),
    ("load(3)", "incompatible type"),
]


def checked(code: str, folder: Path) -> list[str]:
    """mypy's lines about ``code``; with the settings and the cache of this project: quick after ``mypy``."""
    file = folder / "user.py"
    file.write_text(code)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(Path(speechgru.__file__).parents[1])
        found, problems, _ = api.run([str(file), "--no-error-summary"])
    assert not problems
    return [line for line in found.splitlines() if "user.py:" in line]


def test_a_users_code_is_typed(tmp_path):
    """Oracle: the comments in USER; each line of WRONG is refused for its own reason, and nothing else is."""
    lines = checked(USER + "\n".join(line for line, _ in WRONG) + "\n", tmp_path)
    revealed = [re.sub(r'.*Revealed type is "(.*)"', r"\1", line) for line in lines if "Revealed type" in line]
    wanted = re.findall(r"reveal_type\(.*\)  # (.*)", USER)
    assert [one.replace("builtins.", "") for one in revealed] == wanted
    first = len(USER.split("\n"))
    errors = [line for line in lines if ": error: " in line]
    for number, (wrong, message) in enumerate(WRONG, first):
        own = [line for line in errors if f"user.py:{number}:" in line]
        assert any(message in line for line in own), (wrong, lines)
        errors = [line for line in errors if line not in own]
    assert not errors
