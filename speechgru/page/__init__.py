"""The page that shows what a model hears, in the browser or on a server: its files, and what it may do.

``here.js`` is for a model that runs in the page, ``server.js`` for one that runs on a server; all else is the same for
both. Plain modules of JavaScript, no framework, nothing to build.
"""

from __future__ import annotations

import html
from pathlib import Path

INDEX = "index.html"
# The content types that a browser gets.
TYPES = {".js": "text/javascript", ".css": "text/css"}


def scripts() -> dict[str, bytes]:
    """The scripts and the style, by name; ``index.html`` names them as ``page/NAME``."""
    folder = Path(__file__).parent
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix in TYPES}


def policy(elsewhere: str = "") -> str:
    """The content security policy: the page takes scripts from, and connects to, its own address and ``elsewhere``."""
    own = f"'self' {elsewhere}".strip()
    return (
        f"default-src 'none'; script-src {own} 'wasm-unsafe-eval'; style-src 'self'; connect-src {own}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def index(source: str, head: str = "", policy: str = policy()) -> str:
    """The page as HTML.

    Args:
        source: ``here.js`` or ``server.js``.
        head: more HTML for its head.
        policy: of :func:`policy`.
    """
    text = Path(__file__).with_name(INDEX).read_text(encoding="utf-8")
    meta = f'<meta http-equiv="content-security-policy" content="{html.escape(policy)}">'
    return text.replace("<!-- policy -->", meta).replace("<!-- head -->", head).replace("SOURCE", f"./{source}")
