"""``speechgru warm-up``, and when commands compute with compiled code."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from speechgru import compiled
from speechgru.cli import main
from speechgru.recordings.parts import Piece, compute_parts


def test_a_model_that_is_warm_compiles_nothing(capsys: pytest.CaptureFixture[str], recordings) -> None:
    """Oracle: a real recording in a fresh process afterwards says nothing of a compiler; nor does a second warm-up."""
    assert main(["warm-up", "commands"]) == 0
    assert main(["warm-up", "commands"]) == 0
    place = compiled.cache_root()
    assert capsys.readouterr().out.splitlines()[-2:] == ["commands\talready warm", f"kept in {place}"]
    clip = next((recordings / "speech_commands" / "right").glob("*.flac"))
    code = f"""
import sys
import speechgru.commands.classify
speechgru.commands.classify.COMPILED_FROM_S = 0
sys.argv = ["speechgru", "classify", {str(clip)!r}]
from speechgru.cli import main
main()
print("numba" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert done.stderr == ""
    assert done.stdout.split("\t")[1] == "right"
    assert done.stdout.splitlines()[-1] == "True", "compiled code did not run"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["commands", "--training", "gruu"], "cell=gruu is not known; did you mean 'gru'?"),
        (["commands", "nothing"], "speechgru warm-up: nothing: no such folder"),
    ],
)
def test_what_cannot_be_warmed_is_one_line(words: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Oracle: the names; nothing is compiled before."""
    assert main(["warm-up", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert line in err


def test_compiled_code_is_for_more_sound_than_it_costs() -> None:
    """Oracle: recordings of 1 s, two a batch; what goes beyond 4 s is compiled, batch by batch."""
    seen: list[bool] = []

    def compute(waveforms: list[np.ndarray]) -> list[None]:
        seen.append(compiled.usable())
        return [None] * len(waveforms)

    def batches(compiled_from_s: float) -> list[bool]:
        seen.clear()
        items = [(f"{number}.wav", "") for number in range(9)]
        list(compute_parts(items, 8000, cut, compute, 2, compiled_from_s))
        return list(seen)

    def cut(blocks):
        return [Piece(np.zeros(8000, np.float32), 0.0)]

    assert batches(4.0) == [False, False, True, True, True]
    assert batches(0.0) == [True] * 5
