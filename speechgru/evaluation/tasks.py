"""The tasks, and which head has which. A task of another package is put into :data:`TASKS` where it is defined."""

from __future__ import annotations

from typing import Any

from speechgru.errors import ModelError
from speechgru.evaluation.classification_task import ClassificationTask
from speechgru.evaluation.task import Task
from speechgru.evaluation.transcription_task import TranscriptionTask
from speechgru.registry import entry

# By the name that results.json has.
TASKS: dict[str, Task[Any]] = {task.name: task for task in (ClassificationTask(), TranscriptionTask())}


def task_of(head: str) -> Task[Any]:
    """The task of the head that is registered as ``head``.

    Raises:
        ModelError: the head has none.
    """
    component: Any = entry("head", head).component
    for task in TASKS.values():
        if task.verb == component.verb:
            return task
    raise ModelError(f"this model has a {head} head, whose verb {component.verb!r} no task has")
