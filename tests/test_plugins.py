"""Components of other installed packages: the pages' examples work as such, and a broken one takes nothing with it."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from speechgru import compiled

ROOT = Path(__file__).resolve().parent.parent


def install(folder: Path, package: str, modules: dict[str, str]) -> None:
    """A package as pip leaves it: its modules, and metadata that announce each as a plugin of its own name."""
    meta = folder / f"{package}-1.0.dist-info"
    meta.mkdir()
    (meta / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package.replace('_', '-')}\nVersion: 1.0\n")
    for name, code in modules.items():
        (folder / f"{package}_{name}.py").write_text(code)
    points = "".join(f"{name} = {package}_{name}\n" for name in modules)
    (meta / "entry_points.txt").write_text(f"[speechgru.components]\n{points}")


def speechgru(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command in a fresh process that finds what is installed in ``folder``, and works there."""
    path = f"{folder}{os.pathsep}{ROOT}"
    command = [sys.executable, "-m", "speechgru.cli", *words]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, check=False
    )


def examples() -> dict[str, str]:
    """The page's Python blocks, by the family of what they register."""
    text = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return {re.search(r'@register\("(\w+)"', block)[1]: block for block in blocks}  # type: ignore[index]


def write_whistles(root: Path) -> None:
    """Rising and falling sweeps of a quarter of a second, 20 to learn from, 8 to choose on, 12 to test on."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 20), ("valid", 8), ("test", 12)):
        (root / split).mkdir(parents=True)
        for take in range(count):
            label = ("down", "up")[take % 2]
            hertz = np.linspace(500, 1500, 2000)[:: 1 if label == "up" else -1]
            wave = 0.3 * np.sin(2 * np.pi * np.cumsum(hertz) / 8000 + rng.uniform(0, 6))
            soundfile.write(root / split / f"ann_{label}_{take}.wav", wave, 8000)


def test_the_examples_of_the_page_train_evaluate_and_classify(tmp_path: Path) -> None:
    """Oracle: the direction of the sweeps; a model that ignores the order of the frames would get half right."""
    install(tmp_path, "whistling", examples())
    write_whistles(tmp_path / "data" / "whistles")
    small = ["features.mels=16", "encoder.hidden_size=16", "encoder.num_layers=1", "head.attention_heads=1"]
    loop = ["trainer.epochs=20", "trainer.batch_size=4", "optimizer.learning_rate=0.01", "trainer.threads=1"]
    components = ["cell=leaky", "cell.leak=0.5", "data=whistles", "schedule=halving", "schedule.every=0.5"]
    done = speechgru(tmp_path, "train", *components, *small, *loop, "run_dir=run", "trainer.device=cpu")
    assert done.returncode == 0, done.stderr
    done = speechgru(tmp_path, "evaluate", "model=run/model", "device=cpu")
    assert done.returncode == 0, done.stderr
    right = int(re.search(r"(\d+) of 12 right", done.stdout)[1])  # type: ignore[index]
    assert right >= 11
    done = speechgru(tmp_path, "classify", "data/whistles/test/ann_up_1.wav", "-m", "run/model", "--device", "cpu")
    assert done.stdout.split("\t")[1] == "up"
    assert "CC BY 4.0" in (tmp_path / "run" / "model" / "card.md").read_text()


def test_the_cell_of_the_page_is_compiled_as_it_is_defined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: its ``advance`` frame by frame in torch, the outputs and all gradients, with lengths, backwards too."""
    assert len(examples()["cell"].splitlines()) < 60, "a cell is more than a page"
    code = re.sub(r"^@register.*\n", "", examples()["cell"], flags=re.MULTILINE)
    (tmp_path / "page_cell.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    torch.manual_seed(0)
    cell = importlib.import_module("page_cell").Leaky(5, 9)
    sequence, lengths = torch.randn(3, 6, 5, requires_grad=True), torch.tensor([6, 0, 4])
    for reverse in (False, True):
        found = []
        for context in (contextlib.nullcontext(), compiled.disabled()):
            with context:
                hidden, final = cell(sequence, lengths, reverse=reverse)
            assert hidden.grad_fn.name().startswith("_Recurrence") == (not found)
            weighted = (hidden * torch.arange(9.0)).sum() + final.square().sum()
            found.append([hidden, final, *torch.autograd.grad(weighted, [sequence, *cell.parameters()])])
        for one, other in zip(*found, strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


BROKEN = {
    "missing": ("import nothing_of_that_name\n", "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
    "leaving": ("raise SystemExit(3)\n", "SystemExit: 3"),
    "taken": (
        "import dataclasses\nfrom speechgru.registry import register\nimport speechgru.cells\n@dataclasses.dataclass\n"
        "class AConfig:\n    a: int = 1\n@register('cell', 'gru', AConfig)\nclass A:\n    pass\n",
        "ConfigError: cell=gru is taken by speechgru.cells.gru.GRU; choose another name",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_one_warning_and_the_rest_works(name: str, tmp_path: Path) -> None:
    """A package that cannot be imported, beside a good one: classify answers, and the good one's cell is there."""
    code, reason = BROKEN[name]
    install(tmp_path, "broken_gates", {name: code})
    install(tmp_path, "good_gates", {"cell": examples()["cell"]})
    write_whistles(tmp_path)
    warning = (
        f"speechgru: the plugin {name} of the package broken-gates (broken_gates_{name}) cannot be imported "
        f"and is left out: {reason}\n"
    )
    done = speechgru(tmp_path, "classify", "test/ann_up_1.wav", "-m", "commands", "--device", "cpu")
    assert (done.returncode, done.stderr) == (0, warning)
    assert done.stdout.startswith("test/ann_up_1.wav\t")
    done = speechgru(tmp_path, "train", "recipe=synth_digits", "cell=leaky", "cell.leak=0.25", "--cfg", "job")
    assert (done.returncode, done.stderr) == (0, warning)
    assert "leak: 0.25" in done.stdout


def test_settings_of_a_plugin_that_hydra_cannot_take(tmp_path: Path) -> None:
    """A dataclass whose types OmegaConf does not know is left out with its module's name; other cells compose."""
    code = examples()["cell"].replace("leak: float = 0.2", "leak: complex = 0.2")
    install(tmp_path, "strange_gates", {"cell": code})
    done = speechgru(tmp_path, "train", "recipe=synth_digits", "--cfg", "job")
    assert done.returncode == 0
    assert done.stderr.startswith(
        "speechgru: the plugin cell=leaky of strange_gates_cell cannot be used and is left out"
    )
    assert len(done.stderr.splitlines()) == 1
    done = speechgru(tmp_path, "train", "recipe=synth_digits", "cell=leaky", "--cfg", "job")
    assert done.returncode == 2
    assert "cell=leaky is not known" in done.stderr.splitlines()[-1]
