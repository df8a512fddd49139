"""``speechgru recipes``: the complete runs that ship inside, their results, and copies of them to edit."""

from __future__ import annotations

import argparse
import difflib
import json
import os
import re
import shlex
import shutil
from pathlib import Path

from speechgru.errors import ConfigError
from speechgru.shipped import conf_dir, recipes_dir

_EPILOG = """\
A copy is a folder of its own: recipe/NAME.yaml to edit, and the recipe's README.md and run.sh. The command that trains
it is printed; every setting of it can be changed there or on the command line.

examples:
  speechgru recipes                        name, results, description
  speechgru recipes show fsdd              its settings and how its results were obtained
  speechgru recipes results                how good each is; with names only these
  speechgru recipes copy fsdd my_digits    a copy in the folder my_digits
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``speechgru recipes``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    actions = ("list", "show", "copy", "results")
    parser.add_argument("action", nargs="?", choices=actions, default="list", help="default: list")
    parser.add_argument("names", nargs="*", metavar="NAME", help="the recipe; copy takes the new folder too (my_NAME)")
    parser.add_argument(
        "--readme",
        metavar="FILE",
        help="results: write the table between <!-- results --> and <!-- /results --> of FILE as well",
    )


def run(arguments: argparse.Namespace) -> int:
    """Lists the recipes, or shows or copies one.

    Raises:
        ConfigError: no such recipe, none named, or the destination of a copy is taken.
    """
    action, names = arguments.action, arguments.names
    if arguments.readme and action != "results":
        raise ConfigError("--readme: only recipes results writes a table")
    if action == "results":
        return _print_results([_known(action, name) for name in names] or recipe_names(), arguments.readme)
    if action == "list":
        if names:
            raise ConfigError(f"recipes list takes no name; did you mean recipes show {names[0]}?")
        _list()
        return 0
    most = 2 if action == "copy" else 1
    if len(names) > most:
        raise ConfigError(f"{names[most]}: recipes {action} takes {'a name and a folder' if most == 2 else 'one name'}")
    name = _known(action, names[0] if names else None)
    if action == "show":
        print(_yaml(name).read_text(encoding="utf-8").rstrip())
        readme = _folder(name) / "README.md"
        if readme.is_file():
            print(f"\n{readme.read_text(encoding='utf-8').rstrip()}")
        return 0
    return _copy(name, Path(names[1] if len(names) > 1 else f"my_{name}"))


def recipe_names() -> list[str]:
    """The names of the recipes, sorted."""
    return sorted(path.stem for path in (conf_dir() / "recipe").glob("*.yaml"))


def _yaml(name: str) -> Path:
    return conf_dir() / "recipe" / f"{name}.yaml"


def _folder(name: str) -> Path:
    """The folder of a recipe: its own, or that of another recipe whose script runs this one too."""
    own = recipes_dir() / name
    if not own.is_dir():
        for script in sorted(recipes_dir().glob("*/run.sh")):
            line = rf"^\s*speechgru train\b.*\brecipe={re.escape(name)}(?![\w-])"
            if re.search(line, script.read_text(encoding="utf-8"), re.MULTILINE):
                return script.parent
    return own


def _known(action: str, name: str | None) -> str:
    known = ", ".join(recipe_names())
    if name is None:
        raise ConfigError(f"recipes {action} needs a name ({known})")
    if name not in recipe_names():
        near = difflib.get_close_matches(name, recipe_names(), n=1)
        raise ConfigError(f"no recipe is called {name}{f'; did you mean {near[0]}?' if near else ''} (known: {known})")
    return name


def _list() -> None:
    from speechgru.wording import table

    rows = [[name, _results(name), _description(name)] for name in recipe_names()]
    print(table(["recipe", "results", "what it does"], rows, left=3))


def _description(name: str) -> str:
    """The first comment of the recipe that is not a directive to Hydra."""
    for line in _yaml(name).read_text(encoding="utf-8").splitlines():
        if line.startswith("#") and "@package" not in line:
            return line.lstrip("# ").rstrip()
    return ""


def _results(name: str) -> str:
    path = _folder(name) / "results.json"
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return "not yet"
    except (OSError, ValueError):
        return "unreadable"
    return "yes"


def _print_results(names: list[str], readme: str | None) -> int:
    """Prints the results of ``evaluate`` in the recipes' folders, for the models that have the recipe's name."""
    from speechgru.evaluation.overview import HEADING, overview
    from speechgru.evaluation.results import aggregate, read_results, update_readme
    from speechgru.wording import markdown_cell, markdown_grid, table

    rows = []
    for name in names:
        if _results(name) == "yes":
            found = read_results(_folder(name) / "results.json")
            rows += overview(aggregate([run for run in found if run["model"] == name]))
    if not rows:
        raise ConfigError(f"{', '.join(names)}: no results yet")
    print(table(HEADING, rows, left=4))
    if readme:
        lines = [HEADING, ["---"] * 4 + ["---:", "---"]]
        for name, *cells in rows:
            there = Path(os.path.relpath(_folder(name) / "README.md", Path(readme).parent)).as_posix()
            lines.append([f"[{markdown_cell(name)}]({there})", *map(markdown_cell, cells)])
        update_readme(readme, markdown_grid(lines))
    return 0


def _copy(name: str, destination: Path) -> int:
    mine = destination.name
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", mine):
        raise ConfigError(f"{destination}: the recipe takes its name; use letters, digits, - and _")
    if mine in recipe_names():
        # Hydra looks among the recipes that ship first, so a copy of that name would never be read.
        raise ConfigError(f"{destination}: a recipe called {mine} ships inside; choose another name, such as my_{name}")
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise ConfigError(f"{destination} is there already; choose another name or remove it")
    folder = _folder(name)
    (destination / "recipe").mkdir(parents=True, exist_ok=True)
    used = rf"\brecipe={re.escape(name)}(?![\w-])"
    command = f"--config-dir {shlex.quote(str(destination))} recipe={mine}"
    if folder.is_dir():
        # The results belong to the recipe as it shipped.
        shutil.copytree(folder, destination, dirs_exist_ok=True, ignore=shutil.ignore_patterns("results*", "*.png"))
        script = destination / "run.sh"
        if script.is_file():
            _rewrite(script, [(used, command), (rf"\bruns/{re.escape(name)}(?![\w-])", f"runs/{mine}")])
    target = destination / "recipe" / f"{mine}.yaml"
    shutil.copyfile(_yaml(name), target)
    # The run's own name, so that its folder is not that of the recipe.
    _rewrite(target, [(rf"^name: *{re.escape(name)} *$", f"name: {mine}"), (used, command)])
    print(f"speechgru train {command}")
    return 0


def _rewrite(path: Path, replacements: list[tuple[str, str]]) -> None:
    text = path.read_text(encoding="utf-8")
    for pattern, replacement in replacements:
        text = re.sub(pattern, replacement.replace("\\", r"\\"), text, flags=re.MULTILINE)
    path.write_text(text, encoding="utf-8")
