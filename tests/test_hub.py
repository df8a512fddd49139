"""Models of the Hub against a server that speaks its protocol: what was pushed is what is loaded."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hub_server import TOKEN, Hub, sha

import speechgru
from speechgru.cli import main
from speechgru.decoding.operating_point import KeywordConfig
from speechgru.errors import ConfigError, ModelError
from speechgru.hub import FILES, fetch, push
from speechgru.model_folder import write_chosen
from speechgru.recognizer import Recognizer
from speechgru.shipped import models_dir

pytest.importorskip("huggingface_hub")


@pytest.fixture
def hub():
    server = Hub()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def run(hub, home, words, token=TOKEN, **environment):
    """A command line of its own: huggingface_hub reads its environment when it is imported."""
    keep = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    ours = {"HF_ENDPOINT": hub.address, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", **environment}
    return subprocess.run(
        [sys.executable, "-m", "speechgru.cli", *map(str, words)],
        env=keep | ours | ({"HF_TOKEN": token} if token else {}),
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_what_was_pushed_is_what_is_loaded(hub, tmp_path):
    """Oracle: the bytes of the folder; a pin stays with its commit, and the cache serves without a Hub."""
    folder = tmp_path / "mine"
    shutil.copytree(models_dir() / "an4", folder)
    (folder / "evil.py").write_text("raise SystemExit('executed')")
    done = run(hub, tmp_path / "home", ["push", folder, "me/mine", "--private"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{hub.address}/me/mine/commit/{sha('me/mine', 1)}"
    (_, pushed) = hub.commits["me/mine"]
    assert hub.private["me/mine"]
    names = {path.name for path in folder.iterdir()} - {"evil.py"}
    assert set(pushed) == names | {"README.md", ".gitattributes"}
    assert all(pushed[name] == (folder / name).read_bytes() for name in names)
    assert b'speechgru.load("hf://me/mine")' in pushed["README.md"]
    assert pushed["README.md"].startswith(b"---\nlanguage:")

    # A second commit, with what nobody asked for: only what a model folder may hold is fetched.
    hub.commits["me/mine"].append({**pushed, "evil.py": b"raise SystemExit", "tokens.txt": b"broken"})
    pinned = f"hf://me/mine@{sha('me/mine', 1)}"
    first = run(hub, tmp_path / "home", ["models", "pack", pinned, tmp_path / "packed", "--half"])
    assert first.returncode == 0, first.stderr
    assert (tmp_path / "packed" / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    cached = {path.name for path in (tmp_path / "home").rglob("snapshots/*/*")}
    assert cached == names
    newest = run(hub, tmp_path / "home", ["models", "pack", "hf://me/mine", tmp_path / "other"])
    assert newest.returncode == 1
    assert "tokens.txt" in newest.stderr
    assert "Traceback" not in newest.stderr

    asked = len(hub.asked)
    offline = run(hub, tmp_path / "home", ["models", "pack", pinned, tmp_path / "third"], HF_HUB_OFFLINE="1")
    assert offline.returncode == 0, offline.stderr
    assert len(hub.asked) == asked


@pytest.mark.parametrize(
    ("address", "environment", "message"),
    [
        ("hf://me/none", {}, "hf://me/none: cannot be fetched (there is no such model)"),
        ("hf://-me/one", {}, "hf://-me/one: cannot be fetched (Repo id must use alphanumeric chars"),
        ("hf://me/one@v9", {}, "cannot be fetched (there is no such revision)"),
        ("hf://me/one", {"HF_HUB_OFFLINE": "1"}, "was not fetched before)"),
        ("hf://me/one", {"HF_ENDPOINT": "http://127.0.0.1:9"}, "was not fetched before)"),
    ],
)
def test_what_is_wrong_is_one_line(hub, tmp_path, address, environment, message):
    hub.commits["me/one"] = [{"config.yaml": b""}]
    done = run(hub, tmp_path, ["models", "pack", address, "x"], **environment)
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_wrong_token_pushes_nothing(hub, tmp_path):
    done = run(hub, tmp_path, ["push", "an4", "me/one"], "hf_wrong")
    assert done.returncode == 1
    assert "me/one: cannot be pushed (no such model, or one that asks who you are: set HF_TOKEN" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not hub.commits


def test_a_model_that_is_too_large_is_not_fetched(hub, tmp_path):
    """Oracle: no file was asked for."""
    hub.size = 3 << 30
    hub.commits["me/one"] = [{"config.yaml": b"", "model.safetensors": b""}]
    done = run(hub, tmp_path, ["models", "pack", "hf://me/one", "x"])
    assert "6.4 GB; a model of speechgru has at most 2" in done.stderr
    assert not [one for one in hub.asked if "/resolve/" in one]


@pytest.mark.parametrize("address", ["hf://", "hf://me", "hf://me/one/two", "hf://me/one@", "hf://me/../one"])
def test_an_address_that_is_none(address):
    with pytest.raises(ConfigError, match="not the address of a model; write hf://owner/name"):
        fetch(address)


def test_a_fetched_folder_is_not_changed(tmp_path):
    """Oracle: its bytes; in another place the same folder is changed."""
    fetched, own = tmp_path / "models--me--one" / "snapshots" / "0a1b", tmp_path / "own"
    for folder in (fetched, own):
        shutil.copytree(models_dir() / "keywords", folder)
    before = {path.name: path.read_bytes() for path in fetched.iterdir()}
    for change in (Recognizer.load(own).save, lambda folder: write_chosen(folder, KeywordConfig(50.0))):
        with pytest.raises(ModelError, match="fetched from the Hub, and not to be changed there"):
            change(fetched)
        change(own)
    assert {path.name: path.read_bytes() for path in fetched.iterdir()} == before
    assert speechgru.load(own).config.keywords == KeywordConfig(50.0)


def test_detect_says_first_that_it_cannot_save_there(tmp_path, capsys):
    """Oracle: nothing was looked for, neither clips nor background."""
    fetched = tmp_path / "models--me--one" / "snapshots" / "0a1b"
    shutil.copytree(models_dir() / "keywords", fetched)
    assert main(["detect", str(fetched), "--positives", "none", "--background", "none", "--save"]) == 1
    assert "fetched from the Hub, and not to be changed there" in capsys.readouterr().err


def test_a_folder_without_a_card_is_not_pushed(tmp_path):
    with pytest.raises(ConfigError, match=r"holds no card\.md"):
        push(tmp_path, "me/one")
    with pytest.raises(ConfigError, match="write owner/name"):
        push(models_dir() / "an4", "one")


def test_all_that_the_shipped_models_hold_is_pushed():
    """Oracle: their folders."""
    assert {path.name for folder in models_dir().iterdir() for path in Path(folder).iterdir()} <= set(FILES)
