"""Where compiled code may run, and that its machine code on disk is never older than its sources."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

import speechgru
from speechgru import compiled
from speechgru.cells import GRU, SLiGRU
from speechgru.encoders import Convolution
from speechgru.features import LogMel


def test_usable() -> None:
    """Oracle: the cases of its docstring, one by one."""
    single = torch.zeros(2)
    assert compiled.usable(single, torch.zeros(3, 4))
    assert not compiled.usable(single, torch.zeros(2, dtype=torch.float64))
    assert not compiled.usable(torch.zeros(2, device="meta"))
    with compiled.disabled():
        assert not compiled.usable(single)
        with compiled.disabled():
            pass
        assert not compiled.usable(single), "the outer block still holds"
        elsewhere: list[bool] = []
        other = threading.Thread(target=lambda: elsewhere.append(compiled.usable(single)))
        other.start()
        other.join()
        assert elsewhere == [True], "other threads go on"
    with pytest.raises(ValueError), compiled.disabled():
        raise ValueError
    assert compiled.usable(single)
    seen: list[bool] = []
    torch.func.vmap(lambda row: (seen.append(compiled.usable(row)), row)[1])(torch.zeros(2, 3))
    assert seen == [False]


def run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_nothing_is_compiled_where_it_is_disabled() -> None:
    """Oracle: sys.modules of a fresh process; and NUMBA_DISABLE_JIT, numba's own switch, is one for all."""
    code = """
import contextlib, sys, torch
from speechgru import compiled
from speechgru.cells import GRU, SLiGRU
from speechgru.encoders import Convolution
from speechgru.features import LogMel
with compiled.disabled() if {off} else contextlib.nullcontext():
    for module in (SLiGRU(40, 8), GRU(40, 8), Convolution(40)):
        module(torch.randn(2, 20, 40), torch.tensor([20, 3]))
    LogMel()(torch.randn(1, 16000))
print("numba" in sys.modules)
"""
    assert run(code.format(off=True)) == "False"
    assert run(code.format(off=False), NUMBA_DISABLE_JIT="1") == "False"


@pytest.mark.parametrize("make", [lambda: GRU(40, 8), lambda: SLiGRU(40, 8), lambda: Convolution(40), lambda: LogMel()])
def test_both_ways_are_the_same(make) -> None:
    """Oracle: torch's operators, to 1e-3 for logarithms of powers and 1e-5 for the rest."""
    torch.manual_seed(0)
    module = make()
    inputs = torch.randn(2, 1600) if isinstance(module, LogMel) else torch.randn(2, 20, 40)
    lengths = torch.tensor([inputs.shape[1], inputs.shape[1] // 2])
    one, _ = module(inputs, lengths)
    with compiled.disabled():
        other, _ = module(inputs, lengths)
    torch.testing.assert_close(one, other, atol=1e-3 if isinstance(module, LogMel) else 1e-5, rtol=1e-5)


FUNCTION = """
from speechgru.compiled import kernel
from speechgru.cells.kernels import sigmoid

@kernel()
def half(x):
    return sigmoid(x)
"""


def folders(place: Path) -> list[Path]:
    return sorted(path for path in (place / "__pycache__").iterdir() if path.is_dir())


def test_the_machine_code_of_earlier_sources_is_not_taken(tmp_path: Path) -> None:
    """Oracle: what the function says now. The kernel it calls is changed in another file, with the cache warm.

    numba alone looks at the function's own file, and would give the old answer.
    """
    package = tmp_path / "speechgru"
    for name in ("__init__.py", "compiled.py", "cells/kernels.py"):
        (package / name).parent.mkdir(exist_ok=True)
        shutil.copy(Path(speechgru.__file__).parent / name, package / name)
    (package / "cells" / "__init__.py").touch()
    kernels, mine = package / "cells" / "kernels.py", package / "cells" / "mine.py"
    source = kernels.read_text(encoding="utf-8")
    mine.write_text(FUNCTION, encoding="utf-8")
    code = "import speechgru.cells.mine as mine; print(round(float(mine.half(0.0)), 3), *mine.half.stats.cache_hits)"
    environment = {"PYTHONPATH": str(tmp_path), "PYTHONSAFEPATH": "1"}
    environment["NUMBA_CACHE_DIR"] = ""  # where the tests are run with one
    assert run(code, **environment) == "0.5"
    first = folders(package / "cells")
    assert len(run(code, **environment).split()) == 2, "the second process compiled again"
    assert "float32(0.5) * tanh(float32(0.5) * x) + float32(0.5)\n" in source
    kernels.write_text(source.replace("+ float32(0.5)\n", "+ float32(0.4)\n"), encoding="utf-8")
    assert run(code, **environment) == "0.4"
    second = folders(package / "cells")
    assert not {path.name for path in first if path.name.startswith("mine-")} & {path.name for path in second}
    assert sum(path.name.startswith("mine-") for path in second) == 1, "the old machine code is removed"


def test_every_kernel_is_kept_by_this_module() -> None:
    """Oracle: the sources; numba's own cache would not see a change in another file."""
    package = Path(speechgru.__file__).parent
    own = [path for path in package.rglob("*.py") if "cache=" in path.read_text(encoding="utf-8")]
    assert own == [package / "compiled.py"]
