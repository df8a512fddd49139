"""``speechgru shard``: a list of recordings into tar files, which training reads in order (data=shards)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from speechgru.errors import ConfigError, DataError
from speechgru.recordings.lines import printable

_EPILOG = """\
LIST is a manifest (.jsonl, .json), a table (.csv, .tsv), a Kaldi folder or a folder of recordings. Where it has splits,
each has a folder of its own below DIR: DIR/train, DIR/valid, DIR/test. Files are copied byte for byte, each beside a
JSON file of what is known about it; WebDataset reads them too. A second run does nothing. A recording that cannot be
read is left out and reported in a line, and the exit code is 1.

examples:
  speechgru shard train.jsonl -o shards/train
  speechgru train recipe=own_recordings data=shards data.root=shards
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``speechgru shard``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("list", metavar="LIST", help="the recordings")
    parser.add_argument("-o", "--output_dir", required=True, metavar="DIR", help="where the shards go")
    parser.add_argument("--shard_mb", type=float, default=256.0, help="size of a shard in MB (default: 256)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the order in the shards (default: 0)")
    parser.add_argument("--keep_order", action="store_true", help="keep the order of the list instead of a drawn one")


def run(arguments: argparse.Namespace) -> int:
    """Writes the shards; 0, or 1 when a recording was left out.

    Raises:
        ConfigError: an option is out of range, the list is wrong, or the folder holds other shards.
    """
    if not 0 < arguments.shard_mb <= 1e6:
        raise ConfigError(f"--shard_mb {arguments.shard_mb:g}: above 0, at most 1000000")
    if arguments.seed < 0:
        raise ConfigError(f"--seed {arguments.seed}: at least 0")
    from tqdm import tqdm

    from speechgru.data.recordings import read_recordings
    from speechgru.data.shards import write_shards

    try:
        splits = read_recordings(arguments.list)
    except DataError as error:
        raise ConfigError(str(error)) from None
    errors = 0

    def failed(message: str) -> None:
        nonlocal errors
        errors += 1
        print(f"speechgru shard: left out: {printable(message)}", file=sys.stderr)

    for split, utterances in splits.items():
        folder = Path(arguments.output_dir) / split
        found = write_shards(
            utterances,
            folder,
            shard_mb=arguments.shard_mb,
            seed=None if arguments.keep_order else arguments.seed,
            failed=failed,
            progress=lambda places: tqdm(places, unit="file", desc="shard", disable=None),
        )
        if found is None:
            print(f"{folder}: these shards are there already, nothing to do", file=sys.stderr)
        else:
            count = sum(one.recordings for one in found.shards)
            print(f"{folder}: {count:,} recordings in {len(found.shards):,} shards", file=sys.stderr)
        print(folder)
    return int(errors > 0)
