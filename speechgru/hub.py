"""Models on the Hugging Face Hub: ``hf://owner/name`` is fetched into its cache, and a model folder is pushed there."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from types import ModuleType

from speechgru.errors import ConfigError, ModelError

PREFIX = "hf://"
# All that a model folder may hold: nothing else of a repository is fetched or pushed.
FILES = (
    "config.yaml",
    "model.safetensors",
    "tokens.txt",
    "fingerprint.json",
    "SHA256SUMS",
    "card.md",
    "pronunciations.txt",
    "subwords.model",
    "language_model.arpa.gz",
    "lexicon.txt",
)
_MOST_BYTES = 2 << 30
_HERE = "path/to/this/folder"  # what a card calls the folder it is in


def fetch(address: str) -> Path:
    """The folder in the cache that holds a model of the Hub; files that are there already are not fetched again.

    Without a connection, or with ``HF_HUB_OFFLINE=1``, it is what was fetched before. ``HF_HOME`` says where the cache
    is, ``HF_ENDPOINT`` which hub is used, ``HF_TOKEN`` who the user is.

    Args:
        address: ``hf://owner/name``, or ``hf://owner/name@revision`` for a commit, a tag or a branch.

    Raises:
        ConfigError: ``address`` is not such an address, or the extra ``hub`` is not installed.
        ModelError: there is no such model or revision, it holds more than 2 GB, or it cannot be fetched.
    """
    found = re.fullmatch(r"hf://([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", address, re.ASCII)
    if not found:
        raise ConfigError(f"{address}: not the address of a model; write hf://owner/name or hf://owner/name@revision")
    repository, revision = found.groups()
    hub = _huggingface_hub()
    try:
        # Without a connection the cache is used below; the size of what is in it was checked before.
        with contextlib.suppress(OSError, hub.errors.HTTPError):
            listed = hub.HfApi().model_info(repository, revision=revision, files_metadata=True).siblings
            size = sum(one.size or 0 for one in listed if one.rfilename in FILES)
            if size > _MOST_BYTES:
                raise ModelError(f"{address}: {size / 1e9:.1f} GB; a model of speechgru has at most 2")
        return Path(hub.snapshot_download(repository, revision=revision, allow_patterns=list(FILES)))
    except (OSError, ValueError, hub.errors.HTTPError) as error:
        raise ModelError(f"{address}: cannot be fetched ({_reason(hub, error)})") from None


def is_fetched(folder: Path) -> bool:
    """Whether :func:`fetch` gave this folder: it is in the cache, and shared by all who fetch that revision."""
    folder = folder.absolute()
    return folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--")


def push(folder: Path, repository: str, private: bool = False, revision: str | None = None, message: str = "") -> str:
    """Puts the files of a model folder into a repository of the Hub, in one commit, with its card as ``README.md``.

    The repository is made where there is none.

    Args:
        folder: a model folder with a card.
        repository: ``owner/name``.
        private: whether a new repository is private.
        revision: the branch; None means main.
        message: the message of the commit; empty gives a default one.

    Returns:
        The address of the commit.

    Raises:
        ConfigError: ``repository`` is not ``owner/name``, there is no card, or the extra ``hub`` is not installed.
        ModelError: the Hub does not accept it.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository, re.ASCII):
        raise ConfigError(f"{repository}: not the name of a repository; write owner/name")
    card = folder / "card.md"
    if not card.is_file():
        raise ConfigError(f"{folder} holds no card.md; push what a training run has finished and evaluate has measured")
    hub = _huggingface_hub()
    files: dict[str, bytes | Path] = {name: folder / name for name in FILES if (folder / name).is_file()}
    files["README.md"] = card.read_text(encoding="utf-8").replace(_HERE, PREFIX + repository).encode()
    api = hub.HfApi(library_name="speechgru")
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        made = api.create_commit(
            repository,
            [hub.CommitOperationAdd(name, content) for name, content in files.items()],
            commit_message=message or f"speechgru model {folder.name}",
            revision=revision,
        )
    except (OSError, ValueError, hub.errors.HTTPError) as error:
        raise ModelError(f"{repository}: cannot be pushed ({_reason(hub, error)})") from None
    return str(made.commit_url)


def _huggingface_hub() -> ModuleType:
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError:
        raise ConfigError("the Hub needs huggingface_hub: pip install 'speechgru[hub]'") from None
    return huggingface_hub


def _reason(hub: ModuleType, error: Exception) -> str:
    """What was wrong, in one line, with the fix where there is one."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, hub.errors.RevisionNotFoundError):
        return "there is no such revision"
    if status == 401 or isinstance(error, hub.errors.LocalTokenNotFoundError):
        return "no such model, or one that asks who you are: set HF_TOKEN, or run hf auth login"
    if status == 403:
        return "this token may not do that"
    if isinstance(error, hub.errors.RepositoryNotFoundError):
        return "there is no such model"
    if isinstance(error, hub.errors.LocalEntryNotFoundError):
        return "no connection to the Hub, and it was not fetched before"
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
