"""Small, exact, fast recurrent models of speech and audio.

The whole public surface: ``speechgru.load(folder).classify("clip.wav")`` runs a trained model,
``from speechgru.encoders import GRUEncoder`` gives the encoder to other code, the command ``speechgru`` does the rest.
Names are imported when first used, so that ``import speechgru`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from speechgru.audio import read_audio
    from speechgru.classification import Classification
    from speechgru.encoders import GRUEncoder
    from speechgru.errors import SpeechGRUError
    from speechgru.recognizer import Recognizer, load
    from speechgru.registry import register

__all__ = [
    "Classification",
    "GRUEncoder",
    "Recognizer",
    "SpeechGRUError",
    "__version__",
    "load",
    "read_audio",
    "register",
]

_PUBLIC = {
    "Classification": "speechgru.classification",
    "GRUEncoder": "speechgru.encoders",
    "Recognizer": "speechgru.recognizer",
    "SpeechGRUError": "speechgru.errors",
    "load": "speechgru.recognizer",
    "read_audio": "speechgru.audio",
    "register": "speechgru.registry",
}


def __getattr__(name: str) -> object:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'speechgru' has no attribute {name!r}")
