"""The order of prefixes and tokens: a heap of the beam, a sort by probability, as machine code."""

from __future__ import annotations

import numpy as np

from speechgru.decoding.compiled import compiled


@compiled
def sink(heap: np.ndarray, beam: np.ndarray, place: int) -> None:
    """Moves heap[place] down until no prefix below it is less likely."""
    moved = heap[place]
    key = beam[moved].total
    while True:
        child = 2 * place + 1
        if child >= len(heap):
            break
        if child + 1 < len(heap) and beam[heap[child + 1]].total < beam[heap[child]].total:
            child += 1
        if beam[heap[child]].total >= key:
            break
        heap[place] = heap[child]
        place = child
    heap[place] = moved


@compiled
def heapify(heap: np.ndarray, beam: np.ndarray) -> None:
    """Fills the heap with all places of the beam, the least likely prefix on top."""
    for place in range(len(heap)):
        heap[place] = place
    for place in range(len(heap) // 2 - 1, -1, -1):
        sink(heap, beam, place)


@compiled
def sort_falling(order: np.ndarray, keys: np.ndarray, count: int) -> None:
    """Sorts order[:count] in place by descending key (Shell's method; NumPy's sort takes longer to compile)."""
    gap = 1
    while gap < count // 3:
        gap = 3 * gap + 1
    while gap > 0:
        for begin in range(gap, count):
            moved, place = order[begin], begin
            while place >= gap and keys[order[place - gap]] < keys[moved]:
                order[place] = order[place - gap]
                place -= gap
            order[place] = moved
        gap //= 3
