"""Gated recurrent cells, one to a file, under one contract."""

from speechgru.cells.cell import Cell, initialize, other_convention, reverse_within, valid_frames
from speechgru.cells.gru import GRU, GRUConfig

__all__ = ["GRU", "Cell", "GRUConfig", "initialize", "other_convention", "reverse_within", "valid_frames"]
