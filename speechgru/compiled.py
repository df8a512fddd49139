"""When compiled code may run, and where its machine code is kept between runs.

numba compiles some loops: on a machine's first call this takes seconds for each; from then on a process loads them in
half a second. torch's operators can compute the same, but for a beam search, and need no such
start.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import hashlib
import inspect
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal, TypeVar, cast

from speechgru.compiling import listen

if TYPE_CHECKING:
    from torch import Tensor

Function = TypeVar("Function", bound=Callable[..., object])

_UNUSED_S = 30 * 24 * 3600
# numba's own switch: without the compiler its kernels would run as plain Python, which is far slower than torch.
_JIT_IS_ON = os.environ.get("NUMBA_DISABLE_JIT", "0") == "0"
_allowed = contextvars.ContextVar("compiled code may run", default=_JIT_IS_ON)


@contextlib.contextmanager
def disabled() -> Iterator[None]:
    """Inside, nothing is compiled: in this thread cells, features and normalisations use torch's operators.

    For a short program, which would wait longer for the compiler than the compiled code saves. Also a decorator,
    ``@disabled()``. The beam search decoder is compiled all the same: it has no other form.
    """
    before = _allowed.set(False)
    try:
        yield
    finally:
        _allowed.reset(before)


def usable(*tensors: Tensor, device: str = "cpu") -> bool:
    """Whether compiled code may read ``tensors``: float32 on ``device``, no tracing or transforms, not disabled."""
    import torch

    on_device = f"is_{device}"  # takes a tenth of the time of tensor.device.type, which a stream notices
    return (
        not torch.compiler.is_compiling()
        and _allowed.get()
        and all(tensor.dtype is torch.float32 and getattr(tensor, on_device) for tensor in tensors)
        and not torch.jit.is_tracing()
        and not torch._C._are_functorch_transforms_active()
        and torch.autograd.forward_ad._current_level < 0
    )


def kernel(
    fastmath: bool | set[str] = False,
    nogil: bool = False,
    error_model: Literal["python", "numpy"] = "python",
    parts: Sequence[Callable[..., object]] = (),
) -> Callable[[Function], Function]:
    """Decorator: ``numba.njit`` whose machine code is kept on disk and is never older than its sources.

    numba compiles again when the file of a function has changed or is in another place, but not when a function that
    it calls has changed in another file. So the name of the machine code's folder has a hash of all the files the code
    is made from, and nothing else separates old from new: all checkouts and environments of the same sources share the
    folder. It is in :func:`cache_root`; where none can be written, every process compiles for itself.

    Args:
        fastmath: as for numba.njit.
        nogil: as for numba.njit.
        error_model: as for numba.njit.
        parts: plain functions that the function holds as free variables and that are not in its file's imports. Their
            files, and those of all functions that they call, are part of the hash.
    """
    import numba

    def decorate(function: Function) -> Function:
        made = numba.njit(fastmath=fastmath, nogil=nogil, error_model=error_model)(function)
        folder = _cache_folder(Path(inspect.getfile(function)), tuple(parts))
        if folder is not None:
            made._cache = _kept_in(folder, function)  # type: ignore[attr-defined]
        listen().add(made, folder and folder.parent)
        return cast(Function, made)

    return decorate


@functools.cache
def cache_root() -> Path | None:
    """Where machine code is kept: NUMBA_CACHE_DIR where that is set, else one place for each user.

    Without NUMBA_CACHE_DIR it is ``speechgru/kernels`` below XDG_CACHE_HOME or ~/.cache. If nothing can be written
    there, it is in ``__pycache__`` of this package; it is None if nothing can be written at all.
    """
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    user = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "speechgru" / "kernels"
    for root in [Path(chosen)] if chosen else [user, Path(__file__).parent / "__pycache__" / "kernels"]:
        try:
            root.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=root).close()
            return root
        except OSError:
            continue
    return None


@functools.cache
def _cache_folder(source: Path, parts: tuple[Callable[..., object], ...]) -> Path | None:
    """The folder for the machine code of a source file as it is now; None where there can be none."""
    root = cache_root()
    if root is None or not source.is_file():  # inside an archive
        return None
    import numba
    import numpy as np

    name = "-".join([source.stem, *(f"{part.__module__}.{part.__qualname__}" for part in parts[:1])])
    files, constants = _reached(parts)
    made_from = [path.read_bytes() for path in sorted(files | _imported(source))]
    # The machine code also depends on what NumPy's arrays and ufuncs look like.
    versions = f"{np.__version__} {numba.__version__}".encode()
    digest = hashlib.sha256(b"\0".join([versions, *made_from, *constants])).hexdigest()[:16]
    folder = root / f"{name}-{digest}"
    try:
        if not folder.exists():
            folder.mkdir(exist_ok=True)  # another process may begin now, too
            _remove_unused(root)
        os.utime(folder)
    except OSError:  # another user's
        return None
    return folder


def _remove_unused(root: Path) -> None:
    """Removes the machine code of sources that nobody has run for a month."""
    if not os.environ.get("NUMBA_CACHE_DIR"):  # other programs keep their machine code there too
        for folder in root.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another process removes it
                if folder.stat().st_mtime < time.time() - _UNUSED_S:
                    shutil.rmtree(folder, ignore_errors=True)


def _kept_in(folder: Path, function: Callable[..., object]) -> object:
    """numba's cache of a function, in a folder whose name says which sources it is made from."""
    from numba.core.caching import FunctionCache

    class Place:
        """What numba calls a locator; numba's own name folders by path, and check the time of the source."""

        _py_file = inspect.getfile(function)

        @classmethod
        def from_function(cls, function: Callable[..., object], file: str) -> Place:
            return cls()

        def ensure_cache_path(self) -> None:
            folder.mkdir(parents=True, exist_ok=True)

        def get_cache_path(self) -> str:
            return str(folder)

        def get_source_stamp(self) -> str:
            return ""

        def get_disambiguator(self) -> str:
            return str(function.__code__.co_firstlineno)

    class Implementation(FunctionCache._impl_class):  # type: ignore[misc, valid-type]
        _locator_classes = (Place,)

    class Kept(FunctionCache):
        _impl_class = Implementation

    return Kept(function)


def _imported(source: Path) -> set[Path]:
    """A file and all files of this package that it imports at its top, directly or through others."""
    found: set[Path] = set()
    waiting = [source]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            for name in re.findall(r"^from (speechgru[\w.]*) import ", path.read_text(encoding="utf-8"), re.MULTILINE):
                file = getattr(sys.modules.get(name), "__file__", None)
                waiting += [Path(file)] if file else []
    return found


def _reached(functions: Sequence[Callable[..., object]]) -> tuple[set[Path], list[bytes]]:
    """The files of plain functions and of all the functions that they call, and the constants of other files.

    Not the files that these files import: a cell is in the file of its row functions, and imports half of the package.
    """
    files: set[Path] = set()
    constants: set[str] = set()
    seen: set[object] = set()
    waiting: list[object] = list(functions)
    while waiting:
        value = waiting.pop()
        value = getattr(value, "py_func", value)  # the plain function in what numba.njit gives
        if not inspect.isfunction(value) or value in seen:
            continue
        seen.add(value)
        files.add(Path(inspect.getfile(value)))
        outside = inspect.getclosurevars(value)
        for name, found in {**outside.globals, **outside.nonlocals}.items():
            waiting += vars(found).values() if inspect.ismodule(found) and _is_of(found, value) else [found]
            if not callable(found) and not inspect.ismodule(found):
                constants.add(f"{name}={found!r}")
    return files, [constant.encode() for constant in sorted(constants)]


def _is_of(module: ModuleType, function: Callable[..., object]) -> bool:
    """Whether a module is of a function's package."""
    return module.__name__.partition(".")[0] == function.__module__.partition(".")[0]
