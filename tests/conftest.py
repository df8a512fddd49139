"""What all tests share: one thread, and the folder of real recordings."""

import os
from pathlib import Path
from typing import Any, ClassVar

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import soundfile
import torch

torch.set_num_threads(1)
if not torch.cuda.is_available():
    os.environ.setdefault(
        "TRITON_INTERPRET", "1"
    )  # Triton's kernels then run in NumPy; it is read when Triton is loaded


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recordings named by SPEECHGRU_DATA."""
    folder = os.environ.get("SPEECHGRU_DATA")
    if not folder:
        pytest.skip("SPEECHGRU_DATA is not set: it names the folder of real recordings (speech_commands/, fsdd/, ...)")
    if not Path(folder).is_dir():
        pytest.fail(f"SPEECHGRU_DATA={folder} is not a folder")
    return Path(folder).resolve()


class Tones:
    """Speech of four letters, each a tone of its own, and a recognizer that has learned it: a real one, in seconds.

    Attributes:
        sample_rate: in Hz.
        recognizer: log-mel frames of 20 ms, one bidirectional layer (or one that goes step by step), characters by CTC.
    """

    sample_rate = 8000
    _HZ: ClassVar = {"A": 500.0, "B": 900.0, "C": 1500.0, "D": 2400.0}

    def __init__(self, streams: bool = False) -> None:
        from speechgru.encoders import GRUEncoderConfig, LookAheadConfig
        from speechgru.features import LogMelConfig, Normalization
        from speechgru.heads import CTCConfig
        from speechgru.model_folder import RecognizerConfig
        from speechgru.recognizer import Recognizer
        from speechgru.text import CharactersConfig
        from speechgru.tokens import Tokens

        torch.manual_seed(0)
        features = LogMelConfig(sample_rate=self.sample_rate, mels=20, hop_ms=20.0)
        encoder = GRUEncoderConfig(hidden_size=32, num_layers=1, dropout=0)
        if streams:
            features.normalization = Normalization.sliding
            encoder = LookAheadConfig(hidden_size=48, num_layers=1, dropout=0, context=4)
        config = RecognizerConfig(features, encoder, CTCConfig(dropout=0), units=CharactersConfig())
        self.recognizer = Recognizer(config, Tokens(["<blank>", "|", *self._HZ]))
        self._train(steps=260, batch_size=8)

    def words(self, count: int, rng: np.random.Generator) -> list[str]:
        """Words of one to three letters, no letter twice."""
        return ["".join(rng.choice(list(self._HZ), int(rng.integers(1, 4)), replace=False)) for _ in range(count)]

    def say(
        self, words: list[str], rng: np.random.Generator, gap_s: tuple[float, float] = (0.12, 0.2), edge_s: float = 0.1
    ) -> tuple[np.ndarray, list[tuple[float, float]]]:
        """The waveform of words, ``gap_s`` between two and ``edge_s`` around all, and the times of each in seconds."""
        silence = np.zeros(round(edge_s * self.sample_rate))
        parts, times = [silence], []
        for place, word in enumerate(words):
            if place:
                parts.append(np.zeros(round(rng.uniform(*gap_s) * self.sample_rate)))
            start = sum(map(len, parts))
            for letter in word:
                at = np.arange(round(rng.uniform(0.07, 0.11) * self.sample_rate))
                swell = np.minimum(1, np.minimum(at, at[::-1]) / (0.01 * self.sample_rate))
                parts.append(0.1 * swell * np.sin(2 * np.pi * self._HZ[letter] * at / self.sample_rate))
            times.append((start / self.sample_rate, sum(map(len, parts)) / self.sample_rate))
        waveform = np.concatenate([*parts, silence])
        return (waveform + 1e-3 * rng.standard_normal(len(waveform))).astype(np.float32), times

    def _train(self, steps: int, batch_size: int) -> None:
        rng, recognizer, pad = np.random.default_rng(0), self.recognizer, torch.nn.utils.rnn.pad_sequence
        optimizer = torch.optim.Adam(recognizer.parameters(), 0.01)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, 2 * (1 - step / steps)))
        for _ in range(steps):
            texts = [self.words(int(rng.integers(2, 8)), rng) for _ in range(batch_size)]
            gaps = [(0.12, 0.6) if rng.random() < 0.3 else (0.12, 0.2) for _ in texts]
            said = [self.say(words, rng, gap_s, rng.uniform(0, 0.3)) for words, gap_s in zip(texts, gaps, strict=True)]
            waveforms = [torch.from_numpy(waveform) for waveform, _ in said]
            units: Any = recognizer.units
            targets = [torch.tensor(units.encode(" ".join(words), recognizer.tokens)) for words in texts]
            scores, lengths = recognizer(pad(waveforms, batch_first=True), torch.tensor(list(map(len, waveforms))))
            target_lengths = torch.tensor(list(map(len, targets)))
            loss = recognizer.head.loss(scores, lengths, pad(targets, batch_first=True), target_lengths).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(recognizer.parameters(), 5)
            optimizer.step()
            schedule.step()
        recognizer.eval()


@pytest.fixture(scope="session")
def three_tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of three kinds of short tones, one folder each."""
    root = tmp_path_factory.mktemp("tones")
    rng = np.random.default_rng(0)
    for label, hertz in (("low", 300), ("middle", 900), ("high", 2500)):
        (root / label).mkdir()
        for number in range(20):
            samples = int(rng.integers(1600, 3200))
            pitch = hertz * (1 + 0.05 * rng.standard_normal())
            wave = 0.3 * np.sin(2 * np.pi * pitch * np.arange(samples) / 8000) + 0.05 * rng.standard_normal(samples)
            soundfile.write(root / label / f"{number}.wav", wave, 8000)
    return root


@pytest.fixture(scope="session")
def tones() -> Tones:
    """A recognizer that knows the speech it is given: tones for letters."""
    return Tones()
