"""The files of a C program: what a model is in C, how it is built and what it takes."""

from __future__ import annotations

import re
import textwrap
from typing import NamedTuple

import torch

from speechgru.errors import ConfigError, ModelError
from speechgru.export.c.encoder import write_encoder
from speechgru.export.c.features import write_features
from speechgru.export.c.head import write_head
from speechgru.export.c.program import Program
from speechgru.heads import CTCHead, KeywordHead
from speechgru.recognizer import Recognizer

_EVENT = "A word that was heard: from when its score rose to when it reached the threshold, and the score then."
_TOKEN = "A token: where its first frame lies, up to where the stream was heard for it, and its probability."


class Written(NamedTuple):
    """A program.

    Attributes:
        files: content by name.
        flash_bytes: of its tables.
        state_bytes: of the state of a stream, where a pointer has 8 bytes.
    """

    files: dict[str, str]
    flash_bytes: int
    state_bytes: int


@torch.no_grad()
def write_c(model: Recognizer, name: str, int8: bool = False) -> Written:
    """The program of a model.

    Args:
        model: in eval mode.
        name: what the names in the program begin with (:func:`program_name`).
        int8: weights of matrices in 8 bits with a scale for each row.

    Raises:
        ModelError: the model cannot stream, or a part of it has no C form.
    """
    check_streams(model)
    program = Program(name, int8)
    write_features(program, model.features)
    write_encoder(program, model.encoder)
    write_head(program, model)
    program.close()
    keyword = isinstance(model.head, KeywordHead)
    files = {
        "model.h": _header(program, model),
        "model.c": _code(program, model),
        "weights.h": "/* Written by speechgru export. */\n\n" + program.weights(),
        "example.c": program.fragment("example_keyword.c" if keyword else "example_ctc.c").replace(
            "RATE |", f"{model.sample_rate} |"
        ),
        "Makefile": _MAKEFILE,
        "README.md": _readme(program, model),
    }
    return Written(files, program.table_bytes, program.state_bytes)


def program_name(folder: str) -> str:
    """A C name from that of a folder: all but letters, digits and underscores becomes an underscore."""
    name = re.sub(r"\W", "_", folder, flags=re.ASCII).strip("_") or "model"
    return f"model_{name}" if name[0].isdigit() else name


def check_streams(model: Recognizer) -> None:
    """Raises ModelError where a model needs whole recordings; the message says what to train instead."""
    if not isinstance(model.head, KeywordHead | CTCHead):
        raise ModelError(
            f"this model has a {model.task} head, which scores whole recordings; for --format c train one with "
            "head=keyword, encoder=look_ahead and features.normalization=global"
        )
    if getattr(model.encoder, "directions", 1) != 1:
        raise ModelError(
            "this model reads a recording in both directions; for --format c train one with encoder=look_ahead, or "
            "encoder=gru encoder.bidirectional=false"
        )
    try:
        model.features.stream()  # type: ignore[attr-defined]
    except (AttributeError, ConfigError) as error:
        raise ModelError(f"features that cannot stream have no C form: {error}") from error


def _facts(program: Program, model: Recognizer) -> list[str]:
    weights = "8 bits, a scale for each row" if program.int8 else "float"
    return [
        f"Flash: {program.table_bytes:,} bytes of tables (weights in {weights}), and the code.",
        f"RAM: {program.state_bytes:,} bytes for each stream, all of them in {program.name}_state; no allocation.",
        f"A frame every {1000 * model.frame_s:g} ms; {model.parameter_count():,} parameters; C99, libm only.",
    ]


def _header(program: Program, model: Recognizer) -> str:
    keyword = isinstance(model.head, KeywordHead)
    scores = "probabilities" if keyword else "natural logarithms of probabilities"
    facts = "\n".join(
        textwrap.fill(fact, 116, initial_indent="   ", subsequent_indent="   ") for fact in _facts(program, model)
    )
    top = f"/* {program.name}: a {model.task} model, written by speechgru export.\n{facts} */\n"
    body = program.fragment("model.h")
    for key, value in {
        "@RATE@": str(model.sample_rate),
        "@LABELS@": str(len(model.tokens)),
        "@EVENT@": _EVENT if keyword else _TOKEN,
        "@SCORES@": scores,
        "@STATE@": program.state(),
    }.items():
        body = body.replace(key, value)
    return top + body


def _code(program: Program, model: Recognizer) -> str:
    names = ",\n".join(f"    {_literal(name)}" for name in model.tokens.names)
    labels = f"const char *const {program.name}_labels[{program.name.upper()}_LABELS] = {{\n{names}}};\n"
    includes = '#include "model.h"\n\n#include <math.h>\n#include <stdint.h>\n#include <string.h>\n'
    return f"/* Written by speechgru export; see model.h. */\n\n{includes}\n{labels}\n{program.code()}"


def _literal(text: str) -> str:
    """A C string; what is not plain ASCII becomes octal bytes of UTF-8."""
    plain = "".join(
        chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}" for byte in text.encode()
    )
    return f'"{plain}"'


_MAKEFILE = """\
CFLAGS ?= -O3

example: example.c model.c model.h weights.h
\t$(CC) -std=c99 $(CFLAGS) -o $@ example.c model.c -lm
"""


def _readme(program: Program, model: Recognizer) -> str:
    facts = "\n".join(f"- {fact}" for fact in _facts(program, model))
    name = program.name
    return f"""# {name} in C

{facts}

`make` builds `example`, which reads 16-bit samples at {model.sample_rate} Hz from standard input:

```sh
make
arecord -q -t raw -f S16_LE -c 1 -r {model.sample_rate} | ./example
```

In a program of your own compile `model.c` and call

```c
static {name}_state state;                                   /* one for each stream */
{name}_init(&state);
found = {name}_feed(&state, samples, n, events, 16);         /* any n; events[0] to events[found - 1] */
found = {name}_flush(&state, events, 16);                    /* where the sound ends */
```

Any chunks give the same events. Do not compile with `-ffast-math`: the exponential function needs exact rounding.
"""
