"""The tables and views of the store. Their columns are generated from the field table."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from typing import Final

from infraprism.schema import fields
from infraprism.schema.fields import FIELDS, Field

EVENTS: Final = "events"
TABLES: Final = (EVENTS, "rejected")
VIEWS: Final = ("inbox_to_events", "inbox_to_rejected")
INBOX: Final = "inbox"

TOTAL_TOKENS: Final = fields.TOTAL_TOKENS
"""Not stored: an alias column of the events table."""
STORED_FIELDS: Final = tuple(field for field in FIELDS if field is not TOTAL_TOKENS)
"""The fields that have a stored column, in the order of the columns."""
NULLABLE_FIELDS: Final = frozenset({fields.INPUT_TOKENS, fields.OUTPUT_TOKENS, TOTAL_TOKENS, fields.COST_USD})
"""The fields of presence `always` that are absent where the value is not known. Their columns are nullable."""

_COLUMNS: Final = "/* columns of the field table */"
"""Placeholder in the SQL files."""
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
    return sql.replace(_COLUMNS, ",\n    ".join(columns))


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
    """Create the tables and views that are missing.

    The inbox and its views hold no data. They are recreated, so that they always match this version.
    """
    for view in VIEWS:
        run(f"DROP VIEW IF EXISTS {view}")
    run(f"DROP TABLE IF EXISTS {INBOX}")
    for name in (*TABLES, INBOX, *VIEWS):
        run(statement(name))
