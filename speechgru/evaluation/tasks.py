"""Which task a head has."""

from __future__ import annotations

from typing import Any

from speechgru.errors import ModelError
from speechgru.evaluation.classification_task import ClassificationTask
from speechgru.evaluation.task import Task
from speechgru.evaluation.transcription_task import TranscriptionTask

# By the registered name of the head; a package of your own puts that of its head here.
TASKS: dict[str, Task[Any, Any]] = {"classification": ClassificationTask(), "ctc": TranscriptionTask()}


def task_of(head: str) -> Task[Any, Any]:
    """The task of the head of this registered name.

    Raises:
        ModelError: the head has none.
    """
    if head not in TASKS:
        raise ModelError(f"head={head}: nothing tells how its answers are measured (known: {', '.join(TASKS)})")
    return TASKS[head]
