"""Where compiled code may run, and that its machine code on disk is never older than its sources."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import speechgru
from speechgru import compiled
from speechgru.cells import GRU, SLiGRU
from speechgru.compiling import Compiling
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
    with torch.autograd.forward_ad.dual_level():
        assert not compiled.usable(single)
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
from speechgru.encoders import Convolution, GRUEncoder
from speechgru.features import LogMel
with compiled.disabled() if {off} else contextlib.nullcontext():
    for module in (SLiGRU(40, 8), GRU(40, 8), Convolution(40)):
        module(torch.randn(2, 20, 40), torch.tensor([20, 3]))
    with torch.no_grad():
        GRUEncoder(40, hidden_size=8).eval()(torch.randn(2, 20, 40))
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


def copy_of_the_package(place: Path) -> Path:
    """The small kernel of FILES in a package of the same name, with no more of this one than it needs."""
    package = place / "speechgru"
    (package / "cells").mkdir(parents=True)
    for name in ("compiled.py", "compiling.py"):
        shutil.copy(Path(speechgru.__file__).parent / name, package)
    for name in ("", "cells/"):
        (package / name / "__init__.py").touch()
    for name, source in FILES.items():
        (package / "cells" / f"{name}.py").write_text(source, encoding="utf-8")
    return package


CALL = """
import sys
from speechgru.cells import loop, part
from speechgru.compiling import COMPILING
made = loop.make(part.part)
with COMPILING.told():
    print(round(made(0.0), 3), *made.stats.cache_hits)
"""


def call(place: Path, cache: str) -> tuple[list[str], list[str]]:
    """What the kernel of a copy gives in a fresh process, and the lines on standard error."""
    environment = {"PYTHONPATH": str(place), "PYTHONSAFEPATH": "1", "XDG_CACHE_HOME": cache, "NUMBA_CACHE_DIR": ""}
    done = subprocess.run(
        [sys.executable, "-c", CALL], capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split(), done.stderr.splitlines()


def test_who_waits_for_the_compiler_is_told_and_once_a_machine(tmp_path: Path) -> None:
    """Oracle: numba's count of what it loaded. A second checkout of the same sources finds what the first one made."""
    cache, kernels = tmp_path / "cache", tmp_path / "cache" / "speechgru" / "kernels"
    for place in ("one", "two"):
        copy_of_the_package(tmp_path / place)
    answer, (before, after) = call(tmp_path / "one", str(cache))
    assert answer == ["0.2"]
    assert before == "speechgru: compiling for this machine, once; it may take a minute"
    assert re.fullmatch(rf"speechgru: compiled in \d+\.\d s, kept in {re.escape(str(kernels))}", after)
    assert call(tmp_path / "two", str(cache)) == (["0.2", "(float64,)"], [])


def test_each_wait_for_the_compiler_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Oracle: numba's events in the order in which it sends them, for our kernels, those within and those of others."""
    one = Compiling()
    one.add("kernel", None)
    one.begin("kernel")
    one.end()
    assert capsys.readouterr().err == "", "nobody asked"
    with one.told():
        one.begin("of another package")
        one.end()
        assert capsys.readouterr().err == ""
        for _ in range(2):
            one.begin("kernel")
            one.begin("of another package")
            one.end()
            one.end()
    before, after = capsys.readouterr().err.splitlines()
    assert "every time, for no folder can be written to keep it in" in before
    assert re.fullmatch(r"speechgru: compiled in \d+\.\d s", after)
    with one.told():
        pass
    assert capsys.readouterr() == ("", "")


def test_machine_code_that_nobody_runs_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: a month."""
    day, (used, unused) = 24 * 3600, (tmp_path / "loop-1", tmp_path / "loop-2")
    for folder, days in ((used, 29), (unused, 31)):
        folder.mkdir()
        os.utime(folder, (time.time() - days * day,) * 2)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    compiled._remove_unused(tmp_path)
    assert unused.exists(), "in a folder that the user chose for numba are others' too"
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    compiled._remove_unused(tmp_path)
    assert used.exists()
    assert not unused.exists()


def test_the_machine_code_of_earlier_sources_is_not_taken(tmp_path: Path) -> None:
    """Oracle: what the function says now. Each file that it is made of is changed, with the cache warm.

    numba alone looks at the function's own file, and would give the old answer.
    """
    package = copy_of_the_package(tmp_path)
    cache = str(tmp_path / "cache")
    assert call(tmp_path, cache)[0] == ["0.2"]
    assert call(tmp_path, cache)[0] == ["0.2", "(float64,)"], "the second process compiled again"
    for name, before, now, answer in (
        ("imported", "2 * x", "3 * x", "0.3"),
        ("part", "called(x)", "called(x) + 1", "3.3"),
        ("called", "x + TENTH", "x - TENTH", "2.7"),
        ("constants", "0.1", "0.2", "2.4"),
    ):
        source = FILES[name].replace(f" {before}", f" {now}")
        assert source != FILES[name]
        (package / "cells" / f"{name}.py").write_text(source, encoding="utf-8")
        assert call(tmp_path, cache)[0] == [answer], name


def test_every_kernel_is_kept_by_this_module() -> None:
    """Oracle: the sources; numba's own cache would not see a change in another file."""
    package = Path(speechgru.__file__).parent
    own = [path for path in package.rglob("*.py") if re.search(r"\b(cache=|njit\()", path.read_text(encoding="utf-8"))]
    assert own == [package / "compiled.py"]


def forget() -> None:
    """Where machine code lies is asked once in a process."""
    compiled.cache_root.cache_clear()
    compiled._cache_folder.cache_clear()


def test_machine_code_is_of_one_numpy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Oracle: kernels kept by NumPy 2 cannot be loaded by NumPy 1.26, which knows fewer ufuncs."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    source = Path(compiled.__file__)
    forget()
    one = compiled._cache_folder(source, ())
    monkeypatch.setattr(np, "__version__", "1.26.4")
    forget()
    other = compiled._cache_folder(source, ())
    forget()
    assert one is not None
    assert other is not None
    assert one != other
