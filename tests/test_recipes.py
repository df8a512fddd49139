"""The recipes and everything written about them: every command composes, every table is the one its results make."""

from __future__ import annotations

import argparse
import copy
import functools
import importlib
import json
import math
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hydra.core.config_store import ConfigStore

from speechgru import registry
from speechgru.cli import COMMANDS, main
from speechgru.commands import corpus_settings
from speechgru.commands.recipes import recipe_names
from speechgru.commands.tune_search import read_search
from speechgru.config import compose
from speechgru.data.corpora import speech_commands
from speechgru.evaluation.results import END, START, aggregate, markdown_table, read_results
from speechgru.lab.bench.selection import CHOSEN, HEADING, chosen_rows
from speechgru.model_folder import RecognizerConfig
from speechgru.recognizer import Recognizer, load
from speechgru.registry import build, entry, from_plain
from speechgru.shipped import conf_dir, model_names, recipes_dir
from speechgru.tokens import Tokens

ROOT = Path(__file__).resolve().parent.parent
TRAINS = [path for path in recipes_dir().glob("*/run.sh") if "speechgru train" in path.read_text(encoding="utf-8")]
OWN = "own_recordings"  # of whoever trains; test_own_recordings.py tests it
COMPARISONS = ["cells", "latency"]  # many runs of a recipe each; test_comparison.py and test_latency.py test them
LISTS = ["english_phones"]  # learned from lists that one writes oneself
FOLDERS = sorted(path.parent.name for path in TRAINS if path.parent.name not in COMPARISONS)
NOT_RUN = [
    "an4_anywhere",
    "keywords",
    "librispeech_100",
    "librispeech_960",
    "speech_commands_12",
    "speech_commands_35",
    "timit",
    "wake_word",
]
SHOWN = ["commands", "an4", "speech_commands_8", "fsdd", "fsdd_unseen"]  # in README
SHOWN_RECORDINGS = {
    "right.wav": "speech_commands/right/0d53e045_nohash_0.flac",
    "seven.wav": "speech_commands/seven/97f4c236_nohash_2.flac",
    "stop.wav": "speech_commands/stop/aef8dcf5_nohash_0.flac",
    "memo.wav": "an4/an4test_clstk/marh/cen8-marh-b.flac",
}
ONE_SEED = ["arabic_digits", "esc10", "librispeech_960", "read_english", "speaker"]
SPEAKERS = ["george", "jackson", "lucas", "nicolas", "theo", "yweweler"]

# A program that notes its arguments and leaves what training would.
RECORDER = """#!/usr/bin/env bash
printf '%s\\0' "$@" >>"$RECORDED"
printf '\\n' >>"$RECORDED"
[ "$1" = train ] || exit 0
for word in "$@"; do
    case "$word" in run_dir=*) mkdir -p "${word#run_dir=}/model"; touch "${word#run_dir=}/model/config.yaml" ;; esac
done
"""


@functools.cache
def _composed(root: str, *overrides: str) -> Any:
    return compose(root, list(overrides))


def composed(words: list[str]) -> Any:
    """The typed config of the command line ``speechgru words`` (its options, where the command is not Hydra's)."""
    command, *rest = words
    assert command in COMMANDS, f"no such command: {words}"
    if command in ("train", "evaluate"):
        flags = [word for word in rest if word.startswith("-")]
        assert set(flags) <= {"--multirun", "-m", "--cfg"}, f"flags: {words}"
        plain = [word for word in rest if "=" not in word and not word.startswith("-") and word != "job"]
        if command == "train" and plain and re.fullmatch(r"runs/tune/\w+/recipe/\w+_tuned\.yaml", plain[0]):
            plain[0] = Path(plain[0]).stem.removesuffix("_tuned")  # what a search leaves stands for what it searched
        # The launchers of jobs are packages of their own.
        overrides = [
            word for word in rest if "=" in word and not word.startswith(("hydra/launcher=", "hydra.launcher."))
        ]
        overrides = [*(f"{'recipe' if command == 'train' else 'model'}={word}" for word in plain), *overrides]
        if {"--multirun", "-m"} & set(flags):  # the first of each list stands for the others
            overrides = [re.sub(r"=([^\[{,]+),.*", r"=\1", word) for word in overrides if "=glob(" not in word]
        return _composed(command, *overrides)
    if command == "tune":
        return read_search([word for word in rest if word != "&"])[0]
    parser = argparse.ArgumentParser(allow_abbrev=False)
    module = importlib.import_module(f"speechgru.commands.{command.replace('-', '_')}")
    module.add_arguments(parser)
    parsed = parser.parse_args(rest)
    if command == "prepare" and parsed.corpus:
        settings = corpus_settings.settings_of(parsed.settings, entry("data", parsed.corpus).config)
        return from_plain({"name": parsed.corpus, **settings}, "data")
    return parsed


def commands_in(text: str) -> Iterator[list[str]]:
    """The words of every line ``speechgru ...`` of ``text``, indented, in a fence or in a comment of a script."""
    text = re.sub(r"\\\n\s*", "", text)
    for line in text.splitlines():
        found = re.match(r"[#\s$]*(?:torchrun .*-m speechgru\.cli|speechgru) ([a-z-]+ .*|[a-z-]+)$", line)
        if found and line[0] in "$# \ts":
            yield shlex.split(found[1], comments=True)


def between_marks(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    assert text.count(START) == text.count(END) == 1, f"{path}: one pair of {START} and {END}"
    return text.partition(START)[2].partition(END)[0].strip()


def recorded(script: Path, folder: Path, *arguments: str) -> list[list[str]]:
    """The words of every ``speechgru`` command that ``script`` runs, in order."""
    programs = folder / "programs"
    programs.mkdir(parents=True)
    (programs / "speechgru").write_text(RECORDER)
    (programs / "speechgru").chmod(0o755)
    (folder / "work").mkdir()
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "RECORDED": str(folder / "recorded")}
    done = subprocess.run(
        ["bash", str(script), *arguments], cwd=folder / "work", env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return [line.split("\0")[:-1] for line in (folder / "recorded").read_text().splitlines()]


@pytest.mark.parametrize("name", [name for name in recipe_names() if name != OWN])
def test_recipe_builds_its_model(name: str) -> None:
    """Oracle: the rates and labels of the corpora; the model takes a waveform of that rate and scores those labels."""
    config = _composed("train", f"recipe={name}")
    corpus = build("data", config.data)
    labels = ["ann", "bo"] if name == "speaker" else corpus.labels()  # those of speaker are found in the recordings
    assert (labels is None) == (config.units is not None)
    parts = RecognizerConfig(config.features, config.encoder, config.head, units=config.units)
    recognizer = Recognizer(parts, Tokens(labels or ["<blank>", "A"]))
    assert recognizer.sample_rate == corpus.sample_rate
    if labels is None:
        # No slower than what is written follows one another: words, or letters and phones.
        assert recognizer.frame_s <= (0.1 if type(recognizer.units).__name__ == "Words" else 0.04)
        return
    assert len(set(labels)) == len(labels) >= 2
    if config.extra_data is not None:
        extra = build("data", config.extra_data)
        assert extra.sample_rate == corpus.sample_rate
        assert set(extra.labels()) & set(labels)
    if name == "speech_commands_8":
        assert recognizer.parameter_count() <= 300_000
    if "_silence_" in labels:  # each clip normalised by itself, silence is as loud as speech
        assert config.features.normalization.name in ("global", "sliding", "none")


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_opens_with_what_it_is_and_its_command(name: str) -> None:
    """Oracle: the name of the file; every command of the comment composes and the training is of this recipe."""
    first, what, *rest = (conf_dir() / "recipe" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    assert first == "# @package _global_"
    assert re.fullmatch(r"# [A-Z].+[^:]", what)
    comment = "\n".join(rest).partition("\ndefaults:")[0]
    found = list(commands_in(comment))
    assert [words[:2] for words in found if words[0] == "train"] == [["train", f"recipe={name}"]]
    for words in found:
        composed(words)


@pytest.mark.parametrize("name", [name for name in recipe_names() if name != OWN])
def test_recipe_is_run_by_the_script_of_a_folder(name: str) -> None:
    """Oracle: the text of every run.sh."""
    scripts = {folder: (recipes_dir() / folder / "run.sh").read_text() for folder in [*FOLDERS, *COMPARISONS]}
    assert [folder for folder in scripts if re.search(rf"\brecipe={name}(?![\w-])", scripts[folder])]
    assert set(FOLDERS) <= set(recipe_names())


@pytest.mark.parametrize("folder", LISTS)
def test_script_that_takes_lists_is_sound(folder: str, tmp_path: Path) -> None:
    """Oracle: bash itself with a program that notes its words: it trains, then measures that."""
    train, evaluate = recorded(recipes_dir() / folder / "run.sh", tmp_path, "some/where")
    trained, measured = composed(train), composed(evaluate)
    assert (trained.name, trained.resume) == (folder, True)
    assert {Path(path).parent for path in (trained.data.train, trained.data.valid, trained.data.test)} == {
        Path("some/where")
    }
    assert (measured.model, measured.split) == (f"{trained.run_dir}/model", "test")
    assert Path(measured.recipe_dir).resolve() == recipes_dir() / folder


@pytest.mark.parametrize("folder", [name for name in FOLDERS if name not in LISTS])
def test_script_is_sound(folder: str, tmp_path: Path) -> None:
    """Oracle: bash itself with a program that notes what it is called with; then every command is composed.

    Each model is trained with its seed into a folder of its own, and all of them are evaluated at once, and tuned at
    once where a language model is made; what is prepared is what is trained on; with a folder given nothing is
    downloaded and the rest is the same.
    """
    script = recipes_dir() / folder / "run.sh"
    assert os.access(script, os.X_OK)
    assert script.read_text().startswith("#!/usr/bin/env bash\n")
    found = recorded(script, tmp_path / "default")
    trained = [dict(word.split("=", 1) for word in words[1:]) for words in found if words[0] == "train"]
    # One run of each recipe is composed, the others differ in these settings alone.
    varying = {"seed", "run_dir", "data.held_out_speaker", "data.fold"}
    configs = {}
    for run in trained:
        first = next(one for one in trained if one["recipe"] == run["recipe"])
        assert {key: run[key] for key in run if key not in varying} == {
            key: first[key] for key in first if key not in varying
        }
        assert (run["data.root"], run["resume"]) == (trained[0]["data.root"], "true")
        if run["recipe"] not in configs:
            configs[run["recipe"]] = composed(["train", *(f"{key}={value}" for key, value in run.items())])
            assert configs[run["recipe"]].name == run["recipe"]
    assert folder in configs
    held_out = [run.get("data.held_out_speaker") or run.get("data.fold", "") for run in trained]
    models = {(run["recipe"], part, int(run["seed"])) for run, part in zip(trained, held_out, strict=True)}
    groups = {
        "fsdd": {("fsdd", ""), *(("fsdd_unseen", speaker) for speaker in SPEAKERS)},
        "esc10": {("esc10", fold) for fold in "12345"},
    }.get(folder, {(folder, "")})
    seeds = (0,) if folder in ONE_SEED else (0, 1, 2)
    assert models == {(*group, seed) for group in groups for seed in seeds}
    assert len(trained) == len(models) == len({run["run_dir"] for run in trained})
    assert found[-1][0] == "evaluate"
    by_name = {name: [composed(words) for words in found if words[0] == name] for name in COMMANDS}
    root = trained[0]["data.root"]
    for evaluation in by_name["evaluate"]:
        assert evaluation.split == "test"
        assert Path(evaluation.recipe_dir).resolve() == script.parent.resolve()
        assert list(evaluation.model) == [f"{run['run_dir']}/model" for run in trained]
        assert (evaluation.data.root if evaluation.data else evaluation.root) == root
    for learned, tuned in zip(by_name["lm"], by_name["tune-lm"], strict=True):
        assert tuned.model == list(evaluation.model)
        assert (tuned.lm, tuned.root, tuned.split) == (learned.output, root, "valid")
        assert learned.split in (None, "train")
        assert f"root={root}" in learned.text
        assert learned.model in tuned.model
    prepared = by_name["prepare"]
    assert {words[0] for words in found} <= {"prepare", "train", "evaluate", "compare-speakers", "lm", "tune-lm"}
    for config in configs.values():
        assert config.data.root == root
        assert (config.data.root, type(config.data)) in [(one.root, type(one)) for one in prepared]
        extra = config.extra_data
        # A synthetic corpus is made to its settings, one of recordings has the settings in how it is read.
        assert extra is None or extra in prepared or (extra.root == root and not hasattr(extra, "voices"))
    elsewhere = recorded(script, tmp_path / "elsewhere", "some/where")
    swapped = [[word.replace(root, "some/where") for word in words] for words in found]
    assert elsewhere == [words for words in swapped if not (words[0] == "prepare" and "root=some/where" in words)]
    assert len(elsewhere) == len(found) - 1


@pytest.mark.parametrize("folder", FOLDERS)
def test_readme_has_the_table_its_results_make(folder: str) -> None:
    """Oracle: markdown_table of results.json: no figure is written by hand."""
    results = recipes_dir() / folder / "results.json"
    readme = recipes_dir() / folder / "README.md"
    table = markdown_table(aggregate(read_results(results))) if results.is_file() else ""
    assert between_marks(readme) == table
    says_not_run = "Not yet run on the full set" in readme.read_text()
    assert says_not_run == (folder in NOT_RUN and not table)


@pytest.mark.parametrize("folder", FOLDERS)
def test_readme_of_a_recipe_says_how(folder: str) -> None:
    """Its commands compose, its links lead somewhere, its parts are there."""
    readme = recipes_dir() / folder / "README.md"
    text = readme.read_text(encoding="utf-8")
    for part in ("Task", "Data", "Model", "Results", "Commands", "Limits"):
        assert f"**{part}.**" in text
    assert "speechgru prepare" in text
    assert "licence" in text or "CC BY" in text
    found = list(commands_in(text))
    assert {"train", "evaluate", "prepare"} <= {words[0] for words in found}
    for words in found:
        composed(words)
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (ROOT / "recipes" / folder / link).exists(), link


@pytest.fixture(scope="module")
def words_of_tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree in the layout of Speech Commands: a tone for each of the 35 words, 4 + 1 + 1 clips, lists, noise."""
    root = tmp_path_factory.mktemp("speech_commands")
    rng = np.random.default_rng(0)
    lists: dict[str, list[str]] = {"validation_list.txt": [], "testing_list.txt": []}
    for index, word in enumerate(speech_commands.ALL):
        (root / word).mkdir()
        for number in range(6):
            name = f"{word}/{index * 6 + number:08x}_nohash_0.wav"
            tone = 0.3 * np.sin(2 * np.pi * 200 * 1.09**index * np.arange(4000) / 16000)
            soundfile.write(root / name, tone + 0.01 * rng.standard_normal(4000), 16000)
            if number >= 4:
                lists[list(lists)[number - 4]].append(name)
    for name, lines in lists.items():
        (root / name).write_text("\n".join(lines) + "\n")
    (root / speech_commands.NOISE).mkdir()
    soundfile.write(root / speech_commands.NOISE / "hiss.wav", 0.1 * rng.standard_normal(40000), 16000)
    return root


@pytest.mark.parametrize("name", [name for name in NOT_RUN if name.startswith("speech_commands")])
def test_recipe_not_yet_run_trains_and_evaluates(
    name: str, words_of_tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: the clips of the tree, counted here: 10 % unknown and silence, one test clip a word."""
    monkeypatch.chdir(tmp_path)
    small = ["encoder.hidden_size=8", "trainer.epochs=1", "trainer.device=cpu"]
    small += ["front_end.channels=[4]", "front_end.stride_time=[2]", "front_end.stride_feature=[4]"]
    root = f"data.root={words_of_tones}"
    assert main(["train", f"recipe={name}", root, "run_dir=run", "trainer.batch_size=8", *small]) == 0
    assert main(["evaluate", "model=run/model", f"root={words_of_tones}", "device=cpu", "recipe_dir=."]) == 0
    (run,) = json.loads((tmp_path / "results.json").read_text())["runs"]
    expected = dict.fromkeys(speech_commands.ALL, 1)
    if name == "speech_commands_12":
        expected = dict.fromkeys(speech_commands.COMMANDS, 1) | dict.fromkeys(
            ("_unknown_", "_silence_"), math.ceil(10 * 0.1)
        )
        recognizer = load(tmp_path / "run" / "model")
        assert torch.isfinite(recognizer.features.mean).all()
        assert recognizer.features.mean.abs().min() > 0  # taken from the training set
    assert {label: score["support"] for label, score in run["per_class"].items()} == expected
    assert [sum(row) for row in run["confusion"]["counts"]] == list(expected.values())
    assert (run["model"], run["n"], run["failed"]) == (name, sum(expected.values()), 0)
    assert "license: cc-by-4.0" in (tmp_path / "run" / "model" / "card.md").read_text()


def blocks(language: str, page: str = "README.md") -> list[str]:
    """The fenced blocks of a page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


PAGES = [
    path.relative_to(ROOT).as_posix() for path in (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")))
]


@pytest.mark.filterwarnings(  # in the code of torch's compiler
    "ignore:.torch.jit.script_method:DeprecationWarning",
    "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning",
)
@pytest.mark.parametrize(
    ("page", "number"), [(page, number) for page in PAGES for number in range(len(blocks("python", page)))]
)
def test_python_of_the_pages_runs(page: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: Python itself, with a recording called clip.wav and no other file at hand."""
    code = blocks("python", page)[number]
    if "speechgru.load(" in code and not model_names():
        pytest.skip("no model ships with this version")
    monkeypatch.chdir(tmp_path)
    _composed("train", "recipe=synth_digits")  # what Hydra and the package register once is there before it is copied
    known = {family: dict(entries) for family, entries in registry.families().items()}
    monkeypatch.setattr(registry, "_FAMILIES", known)  # what a block registers goes with the test
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "clip.wav", 0.1 * rng.standard_normal(16000), 16000)
    torch.manual_seed(0)
    # "from __future__ import annotations" of this file must not reach the block.
    exec(compile(code, page, "exec", dont_inherit=True), {"__name__": f"block_{number}"})
    if '@register("schedule"' in code:
        monkeypatch.setattr(ConfigStore.instance(), "repo", copy.deepcopy(ConfigStore.instance().repo))
        words = re.search(r"`(\w+=\w+ \w+\.\w+=[\d.]+)`", (ROOT / page).read_text())[1].split()
        name, (setting, value) = words[0].split("=")[1], words[1].split("=")
        config = compose("train", ["recipe=synth_digits", *words])
        assert registry.name_of("schedule", config.schedule) == name
        assert getattr(config.schedule, setting.split(".")[1]) == float(value)
        factors = [registry.build("schedule", config.schedule, 100)(step) for step in (0, 9, 10, 20)]
        assert factors == [1, 1, 0.5, 0.25]  # halved after every 10 of 100 steps


def test_commands_of_the_pages_compose() -> None:
    """Oracle: the parsers and Hydra. The recipe that is not there yet is left out."""
    everything = [block for page in PAGES for kind in ("sh", "console") for block in blocks(kind, page)]
    found = [words for block in everything for words in commands_in(block)]
    assert {"train", "evaluate", "classify", "prepare", "recipes", "models"} <= {words[0] for words in found}
    for words in found:
        goes_on = words[0] == "train" and {word.partition("=")[0] for word in words[1:]} == {"run_dir", "resume"}
        if "--config-dir" not in words and not goes_on:  # a run that goes on takes the settings in its folder
            composed(words)
    for program in re.findall(r"^(scripts/\w+)", "\n".join(everything), re.MULTILINE):
        assert os.access(ROOT / program, os.X_OK)


def table_rows(page: str, mark: str) -> list[list[str]]:
    """The cells of the table between two marks of a page, heading and rule included."""
    text = (ROOT / page).read_text(encoding="utf-8").partition(f"<!-- {mark} -->")[2].partition(f"<!-- /{mark} -->")[0]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]


@pytest.mark.parametrize(("page", "names"), [("README.md", SHOWN), ("docs/models-and-recipes.md", [])])
def test_tables_of_results_are_those_the_command_writes(page: str, names: list[str], tmp_path: Path) -> None:
    """Oracle: the command, run on a page beside this one."""
    (tmp_path / page).parent.mkdir(exist_ok=True)
    (tmp_path / page).write_text("<!-- results -->\n<!-- /results -->\n")
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    assert main(["recipes", "results", *names, "--readme", str(tmp_path / page)]) == 0
    written = between_marks(tmp_path / page)
    links = re.compile(r"\]\([^)]*recipes/")
    assert links.sub("](recipes/", written) == links.sub("](recipes/", between_marks(ROOT / page))


def test_readme_is_short_and_its_speed_is_that_of_the_page_on_speed() -> None:
    """Oracle: the rows of docs/speed.md, of which the bench chooses some; both name the machine."""
    readme, page = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/speed.md"))
    assert len(readme.splitlines()) < 220
    heading, _, *rows = table_rows("README.md", "speed")
    assert heading == HEADING
    assert rows == chosen_rows(table_rows("docs/speed.md", "bench"))
    assert len(rows) == len(CHOSEN)
    (machine,) = re.findall(r"<!-- bench -->\n(.*:)\n", page)
    assert f"<!-- speed -->\n{machine}\n" in readme


def test_what_the_readme_shows_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recordings: Path, capsys
) -> None:
    """Oracle: the program, on the recordings of the pack that the README took."""
    monkeypatch.chdir(tmp_path)
    for name, recording in SHOWN_RECORDINGS.items():
        waveform, rate = soundfile.read(recordings / recording)
        soundfile.write(name, waveform, rate)
    (block,) = blocks("console")
    for shown in re.split(r"^\$ speechgru ", block, flags=re.MULTILINE)[1:]:
        command, _, printed = shown.partition("\n")
        assert main(shlex.split(command)) == 0
        assert capsys.readouterr().out == printed


def test_pages_have_true_links_and_map() -> None:
    """Links lead to files; every folder and file of the map is there."""
    for page in PAGES:
        for link in re.findall(r"\]\((?!http|#)([^)#]+)[^)]*\)", (ROOT / page).read_text(encoding="utf-8")):
            assert (ROOT / page).parent.joinpath(link).exists(), f"{page}: {link}"
    (code_map,) = [block for block in blocks("text", "docs/architecture.md") if "speechgru/" in block]
    package = code_map.partition("\nspeechgru/\n")[2]
    named = {word.rstrip("/") for line in package.splitlines() for word in re.findall(r"^  (\S+)", line)}
    there = {
        path.name
        for path in (ROOT / "speechgru").iterdir()
        if (path.is_dir() and any(path.glob("*.py"))) or (path.suffix == ".py" and path.name != "__init__.py")
    }
    assert named - {"models"} == there
