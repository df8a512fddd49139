"""A model in every format that it can be written in: how far from the model, how large, and how fast beside torch."""

from __future__ import annotations

import ctypes
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from speechgru.errors import ModelError, SpeechGRUError
from speechgru.export.c import parity as c_parity
from speechgru.export.c.writer import check_streams, write_c
from speechgru.export.int8 import with_int8_weights
from speechgru.export.onnx_model import write_onnx
from speechgru.export.parity import differences, prove, prove_stream, session_of, streamed
from speechgru.export.speed import second_of_noise, torch_answer
from speechgru.export.stream import streams, write_stream
from speechgru.export.web.folder import export_web
from speechgru.lab.bench.timing import interleaved_ms
from speechgru.recognizer import Recognizer

if TYPE_CHECKING:
    import onnx

HEADING = ["model", "format", "largest difference", "MB", "ms for a second", "times as fast as torch"]
_CHUNKS = 10  # chunks of a second of sound, where a file takes chunks


class Form(NamedTuple):
    """A model in one format.

    Attributes:
        largest_difference: of a score from the model's own; None for the model itself.
        size: bytes of the weights and all tables.
        answer: scores a second of sound; None for a form that runs in a browser.
    """

    largest_difference: float | None
    size: int
    answer: Callable[[], object] | None


def format_rows(name: str, folder: Path, repeats: int) -> list[list[str]]:
    """One row for each format, under HEADING; where this model has no such file, the row says why.

    Args:
        name: of the model.
        folder: of the model.
        repeats: how often each form answers, in turns; the median of the processor time counts.

    Raises:
        ModelError: the model cannot be loaded.
    """
    model = Recognizer.load(folder).eval()
    forms: dict[str, Form] = {}
    reasons: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="speechgru") as scratch:
        makers = _makers(model, folder, Path(scratch))
        for kind, make in makers.items():
            try:
                forms[kind] = make()
            except SpeechGRUError as error:
                reasons[kind] = str(error).partition(";")[0]
        answers = {kind: form.answer for kind, form in forms.items() if form.answer}
        taken = interleaved_ms(answers, repeats, clock=time.process_time)
    cells = {kind: _cells(form, taken.get(kind), taken["torch"]) for kind, form in forms.items()}
    return [[name, kind, *cells.get(kind, [reasons.get(kind, ""), "", "", ""])] for kind in makers]


def _cells(form: Form, taken_ms: float | None, torch_ms: float) -> list[str]:
    gap = "" if form.largest_difference is None else f"{form.largest_difference:.0e}"
    times = ["in the browser", ""] if taken_ms is None else [f"{taken_ms:.2f}", f"{torch_ms / taken_ms:.1f}"]
    return [gap, f"{form.size / 1e6:.2f}", *times]


def _makers(model: Recognizer, folder: Path, scratch: Path) -> Mapping[str, Callable[[], Form]]:
    """A function for each format that makes the model in it; it raises where the model has no such form."""
    return {
        "torch": lambda: _torch(model, folder),
        "ONNX, whole recordings": lambda: _onnx(model),
        "ONNX, streams": lambda: _onnx_stream(model),
        "ONNX, 8-bit weights": lambda: _onnx_int8(model),
        "page for a browser": lambda: _web(model, folder, scratch / "web"),
        "C": lambda: _c(model, scratch / "float", False),
        "C, 8-bit weights": lambda: _c(model, scratch / "int8", True),
    }


def _torch(model: Recognizer, folder: Path) -> Form:
    return Form(None, sum(path.stat().st_size for path in folder.glob("*.safetensors")), torch_answer(model))


def _onnx(model: Recognizer) -> Form:
    content = write_onnx(model, {}).SerializeToString()
    session, second = session_of(content), second_of_noise(model)
    return Form(
        prove(model, session, [])["largest_difference"], len(content), lambda: session.run(["scores"], dict(second))
    )


def _onnx_int8(model: Recognizer) -> Form:
    content = with_int8_weights(write_onnx(model, {})).SerializeToString()
    session, second = session_of(content), second_of_noise(model)
    worst = max(one.value for one in differences(model, session))
    return Form(worst, len(content), lambda: session.run(["scores"], dict(second)))


def _onnx_stream(model: Recognizer) -> Form:
    if not streams(model):
        check_streams(model)
        raise ModelError("this model does not go step by step")
    written: onnx.ModelProto = write_stream(model, {})
    content = written.SerializeToString()
    session = session_of(content)
    chunks = np.array_split(second_of_noise(model)["waveforms"], _CHUNKS, axis=1)
    worst = prove_stream(model, session, [])["largest_difference"]
    return Form(worst, len(content), lambda: list(streamed(session, chunks)))


def _web(model: Recognizer, folder: Path, target: Path) -> Form:
    found = export_web(model, folder, target, [], folder.name)
    return Form(found["largest_difference"], found["folder_bytes"], None)


def _c(model: Recognizer, folder: Path, int8: bool) -> Form:
    written = write_c(model, "timed", int8)
    if c_parity.compiler() is None:
        raise ModelError("there is no C compiler here (cc, gcc or clang)")
    proof = c_parity.prove(model, written.files, "timed", (), int8)
    folder.mkdir()
    for file, content in written.files.items():
        (folder / file).write_text(content, encoding="utf-8")
    library = ctypes.CDLL(str(c_parity.build_library(folder)))
    state = ctypes.create_string_buffer(written.state_bytes)
    library.timed_init(state)
    samples = np.rint(32767 * np.clip(second_of_noise(model)["waveforms"][0], -1, 1)).astype(np.int16)
    given = samples.ctypes.data_as(ctypes.c_void_p)

    def answer() -> object:
        assert samples.size
        return library.timed_feed(state, given, samples.size, None, 0)

    worst = proof["largest_cost_of_int8" if int8 else "largest_difference"]
    return Form(worst, written.flash_bytes, answer)
