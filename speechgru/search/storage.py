"""Where a study is kept: a file of SQLite, or a PostgreSQL server that many machines reach."""

from __future__ import annotations

import contextlib
import importlib.util
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

from speechgru.errors import ConfigError, SpeechGRUError, one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    import optuna

POSTGRES = "postgresql://"


def check_installed() -> None:
    """Says which extra brings Optuna.

    Raises:
        ConfigError: it is not installed.
    """
    if importlib.util.find_spec("optuna") is None:
        raise ConfigError("searching needs an extra that is not installed: pip install 'speechgru[tune]'")


def open_storage(
    url: str, heartbeat_s: int, when_dead: Callable[[optuna.Study, optuna.trial.FrozenTrial], None]
) -> optuna.storages.RDBStorage:
    """Opens a storage; its tables are made if they are not there yet.

    Args:
        url: ``sqlite:///FILE`` or ``postgresql://user:password@host/database``.
        heartbeat_s: seconds between two signs of life of a trial; a trial that gave none for four times as long is
            dead.
        when_dead: what is done with such a trial, once, by the process that finds it.

    Raises:
        ConfigError: the driver is not installed, or the storage cannot be reached.
    """
    import optuna
    import sqlalchemy

    class Storage(optuna.storages.RDBStorage):
        def record_heartbeat(self, trial_id: int) -> None:
            # This runs in a thread of Optuna's, which an error would end; the next use of the storage reports the
            # error.
            with contextlib.suppress(*_errors()):
                super().record_heartbeat(trial_id)

    optuna.logging.set_verbosity(optuna.logging.CRITICAL)  # we report what happens ourselves
    try:
        driver = url.replace(POSTGRES, "postgresql+psycopg://", 1) if url.startswith(POSTGRES) else url
        shown = sqlalchemy.make_url(url).render_as_string(hide_password=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return Storage(
                driver,
                # Connects again to a server that was restarted in the meantime.
                engine_kwargs={"pool_pre_ping": True},
                heartbeat_interval=heartbeat_s,
                grace_period=4 * heartbeat_s,
                heartbeat_stale_trial_callback=when_dead,
            )
    except (sqlalchemy.exc.ArgumentError, ValueError):  # a port that is no number
        raise ConfigError(
            "storage=...: no address of a database; write postgresql://user:password@host/database"
        ) from None
    except ImportError:
        mend = (
            "pip install 'speechgru[postgresql]'" if url.startswith(POSTGRES) else f"keep it in {POSTGRES}... instead"
        )
        raise ConfigError(f"storage={shown}: its driver is not installed; {mend}") from None
    except (sqlalchemy.exc.SQLAlchemyError, RuntimeError) as error:
        raise ConfigError(f"storage={shown} cannot be used: {_reason(error)}") from None


@contextlib.contextmanager
def told_in_one_line() -> Iterator[None]:
    """Turns the errors of a storage that went away into one of ours."""
    try:
        yield
    except SpeechGRUError:
        raise
    except Exception as error:
        # Where Optuna cannot write how a trial ended, it raises an error of its own on top.
        found = error if isinstance(error, _errors()) else error.__context__
        if not isinstance(found, _errors()):
            raise
        raise SpeechGRUError(
            f"the study's storage cannot be used any more: {_reason(found)}; the same command goes on once it can"
        ) from error


def check_whole(study: optuna.Study, shown: str) -> None:
    """Reads all of a study once, so that damage is reported before anything is trained.

    Args:
        study: which.
        shown: where it is kept, for the message.

    Raises:
        ConfigError: it is damaged.
    """
    try:
        _ = study.user_attrs
        study.get_trials(deepcopy=False)
    except (ValueError, LookupError) as error:
        raise ConfigError(
            f"{shown}: the study {study.study_name} is damaged ({one_line(error)}); put a copy of it there, or choose "
            "another name=..."
        ) from None


def _errors() -> tuple[type[Exception], ...]:
    """What is raised where a storage cannot be used."""
    import optuna
    import sqlalchemy

    return optuna.exceptions.StorageInternalError, sqlalchemy.exc.SQLAlchemyError


def _reason(error: BaseException) -> str:
    """What the database says, without the statement and the links that SQLAlchemy adds."""
    cause = error.__cause__ or error
    return one_line(str(getattr(cause, "orig", None) or cause).split("\n[SQL", maxsplit=1)[0])
