"""Where compiled code may run, and that its machine code on disk is never older than its sources."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
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


def test_a_model_is_loaded_without_the_compiler_of_torch() -> None:
    """Oracle: sys.modules of a fresh process; importing it takes as long as torch itself."""
    code = """
import sys
from speechgru.recognizer import Recognizer
from speechgru.shipped import model_names, model_path
for name in model_names():
    Recognizer.load(model_path(name))
print(*(name for name in ("torch._dynamo", "numba") if name in sys.modules))
"""
    assert run(code) == ""


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


# A kernel made of five files: its own, one that it imports, a part, what the part calls, and a constant.
FILES = {
    "loop": """
from numba.extending import register_jitable

from speechgru.cells.imported import doubled
from speechgru.cells.called import called
from speechgru.compiled import kernel

register_jitable(called)

def make(part):
    register_jitable(part)

    @kernel(parts=(part,))
    def loop(x):
        return doubled(part(x))

    return loop
""",
    "imported": """
from speechgru.compiled import kernel

@kernel()
def doubled(x):
    return 2 * x
""",
    "part": """
from speechgru.cells.called import called

def part(x):
    return called(x)
""",
    "called": """
from speechgru.cells.constants import TENTH

def called(x):
    return x + TENTH
""",
    "constants": """
TENTH = 0.1
""",
}


def folders(place: Path) -> list[Path]:
    return sorted(path for path in (place / "__pycache__").iterdir() if path.is_dir())


def test_the_machine_code_of_earlier_sources_is_not_taken(tmp_path: Path) -> None:
    """Oracle: what the function says now. Each file that it is made of is changed, with the cache warm.

    numba alone looks at the function's own file, and would give the old answer.
    """
    package = tmp_path / "speechgru"
    (package / "cells").mkdir(parents=True)
    shutil.copy(Path(speechgru.__file__).parent / "compiled.py", package)
    for name in ("", "cells/"):
        (package / name / "__init__.py").touch()
    for name, source in FILES.items():
        (package / "cells" / f"{name}.py").write_text(source, encoding="utf-8")
    code = """
from speechgru.cells import loop, part
made = loop.make(part.part)
print(round(made(0.0), 3), *made.stats.cache_hits)
"""
    # NUMBA_CACHE_DIR: where the tests are run with one.
    environment = {"PYTHONPATH": str(tmp_path), "PYTHONSAFEPATH": "1", "NUMBA_CACHE_DIR": ""}
    assert run(code, **environment) == "0.2"
    assert run(code, **environment).split() == ["0.2", "(float64,)"], "the second process compiled again"
    known = folders(package / "cells")
    for name, before, now, answer in (
        ("imported", "2 * x", "3 * x", "0.3"),
        ("part", "called(x)", "called(x) + 1", "3.3"),
        ("called", "x + TENTH", "x - TENTH", "2.7"),
        ("constants", "0.1", "0.2", "2.4"),
    ):
        source = FILES[name].replace(f" {before}", f" {now}")
        assert source != FILES[name]
        (package / "cells" / f"{name}.py").write_text(source, encoding="utf-8")
        assert run(code, **environment) == answer, name
        made = [folder for folder in folders(package / "cells") if folder.name.startswith("loop-")]
        assert len(made) == 1, "the old machine code is removed"
        assert made[0] not in known
        known += made


def test_every_kernel_is_kept_by_this_module() -> None:
    """Oracle: the sources; numba's own cache would not see a change in another file."""
    package = Path(speechgru.__file__).parent
    own = [path for path in package.rglob("*.py") if "cache=" in path.read_text(encoding="utf-8")]
    assert own == [package / "compiled.py"]


def test_machine_code_is_of_one_numpy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Oracle: kernels kept by NumPy 2 cannot be loaded by NumPy 1.26, which knows fewer ufuncs."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    source = Path(compiled.__file__)
    compiled._cache_folder.cache_clear()
    one = compiled._cache_folder(source, ())
    monkeypatch.setattr(np, "__version__", "1.26.4")
    compiled._cache_folder.cache_clear()
    other = compiled._cache_folder(source, ())
    compiled._cache_folder.cache_clear()
    assert one is not None
    assert other is not None
    assert one != other
