"""``shards.json``: what a folder of shards holds, written first as unfinished and last as finished."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

from speechgru.errors import DataError, one_line
from speechgru.files import write_atomically
from speechgru.text_files import read_text

NAME, INDEX = "shards.json", "index.jsonl"
_MOST_BYTES = 64 << 20


@dataclasses.dataclass
class Shard:
    """One tar file of a folder.

    Attributes:
        name: of the file.
        bytes: its size.
        recordings: how many are in it.
        sha256: its checksum.
    """

    name: str
    bytes: int
    recordings: int
    sha256: str


@dataclasses.dataclass
class Shards:
    """All shards of a folder.

    Attributes:
        listed: the checksum of the list and of how it was divided.
        finished: whether all of them are written.
        shards: in order.
    """

    listed: str
    finished: bool = False
    shards: list[Shard] = dataclasses.field(default_factory=list)

    def write(self, folder: Path) -> None:
        """Writes ``shards.json``."""
        write_atomically(folder / NAME, json.dumps(dataclasses.asdict(self), indent=1) + "\n")


def read_listing(folder: Path) -> Shards:
    """What ``shards.json`` in a folder says.

    Raises:
        DataError: it is not there, or damaged.
    """
    path = folder / NAME
    text = read_text(path, _MOST_BYTES)
    try:
        values = json.loads(text)
        shards = [Shard(**one) for one in values.pop("shards")]
        found = Shards(**values, shards=shards)
        for one in shards:
            if not re.fullmatch(r"[\w-]{1,100}\.tar", one.name, re.ASCII) or not re.fullmatch(
                "[0-9a-f]{64}", one.sha256
            ):
                raise ValueError(f"{one.name!r} is no name of a shard")
            if type(one.bytes) is not int or one.bytes < 0:
                raise ValueError(f"{one.name} has no size")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: is damaged ({one_line(error)}); write or fetch the shards again") from None
    return found
