"""The parts of a table: the files that the engine writes once and never changes.

The embedded engine can return from a statement, or commit a merge, although a write failed. A truncated file then has
another size or checksum than its part recorded. `is_intact` finds this for every file of a part:

- `CHECK TABLE ... PART` compares the files that `checksums.txt` lists, `columns.txt` and `serialization.json`.
- The other files are not compared by it, but a part with a truncated one is not loaded at the next start. They are
  parsed here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from infraprism.backend.store.part_files import PartName
from infraprism.backend.store.quoting import literal

NO_SUCH_PART: Final = 232
DAMAGE_CODES: Final = frozenset(
    {6, 27, 32, 33, 40, 49, 74, 75, 76, 84, 107, 117, 128, 131, 173, 226, 227, 228, 246, 271, 305, 432, 433, 446, 735}
)
"""The engine's error codes of a statement that reads a damaged file: a wrong checksum, size or format, or no file.

Some have other causes as well.
"""
_PART_IN_MESSAGE: Final = re.compile(r"/(\d{6}_\d+_\d+_\d+(?:_\d+)?)/")
BROKEN: Final = 228
"""The engine's error code for a file that does not have the size recorded in its part."""


class Part(NamedTuple):
    """A part that queries read. `level` is 0 for inserted parts and higher for merged ones."""

    name: str
    partition_id: str
    min_block_number: int
    max_block_number: int
    level: int
    rows: int
    path: str

    @property
    def files(self) -> Path:
        """The directory of its files."""
        return Path(self.path)


def parts_in(message: str) -> frozenset[str]:
    """The names of parts in an error message of the engine."""
    return frozenset(_PART_IN_MESSAGE.findall(message))


def rows_of(client: Client, sql: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """The rows of a SELECT."""
    found = client.raw_query(sql, parameters=dict(parameters or {}), fmt="JSONEachRow")
    return [json.loads(row) for row in found.splitlines()]


def active_parts(client: Client, table: str, condition: str = "true") -> list[Part]:
    """The active parts of a table that meet a condition."""
    found = rows_of(
        client,
        "SELECT name, partition_id, min_block_number, max_block_number, level, rows, path FROM system.parts"
        f" WHERE database = currentDatabase() AND table = {{table:String}} AND active AND ({condition})",
        {"table": table},
    )
    return [Part(**row) for row in found]


def lacks_rows(client: Client, table: str, part: Part) -> bool:
    """Whether a merged part has fewer or more rows than the parts that it was merged from, as far as they are known."""
    found = rows_of(
        client,
        "SELECT min_block_number AS first, max_block_number AS last, level, rows FROM system.parts"
        " WHERE database = currentDatabase() AND table = {table:String} AND NOT active AND level < {level:Int64}"
        " AND partition_id = {partition:String} AND min_block_number >= {first:Int64}"
        " AND max_block_number <= {last:Int64} ORDER BY first, level DESC",
        {
            "table": table,
            "level": part.level,
            "partition": part.partition_id,
            "first": part.min_block_number,
            "last": part.max_block_number,
        },
    )
    rows, following = 0, None
    for source in found:
        if following is None or source["first"] >= following:
            rows += source["rows"]
            following = source["last"] + 1
    is_complete = bool(found) and found[0]["first"] == part.min_block_number and following == part.max_block_number + 1
    return is_complete and rows != part.rows


def is_intact(client: Client, table: str, part: Part) -> bool:
    """Whether every file of a part is as it was written. A part that was merged in the meantime is intact."""
    check = f"CHECK TABLE {table} PART {literal(part.name)} SETTINGS check_query_single_value_result = 0"
    try:
        passed = all(row["is_passed"] for row in rows_of(client, check))
    except ClickHouseError as error:
        code = getattr(error, "code", None)
        if code == NO_SUCH_PART:
            return True
        if code in DAMAGE_CODES:
            return not part.files.exists()
        raise
    return passed and unlisted_files_are_complete(part.files)


def unlisted_files_are_complete(files: Path) -> bool:
    """Whether the files of a part that `checksums.txt` does not list are complete. A missing optional file is."""
    if not (files / "checksums.txt").exists():
        return not files.exists()
    try:
        texts = {name: _text(files / name) for name in (*_FORMS, _SUBSTREAMS, _COLUMNS)}
    except (OSError, UnicodeDecodeError):
        return False
    forms_match = all(texts[name] is None or form.fullmatch(texts[name] or "") for name, form in _FORMS.items())
    return forms_match and (texts[_SUBSTREAMS] is None or _substreams_match(texts[_SUBSTREAMS], texts[_COLUMNS] or ""))


def _text(file: Path) -> str | None:
    return file.read_text(encoding="utf-8") if file.exists() else None


def _substreams_match(text: str, columns: str) -> bool:
    """Whether there are the streams of each column of `columns.txt`, in its order, named after the column.

    The text has a version, the number of columns, and for each column the number of its streams and a line per stream.
    """
    names = re.findall(r"^`(.+?)` ", columns, re.MULTILINE)
    lines = iter(text.splitlines())
    if next(lines, "") != "columns substreams version: 1" or next(lines, "") != f"{len(names)} columns:":
        return False
    for name in names:
        streams = re.fullmatch(r"([0-9]+) substreams for column `(.+)`:", next(lines, ""))
        if streams is None or streams[2] != name:
            return False
        if not all(_STREAM.fullmatch(next(lines, "").removeprefix(f"\t{name}")) for _ in range(int(streams[1]))):
            return False
    return text.endswith("\n") and next(lines, None) is None


_COLUMNS: Final = "columns.txt"
_SUBSTREAMS: Final = "columns_substreams.txt"
_STREAM: Final = re.compile(r"((\.|%2E)[a-z0-9_]+)*")
_FORMS: Final = {
    "default_compression_codec.txt": re.compile(r"CODEC\(.+\)\n?"),
    "metadata_version.txt": re.compile(r"[0-9]+"),
}
"""The files that the engine reads at a start and that `checksums.txt` does not list, with the form of their text."""


def covers(client: Client, table: str, name: PartName, rows: int) -> bool:
    """Whether the sources of a merged part, which has `rows` rows, are active and have all of them.

    They have more if the merge lost rows.
    """
    return active_rows(client, table, name.partition_id, name.first_block, name.last_block) >= rows


def active_rows(client: Client, table: str, partition_id: str, first_block: int, last_block: int) -> int:
    """The rows of the active parts within a range of blocks."""
    (found,) = rows_of(
        client,
        "SELECT sum(rows) AS rows FROM system.parts WHERE database = currentDatabase() AND table = {table:String}"
        " AND active AND partition_id = {partition:String} AND min_block_number >= {first:Int64}"
        " AND max_block_number <= {last:Int64}",
        {"table": table, "partition": partition_id, "first": first_block, "last": last_block},
    )
    return int(found["rows"])


def detached_directory(client: Client, table: str) -> Path:
    """The directory of the parts of a table that are not read."""
    (found,) = rows_of(
        client,
        "SELECT data_paths[1] AS path FROM system.tables WHERE database = currentDatabase() AND name = {table:String}",
        {"table": table},
    )
    return Path(found["path"]) / "detached"
