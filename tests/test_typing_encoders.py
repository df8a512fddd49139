"""What a type checker sees of the encoders in other people's code: mypy is run on such code."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import speechgru

ROOT = Path(__file__).resolve().parent.parent

# A line that ends in a comment must be refused with an error of that code, every other line must not.
CODE = """
import torch
from typing_extensions import assert_type

from speechgru.cells import GRU, MinGRUConfig
from speechgru.encoders import GRUEncoder, GRUEncoderConfig, LatencyControlledEncoder, LookAheadEncoder

features = torch.zeros(2, 3, 40)
encoder = GRUEncoder(40, hidden_size=128, num_layers=2, bidirectional=False, merge="sum", cell="gru")
GRUEncoder(40, GRUEncoderConfig(hidden_size=3))
GRUEncoder(40, cell=MinGRUConfig(), front_end=None, pyramid=[1, 2])
LookAheadEncoder(40, hidden_size=3, context=4)
LatencyControlledEncoder(40, hidden_size=3, chunk=4)
assert_type(encoder(features), tuple[torch.Tensor, torch.Tensor])
assert_type(encoder(features, [3, 2])[0], torch.Tensor)
assert_type(LookAheadEncoder(40)(features, torch.tensor([3, 2])), tuple[torch.Tensor, torch.Tensor])
assert_type(GRU(40, 64)(features), tuple[torch.Tensor, torch.Tensor])
assert_type(GRUEncoder.from_torch(torch.nn.GRU(3, 4)), GRUEncoder)
GRUEncoder(40, hiden_size=64)  # call-arg
GRUEncoder(40, hidden_size="64")  # arg-type
GRUEncoder(40, 64)  # arg-type
GRUEncoder(40, GRUEncoderConfig(), 2)  # arg-type
GRUEncoder(40, merge="mean")  # arg-type
GRUEncoder(40, cell=3)  # arg-type
GRUEncoder(40, context=4)  # call-arg
LookAheadEncoder(40, chunk=4)  # call-arg
encoder(3)  # arg-type
encoder(features, 3)  # arg-type
GRU(40, 64)(features, reverse="yes")  # arg-type
"""


def test_types_of_the_encoders(tmp_path: Path) -> None:
    """Oracle: mypy in a folder of its own, which finds the package as an installed one, by its py.typed."""
    pytest.importorskip("mypy", reason="needs the extra dev: scripts/test")
    assert (Path(speechgru.__file__).parent / "py.typed").is_file()
    (tmp_path / "user.py").write_text(CODE)
    # The cache of the project's own check: what torch is has been found out already.
    options = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache")]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "user.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    found = {
        int(line): code for line, code in re.findall(r"^user\.py:(\d+): error: .*\[([\w-]+)\]$", done.stdout, re.M)
    }
    wanted = {number: line.partition("  # ")[2] for number, line in enumerate(CODE.splitlines(), 1) if "  # " in line}
    assert found == wanted, done.stdout + done.stderr
