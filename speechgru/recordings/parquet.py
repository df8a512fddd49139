"""Records of recordings as Apache Parquet (extra ``parquet``), in columns that are the same in every file of a job."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from speechgru.errors import ConfigError, DataError
from speechgru.files import replacing

if TYPE_CHECKING:
    import pyarrow

_ROWS = 10_000  # held at a time


def require_parquet() -> None:
    """ConfigError unless pyarrow is installed."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise ConfigError("-f parquet: needs pyarrow; pip install 'speechgru[parquet]', or take -f jsonl") from None


def jsonl_to_parquet(sources: Iterable[Path], path: Path, command: str) -> None:
    """Writes the records of JSON-lines files into one Parquet file, whole or not at all.

    Args:
        sources: the files, in order.
        path: what is written.
        command: classify or transcribe: it decides which columns there are.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema(command)
    with replacing(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        rows = (row for source in sources for row in _rows(source))
        while some := list(itertools.islice(rows, _ROWS)):
            writer.write_table(pa.Table.from_pylist(some, schema))


def join_parquet(sources: Iterable[Path], path: Path, command: str) -> None:
    """Writes the rows of Parquet files into one, whole or not at all."""
    import pyarrow.parquet as pq

    with replacing(path) as temporary, pq.ParquetWriter(temporary, _schema(command)) as writer:
        for source in sources:
            with pq.ParquetFile(source) as file:
                for batch in file.iter_batches(_ROWS):
                    writer.write_batch(batch)


def parquet_records(path: Path) -> Iterator[tuple[int, bool]]:
    """For each record in a Parquet file: the recording's place in the list, and whether the record is an error.

    Raises:
        DataError: the file is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_ROWS, columns=["index", "error"]):
                yield from zip(batch["index"].to_pylist(), batch["error"].is_valid().to_pylist(), strict=True)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: is damaged ({type(error).__name__}); remove it and start its part again") from None


def _rows(path: Path) -> Iterator[dict[str, object]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            if "scores" in row:
                row["scores"] = list(row["scores"].items())
            for key in ("audio", "error"):  # Parquet holds UTF-8 only
                if row.get(key):
                    row[key] = row[key].encode("utf-8", "backslashreplace").decode()
            yield row


def _schema(command: str) -> pyarrow.Schema:
    import pyarrow as pa

    text, number, count = pa.string(), pa.float64(), pa.int64()
    front = [("index", count), ("audio", text), ("duration_s", number), ("error", text)]
    if command == "classify":
        labels = [("label", text), ("confidence", number), ("scores", pa.map_(text, number)), ("rejected", text)]
        return pa.schema([*front, *labels, ("windows", count)])
    times = [("start", number), ("end", number), ("confidence", number)]
    words = pa.list_(pa.struct([("word", text), *times]))
    segments = pa.list_(pa.struct([("id", count), *times, ("text", text), ("words", words)]))
    return pa.schema([*front, ("text", text), ("familiar", pa.bool_()), ("segments", segments)])
