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
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from infraprism.backend.store.part_files import PartName, parsed_name
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
    """A part of a table. `level` is 0 for inserted parts and higher for merged ones.

    `data_version` is the block number of the last mutation of the part, or its first block if it has none.
    """

    name: str
    partition_id: str
    min_block_number: int
    max_block_number: int
    level: int
    data_version: int
    rows: int
    path: str

    @property
    def files(self) -> Path:
        """The directory of its files."""
        return Path(self.path)

    @property
    def mutation(self) -> int:
        """The block number of its last mutation, or 0."""
        return self.data_version if self.data_version > self.min_block_number else 0

    @property
    def is_inserted(self) -> bool:
        """Whether it is as an INSERT wrote it."""
        return not self.level and not self.mutation

    def contains(self, other: Part) -> bool:
        """Whether the blocks of another part are within its blocks."""
        return (
            self.partition_id == other.partition_id
            and self.min_block_number <= other.min_block_number
            and other.max_block_number <= self.max_block_number
        )


_DELETED_PREFIX: Final = "delete_tmp_"
"""The engine deletes directories of this name at a start."""


def delete_files(part: Part) -> None:
    """Delete the files of a part that is not active. A start completes it after a kill. Raises OSError."""
    renamed = part.files.with_name(f"{_DELETED_PREFIX}{part.name}")
    with suppress(FileNotFoundError):  # the engine has deleted them
        part.files.rename(renamed)
        shutil.rmtree(renamed)


class Deletion(NamedTuple):
    """A deletion of rows that may not be complete: the rows that each part keeps.

    The names are those of the parts that were active when the deletion began. Later parts have higher numbers of blocks
    and mutations than `after`.
    """

    after: int
    kept_rows: Mapping[str, int]

    def kept(self, partition_id: str, first_block: int, last_block: int) -> dict[PartName, int]:
        """The rows that the parts within a range of blocks keep."""
        return {
            name: rows
            for text, rows in self.kept_rows.items()
            if (name := parsed_name(text))
            and name.partition_id == partition_id
            and first_block <= name.first_block
            and name.last_block <= last_block
        }


def parts_in(message: str) -> frozenset[str]:
    """The names of parts in an error message of the engine."""
    return frozenset(_PART_IN_MESSAGE.findall(message))


def rows_of(client: Client, sql: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """The rows of a SELECT."""
    found = client.raw_query(sql, parameters=dict(parameters or {}), fmt="JSONEachRow")
    return [json.loads(row) for row in found.splitlines()]


def active_parts(client: Client, table: str, condition: str = "true") -> list[Part]:
    """The active parts of a table that meet a condition."""
    return all_parts(client, table, f"active AND ({condition})")


def all_parts(client: Client, table: str, condition: str) -> list[Part]:
    """The parts of a table that meet a condition, also those that were replaced and are not removed yet."""
    found = rows_of(
        client,
        "SELECT name, partition_id, min_block_number, max_block_number, level, data_version, rows, path"
        f" FROM system.parts WHERE database = currentDatabase() AND table = {{table:String}} AND ({condition})",
        {"table": table},
    )
    return [Part(**row) for row in found]


def lacks_rows(client: Client, table: str, part: Part, deletion: Deletion | None = None) -> bool:
    """Whether a part has fewer or more rows than the parts that it was made of, as far as they are known.

    A part that a deletion has changed is compared with the rows that it keeps.
    """
    replaced = [
        found
        for found in all_parts(client, table, f"NOT active AND partition_id = {literal(part.partition_id)}")
        if part.contains(found)
    ]
    # A part of an earlier mutation can have other rows.
    same = [
        found
        for found in replaced
        if found.level < part.level and (found.mutation == part.mutation or found.min_block_number > part.mutation)
    ]
    if _differs(part, [_Source(*found[2:5], found.rows) for found in same]):
        return True
    if deletion is None or part.mutation <= deletion.after:
        return False
    kept = deletion.kept(part.partition_id, part.min_block_number, part.max_block_number)
    later = [_Source(*found[2:5], found.rows) for found in same if found.min_block_number > deletion.after]
    return _differs(part, [*(_Source(*name[3:6], rows) for name, rows in kept.items()), *later])


class _Source(NamedTuple):
    first: int
    last: int
    level: int
    rows: int


def _differs(part: Part, sources: Iterable[_Source]) -> bool:
    """Whether the sources have all blocks of a part, and in all other rows than it."""
    rows, following = 0, part.min_block_number
    ordered = sorted(sources, key=lambda one: (one.first, -one.level))
    for source in ordered:
        if source.first >= following:
            rows += source.rows
            following = source.last + 1
    is_complete = bool(ordered) and ordered[0].first == part.min_block_number and following == part.max_block_number + 1
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


def shares_files(part: Part, other: Part) -> bool:
    """Whether two parts have the same files: a mutation links those of a part that it does not change."""
    return _inodes(part.files) == _inodes(other.files) is not None


def _inodes(files: Path) -> dict[str, tuple[int, int]] | None:
    try:
        return {file.name: ((found := file.stat()).st_dev, found.st_ino) for file in files.iterdir()}
    except OSError:
        return None


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
