"""``speechgru inspect``: a model's gates over recordings, what is left of gradients, and problems of memory."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from speechgru.commands.inspect_files import folder_of, read_records, write, write_json
from speechgru.commands.recordings import find_recordings, load_recognizer, on_terminal, progress, standard_output
from speechgru.compiled import disabled
from speechgru.errors import AudioError, ConfigError
from speechgru.plain import Record
from speechgru.recordings.lines import brief, one_field, printable

if TYPE_CHECKING:  # imported when they are needed: a mistyped option is answered without waiting for torch
    from speechgru.lab.inspection import Trace
    from speechgru.lab.inspection.gradients import GradientFlow
    from speechgru.recognizer import Recognizer

MOST_S = 60.0

_EPILOG = """\
speechgru inspect AUDIO...            the gates of every layer over each recording:
  CLIP.png, CLIP.html     spectrogram, gates, hidden state, attention or posteriors on one time axis; the page needs no
                          other file and no network; for a model that transcribes, the words and their times
  half_lives.json, .png   how long each unit remembers, by the gate that keeps its state, over all recordings; and a
                          table of it

speechgru inspect gradients [AUDIO...]
                          how much of a gradient is left some frames earlier: in untrained cells on noise, or with AUDIO
                          in every layer of the model; gradients.json, gradients.png and a table

speechgru inspect memory  trains small nets on the adding and the copying problem at several lags; memory.json,
                          memory.png and a table; run again, it goes on with what is missing

A recording that is called gradients or memory is given as ./gradients. Without -m the model that ships inside is used.
The exit code is 0, 1 when a recording failed (the others are done all the same), 2 when nothing could be tried.

examples:
  speechgru inspect clip.wav
  speechgru inspect talk.wav --start 12.5 --duration 4 -m runs/an4/0/model -o gates
  speechgru inspect gradients --cells rnn,gru,lstm
  speechgru inspect memory --tasks adding --lags 50,100 --cells rnn,gru,lstm
"""

# For each of what can be asked for: the options that have a meaning there.
_OPTIONS = {
    "gates": ("model", "start", "duration", "gates"),
    "gradients": ("model", "start", "duration", "cells", "lags", "hidden_size", "seed"),
    "memory": ("cells", "tasks", "lags", "parameters", "steps", "seed"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``speechgru inspect``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("what", nargs="+", metavar="AUDIO", help="files, folders, globs; or gradients, or memory")
    parser.add_argument("-m", "--model", help="model folder, or the name of a shipped model")
    parser.add_argument("-o", "--output_dir", default="inspection", help="where to write (default: inspection)")
    parser.add_argument("--start", type=float, metavar="S", help="skip so many seconds of each recording")
    parser.add_argument("--duration", type=float, metavar="S", help=f"look at so many seconds (at most {MOST_S:g})")
    parser.add_argument("--gates", help="only these in the picture (update,reset,candidate,hidden; default: all)")
    parser.add_argument("--cells", help="names of cells (default: rnn,gru,lstm)")
    parser.add_argument("--lags", help="gradients: the longest in frames (default: 100); memory: several (50,100,200)")
    parser.add_argument("--hidden_size", type=int, help="gradients: size of the untrained cells (default: 128)")
    parser.add_argument("--tasks", help="adding, copying or both (default: adding,copying)")
    parser.add_argument("--parameters", type=int, help="memory: at most so many in a cell (default: 10000)")
    parser.add_argument("--steps", type=int, help="memory: at most so many in each run (default: 3000)")
    parser.add_argument("--seed", type=int, help="default: 0")
    parser.add_argument(
        "--readme",
        metavar="FILE",
        help="write the table into FILE as well, between <!-- WHAT --> and <!-- /WHAT -->, where WHAT is gates, "
        "gradients, model_gradients (with AUDIO) or memory",
    )


@disabled()  # loading compiled code would take longer than it saves with one recording
def run(arguments: argparse.Namespace) -> int:
    """Inspects what is asked for; 0, or 1 when a recording failed.

    Raises:
        ConfigError: an option is out of range or has no meaning here, nothing was found, or -o cannot be written.
        ModelError: the model cannot be loaded or inspected.
    """
    standard_output(needed=False)  # ready for the names of files
    what, *audio = arguments.what
    if what not in ("gradients", "memory"):
        what, audio = "gates", arguments.what
    if what == "memory" and audio:
        raise ConfigError(f"{audio[0]}: inspect memory takes no recordings")
    every = dict.fromkeys(name for names in _OPTIONS.values() for name in names)
    for name in every:
        if getattr(arguments, name) is not None and name not in _OPTIONS[what]:
            known = ", ".join(f"--{one}" for one in _OPTIONS[what])
            raise ConfigError(f"--{name}: inspect {what} has no such option (it has {known})")
    if what == "memory":
        return _memory(arguments)
    if what == "gradients" and not audio:
        for name in ("model", "start", "duration"):
            if getattr(arguments, name) is not None:
                raise ConfigError(f"--{name}: has no effect without recordings; name some to measure a model")
        return _gradients_of_cells(arguments)
    items = find_recordings(audio)
    folder = folder_of(arguments.output_dir)
    recognizer = load_recognizer(arguments.model, "cpu", None, None)
    return (_gates if what == "gates" else _gradients_of_model)(recognizer, items, folder, arguments)


def _gates(recognizer: Recognizer, items: list[tuple[str, str]], folder: Path, arguments: argparse.Namespace) -> int:
    from speechgru.lab.inspection.curves import half_life_picture
    from speechgru.lab.inspection.memory import layer_half_lives_s
    from speechgru.lab.inspection.page import write_xray_page
    from speechgru.lab.inspection.pictures import xray_picture
    from speechgru.recordings.names import file_names

    names, traces, failed = file_names([path for path, _ in items]), [], 0
    stems = dict(zip([path for path, _ in items], names, strict=True))
    for path, error in progress(items, len(items), "inspect", hidden=on_terminal()):
        found = _trace(recognizer, path, error, arguments)
        if found is None:
            failed += 1
            continue
        traces.append(found)
        shown = _shown_gates(arguments.gates, found)
        picture, page = (folder / f"{stems[path]}.{suffix}" for suffix in ("png", "html"))
        write(picture, xray_picture, found, title=Path(path).name, gates=shown)
        write(page, write_xray_page, found, title=Path(path).name)
        print(picture, page, sep="\n", flush=True)
    half_lives = layer_half_lives_s(traces) if traces else {}
    if half_lives:
        numbers = {name: [_finite(value) for value in values] for name, values in half_lives.items()}
        frame_s = {layer.name: layer.frame_s for layer in traces[0].layers}
        write_json(folder / "half_lives.json", {"half_life_s": numbers, "frame_s": frame_s, "recordings": len(traces)})
        write(folder / "half_lives.png", half_life_picture, half_lives)
        _print_half_lives(half_lives, arguments.readme)
        print(folder / "half_lives.json", folder / "half_lives.png", sep="\n")
    return _failures(failed, len(items))


def _shown_gates(given: str | None, trace: Trace) -> list[str] | None:
    if given is None:
        return None
    shown, known = given.split(","), list(dict.fromkeys(name for layer in trace.layers for name in layer.gates))
    for name in shown:
        if name not in known:
            raise ConfigError(f"--gates {name}: no gate of this model (it has {', '.join(known)})")
    return shown


def _print_half_lives(half_lives: Record, readme: str | None) -> None:
    import numpy as np

    from speechgru.lab.inspection.curves import readable_s

    rows = []
    for name, values in half_lives.items():
        shares = (0.1, 0.5, 0.9, 1.0)
        told = [
            "never ends" if np.isinf(one) else readable_s(one) for one in np.quantile(values, shares, method="lower")
        ]
        rows.append([name, str(len(values)), *told])
    _print(["half-life", "units", "10 %", "median", "90 %", "longest"], rows, 1, readme, "gates")


def _gradients_of_model(
    recognizer: Recognizer, items: list[tuple[str, str]], folder: Path, arguments: argparse.Namespace
) -> int:
    from speechgru.lab.inspection.gradients import model_gradients

    for name in ("cells", "hidden_size"):
        if getattr(arguments, name) is not None:
            raise ConfigError(f"--{name}: has no effect with recordings, whose model has cells of its own")
    found = [_trace(recognizer, path, error, arguments) for path, error in progress(items, len(items), "inspect")]
    traces = [one for one in found if one is not None]
    if traces:
        shortest = min(len(layer.inputs) for one in traces for layer in one.layers)
        lags = _numbers("lags", arguments.lags, [max(1, min(100, shortest // 2))], most=1)[0]
        flows = model_gradients(traces, lags, arguments.seed or 0)
        about = {"recordings": len(traces), "model": str(arguments.model or "commands")}
        _write_gradients(flows, folder, about, arguments.readme, "model_gradients")
    return _failures(len(found) - len(traces), len(items))


def _gradients_of_cells(arguments: argparse.Namespace) -> int:
    cells = _cells(arguments.cells)
    lags = _numbers("lags", arguments.lags, [100], most=1)[0]
    hidden_size = 128 if arguments.hidden_size is None else arguments.hidden_size
    if hidden_size < 1:
        raise ConfigError(f"--hidden_size {hidden_size}: at least 1")
    folder = folder_of(arguments.output_dir)

    from speechgru.lab.inspection.gradients import fresh_gradients

    seed = arguments.seed or 0
    flows = [fresh_gradients(name, hidden_size, lags, seed) for name in progress(cells, len(cells), "inspect")]
    about = {"hidden_size": hidden_size, "seed": seed, "input": "normal noise"}
    _write_gradients(flows, folder, about, arguments.readme, "gradients")
    return 0


def _write_gradients(flows: list[GradientFlow], folder: Path, about: Record, readme: str | None, mark: str) -> None:
    from speechgru.lab.inspection.curves import gradient_picture

    cells = []
    for flow in flows:
        shares = {name: flow.quantile(share).tolist() for name, share in (("median", 0.5), ("p10", 0.1), ("p90", 0.9))}
        cells.append({"name": flow.name, "frame_s": flow.frame_s, "half_lag": flow.half_lag, **shares})
    write_json(folder / "gradients.json", {**about, "cells": cells})
    write(folder / "gradients.png", gradient_picture, flows)
    lags = flows[0].norms.shape[1] - 1
    shown = sorted({lag for lag in (1, 5, 10, 20, 50, 100, 200, 500, 1000) if lag < lags} | {lags})
    rows = [[flow.name, *(f"{flow.quantile(0.5)[lag]:.2g}" for lag in shown)] for flow in flows]
    _print(["gradient left at lag", *map(str, shown)], rows, 1, readme, mark)
    print(folder / "gradients.json", folder / "gradients.png", sep="\n")


def _memory(arguments: argparse.Namespace) -> int:
    cells = _cells(arguments.cells)
    lags = _numbers("lags", arguments.lags, [50, 100, 200])
    tasks = (arguments.tasks or "adding,copying").split(",")
    given = {name: getattr(arguments, name) for name in ("parameters", "steps", "seed")}

    from speechgru.lab.inspection.curves import problem_picture
    from speechgru.lab.inspection.problems import ProblemConfig, train_on_problem

    settings = {name: value for name, value in given.items() if value is not None}
    runs = [ProblemConfig(task, cell, lag, **settings) for task in tasks for lag in lags for cell in cells]
    folder = folder_of(arguments.output_dir)
    path = folder / "memory.json"
    records = read_records(path)
    wanted = []
    for number, config in enumerate(runs, 1):
        own = vars(config)
        record = next((one for one in records if {key: one.get(key) for key in own} == own), None)
        if record is None:
            print(
                f"{number} of {len(runs)}: {config.task}, lag {config.lag}, {config.cell}", file=sys.stderr, flush=True
            )
            record = train_on_problem(config)
            records.append(record)
            write_json(path, {"runs": records})
        wanted.append(record)
    write(folder / "memory.png", problem_picture, wanted)
    rows = [
        [one["task"], str(one["lag"]), one["cell"], f"{one['hidden_size']}", f"{one['cell_parameters']:,}",
         f"{one['baseline']:.4f}", f"{one['loss']:.4f}", f"{max(0, 100 * (1 - one['loss'] / one['baseline'])):.0f} %",
         str(one["solved_at"] or "no")]
        for one in wanted
    ]  # fmt: skip
    numbers = ["hidden", "parameters", "no memory", "loss", "remembered", "solved at step"]
    _print(["problem", "lag", "cell", *numbers], rows, 3, arguments.readme, "memory")
    print(path, folder / "memory.png", sep="\n")
    return 0


def _trace(recognizer: Recognizer, path: str, error: str, arguments: argparse.Namespace) -> Trace | None:
    """The trace of one recording; None where it cannot be used, after saying why on standard error."""
    from speechgru.audio import read_audio
    from speechgru.lab.inspection import trace

    try:
        if error:
            raise AudioError(error)
        start_s = arguments.start or 0.0
        waveform, rate = read_audio(path, recognizer.sample_rate, start_s=start_s, duration_s=arguments.duration)
        if len(waveform) > MOST_S * rate:
            raise AudioError(f"{len(waveform) / rate:.0f} s, at most {MOST_S:g}; choose with --start and --duration")
        return trace(recognizer, waveform, source_rate=rate)
    except AudioError as failure:
        print(
            f"{printable(one_field(path))}\terror: {printable(brief(path, str(failure)))}", file=sys.stderr, flush=True
        )
        return None


def _print(heading: list[str], rows: list[list[str]], left: int, readme: str | None, mark: str) -> None:
    """Prints a table, whose first ``left`` columns are words, and writes it into ``readme`` if given."""
    from speechgru.evaluation.results import update_readme
    from speechgru.wording import markdown_grid, table

    print(table(heading, rows, left=left))
    if readme:
        lines = [heading, ["---"] * left + ["---:"] * (len(heading) - left), *rows]
        update_readme(readme, markdown_grid(lines), mark)


def _failures(failed: int, items: int) -> int:
    if failed:
        print(f"speechgru inspect: {failed} of {items} failed", file=sys.stderr)
    return int(failed > 0)


def _cells(given: str | None) -> list[str]:
    from speechgru import cells  # noqa: F401  the import registers them
    from speechgru.registry import entry

    names = list(dict.fromkeys((given or "rnn,gru,lstm").split(",")))
    for name in names:
        entry("cell", name)
    return names


def _numbers(option: str, given: str | None, default: list[int], most: int | None = None) -> list[int]:
    if given is None:
        return default
    try:
        values = list(dict.fromkeys(int(word) for word in given.split(",")))
    except ValueError:
        values = []
    if not values or min(values) < 1 or (most is not None and len(values) > most):
        wanted = "a whole number" if most == 1 else "whole numbers with commas between"
        raise ConfigError(f"--{option} {given}: {wanted}, at least 1")
    return values


def _finite(value: float) -> float | None:
    """JSON knows no infinity: a unit that never forgets has no half-life."""
    return float(value) if value < float("inf") else None
