"""Recordings in tar files (shards), which are read in order and need no file system of a million files."""

from speechgru.data.shards.reading import read_shards
from speechgru.data.shards.writing import write_shards

__all__ = ["read_shards", "write_shards"]
