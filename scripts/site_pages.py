"""A hook of mkdocs: what the pages link to outside of docs/ becomes part of the site.

README.md is its first page. A file of Markdown or a picture is taken as it is, under ``repository/``; any other file is
shown as a page of code. So a link works on a forge, in a checkout and in the site, and none leads out of it.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

LINK = re.compile(r"(\]\()(?!https?:|mailto:|#)([^)\s#]+)")
ROLE = re.compile(r":(?:func|class|meth|mod|data|attr):(?=<code>)")
TAKEN = {".md", ".png", ".svg", ".html"}
LANGUAGES = {".py": "python", ".yaml": "yaml", ".sh": "sh", ".json": "json", ".toml": "toml"}
FIRST = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]


def place(path: str) -> str:
    """Where a file of the repository stands in the site's sources."""
    if path == "README.md":
        return "index.md"
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"repository/{path}" + ("" if Path(path).suffix in TAKEN else ".md")


def origin(source: str) -> str:
    """The file of the repository whose text the page ``source`` is; the inverse of :func:`place` for Markdown."""
    if source == "index.md":
        return "README.md"
    return source.removeprefix("repository/") if source.startswith("repository/") else f"docs/{source}"


def target(link: str, page: str, root: Path) -> str | None:
    """The file of the repository that a link of the file ``page`` leads to; None where there is none."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), link))
    if (root / path).is_dir():
        path += "/README.md"
    return path if not path.startswith("..") and (root / path).is_file() else None


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds every file that a page links to, and those that the files added link to."""
    root = Path(config.config_file_path).parent
    waiting = [*FIRST, *(origin(file.src_uri) for file in files.documentation_pages())]
    seen = set(waiting)
    while waiting:
        path = waiting.pop()
        source = place(path)
        if files.get_file_from_path(source) is None:
            files.append(_generated(config, root, path, source))
        if not path.endswith(".md"):
            continue
        for link in LINK.findall((root / path).read_text(encoding="utf-8")):
            found = target(link[1], path, root)
            if found and found not in seen:
                seen.add(found)
                waiting.append(found)
    return files


def _generated(config: MkDocsConfig, root: Path, path: str, source: str) -> File:
    if Path(path).suffix in TAKEN:
        return File.generated(config, source, abs_src_path=str(root / path))
    language = LANGUAGES.get(Path(path).suffix, "text")
    code = (root / path).read_text(encoding="utf-8").rstrip()
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", code)), 3)
    content = f"---\nsearch: {{exclude: true}}\n---\n\n# {path}\n\n{fence}{language}\n{code}\n{fence}\n"
    return File.generated(config, source, content=content)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Leads every link of a page to where its file stands in the site."""
    root = Path(config.config_file_path).parent
    source = page.file.src_uri
    path = origin(source)
    if not (root / path).is_file():  # a page of code
        return markdown

    def moved(found: re.Match[str]) -> str:
        file = target(found[2], path, root)
        return found[1] + (posixpath.relpath(place(file), posixpath.dirname(source)) if file else found[2])

    return LINK.sub(moved, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Shows the roles of reStructuredText in docstrings as the code they name."""
    return ROLE.sub("", html)
