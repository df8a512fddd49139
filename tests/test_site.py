"""The site of docs/, built as scripts/site builds it: pages are there, links lead somewhere, nothing is fetched."""

from __future__ import annotations

import html.parser
import importlib
import importlib.util
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ["mkdocs", "material", "mkdocstrings"]
pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, TOOLS)), reason="the tools of the extra docs are not installed"
)
SHOWN = ["features", "cells", "encoders", "heads", "decoding", "text", "augment", "transcripts", "lab.inspection"]


class Links(html.parser.HTMLParser):
    """What a page fetches, what it links to, and the places in it that can be linked to."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.linked: list[str] = []
        self.places: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {key: value or "" for key, value in attributes}
        self.places |= {found[key] for key in ("id", "name") if key in found}
        if "src" in found:
            self.fetched.append(found["src"])
        if tag == "link":
            self.fetched.append(found.get("href", ""))
        if tag == "a" and "href" in found:
            self.linked.append(found["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_built_and_in_the_navigation(site: Path) -> None:
    """Oracle: the files of docs/, and the links of the navigation on the first page."""
    sources = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")]
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for source in sources:
        assert (site / source.with_suffix(".html")).is_file(), source
        assert f": {source.as_posix()}\n" in navigation, f"{source} is not in the nav of mkdocs.yml"
    assert "<h1" in (site / "index.html").read_text()


def test_links_lead_to_pages_and_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    """Oracle: the files that were built, and the ids in them."""
    pages = {page.resolve(): Links(page) for page in site.rglob("*.html") if page.name != "404.html"}
    assert len(pages) > 30  # those of docs/, the recipes', and the sources that are linked to
    for page, links in pages.items():
        for address in links.fetched:
            assert not re.match(r"(https?:)?//", address), f"{page}: fetches {address}"
        for address in links.linked + links.fetched:
            if re.match(r"[a-z]+:", address):
                continue
            path, _, place = address.partition("#")
            target = (page.parent / path).resolve() if path not in ("", ".") else page
            assert target.exists(), f"{page}: {address}"
            if place and target in pages and not place.startswith("__"):
                assert place in pages[target].places, f"{page}: {address}"


def written_docstring(value: object) -> str:
    """The docstring of a class or function; none where it is inherited or the one a dataclass makes up."""
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        return ""
    text = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
    return "" if not text or text.startswith(f"{value.__name__}(") else text


def test_the_api_shows_what_is_public(site: Path) -> None:
    """Oracle: ``__all__`` of each package: a heading for every class and function with a docstring."""
    shown = set().union(*(Links(page).places for page in (site / "api").glob("*.html")))
    for package in SHOWN:
        module = importlib.import_module(f"speechgru.{package}")
        for name in module.__all__:
            if written_docstring(getattr(module, name)):
                places = {f"speechgru.{package}.{name}", f"speechgru.{package}.{name}.{name}"}  # deltas.py has deltas
                assert places & shown, f"{package}.{name}"
