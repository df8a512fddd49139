"""What all tests share: one thread, and the folder of real recordings."""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recordings named by SPEECHGRU_DATA."""
    folder = os.environ.get("SPEECHGRU_DATA")
    if not folder:
        pytest.skip("SPEECHGRU_DATA is not set: it names the folder of real recordings (speech_commands/, fsdd/, ...)")
    if not Path(folder).is_dir():
        pytest.fail(f"SPEECHGRU_DATA={folder} is not a folder")
    return Path(folder).resolve()
