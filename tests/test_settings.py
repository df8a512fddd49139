"""Every setting explained: nothing left out, what is stored is what the dataclasses say, help that costs no torch."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from omegaconf import OmegaConf

from speechgru.cli import main
from speechgru.config import compose_untyped, described
from speechgru.settings import STORED, Setting, describe, entry_of, known_settings

ROOT = Path(__file__).resolve().parent.parent
ALL = described()
SHIFT = ["probability", "max_ms"]


def page_writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("settings_page", ROOT / "scripts" / "settings_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_setting_is_explained() -> None:
    """A field without an entry under Attributes is one that nobody can look up."""
    assert [f"{one.of}: {one.key}" for one in ALL if not one.text] == []
    assert len({(one.key, one.of) for one in ALL}) == len(ALL)


def test_what_is_stored_is_what_the_dataclasses_say() -> None:
    """Both are written by scripts/settings_page.py; run it after a change of a setting or its docstring."""
    assert known_settings() == ALL
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert page == page_writer().page(ALL)
    rows = re.findall(r"^\| `([\w.]+)` \|", page, re.MULTILINE)
    assert rows == [one.key for one in ALL if one.of == "train"] + [one.key for one in ALL if one.of == "evaluate"] + [
        one.key for one in ALL if "=" in one.of
    ]


@pytest.mark.parametrize(
    ("root", "words"),
    [
        ("train", ["data=folder"]),
        ("train", ["data=an4", "features=mfcc", "encoder=latency_controlled", "head=ctc", "units=phones", "cell=lstm"]),
        ("evaluate", ["decoder=beam"]),
    ],
)
def test_defaults_are_those_of_a_run(root: str, words: list[str]) -> None:
    """Oracle: what Hydra composes of the same choices; every default written out changes nothing, another one does."""
    config = compose_untyped(root, words)
    choices = {f"{group}={option}" for group, option in config.hydra.runtime.choices.items()}
    own = [one for one in ALL if one.of in {root, *choices}]
    for one in own:
        if one.kind.startswith("choice") and f"{one.key}=" not in " ".join(words):
            group = "data@extra_data" if one.key == "extra_data" else one.key
            assert one.default == (config.hydra.runtime.choices[group] or "null")
    written = [f"{one.key}={one.default}" for one in own if one.default and not one.kind.startswith("choice")]
    assert len(written) > 8
    more = "batch_size=7" if root == "evaluate" else "trainer.epochs=7"
    plain = [
        {**OmegaConf.to_container(one), "hydra": None}  # type: ignore[dict-item]
        for one in (config, compose_untyped(root, words + written), compose_untyped(root, [*words, *written, more]))
    ]
    assert plain[1] == plain[0]
    assert plain[2] != plain[0]


def test_entries_of_docstrings() -> None:
    """Several names, lines that go on, other sections, a parent's entries, roles and double backquotes."""

    @dataclasses.dataclass
    class Parent:
        """Some settings.

        Attributes:
            low, high: in Hz, ``low`` is
                below ``high``: see :class:`speechgru.cells.GRU`.
            left: of the parent.
        """

        low: float = 1.0
        high: float = 2.5
        left: int = 0

    @dataclasses.dataclass
    class Child(Parent):
        """Others.

        Attributes:
            left: of the child.
            silent: \\|x\\|.

        Raises:
            nothing: here.
        """

        silent: bool = True
        nothing: int = 0

    entries = {name: entry_of(Child, name) for name in ("low", "high", "left", "silent", "nothing")}
    band = "in Hz, `low` is below `high`: see `GRU`."
    assert entries == {"low": band, "high": band, "left": "of the child.", "silent": "|x|.", "nothing": ""}
    assert describe({"train": Child}, {}, {"train": {"left": "7"}})[1:3] == [
        Setting("high", "train", "number", "2.5", band),
        Setting("left", "train", "whole number", "7", "of the child."),
    ]


@pytest.mark.parametrize("root", ["train", "evaluate"])
def test_help_is_quick_and_says_what_to_type(root: str) -> None:
    """Oracle: sys.modules of a fresh interpreter, which must know none of the heavy libraries."""
    code = (
        f"import sys; from speechgru.cli import main; code = main(['{root}', '--help']); "
        "heavy = {'torch', 'librosa', 'hydra', 'omegaconf', 'numpy'} & set(sys.modules); sys.exit(code or bool(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: speechgru {root} ")
    assert "powered by" not in done.stdout
    options = {one.of.partition("=")[2] for one in ALL if "=" in one.of and one.of.split("=")[0] in ("data", "decoder")}
    assert {*options, "greedy"} - {"beam", "flashlight", "greedy"} <= set(re.findall(r"\w+", done.stdout))
    assert max(map(len, done.stdout.splitlines())) <= 120
    common = re.findall(r"^  ([a-z_.]+)=\S* +\S", done.stdout, re.MULTILINE)
    assert len(common) >= 9
    for name in common:
        assert any(one.key == name for one in ALL)


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (["trainer.gradient_clip"], ["trainer.gradient_clip"]),
        (["mask"], ["augment.spectrogram.time_masks", "augment.spectrogram.frequency_masks"]),
        (["cell=sru"], ["cell.update_bias", "cell.highway_bias"]),
        (
            ["augment.sh*", "schedule=constant"],
            ["augment.shift.probability", "augment.shift.max_ms", "schedule.warmup"],
        ),
        (["nesterov"], ["optimizer.nesterov"]),
        (["1710.09412"], ["trainer.mixup"]),
    ],
)
def test_settings_are_explained_by_pattern(
    words: list[str], keys: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Names, choices, globs, and where no name fits the texts."""
    assert main(["settings", *words]) == 0
    out = capsys.readouterr().out
    assert re.findall(r"^(\S+)  \(of ", out, re.MULTILINE) == keys
    text = next(one.text for one in ALL if one.key == keys[0])
    assert " ".join(text.replace("`", "").split()) in " ".join(out.split())


def test_settings_alone_name_them_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings"]) == 0
    out = capsys.readouterr().out
    assert len(re.findall(r"[\w.]+(?=,|$)", out, re.MULTILINE)) >= len(ALL)
    assert main(["settings", "leaning_rate"]) == 2
    assert "did you mean optimizer.learning_rate?" in capsys.readouterr().err


def test_stored_settings_are_a_setting_a_line() -> None:
    """So that two changes of settings meet in a line and not in the file."""
    assert len(STORED.read_text(encoding="utf-8").splitlines()) == len(ALL) + 2
