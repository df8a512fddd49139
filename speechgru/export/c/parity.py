"""Whether a C program computes what its model computes: it is compiled, run on sounds, and compared."""

from __future__ import annotations

import copy
import dataclasses
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from speechgru import compiled
from speechgru.errors import ModelError, one_line
from speechgru.export.c.program import Program, rounded
from speechgru.export.parity import LIMIT
from speechgru.export.rounding import allowed
from speechgru.heads import KeywordHead
from speechgru.plain import Record
from speechgru.recognizer import Recognizer
from speechgru.streaming.keywords import KeywordSpotter
from speechgru.streaming.scores import keywords_of, score_track

LIMIT_INT8 = 1e-3
_LONGEST_S = 300


@dataclasses.dataclass(frozen=True)
class Heard:
    """What a program gives for a sound.

    Attributes:
        scores: of every frame, (frames, label).
        events: label, start and end in samples, confidence.
        state_bytes: size of its state.
    """

    scores: np.ndarray
    events: list[tuple[int, int, int, float]]
    state_bytes: int


def compiler() -> str | None:
    """The C compiler of this machine; None where there is none."""
    return next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)


def build(folder: Path, name: str, flags: Sequence[str] = ("-std=c99", "-O2")) -> Path:
    """Compiles the program in ``folder`` for :func:`hear`.

    Raises:
        ModelError: there is no compiler, or it refuses the program.
    """
    (folder / "check.c").write_text(Program(name, False).fragment("check.c"), encoding="utf-8")
    return _compiled(folder, "check", [*flags, "check.c"])


def build_library(folder: Path) -> Path:
    """Compiles the program in ``folder``, as fast as possible on this machine, as a library for a process to load.

    Raises:
        ModelError: there is no compiler, or it refuses the program.
    """
    return _compiled(folder, "model.so", ["-std=c99", "-O3", "-march=native", "-shared", "-fPIC"])


def _compiled(folder: Path, made: str, options: Sequence[str]) -> Path:
    found = compiler()
    if found is None:
        raise ModelError("no C compiler (cc, gcc or clang) is here to check the program with")
    command = [found, *options, "-o", made, "model.c", "-lm"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise ModelError(f"{Path(found).name} refuses the program: {one_line(done.stderr.strip()[:2000])}")
    return folder / made


def hear(program: Path, samples: np.ndarray, labels: int, chunk: int = 320) -> Heard:
    """Runs a program over int16 samples, ``chunk`` at a time.

    Raises:
        ModelError: the program fails.
    """
    scores = program.with_name("scores.bin")
    done = subprocess.run(
        [program, str(chunk), scores], input=samples.astype(np.int16).tobytes(), capture_output=True, timeout=_LONGEST_S
    )
    if done.returncode:
        raise ModelError(f"the program fails (exit {done.returncode}): {done.stderr.decode(errors='replace')[:2000]}")
    *lines, state = done.stdout.decode().splitlines()
    fields = [line.split() for line in lines]
    events = [(int(label), int(start), int(end), float(confidence)) for label, start, end, confidence in fields]
    frames = np.fromfile(scores, np.float32).reshape(-1, labels)
    return Heard(frames, events, int(state.split()[1]))


def difference(model: Recognizer, program: Path, samples: np.ndarray, chunk: int = 320) -> float:
    """The largest difference of a score between a program and the model's stream.

    It is infinite where a score is not finite, or the numbers of frames or labels differ.

    Raises:
        ModelError: the events are not those that follow from the program's scores.
    """
    with compiled.disabled():  # to start compiled code would take longer than it saves
        track = score_track(model, _waveform(samples))
    heard = hear(program, samples, len(model.tokens), chunk)
    if heard.scores.shape != track.scores.shape or not np.isfinite(heard.scores).all():
        return float("inf")
    wanted = _events(model, track.end_s, heard.scores)
    found = [(label, end) for label, _, end, _ in heard.events]
    if sorted(found) != sorted(wanted):
        raise ModelError(f"the program hears {found[:5]} where its scores make {wanted[:5]} (label, sample)")
    return float(np.abs(heard.scores - track.scores).max(initial=0.0))


def prove(
    model: Recognizer, files: Mapping[str, str], name: str, recordings: Sequence[np.ndarray] = (), int8: bool = False
) -> Record:
    """Compiles the files of a program and compares it with the model on drawn sounds and recordings.

    Args:
        model: the model that the program was written from.
        files: content by name (:func:`speechgru.export.c.writer.write_c`).
        name: of the program.
        recordings: int16 samples at the model's rate, each (samples,).
        int8: whether the program's weights are rounded: then it is compared, to 1e-3, with a model whose weights are
            rounded too, and the record also says how far the program is from the model itself.

    Larger differences are accepted as far as rounding explains them (:func:`speechgru.export.rounding.allowed`).

    Returns:
        the largest difference of a score and how much was compared; ``sounds`` is 0 where there is no compiler.

    Raises:
        ModelError: a score is too far from the model's, an event differs, or the compiler refuses the program.
    """
    limit = LIMIT_INT8 if int8 else LIMIT
    if compiler() is None:
        return {"limit": limit, "sounds": 0}
    exact = rounded_model(model) if int8 else model
    worst, cost, sounds = 0.0, 0.0, [*drawn_sounds(model.sample_rate), *recordings]
    with tempfile.TemporaryDirectory(prefix="speechgru") as folder:
        for file, content in files.items():
            (Path(folder) / file).write_text(content, encoding="utf-8")
        program = build(Path(folder), name)
        for place, samples in enumerate(sounds):
            gap = difference(exact, program, samples)
            if not gap <= limit and not gap <= (most := _allowed(limit, exact, samples)):
                raise ModelError(
                    f"the C program differs from the model by {gap:.3g} (at most {most:.3g}) on sound {place} of "
                    f"{len(samples)} samples; nothing was written"
                )
            worst = max(worst, gap)
            cost = max(cost, difference(model, program, samples)) if int8 else cost
    found: Record = {"limit": limit, "sounds": len(sounds), "recordings": len(recordings), "largest_difference": worst}
    return {**found, "largest_cost_of_int8": cost} if int8 else found


def _waveform(samples: np.ndarray) -> np.ndarray:
    return samples.astype(np.float32) / 32768


def _allowed(limit: float, model: Recognizer, samples: np.ndarray) -> float:
    with model.in_eval_mode():
        waveforms, lengths = torch.from_numpy(_waveform(samples))[None], torch.tensor([len(samples)])
        return allowed(limit, model, waveforms, lengths, of_frames=True)


def rounded_model(model: Recognizer) -> Recognizer:
    """A copy with the weights that a program with ``int8`` has."""
    copied = copy.deepcopy(model)
    with torch.no_grad():
        for parameter_name, parameter in copied.named_parameters():
            if parameter.dim() > 1 and not parameter_name.endswith("row_weight"):
                whole, scale = rounded(parameter.flatten(1))
                parameter.copy_((whole * scale[:, None]).view_as(parameter))
    return copied


def _events(model: Recognizer, end_s: np.ndarray, scores: np.ndarray) -> list[tuple[int, int]]:
    """Label and last sample of each event, by the definition in Python."""
    ends = np.rint(end_s * model.sample_rate).astype(int)
    if isinstance(model.head, KeywordHead):
        names = model.tokens.names
        found = KeywordSpotter(names, keywords_of(model)).feed(end_s, scores)
        return [(names.index(one.label), round(one.end_s * model.sample_rate)) for one in found]
    best = scores.argmax(1) if len(scores) else np.zeros(0, int)
    before = np.concatenate([[0], best[:-1]])
    return [(int(best[at]), int(ends[at])) for at in np.flatnonzero((best != 0) & (best != before))]


def drawn_sounds(rate: int) -> list[np.ndarray]:
    """Sounds of all kinds and lengths, int16: silence, clicks, tones that rise, noise that swells, full scale.

    No tone is pure: the bins beside a pure tone hold only rounding errors, on which no two programs agree.
    """
    random = np.random.default_rng(0)
    sounds = [np.zeros(length, np.int16) for length in (0, 1, rate // 2)]
    for seconds in (0.003, 0.03, 0.3, 1.2):
        time = np.arange(round(seconds * rate)) / rate
        noise = random.normal(0, 0.2, len(time))
        tone = np.sin(2 * np.pi * (100 + 0.2 * rate * time) * time) + 0.05 * noise
        swell = np.sin(2 * np.pi * 1.5 * time) ** 2
        for sound in (0.5 * tone, swell * noise, 0.001 * noise, swell * tone + 0.1 * noise, np.sign(noise)):
            sounds.append(np.clip(np.rint(sound * 32767), -32768, 32767).astype(np.int16))
    click = random.integers(-3, 4, rate).astype(np.int16)
    click[rate // 2] = 32767
    return [*sounds, click]
