"""A C program in the making: tables, the state, and the stages that a frame goes through one after the other."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from speechgru.errors import ModelError

_SOURCE = Path(__file__).parent / "source"
# The order of the fragments in a program; only those that are used are written.
_ORDER = (
    "product",
    "product8",
    "exponential",
    "sigmoid",
    "tangent",
    "normalize",
    "windows",
    "convolution",
    "deltas",
    "sliding",
    "times",
    "keywords",
    "ctc",
)
_BYTES = {"double": 8, "int64_t": 8, "float": 4, "int32_t": 4, "int16_t": 2, "int8_t": 1, "unsigned char": 1}


@dataclasses.dataclass(frozen=True)
class Member:
    """An array of the state."""

    kind: str
    name: str
    size: int  # 0 for a single number

    @property
    def bytes(self) -> int:
        """Its size in memory."""
        return _BYTES[self.kind] * max(self.size, 1)


class Program:
    """The program of one model, while it is written.

    Args:
        name: what every public name begins with.
        int8: weights of matrices in 8 bits, with a scale for each row.

    Attributes:
        table_bytes: of all constant tables, which stay in flash beside the code.
        members: of the state.
    """

    def __init__(self, name: str, int8: bool) -> None:
        self.name, self.int8 = name, int8
        self.table_bytes = 0
        self.members = [Member("int32_t", name, 0) for name in ("max_events", "found", "ended")]
        self._constants: list[str] = []
        self._tables: list[str] = []
        self._declared: list[str] = []
        self._fragments: set[str] = set()
        self._pieces: dict[str, str] = {}
        self._stages: list[str] = []
        self._start: list[str] = []
        self._scratch = {"patch": 0, "rounded": 0, "gates": 0}

    @property
    def current(self) -> str:
        """The function of the stage that :meth:`stage` writes next; it takes a frame."""
        return f"push_{len(self._stages) + 1}"

    @property
    def following(self) -> str:
        """The function of the stage after :attr:`current`, which gets the frames of that stage."""
        return f"push_{len(self._stages) + 2}"

    def constant(self, name: str, value: int | float) -> None:
        """Adds a number that the compiler knows."""
        written = f"{number(value)}f" if isinstance(value, float) else str(value)
        self._constants.append(f"#define {name} {f'({written})' if value < 0 else written}")

    def use(self, *fragments: str) -> None:
        """Puts files of ``source/`` into the program."""
        self._fragments.update(fragments)

    def cell(self, name: str) -> None:
        """Puts a file of ``source/cells/`` into the program."""
        self._pieces[name] = (_SOURCE / "cells" / f"{name}.c").read_text(encoding="utf-8")

    def member(self, kind: str, name: str, size: int) -> None:
        """Adds an array to the state, zeros at the beginning."""
        self.members.append(Member(kind, name, size))

    def scalar(self, kind: str, *names: str) -> None:
        """Adds single numbers to the state, zero at the beginning."""
        self.members += [Member(kind, name, 0) for name in names]

    def declare(self, line: str) -> None:
        """Adds a constant whose type a fragment defines."""
        self._declared.append(line)

    def begin(self, statement: str) -> None:
        """Adds what is done at the beginning of a stream, in addition to zeroing the state."""
        self._start.append(statement)

    def scratch(self, name: str, size: int) -> None:
        """Reserves at least ``size`` numbers in an array that every stage may overwrite: ``patch`` or ``gates``."""
        self._scratch[name] = max(self._scratch[name], size)

    def table(self, kind: str, name: str, values: Tensor | np.ndarray | Sequence[int | float]) -> None:
        """Adds a constant array.

        Raises:
            ModelError: a value is not a number.
        """
        array = np.asarray(values.detach().cpu().double() if isinstance(values, Tensor) else values).reshape(-1)
        if not np.isfinite(array).all():
            raise ModelError(f"{name}: not all weights are numbers; the model is damaged, or its training diverged")
        if kind == "float":
            words = [f"{number(value)}f" for value in array.astype(np.float32).tolist()]
        else:
            words = [str(int(value)) for value in array.tolist()]
        self.table_bytes += len(words) * _BYTES[kind]
        lines = [", ".join(words[start : start + 12]) for start in range(0, len(words), 12)]
        self._tables.append(f"static const {kind} {name}[{len(words)}] = {{\n" + ",\n".join(lines) + "};\n")

    def matrix(
        self, name: str, weight: Tensor, bias: Tensor | None, factor: Tensor | None = None, exact: bool = False
    ) -> None:
        """Adds a matrix (rows, columns) and what is added to its products, (rows,) or None.

        Args:
            name: of the matrix.
            weight: as the model has it.
            bias: as it is added.
            factor: multiplies each row, (rows,).
            exact: keep the matrix in float, whatever the other weights are.
        """
        weight = weight.detach().cpu().double()
        rows, columns = weight.shape
        added = "0"
        if bias is not None:
            self.table("float", f"{name}_bias", bias)
            added = f"{name}_bias"
        if self.int8 and not exact:
            whole, scale = rounded(weight)
            self.table("int8_t", f"{name}_weight", whole)
            self.table("float", f"{name}_scale", scale if factor is None else scale * factor.detach().cpu().double())
            self._scratch["rounded"] = max(self._scratch["rounded"], columns)
            self.use("product8")
            fields = f"{name}_weight, {name}_scale, {added}"
        else:
            weight = weight if factor is None else weight * factor.detach().cpu().double()[:, None]
            self.table("float", f"{name}_weight", weight.T.contiguous())
            self.use("product")
            fields = f"{name}_weight, {added}"
        kind = "matrix8" if self.int8 and not exact else "matrix"
        self._tables.append(f"static const {kind} {name} = {{{rows}, {columns}, {fields}}};\n")

    def product(self, name: str, x: str, y: str, exact: bool = False) -> str:
        """The statement that multiplies an array by a matrix that :meth:`matrix` added."""
        if self.int8 and not exact:
            return f"product8(&{name}, {x}, {y}, s->rounded);"
        return f"product(&{name}, {x}, {y});"

    def stage(self, comment: str, push: str, end: str = "") -> None:
        """Adds the next stage of a frame.

        Args:
            comment: what the stage is.
            push: statements that read ``frame`` and call :attr:`following` for each frame that comes out.
            end: statements after the last frame, before the next stage ends.
        """
        place = len(self._stages) + 1
        heads = "(NAME_state *s, const float *frame)", "(NAME_state *s)"
        self._stages.append(
            f"/* {comment} */\nstatic void push_{place}{heads[0]}\n{{\n{_indented(push)}}}\n\n"
            f"static void end_{place}{heads[1]}\n{{\n{_indented(end)}    end_{place + 1}(s);\n}}\n"
        )

    def last_stage(self, comment: str, push: str) -> None:
        """Adds the last stage of a frame."""
        place = len(self._stages) + 1
        self._stages.append(
            f"/* {comment} */\nstatic void push_{place}(NAME_state *s, const float *frame)\n{{\n{_indented(push)}}}\n\n"
            f"static void end_{place}(NAME_state *s)\n{{\n    (void)s;\n}}\n"
        )

    def close(self) -> None:
        """Adds the arrays that the stages share to the state."""
        for name, size in self._scratch.items():
            if size:
                self.member("int16_t" if name == "rounded" else "float", name, size)

    @property
    def state_bytes(self) -> int:
        """Bytes of the state, where a pointer has 8 bytes."""
        size = sum(member.bytes for member in self.members) + 3 * 8  # and the pointers
        return -(-size // 8) * 8

    def state(self) -> str:
        """The members of the state for the header, the widest first, so that there are no gaps."""
        ordered = sorted(self.members, key=lambda one: -_BYTES[one.kind])
        return "".join(f"    {one.kind} {one.name}{f'[{one.size}]' if one.size else ''};\n" for one in ordered)

    def weights(self) -> str:
        """The tables, as a header."""
        return self.named("\n".join(self._tables))

    def code(self) -> str:
        """The functions, without the tables."""
        read = [(_SOURCE / f"{one}.c").read_text(encoding="utf-8") for one in _ORDER if one in self._fragments]
        places = range(1, len(self._stages) + 1)
        prototypes = "".join(
            f"static void push_{place}(NAME_state *s, const float *frame);\nstatic void end_{place}(NAME_state *s);\n"
            for place in places
        )
        start = "static void start(NAME_state *s)\n{\n    (void)s;\n" + _indented("\n".join(self._start)) + "}\n"
        spectrum, stream = ((_SOURCE / f"{one}.c").read_text(encoding="utf-8") for one in ("spectrum", "stream"))
        types = [one for one in read if one.startswith("/* A matrix")]
        return self.named(
            "\n".join(
                [
                    "\n".join(self._constants),
                    "",
                    *types,
                    '#include "weights.h"\n',
                    *(one for one in read if one not in types),
                    *self._pieces.values(),
                    "\n".join(self._declared),
                    prototypes,
                    spectrum,
                    *self._stages,
                    start,
                    stream,
                ]
            )
        )

    def named(self, text: str) -> str:
        """The text with the name of the model in place of NAME and UPPER."""
        return text.replace("NAME_", f"{self.name}_").replace("UPPER_", f"{self.name.upper()}_")

    def fragment(self, name: str) -> str:
        """A file of ``source/`` under the model's name."""
        return self.named((_SOURCE / name).read_text(encoding="utf-8"))


def rounded(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of whole numbers from -127 to 127 and the scale of each: (rows, columns) -> the same, (rows,), float64."""
    weight = weight.detach().cpu().double()
    scale = (weight.abs().amax(1) / 127).float().double()
    return (weight / scale.clamp(min=1e-30)[:, None]).round().clamp(-127, 127), scale


def number(value: float) -> str:
    """A float as C reads it."""
    text = f"{value:.9g}"
    return text if any(sign in text for sign in ".en") else f"{text}.0"


def _indented(text: str) -> str:
    """Statements as lines of a function, each block further in."""
    depth, lines = 1, []
    for line in (one.strip() for one in text.strip().split("\n") if one.strip()):
        lines.append(f"{'    ' * (depth - line.startswith('}'))}{line}\n")
        depth += line.count("{") - line.count("}")
    return "".join(lines)
