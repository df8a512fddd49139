"""The folder of an exported model: the file, its labels, the proof, and how to run it."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from speechgru.errors import ConfigError, SpeechGRUError
from speechgru.export.readme import readme
from speechgru.files import write_atomically
from speechgru.plain import Record

if TYPE_CHECKING:  # imported when needed: a wrong folder is reported without waiting for torch
    import numpy as np

    from speechgru.recognizer import Recognizer

# The files of an export; each has parity.json. A folder with anything else is not replaced.
NAMES = {"model.onnx", "stream.onnx", "tokens.txt", "parity.json", "README.md", "run.py", "run_stream.py"}
NAMES |= {"model.h", "model.c", "weights.h", "example.c", "Makefile", "example"}  # make builds the last one
NAMES |= {"index.html", "page", "model.json", "runtime"}


def check_target(target: Path) -> None:
    """Checks that a folder may be written to: it is new, empty, or that of an earlier export.

    Raises:
        ConfigError: it is a file, or holds something else.
    """
    if target.exists() and not target.is_dir():
        raise ConfigError(f"-o {target}: a file; name a folder")
    found = {path.name for path in target.iterdir()} if target.exists() else set()
    others = sorted(found - NAMES if "parity.json" in found else found)
    if others:
        raise ConfigError(f"-o {target}: holds {others[0]}, which is of no export; name a new or an empty folder")


def export_onnx(
    model: Recognizer, source: Path, target: Path, recordings: Sequence[np.ndarray], int8: bool = False
) -> Record:
    """Writes a model as ONNX, once the file is proved equal to the model; returns what parity.json holds.

    Args:
        model: in eval mode, on the CPU.
        source: the model's folder, for its card.
        target: where to; all files appear together, and replace those of an earlier export.
        recordings: samples at the model's rate, compared in addition to drawn waveforms.
        int8: write the large weights as 8-bit integers, once the same file with float32 is proved equal; parity.json
            says what that costs.

    Raises:
        ConfigError: the folder holds something else.
        ModelError: a part of the model has no ONNX form, or the file's scores differ from the model's.
        SpeechGRUError: the extra ``export`` is not installed.
    """
    check_target(target)
    require_onnx()
    from speechgru import __version__
    from speechgru.export.int8 import with_int8_weights
    from speechgru.export.onnx_model import describe, write_onnx
    from speechgru.export.parity import prove, prove_stream, session_of
    from speechgru.export.speed import cost
    from speechgru.export.stream import streams, write_stream

    about = describe(model, source)
    written = write_onnx(model, about)
    content = written.SerializeToString()
    exact = session_of(content)
    parity = prove(model, exact, recordings)
    if int8:
        content = with_int8_weights(written).SerializeToString()
        parity["int8"] = {"bytes_float32": written.ByteSize(), **cost(model, exact, session_of(content), recordings)}
    parity = {"speechgru": __version__, **versions(), **parity, "labels": len(model.tokens), "bytes": len(content)}
    files: dict[str, bytes | str] = {"model.onnx": content}
    if streams(model):
        written = write_stream(model, about)
        content = written.SerializeToString()
        parity["stream"] = prove_stream(model, session_of(content), recordings)
        if int8:
            content = with_int8_weights(written).SerializeToString()
        parity["stream"]["bytes"] = len(content)
        files |= {"stream.onnx": content, "run_stream.py": _beside("run_stream.py")}
    files |= {
        "tokens.txt": "".join(name + "\n" for name in model.tokens.names),
        "parity.json": json.dumps(parity, indent=1) + "\n",
        "README.md": readme(about, parity),
        "run.py": _beside("run.py"),
    }
    write_together(target, files)
    return parity


def _beside(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def require_onnx() -> None:
    """SpeechGRUError where onnx or onnxruntime is not installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise SpeechGRUError(f"export needs onnx and onnxruntime ({error}): pip install 'speechgru[export]'") from error


def versions() -> Record:
    """The versions of what an ONNX file was written and run with."""
    import onnx
    import onnxruntime

    from speechgru.export.graph import OPSET

    return {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__, "opset": OPSET}


def write_together(target: Path, files: Mapping[str, bytes | str]) -> None:
    """Writes all files or none: to a new folder beside the target, then renamed to it; a name may include a folder."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target = target.resolve()
    new = target.with_name(f".{secrets.token_hex(8)}.tmp")
    old = target.with_name(f".{secrets.token_hex(8)}.tmp")
    new.mkdir()
    try:
        for name, content in files.items():
            (new / name).parent.mkdir(exist_ok=True)
            write_atomically(new / name, content)
        if target.exists():
            target.rename(old)
        try:
            new.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
    finally:
        for leftover in (new, old):
            shutil.rmtree(leftover, ignore_errors=True)
