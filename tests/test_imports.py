"""The order of the rooms, read from the source: which module may import which, and what an import may cost."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import speechgru

PACKAGE = Path(speechgru.__file__).parent

# Each room may import the rooms named beside it, and itself. The transitive order is DESIGN.md's "arrows go one way".
ALLOWED = {
    "errors": set(),
    "files": set(),
    "plain": set(),
    "text_files": {"errors"},
    "wording": set(),
    "lengths": {"errors"},
    "compiling": set(),
    "compiled": {"compiling"},
    "devices": {"errors"},
    "registry": {"errors"},
    "audio": {"errors"},
    "tokens": {"errors", "files", "text_files"},
    "text": {"errors", "registry", "text_files", "tokens"},
    "shipped": {"errors", "hub"},
    "synthesis": {"errors", "registry"},
    "data": {"errors", "files", "text_files", "registry", "audio", "tokens", "synthesis"},
}
LAYERS = [
    {"errors", "files", "plain", "text_files", "wording", "lengths", "compiled", "compiling"},
    {"hub"},
    {"devices", "registry", "shipped", "audio", "tokens", "text", "synthesis"},
    {"features", "augment", "cells"},
    {"encoders", "heads", "decoding"},
    {"contracts", "checksums", "classification", "overrides", "plain_yaml", "weights"},
    {"streaming"},
    {"model_folder"},
    {"model"},
    {"recognizer"},
    {"recordings", "warming"},
    {"transcripts"},
    {"evaluation"},
    {"training"},
    {"page"},
    {"export"},
    {"lab", "serving", "search"},
    {"settings", "adaptation"},
    {"commands", "config"},
    {"cli"},
]
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "core", "base", "manager"}
MAY_IMPORT_HYDRA = {"registry", "adaptation", "overrides", "config", "commands", "cli"}


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree: ast.AST, module: str, is_package: bool) -> Iterator[tuple[str, int]]:
    """Every module a source imports, at its top or inside a function, with the line; relative imports made absolute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                parent = module.split(".")[: None if is_package and node.level == 1 else -(node.level - is_package)]
                origin = ".".join([*parent, *([origin] if origin else [])])
            if origin == "speechgru":
                # `from speechgru import features` imports a room as much as `import speechgru.features` does.
                for name in node.names:
                    yield f"speechgru.{name.name}", node.lineno
            else:
                yield origin, node.lineno


def room(module: str) -> str:
    return [*module.split("."), ""][1]


def layer(name: str) -> int | None:
    return next((index for index, names in enumerate(LAYERS) if name in names), None)


def complaint(module: str, target: str) -> str | None:
    """Why ``module`` may not import ``target``; None where it may."""
    here, there = room(module), room(target)
    if target.split(".")[0] in ("hydra", "omegaconf"):
        return None if here in MAY_IMPORT_HYDRA else "Hydra and OmegaConf are for registry, config and commands"
    if target.split(".")[0] != "speechgru" or here == there or there.startswith("__") or not there:
        return None
    if here in ALLOWED:
        return None if there in ALLOWED[here] else f"{here} may import {sorted(ALLOWED[here]) or 'nothing'} only"
    if here not in set().union(*LAYERS):
        return f"the room {here} has no place in LAYERS"
    if there == "data":
        # data stands beside the rooms that use it: evaluation and all that follows.
        return None if (layer(here) or 0) >= layer("evaluation") else f"{here} may not import data"  # type: ignore[operator]
    above, below = layer(here), layer(there)
    if below is None:
        return f"the room {there} has no place in LAYERS"
    # Two rooms of the commands' layer work together; elsewhere neighbours do not know each other.
    neighbours = {here, there} == {"commands", "config"}
    return None if below < above or neighbours else f"{here} stands before {there}"  # type: ignore[operator]


def complaints(module: str, source: str, is_package: bool) -> list[str]:
    found = []
    for target, line in imported(ast.parse(source), module, is_package):
        reason = complaint(module, target)
        if reason:
            found.append(f"{module}:{line} imports {target}: {reason}")
    return found


def test_arrows_go_one_way():
    """Oracle: DESIGN.md, Layout. The package's own __init__ is the public API and may name every room."""
    wrong = []
    for path in sources():
        module = module_name(path)
        if module != "speechgru":
            wrong += complaints(module, path.read_text(encoding="utf-8"), path.name == "__init__.py")
    assert not wrong, "\n".join(wrong)


def test_heads_know_the_cells_but_nothing_else_of_their_own_layer():
    """The layers say what DESIGN.md says, spot by spot."""
    assert complaint("speechgru.heads.pooling", "speechgru.cells") is None
    assert complaint("speechgru.heads.pooling", "speechgru.encoders") is not None
    assert complaint("speechgru.features.mfcc", "speechgru.cells") is not None
    assert complaint("speechgru.evaluation.results", "speechgru.training.trainer") is not None


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("speechgru.features.mel", "from speechgru.encoders import GRUEncoder"),
        ("speechgru.features.mel", "def f():\n    import speechgru.recognizer"),
        ("speechgru.features.mel", "from ..encoders import GRUEncoder"),
        ("speechgru.features.mel", "from speechgru import encoders"),
        ("speechgru.data.manifest", "from speechgru.recognizer import load"),
        ("speechgru.data.corpora.fsdd", "from speechgru.features import MFCC"),
        ("speechgru.recognizer", "from speechgru.data.utterance import Utterance"),
        ("speechgru.audio", "from speechgru.registry import register"),
        ("speechgru.cells.gru", "from omegaconf import DictConfig"),
        ("speechgru.training.trainer", "import hydra.utils"),
        ("speechgru.training.trainer", "from speechgru.config import compose"),
        ("speechgru.evaluation.results", "from speechgru.training.logging import read_metrics"),
        ("speechgru.plumbing", "import speechgru.audio"),
    ],
)
def test_a_planted_arrow_the_wrong_way_is_seen(module, source):
    """Planted errors: each of these imports must be complained about."""
    assert len(complaints(module, source, is_package=False)) == 1


def test_no_module_has_a_name_that_says_nothing():
    """Oracle: DESIGN.md, Layout."""
    wrong = [
        path for path in PACKAGE.rglob("*") if path.stem in FORBIDDEN_NAMES and (path.is_dir() or path.suffix == ".py")
    ]
    assert not wrong


def test_every_module_says_what_it_is():
    """Each module begins with a docstring."""
    silent = [module_name(path) for path in sources() if not ast.get_docstring(ast.parse(path.read_text("utf-8")))]
    assert not silent


@pytest.mark.parametrize(
    "statement", ["import speechgru", "from speechgru.cli import main; assert main(['--help']) == 0"]
)
def test_the_door_opens_without_the_heavy_libraries(statement):
    """Oracle: sys.modules of a fresh process, which must know none of the libraries that take long to import."""
    code = f"""
import sys
{statement}
print("heavy:", *sorted({{name.split(".")[0] for name in sys.modules}} & {{
    "torch", "torchaudio", "librosa", "scipy", "numpy", "hydra", "omegaconf", "matplotlib", "soundfile", "yaml"}}))
"""
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.splitlines()[-1] == "heavy:"


def test_public_names_are_there():
    """Every name of __all__ can be had, and an unknown one is an AttributeError and not an ImportError."""
    for name in speechgru.__all__:
        assert getattr(speechgru, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'encoder_gru'"):
        _ = speechgru.encoder_gru
