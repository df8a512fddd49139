"""One part of a long list of recordings, such as the share of one machine of many."""

from __future__ import annotations

import re
from typing import NamedTuple

from speechgru.errors import ConfigError

MOST_PARTS = 1_000_000


class ListPart(NamedTuple):
    """The part ``number`` of ``parts``, counted from 1."""

    number: int
    parts: int

    def places(self, count: int) -> range:
        """Which of ``count`` recordings belong to it: neighbours. Each is in one part; sizes differ by at most one."""
        return range((self.number - 1) * count // self.parts, self.number * count // self.parts)

    def file_name(self, command: str, output_format: str) -> str:
        """The name of its file; the names of all parts sort in order."""
        return f"{command}-{self.number:05d}-of-{self.parts:05d}.{output_format}"


def read_part(text: str) -> ListPart:
    """``3/64`` as a part.

    Raises:
        ConfigError: it is not of this form, or there is no such part.
    """
    found = re.fullmatch(r"(\d{1,7})/(\d{1,7})", text, re.ASCII)
    if not found or not 1 <= int(found[1]) <= int(found[2]) <= MOST_PARTS:
        raise ConfigError(f"--part {text}: write NUMBER/PARTS, such as 3/64, the first is 1/64")
    return ListPart(int(found[1]), int(found[2]))
