"""The values of a field, and the keys of tags."""

from __future__ import annotations

from typing import Final

from infraprism.backend.analytics.grouping import KEYS, Grouping
from infraprism.backend.store.database import Readable
from infraprism.backend.store.measured_rows import DIMENSIONS, Relation

FIELDS: Final = tuple(name for name in DIMENSIONS if name != "success")
"""The fields with values, apart from tags."""


def grouping_of(field: str) -> Grouping:
    """The grouping that has a field or `tags.KEY` as a column."""
    return Grouping((next((key for key, columns in KEYS.items() if field in columns), field),))


def values(database: Readable, relation: Relation, column: str, prefix: str, limit: int) -> list[bytes]:
    """The values that begin with a prefix, the most frequent first, as JSON. `column` is SQL on measured rows `m`.

    One more than the limit, if there are more.
    """
    return database.read(
        f"SELECT {column} AS value, sum(m.calls) AS total_events FROM {relation.sql} AS m"
        f" WHERE isNotNull({column}) AND startsWith(assumeNotNull({column}), {{value_prefix:String}})"
        " GROUP BY value ORDER BY total_events DESC, value LIMIT {count:UInt64}",
        {**relation.parameters, "value_prefix": prefix, "count": limit + 1},
    )


def tags(database: Readable, relation: Relation, limit: int) -> list[bytes]:
    """The keys of tags, the most frequent first, with the number of their values, as JSON. One more than the limit."""
    return database.read(
        "SELECT m.tag_key AS key, uniqExact(m.tag_value) AS values, sum(m.calls) AS total_events"
        f" FROM {relation.sql} AS m GROUP BY key ORDER BY total_events DESC, key LIMIT {{count:UInt64}}",
        {**relation.parameters, "count": limit + 1},
    )
