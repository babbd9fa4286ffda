"""`infraprism store check` and `repair`: verifies every part, and restores the readable rows of damaged ones.

A repair copies the readable rows of a damaged part into the table of events, each once: rows that are stored already
are left out. Then the damaged files are moved to the quarantine directory. It can be killed at any step and run again.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from infraprism.backend.store import schema
from infraprism.backend.store.damage import REPORT, DamagedPart, unused
from infraprism.backend.store.part_files import (
    CHECKSUMS,
    DamagedFileError,
    PartName,
    contents,
    parsed_name,
    with_corrected_bits,
)
from infraprism.backend.store.parts import active_parts, detached_directory, rows_of

_CHUNK_ROWS: Final = 8192
_MIN_CHUNK_ROWS: Final = 512
_CANARY_BYTES: Final = 2**20
_REFUSED_WRITES: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES})
_READABLE_IDS: Final = f"{schema.INGEST}.readable_ids"
_STORED_IDS: Final = f"{schema.INGEST}.stored_ids"
_UNLISTED: Final = frozenset(
    {
        CHECKSUMS,
        REPORT,
        "columns.txt",
        "columns_substreams.txt",
        "default_compression_codec.txt",
        "metadata_version.txt",
    }
)


class RepairedPart(NamedTuple):
    """The result of the repair of a part. `unreadable.rows` are the rows that could not be restored."""

    part: DamagedPart
    readable_rows: int
    restored_rows: int
    unreadable: DamagedPart


def repair(client: Client, part: DamagedPart, quarantine: Path, verify: Callable[[], object]) -> RepairedPart:
    """Restore the readable rows of a part, and move its files to the quarantine.

    `verify` verifies the inserted rows; it raises an exception if the disk did not store them. Raises ClickHouseError
    and OSError if the disk refuses a write: the part then stays where it is.
    """
    files = Path(part.files)
    name = parsed_name(files.name)
    readable = restored = 0
    rows = part.rows
    if name is not None:
        client.command(f"DROP TABLE IF EXISTS {schema.SALVAGE} SYNC")
        client.command(_create_table(client))
        ranges: list[tuple[int, int]] = []
        try:
            rows = _copy_to_table(client, files, name) or rows
            ranges += _readable_ranges(client, rows)
        except (ClickHouseError, DamagedFileError):
            pass  # no row of it can be read
        except OSError as error:
            if error.errno in _REFUSED_WRITES:
                raise
        _find_stored(client, ranges)
        for start, end in ranges:
            readable += _count(client, start, end)
            restored += _insert(client, start, end)
        verify()
        for table in (f"{schema.SALVAGE} SYNC", _READABLE_IDS, _STORED_IDS):
            client.command(f"DROP TABLE IF EXISTS {table}")
    lost = None if rows is None else rows - readable
    if lost != 0:
        _check_disk(files.parent)
    target = unused(quarantine, part.name)
    unreadable = replace(part, files=str(target), rows=lost, is_repaired=True)
    _write(files / REPORT, json.dumps(unreadable.as_json()))
    quarantine.mkdir(mode=0o700, exist_ok=True)
    files.rename(target)
    return RepairedPart(part, readable, restored, unreadable)


def _check_disk(folder: Path) -> None:
    """Write as much as the copy of a small part needs. Raises OSError if the disk refuses it.

    Rows are then perhaps unreadable only because their copy was not stored.
    """
    canary = folder / "space"
    try:
        with canary.open("wb") as writing:
            writing.write(bytes(_CANARY_BYTES))
            writing.flush()
            os.fsync(writing.fileno())
    finally:
        canary.unlink(missing_ok=True)


def _create_table(client: Client) -> str:
    """The statement for a table with the columns of events, without an index: that of a part may be damaged."""
    (found,) = rows_of(
        client,
        "SELECT create_table_query AS sql FROM system.tables WHERE database = currentDatabase() AND name = {t:String}",
        {"t": schema.EVENTS},
    )
    sql = str(found["sql"]).replace(f"default.{schema.EVENTS}", f"default.{schema.SALVAGE}", 1)
    return sql.replace("ORDER BY (account, timestamp, id)", "ORDER BY tuple()", 1)


def _copy_to_table(client: Client, files: Path, name: PartName) -> int | None:
    """Attach a copy of a part. Returns the number of its rows, if it can be read.

    Its files may have other sizes than recorded. Those that can be corrected or derived are.
    """
    copy = detached_directory(client, schema.SALVAGE) / name.name
    copy.mkdir()
    for file in files.iterdir():
        if file.name != REPORT:
            shutil.copyfile(file, copy / file.name)
    with_corrected_bits(copy)
    derived = {
        "partition.dat": struct.pack("<I", int(name.partition_id)),
        "default_compression_codec.txt": b"CODEC(LZ4)",
        "metadata_version.txt": b"0",
    }
    found = contents(copy, name)
    rows = found.rows
    if found.first is None:
        derived["minmax_timestamp.idx"] = struct.pack("<qq", 0, 2**42)
    if rows is None and (counted := re.search(rb'"num_rows":([0-9]+)', (copy / "serialization.json").read_bytes())):
        rows = int(counted[1])
        derived["count.txt"] = counted[1]
    template = _intact_part(client)
    if template is not None:
        derived["columns.txt"] = (template / "columns.txt").read_bytes()
        substreams, expected = ((folder / "columns_substreams.txt").read_bytes() for folder in (copy, template))
        if substreams.count(b"\n") != expected.count(b"\n") or _is_alike(substreams, expected):
            derived["columns_substreams.txt"] = expected
    for derived_file, content in derived.items():
        (copy / derived_file).write_bytes(content)
    listed = sorted(one.name for one in copy.iterdir() if one.name not in _UNLISTED)
    lines = ["checksums format version: 2", f"{len(listed)} files:"]
    for listed_file in listed:
        size = (copy / listed_file).stat().st_size
        lines += [listed_file, f"\tsize: {size}", "\thash: 1 1", "\tcompressed: 0"]
    (copy / CHECKSUMS).write_text("\n".join(lines) + "\n")
    client.command(f"ALTER TABLE {schema.SALVAGE} ATTACH PART '{name.name}'")
    return rows


def _is_alike(one: bytes, other: bytes) -> bool:
    """Whether only one byte differs."""
    return len(one) == len(other) and sum(a != b for a, b in zip(one, other, strict=True)) == 1


def _intact_part(client: Client) -> Path | None:
    return next((part.files for part in active_parts(client, schema.EVENTS)), None)


def _readable_ranges(client: Client, rows: int | None) -> Iterator[tuple[int, int]]:
    """Ranges of the numbers of rows of which all columns can be read."""
    if rows is None:
        (found,) = rows_of(client, f"SELECT count() AS rows FROM {schema.SALVAGE}")
        rows = int(found["rows"])
    waiting = [(start, min(start + _CHUNK_ROWS, rows)) for start in range(0, rows, _CHUNK_ROWS)]
    while waiting:
        start, end = waiting.pop()
        try:
            rows_of(client, f"SELECT sum(ignore(*)) FROM {schema.SALVAGE} WHERE {_range(start, end)}")
        except ClickHouseError:
            if end - start > _MIN_CHUNK_ROWS:
                middle = (start + end) // 2
                waiting += [(start, middle), (middle, end)]
        else:
            yield start, end


def _count(client: Client, start: int, end: int) -> int:
    (found,) = rows_of(client, f"SELECT count() AS rows FROM {schema.SALVAGE} WHERE {_range(start, end)}")
    return int(found["rows"])


def _find_stored(client: Client, ranges: Sequence[tuple[int, int]]) -> None:
    """Find the events of the readable rows that the table has, also those with another start time.

    One pass over the ids of the table: an event can have been sent again with another start time.
    """
    for table in (_READABLE_IDS, _STORED_IDS):
        client.command(f"DROP TABLE IF EXISTS {table}")
        client.command(f"CREATE TABLE {table} (account LowCardinality(String), id FixedString(16)) ENGINE = Memory")
    for start, end in ranges:
        client.command(
            f"INSERT INTO {_READABLE_IDS} SELECT account, id FROM {schema.SALVAGE} WHERE {_range(start, end)}"
        )
    client.command(
        f"INSERT INTO {_STORED_IDS} SELECT account, id FROM {schema.EVENTS}"
        f" WHERE (account, id) IN (SELECT account, id FROM {_READABLE_IDS})"
    )


def _insert(client: Client, start: int, end: int) -> int:
    """Insert the rows that the table does not have. Returns their number."""
    names = "account, id, timestamp, " + ", ".join(field.name for field in schema.STORED_FIELDS)
    chunk = f"FROM {schema.SALVAGE} WHERE {_range(start, end)}"
    missing = f"{chunk} AND (account, id) NOT IN (SELECT account, id FROM {_STORED_IDS})"
    (found,) = rows_of(client, f"SELECT count() AS rows {missing}")
    if found["rows"]:
        client.command(f"INSERT INTO {schema.EVENTS} ({names}) SELECT {names} {missing}")
    return int(found["rows"])


def _range(start: int, end: int) -> str:
    return f"_part_offset >= {start} AND _part_offset < {end}"


def _write(file: Path, text: str) -> None:
    temporary = file.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as writing:
        writing.write(text)
        writing.flush()
        os.fsync(writing.fileno())
    temporary.replace(file)


def delete_quarantine(quarantine: Path) -> int:
    """Delete the damaged files of repaired parts. Returns the number of parts."""
    found = sorted(quarantine.iterdir()) if quarantine.is_dir() else []
    for files in found:
        shutil.rmtree(files)
    return len(found)


def remove_directory(directory: Path) -> None:
    """Remove a directory durably, if there is one. Raises OSError."""
    if directory.exists():
        shutil.rmtree(directory)
        opened = os.open(directory.parent, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
