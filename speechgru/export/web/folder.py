"""The folder of a page: its files, once the graph in it is proved equal to the model."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from speechgru import page
from speechgru.export.folder import check_target, require_onnx, versions, write_together
from speechgru.export.web import runtime
from speechgru.plain import Record
from speechgru.recognizer import Recognizer

_README = """\
# {name}: a page that listens

{summary}This folder is a page that runs a model of speechgru in the browser: with a microphone or a file, and nothing
that is heard leaves the machine. Browsers give scripts to web addresses only:

```sh
python -m http.server
```

Then open <http://localhost:8000>. On other machines a microphone needs https; a file does not.

| | |
| --- | --- |
| `index.html`, `page/` | the page |
| `model.onnx`, `model.json` | the model, and what the page is told of it |
| `parity.json` | how far its scores are from the model's own: at most {difference:.2g} before this was written |

onnxruntime-web {version} (MIT licence, Microsoft) runs it: {where}.{licence}
"""


def export_web(
    model: Recognizer,
    source: Path,
    target: Path,
    recordings: Sequence[np.ndarray],
    name: str,
    runtime_folder: Path | None = None,
) -> Record:
    """Writes a page that runs a model, once its graph is proved equal to the model; returns what parity.json holds.

    Args:
        model: in eval mode, on the CPU.
        source: the model's folder, for its card.
        target: where to; all files appear together, and replace those of an earlier export.
        recordings: samples at the model's rate, each (samples,), compared in addition to drawn sounds.
        name: the model's name, for people.
        runtime_folder: has a copy of onnxruntime-web, which is put into the page's folder; with None the page takes it
            from a network when it is opened.

    Raises:
        ConfigError: the folder holds something else, or the runtime is not the required one.
        ModelError: a part of the model has no ONNX form, or the graph's scores differ from the model's.
        SpeechGRUError: the extra ``export`` is not installed.
    """
    check_target(target)
    copies = runtime.copied(runtime_folder) if runtime_folder else {}
    require_onnx()
    from speechgru import __version__
    from speechgru.export.onnx_model import describe, write_onnx
    from speechgru.export.parity import prove, prove_stream, session_of
    from speechgru.export.stream import streams, write_stream
    from speechgru.export.web.about import about
    from speechgru.export.web.shown import Shown

    described, shown = describe(model, source), Shown()
    steps = streams(model)
    written = (write_stream if steps else write_onnx)(model, described, shown)
    content = written.SerializeToString()
    parity = (prove_stream if steps else prove)(model, session_of(content), recordings)
    parity = {"speechgru": __version__, **versions(), "runtime": runtime.VERSION, **parity, "bytes": len(content)}
    told = {
        **about(model, written, shown, described, name),
        "largest_difference": parity["largest_difference"],
        "runtime": runtime.described("runtime/" if copies else runtime.SOURCE),
    }
    files: dict[str, bytes | str] = {
        page.INDEX: _index(told["runtime"], bool(copies)),
        "model.onnx": content,
        "model.json": json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False) + "\n",
        "parity.json": json.dumps(parity, indent=1) + "\n",
        "README.md": _readme(told, bool(copies)),
        **{f"page/{one}": script for one, script in page.scripts().items() if one != "server.js"},
        **{f"runtime/{one}": copy for one, copy in copies.items()},
    }
    write_together(target, files)
    return {
        **parity,
        "folder_bytes": sum(len(one) if isinstance(one, bytes) else len(one.encode()) for one in files.values()),
    }


def _index(described: Record, local: bool) -> str:
    """The page; its first script is the runtime: the browser has already checked it when the page imports it."""
    script = (
        f'<script type="module" crossorigin="anonymous" integrity="{described["script_integrity"]}" '
        f'src="{html.escape(described["script"])}"></script>'
    )
    return page.index("here.js", script, page.policy("" if local else runtime.SOURCE))


def _readme(told: Record, local: bool) -> str:
    summary, licence = told.get("summary"), told.get("license")
    return _README.format(
        name=told["name"],
        summary=f"{summary}\n\n" if summary else "",
        difference=told["largest_difference"],
        version=runtime.VERSION,
        where="a copy lies in `runtime/`" if local else f"it is fetched from {runtime.SOURCE}, by its hash",
        licence=f" Licence of the weights: {licence}." if licence else "",
    )
