"""One training run per folder: a lock that the operating system releases, however the process ends."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from speechgru.errors import ConfigError
from speechgru.files import remove_leftovers

FILE = ".lock"
# Errors of a network file system without locks.
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)

HELD = (errno.EAGAIN, errno.EACCES)


@contextlib.contextmanager
def only_run(folder: Path) -> Iterator[None]:
    """Holds the lock of a run's folder.

    The folder is made if it is not there, with those above, and removed if it is empty at the end.

    The lock is a POSIX lock (``fcntl.lockf``). It ends with the process, also after ``kill -9``; processes that read
    the data do not inherit it; on NFS it works between hosts. Where the system or file system has no locks, none is
    held.

    Raises:
        ConfigError: another process trains there; the message says which, where and since when.
    """
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    handle = None
    try:
        handle = _locked(folder)
        # What a killed run was writing. Nobody else writes here now.
        remove_leftovers(folder)
        remove_leftovers(folder / "model")
        yield
    finally:
        if handle is not None:
            (folder / FILE).unlink(missing_ok=True)
            os.close(handle)
        with contextlib.suppress(OSError):  # a start that failed leaves no folder
            for one in made or [folder]:
                one.rmdir()


def is_held(folder: Path) -> bool:
    """Whether another process trains in ``folder``."""
    try:
        import fcntl
    except ImportError:
        return False
    try:
        handle = os.open(folder / FILE, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in HELD
    finally:
        os.close(handle)
    return False


def _locked(folder: Path) -> int | None:
    """The handle of the lock file, which says who holds it; None where there are no locks."""
    try:
        import fcntl
    except ImportError:
        return None
    path = folder / FILE
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(handle, 300).decode(errors="replace").strip()
            os.close(handle)
            if error.errno in NO_LOCKS:
                return None
            if error.errno not in HELD:
                raise
            raise ConfigError(
                f"run_dir={folder}: {holder or 'another process'} trains there; wait for it, or choose another run_dir"
            ) from None
        # The process that held it may have removed the file between our opening and our locking it.
        with contextlib.suppress(FileNotFoundError):
            if os.fstat(handle).st_ino == path.stat().st_ino:
                break
        os.close(handle)
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    os.ftruncate(handle, 0)
    os.write(handle, f"process {os.getpid()} on {socket.gethostname()} (since {since})".encode())
    return handle
