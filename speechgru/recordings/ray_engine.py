"""The workers of a Ray cluster answer a list of recordings together (extra ``ray``); the records come in list order.

Ray Data gives every worker a chunk of the list at a time. If a worker dies, another one does its chunk again. Only this
process writes, and in order, so no record is written twice or left out.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from speechgru.errors import ConfigError, SpeechGRUError, one_line
from speechgru.recordings.parts import Stretch

if TYPE_CHECKING:
    import numpy as np

    Answers = Callable[[Sequence[Stretch]], Iterator[dict[str, object]]]

_MOST_CHUNKS = 10_000  # Ray plans each of them


def ray_records(
    start: Callable[[], Answers], items: Sequence[Stretch], batch_size: int, workers: int | None = None
) -> Iterator[dict[str, object]]:
    """The records of recordings, in their order, computed by the workers of a cluster.

    The cluster is the one of ``RAY_ADDRESS``; if that is not set, a cluster is started on this machine. Every machine
    must have the recordings, the model and the working directory under the same paths.

    Args:
        start: loads a model and returns what gives the records of recordings; called once by each worker.
        items: the recordings.
        batch_size: recordings that a worker computes together.
        workers: their number; None: one for each processor of the cluster.

    Raises:
        ConfigError: Ray is not installed, or a worker cannot load the model.
        SpeechGRUError: the workers failed.
    """
    try:
        import ray
        import ray.data
    except ImportError:
        raise ConfigError(
            "--engine ray: needs Ray; pip install 'speechgru[ray]', or share the list by --part"
        ) from None
    size = max(batch_size, -(-len(items) // _MOST_CHUNKS))
    chunks = [
        {"first": first, "chunk": json.dumps(items[first : first + size])} for first in range(0, len(items), size)
    ]
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    began = not ray.is_initialized()
    try:
        if began:
            _begin()
        count = min(len(chunks), workers or max(1, int(ray.cluster_resources().get("CPU", 1))))
        rows = ray.data.from_items(chunks, override_num_blocks=len(chunks)).map_batches(
            _Worker,
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=count),
            fn_constructor_args=(start, os.getcwd()),
        )
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # no tracebacks of Ray: the error is reported below
        place = 0
        for row in rows.iter_rows():
            if row["error"]:
                raise ConfigError(f"--engine ray: a worker says: {row['error']}")
            records = json.loads(row["records"])
            if row["first"] != place:
                raise SpeechGRUError(
                    f"--engine ray: Ray gave the recording {row['first']} instead of {place}; start again"
                )
            yield from records
            place += len(records)
        if place != len(items):
            raise SpeechGRUError(f"--engine ray: Ray gave {place} of {len(items)} recordings; start it again")
    except ray.exceptions.RayError as error:
        reason = one_line(str(error).strip().rpartition("\n")[2])  # what comes before is a traceback
        raise SpeechGRUError(f"--engine ray: {reason}; start it again, what is written stays") from error
    finally:
        if began:
            ray.shutdown()


def _begin() -> None:
    import ray

    try:
        ray.init(log_to_driver=False, logging_level="error")
    except Exception as error:  # Ray raises a bare Exception if its processes do not answer in time
        raise SpeechGRUError(f"--engine ray: Ray does not start ({one_line(error)}); see ray start --help") from error


class _Worker:
    """One process of the cluster with a model of its own.

    Args:
        start: as for :func:`ray_records`.
        folder: where relative paths begin.
    """

    def __init__(self, start: Callable[[], Answers], folder: str) -> None:
        self._start, self._folder = start, folder
        self._answers: Answers | None = None

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, object]:
        """The records of one chunk, or a line on why there is no model: Ray would restart a worker that raises."""
        items, records, error = [Stretch(*item) for item in json.loads(str(batch["chunk"][0]))], [], ""
        try:
            if self._answers is None:
                os.chdir(self._folder)
                self._answers = self._start()
            records = list(self._answers(items))
        except (SpeechGRUError, OSError) as problem:
            error = one_line(problem)
        return {"first": batch["first"], "records": [json.dumps(records)], "error": [error]}
