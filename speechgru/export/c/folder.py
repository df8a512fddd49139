"""The folder of a C program: the files, once they are proved equal to the model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from speechgru.export.c.parity import prove
from speechgru.export.c.writer import program_name, write_c
from speechgru.export.folder import check_target, write_together
from speechgru.plain import Record
from speechgru.recognizer import Recognizer


def export_c(
    model: Recognizer, source: Path, target: Path, recordings: Sequence[np.ndarray], int8: bool = False
) -> Record:
    """Writes a model as a C program, once it is proved equal to the model; returns what parity.json holds.

    Args:
        model: in eval mode, on the CPU.
        source: the model's folder; the program is named after it.
        target: where to; all files appear together, and replace those of an earlier export.
        recordings: samples at the model's rate, each (samples,), compared in addition to drawn sounds.
        int8: weights of matrices in 8 bits with a scale for each row.

    Raises:
        ConfigError: the folder holds something else.
        ModelError: the model cannot stream, a part has no C form, or the program's scores differ from the model's.
    """
    from speechgru import __version__

    check_target(target)
    name = program_name(source.resolve().name)
    files, flash_bytes, state_bytes = write_c(model, name, int8)
    whole = [np.clip(np.rint(one * 32768), -32768, 32767).astype(np.int16) for one in recordings]
    sizes = {"flash_bytes": flash_bytes, "state_bytes": state_bytes}
    parity = {"speechgru": __version__, "name": name, **sizes, **prove(model, files, name, whole, int8)}
    write_together(target, {**files, "parity.json": json.dumps(parity, indent=1) + "\n"})
    return parity
