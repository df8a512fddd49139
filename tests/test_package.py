"""What gets installed, and the scripts. Oracles: git's list of files, an empty folder, bash."""

import configparser
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ["scripts/install", "scripts/quickstart", "scripts/test", "scripts/lock", ".ci/run"]


def tracked() -> list[str]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    return subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of this checkout."""
    pytest.importorskip("hatchling", reason="needs the extra dev: scripts/test")
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (found,) = folder.glob("*.whl")
    return found


def test_the_wheel_holds_the_package_and_its_yaml_and_nothing_else(wheel):
    """Oracle: the files git tracks."""
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    source = tracked()
    expected = {name for name in source if name.startswith("speechgru/")}
    expected |= {f"speechgru/{name}" for name in source if name.startswith(("conf/", "recipes/"))}
    assert expected <= inside
    untracked = {name for name in inside if not name.startswith("speechgru/")} | {
        name for name in inside if re.search(r"__pycache__|\.pyc$|\.(flac|wav|jsonl|log)$", name)
    }
    assert not untracked


def test_the_wheel_declares_licence_python_and_command(wheel):
    """Oracle: the metadata as pip reads it."""
    with zipfile.ZipFile(wheel) as archive:
        (info,) = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        metadata = archive.read(f"{info}/METADATA").decode()
        commands = configparser.ConfigParser()
        commands.read_string(archive.read(f"{info}/entry_points.txt").decode())
        assert archive.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert commands["console_scripts"]["speechgru"] == "speechgru.cli:main"
    assert "License-Expression: Apache-2.0" in metadata
    requires = re.search(r"^Requires-Python: (.*)$", metadata, re.M)[1]
    assert set(requires.split(",")) == {">=3.11", "<3.14"}
    assert re.search(r"^Requires-Dist: torch>=2.11$", metadata, re.M), "the core runs with newer ones"


def test_the_wheel_composes_a_run_in_an_empty_folder(wheel, tmp_path):
    """Oracle: the recipe in the checkout; nothing of the checkout is on the path."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    empty = tmp_path / "empty"
    empty.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "PYTHONSAFEPATH": "1"}
    code = (
        "import speechgru, sys; from speechgru.cli import main; print(speechgru.__file__); sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "train", "recipe=synth_digits", "--cfg", "job"],
        cwd=empty,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path / "site"))
    assert "name: synth_digits" in done.stdout
    assert "voices: 150" in done.stdout
    assert not list(empty.iterdir())


def test_constraints_pin_everything_the_project_asks_for():
    """Oracle: pyproject.toml. What is not pinned would differ from machine to machine."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    pins = re.findall(r"^([a-z0-9-]+)==", (ROOT / "constraints.txt").read_text("utf-8"), re.M)
    assert {re.match(r"[\w-]+", name)[0] for name in wanted} <= set(pins)
    # pip refuses a constraints file with these.
    assert not re.search(r"^(-|\S+\[|\S+ @)", (ROOT / "constraints.txt").read_text("utf-8"), re.M)


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_executable_and_sound(script):
    """Oracle: bash's own parser, the mode git keeps."""
    subprocess.run(["bash", "-n", str(ROOT / script)], check=True)
    assert os.access(ROOT / script, os.X_OK)
    assert (ROOT / script).read_text().startswith("#!/usr/bin/env bash\n")


@pytest.fixture
def clone(tmp_path) -> Path:
    """A checkout whose programs only write down how they were called."""
    folder = tmp_path / "a clone"
    for name in [*SCRIPTS, "pyproject.toml", "constraints.txt"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


def fake(path: Path, body: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/usr/bin/env bash\n{body}\n")
    path.chmod(0o755)


def run(script: Path, *arguments: str, path: Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The script with nothing but ``path`` and the system's programs to call, and no uv."""
    return subprocess.run(
        [str(script), *arguments],
        cwd=cwd,
        env={"PATH": f"{path}:/usr/bin:/bin", "HOME": str(path), **environment},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def programs(tmp_path, clone) -> Path:
    """A folder for the PATH with a uv that makes a pretended .venv and logs what it is asked to install."""
    folder = tmp_path / "programs"
    body = f"""echo "uv $*" >>"{tmp_path}/log"
if [ "$1" = venv ]; then
    mkdir -p .venv/bin
    ln -s "{sys.executable}" .venv/bin/python
fi
if [ "$1" = pip ] && [ -e "{tmp_path}/offline" ]; then exit 2; fi"""
    fake(folder / "uv", body)
    return folder


def test_install_does_its_work_once(clone, programs, tmp_path):
    """Oracle: the calls a recording uv receives, after each thing that may change."""
    log = tmp_path / "log"

    def calls(*extras: str) -> list[str]:
        log.write_text("")
        done = run(clone / "scripts/install", *extras, path=programs, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return [" ".join(line.split()[:2]) + line[line.rfind(" ") :] for line in log.read_text().splitlines()]

    assert calls("synth") == ["uv venv .venv", "uv pip .[synth]"]
    assert calls("synth") == []
    assert calls("dev", "synth") == ["uv pip .[dev,synth]"]
    assert calls("synth") == []
    assert calls("log") == ["uv pip .[dev,log,synth]"]
    with (clone / "constraints.txt").open("a") as file:
        file.write("# changed\n")
    assert calls("synth") == ["uv pip .[dev,log,synth]"]
    assert calls("synth") == []
    (clone / ".venv/bin/python").unlink()
    assert calls("synth") == ["uv venv .venv", "uv pip .[synth]"]


def test_an_installation_that_failed_is_tried_again(clone, programs, tmp_path):
    """Oracle: the calls a recording uv receives."""
    (tmp_path / "offline").touch()
    assert run(clone / "scripts/install", "synth", path=programs, cwd=tmp_path).returncode == 2
    (tmp_path / "offline").unlink()
    (tmp_path / "log").write_text("")
    assert run(clone / "scripts/install", "synth", path=programs, cwd=tmp_path).returncode == 0
    assert "uv pip" in (tmp_path / "log").read_text()


def test_no_fitting_python_is_said(clone, tmp_path):
    """Oracle: the message; every Python of the PATH is too old."""
    programs = tmp_path / "old"
    for name in ("python", "python3", "python3.11", "python3.12", "python3.13"):
        fake(programs / name, "exit 1")
    done = run(clone / "scripts/install", "synth", path=programs, cwd=tmp_path)
    assert done.returncode == 1
    assert "no Python 3.11, 3.12 or 3.13 with venv was found" in done.stderr
    assert not (clone / ".venv").exists()


def test_quickstart_gives_the_commands_in_order_from_any_folder(clone, tmp_path):
    """Oracle: the calls a recording speechgru receives; the second time the run is resumed, and a failure ends it."""
    fake(clone / "scripts/install", 'echo "install $*" >>calls')
    fake(clone / ".venv/bin/speechgru", 'echo "speechgru $*" >>calls; [ ! -e broken ] || [ "$1" != train ] || exit 3')
    clip = clone / "data/synth_digits/test/seven/a.flac"
    clip.parent.mkdir(parents=True)
    clip.touch()
    done = run(clone / "scripts/quickstart", path=tmp_path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    expected = [
        "install synth",
        "speechgru warm-up --training gru",
        "speechgru prepare synth",
        "speechgru train recipe=synth_digits run_dir=runs/synth_digits",
        "speechgru evaluate model=runs/synth_digits/model split=test",
        "speechgru classify -m runs/synth_digits/model data/synth_digits/test/seven/a.flac",
    ]
    assert (clone / "calls").read_text().splitlines() == expected
    for word in ("runs/synth_digits/model", "report.html", "curves.png", "Next"):
        assert word in done.stdout
    (clone / "calls").unlink()
    (clone / "runs/synth_digits").mkdir(parents=True)
    (clone / "broken").touch()
    assert run(clone / "scripts/quickstart", path=tmp_path, cwd=tmp_path).returncode == 3
    assert (clone / "calls").read_text().splitlines() == [*expected[:3], f"{expected[3]} resume=true"]


def test_test_script_runs_every_step_and_fails_if_one_does(clone, tmp_path):
    """Oracle: the calls a recording Python receives; all steps run although one fails."""
    fake(clone / "scripts/install", 'echo "install $*" >>calls')
    fake(
        clone / ".venv/bin/python", 'echo "$* threads=$OMP_NUM_THREADS" >>calls; [ ! -e broken ] || [ "$3" != --check ]'
    )
    done = run(clone / "scripts/test", "tests/test_a.py", "-k", "x y", path=tmp_path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    expected = ["ruff check .", "ruff format --check .", "mypy", "pytest -n 2 --dist loadfile tests/test_a.py -k x y"]
    lines = (clone / "calls").read_text().splitlines()
    assert lines == ["install dev docs log synth", *(f"-m {one} threads=1" for one in expected)]
    fake(clone / ".venv/bin/python", 'echo "$2" >>calls; [ "$2" != mypy ]')
    done = run(clone / ".ci/run", path=tmp_path, cwd=tmp_path)
    assert done.returncode == 1
    assert "failed: types" in done.stdout
    assert (clone / "calls").read_text().splitlines()[-4:] == ["ruff", "ruff", "mypy", "pytest"]


def test_continuous_integration_finds_the_recordings(clone, tmp_path):
    """Oracle: the environment a recording scripts/test sees."""
    fake(clone / "scripts/test", 'echo "data=${SPEECHGRU_DATA:-none} $*"')
    assert run(clone / ".ci/run", "-x", path=tmp_path, cwd=tmp_path).stdout == "data=none -x\n"
    (tmp_path / "shared/data").mkdir(parents=True)
    assert run(clone / ".ci/run", path=tmp_path, cwd=tmp_path).stdout.strip() == f"data={tmp_path}/shared/data"


def test_no_file_names_a_folder_of_one_machine():
    """Oracle: the text of all tracked files; only .ci/run may look beside the checkout."""
    beside = re.compile(r"\.\./shared|/home/[a-z]|/Users/[a-z]")
    for name in tracked():
        path = ROOT / name
        if (
            name in (".ci/run", "tests/test_package.py")
            or not path.is_file()
            or path.suffix in (".png", ".safetensors")
        ):
            continue
        found = beside.search(path.read_bytes().decode("utf-8", "replace"))
        assert not found, f"{name}: {found[0]}"
