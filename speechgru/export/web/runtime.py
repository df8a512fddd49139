"""onnxruntime-web: one version, checked by hashes, from a content delivery network or a copy beside the page."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from speechgru.errors import ConfigError
from speechgru.plain import Record

VERSION = "1.30.0"
SOURCE = f"https://cdn.jsdelivr.net/npm/onnxruntime-web@{VERSION}/dist/"
SCRIPT, WASM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
# Hashes of the files of the npm package, which the network serves unchanged (Subresource Integrity).
INTEGRITY = {
    SCRIPT: "sha384-PLWz+nHEVHpjwBsO0YVdvQj6n5814Iv8E3b8FG0Rp/uIAtjFMCKOpP66iPzedrIG",
    WASM: "sha384-vjBJ1z7qrhkTyYsNqKeF6c7N+nOJSU94czEo+tvZcu8G75JparGq9kB+kTnEUNVM",
}


def integrity(content: bytes) -> str:
    """The hash of a file, as browsers check it."""
    return "sha384-" + base64.b64encode(hashlib.sha384(content).digest()).decode()


def copied(folder: Path) -> dict[str, bytes]:
    """The files of the runtime from a copy of its npm package, by name.

    Args:
        folder: the package's folder, or its ``dist``.

    Raises:
        ConfigError: a file is not there, or of another version.
    """
    mend = f"npm install onnxruntime-web@{VERSION}, then --runtime node_modules/onnxruntime-web"
    files = {}
    for name, expected in INTEGRITY.items():
        places = [folder / name, folder / "dist" / name]
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            raise ConfigError(f"--runtime {folder}: has no {name}; {mend}")
        files[name] = path.read_bytes()
        if integrity(files[name]) != expected:
            raise ConfigError(f"--runtime {path}: is not that of onnxruntime-web {VERSION}; {mend}")
    return files


def described(place: str) -> Record:
    """What the page needs to know: the addresses of both files below ``place``, and their hashes."""
    return {
        "version": VERSION,
        "script": place + SCRIPT,
        "script_integrity": INTEGRITY[SCRIPT],
        "wasm": place + WASM,
        "wasm_integrity": INTEGRITY[WASM],
    }
