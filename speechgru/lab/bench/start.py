"""The time of a command from its start to its end, in a fresh process that finds compiled code on the disk."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from speechgru.errors import SpeechGRUError
from speechgru.lab.bench.timing import interleaved_ms, row
from speechgru.plain import Record

PEER = "torch import"
MOST_REPEATS = 5


def bench_start(repeats: int = 5) -> list[Record]:
    """``classify`` and ``transcribe`` of one recording of 1 s with the shipped models, beside ``import torch`` alone.

    Five rounds at most; one before them compiles what is not compiled yet.

    Raises:
        SpeechGRUError: a command failed.
    """
    import soundfile

    program = [sys.executable, "-m", "speechgru.cli"]
    with tempfile.TemporaryDirectory() as folder:
        clip = str(Path(folder) / "noise.wav")
        soundfile.write(clip, 0.1 * np.random.default_rng(0).standard_normal(16000), 16000)
        commands = {
            PEER: [sys.executable, "-c", "import torch"],
            "classify, one recording": [*program, "classify", clip],
            "transcribe, one recording, beam": [*program, "transcribe", clip, "--decoder", "beam"],
            "transcribe, one recording, greedy": [*program, "transcribe", clip, "--decoder", "greedy"],
        }
        calls = {name: functools.partial(_run, words) for name, words in commands.items()}
        taken = interleaved_ms(calls, min(repeats, MOST_REPEATS), warmup=1, settle=False, clock=_seconds_of_children)
    return [row(f"{name}, a fresh process", taken[name], PEER, taken[PEER]) for name in commands if name != PEER]


def _run(words: list[str]) -> None:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise SpeechGRUError(f"bench start: {' '.join(words[:4])} failed ({done.stderr.strip().splitlines()[-1]})")


def _seconds_of_children() -> float:
    """The processor time of the child processes that have ended, in seconds."""
    times = os.times()
    return times.children_user + times.children_system
