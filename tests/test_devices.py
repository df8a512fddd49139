"""Names of devices: what torch sees here is taken, the rest is refused in one line."""

from __future__ import annotations

import pytest
import torch

from speechgru.cli import main
from speechgru.devices import find_device
from speechgru.errors import ConfigError


def test_devices_of_this_machine() -> None:
    """Oracle: torch's own names, and what it says it sees."""
    assert find_device("cpu") == find_device(torch.device("cpu")) == torch.device("cpu")
    assert find_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    if torch.cuda.is_available():
        assert find_device("cuda:0") == torch.device("cuda", 0)


@pytest.mark.parametrize("name", ["gpu", "", "cuda:", "cuda:-1", "cuda:x", "cpu:3", "meta", "xla", "auto:1", " cpu"])
def test_what_is_no_device(name: str) -> None:
    """The legal names are told."""
    with pytest.raises(ConfigError, match=r"^trainer\.device=.*: auto, cpu, cuda, cuda:<number> or mps$"):
        find_device(name, "trainer.device=")


def test_what_torch_does_not_see_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: a machine without an accelerator, as torch then describes it."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for name, kind in (("cuda", "CUDA"), ("cuda:1", "CUDA"), ("mps", "MPS"), ("mps:0", "MPS")):
        with pytest.raises(ConfigError, match=rf"^device={name}: torch sees 0 {kind} devices here; use cpu or auto$"):
            find_device(name)


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="torch sees an MPS device")
def test_every_command_refuses_mps_in_one_line(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, one line, nothing written."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.wav").write_bytes(b"")
    train = ["train", "data=folder", f"data.root={tmp_path}", f"run_dir={tmp_path / 'run'}", "trainer.device=mps"]
    for words in (train, ["evaluate", "model=commands", "device=mps"], ["classify", str(tmp_path), "--device", "mps"]):
        assert main(words) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "mps: torch sees 0 MPS devices here; use cpu or auto" in line
