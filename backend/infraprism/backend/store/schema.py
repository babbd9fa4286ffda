"""The tables and views of the store. Their columns are generated from the field table."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Final

from infraprism.schema import fields
from infraprism.schema.fields import FIELDS, Field

EVENTS: Final = "events"
SALVAGE: Final = "salvaged_part"
"""The table of a damaged part during its repair."""
INGEST: Final = "ingest"
"""The database of the staged batches. Its tables are in memory: no start and no INSERT writes them."""
OLD_PARTS_LIFETIME_S: Final = 900
"""How long the sources of a merge are kept."""
_SETTINGS: Final = {
    "old_parts_lifetime": OLD_PARTS_LIFETIME_S,
    "fsync_after_insert": 1,
    "fsync_part_directory": 1,
    "min_rows_to_fsync_after_merge": 1,
    "max_suspicious_broken_parts": 10**9,
    "max_suspicious_broken_parts_bytes": 10**18,
    "min_bytes_for_wide_part": 64 * 2**20,
}
"""Settings of the stored tables.

Inserted and merged parts are on the disk before they count (fsync). Small parts are written in the compact format, so
that fsync covers a few files instead of several per column. The sources of a merge are kept until the merged part is
verified (part_guard.py). The table is loaded even if many parts are damaged; they are reported.
"""

TOTAL_TOKENS: Final = fields.TOTAL_TOKENS
"""Not stored: an alias column of the events table."""
STORED_FIELDS: Final = tuple(field for field in FIELDS if field is not TOTAL_TOKENS)
"""The fields that have a stored column, in the order of the columns."""
NULLABLE_FIELDS: Final = frozenset({fields.INPUT_TOKENS, fields.OUTPUT_TOKENS, TOTAL_TOKENS, fields.COST_USD})
"""The fields of presence `always` that are absent where the value is not known. Their columns are nullable."""

_COLUMNS: Final = "/* columns of the field table */"
_TABLE_SETTINGS: Final = "/* settings of stored tables */"
_NAME: Final = "/* name */"
"""Placeholders in the SQL files."""
_HIGH_CARDINALITY: Final = frozenset({fields.ENTITY_ID, fields.SESSION_ID})
_MAX_UINT32: Final = 2**32 - 1


def statement(name: str) -> str:
    """The SQL that creates one table or view."""
    sql = resources.files(__package__).joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
    columns = [f"{field.name} {column_type(field)}" for field in STORED_FIELDS]
    if name == EVENTS:
        columns.append(
            f"{TOTAL_TOKENS.name} {column_type(TOTAL_TOKENS)}"
            f" ALIAS {fields.INPUT_TOKENS.name} + {fields.OUTPUT_TOKENS.name}"
        )
    settings = ", ".join(f"{name} = {value}" for name, value in _SETTINGS.items())
    return sql.replace(_COLUMNS, ",\n    ".join(columns)).replace(_TABLE_SETTINGS, settings)


def staged_table(name: str) -> str:
    """The SQL that creates the table of a lane."""
    return statement("staged").replace(_NAME, name)


def column_type(field: Field) -> str:
    """The column type of a field.

    An absent string is stored as the empty string, since no string field of an event can be empty; other absent
    values are NULL.
    """
    match field.kind:
        case "string":
            return "String" if field in _HIGH_CARDINALITY else "LowCardinality(String)"
        case "tags":
            return "Map(LowCardinality(String), String)"
        case "decimal":
            plain = f"Decimal(38, {fields.MAX_COST_DIGITS})"
        case "bool":
            plain = "Bool"
        case "int":
            plain = "UInt32" if field.maximum <= _MAX_UINT32 else "UInt64"
    is_nullable = field in NULLABLE_FIELDS or field.presence == "opt_in"
    return f"Nullable({plain})" if is_nullable else plain


def create(run: Callable[[str], object]) -> None:
    """Create the tables and views that are missing, and apply the settings of this version."""
    for view in ("inbox_to_events", "inbox_to_rejected", "inbox", "rejected"):
        if run(f"EXISTS TABLE default.{view}"):  # of an earlier version
            run(f"DROP TABLE default.{view}")
    if run(f"EXISTS TABLE default.{SALVAGE}"):  # of a repair that was interrupted
        run(f"DROP TABLE default.{SALVAGE} SYNC")
    run(statement(EVENTS))
    existing = str(
        run(f"SELECT create_table_query FROM system.tables WHERE table = '{EVENTS}' AND database = 'default'")
    )
    changed = [f"{name} = {value}" for name, value in _SETTINGS.items() if f"{name} = {value}" not in existing]
    if changed:
        run(f"ALTER TABLE {EVENTS} MODIFY SETTING {', '.join(changed)}")
    run(f"CREATE DATABASE IF NOT EXISTS {INGEST} ENGINE = Memory")


def keep_old_parts(directory: Path) -> None:
    """Let the lifetime of replaced parts begin again, before the engine opens the directory.

    It removes those at a start that are older than their lifetime, perhaps before the part that replaced them is
    verified.
    """
    for marker in directory.glob("store/*/*/*/checksums.txt"):
        os.utime(marker.parent)


def remove_definitions_of_ingest(directory: Path) -> None:
    """Remove the file of the in-memory database, before the engine opens the directory.

    The engine writes it at each start. On a full disk it can be truncated, and the engine could not start.
    """
    (directory / "metadata" / f"{INGEST}.sql").unlink(missing_ok=True)
