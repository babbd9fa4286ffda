"""What sums are grouped by: the keys, the columns of each, and the dimensions of measured rows that they need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from infraprism.backend.store.measured_rows import TimeUnit
from infraprism.schema.fields import TAG_KEY

MAX_KEYS: Final = 2
TIME_ZONE: Final = "group_time_zone"
"""The parameter with the time zone of days, weeks and months."""
_ABSENT_IF_EMPTY: Final = "nullIf(toString(m.{0}), '')"
_TIME: Final = f"{{{TIME_ZONE}:String}}"
KEYS: Final = {
    "entity": {name: _ABSENT_IF_EMPTY.format(name) for name in ("entity_type", "entity_id")},
    "model": {"model": "toString(m.model)"},
    "provider": {"provider": "toString(m.provider)"},
    "operation": {"operation": "toString(m.operation)"},
    "cost_status": {"cost_status": "toString(m.cost_status)"},
    "error_type": {"error_type": _ABSENT_IF_EMPTY.format("error_type")},
    "service_tier": {"service_tier": _ABSENT_IF_EMPTY.format("service_tier")},
    "session": {"session_id": _ABSENT_IF_EMPTY.format("session_id")},
    "day": {"day": f"toString(toDate(m.time, {_TIME}))"},
    "week": {"week": f"toString(toMonday(m.time, {_TIME}))"},
    "month": {"month": f"formatDateTime(m.time, '%Y-%m', {_TIME})"},
}
"""The columns of each key, as SQL on measured rows `m`. A column of a dimension has its name."""
BY_TIME: Final = frozenset({"day", "week", "month"})
_TAG_COLUMNS: Final = ("tag_value", "other_tag_value")


@dataclass(frozen=True)
class Grouping:
    """One key or two, or none.

    `columns` are the columns of a row of the response, and their SQL on measured rows `m`; the other fields are what
    these rows need, see `MeasuredRows`.
    """

    keys: tuple[str, ...] = ()

    @property
    def columns(self) -> dict[str, str]:
        """The columns that a row of the response begins with, and their SQL."""
        columns: dict[str, str] = {}
        for key in self.keys:
            tag = tag_of(key)
            if tag is None:
                columns |= KEYS[key]
            else:
                columns[f"tags.{tag}"] = f"m.{_TAG_COLUMNS[self.tag_keys.index(tag)]}"
        return columns

    @property
    def times(self) -> tuple[str, ...]:
        """The keys that are times."""
        return tuple(key for key in self.keys if key in BY_TIME)

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The dimensions of measured rows."""
        return tuple(column for key in self.keys if key in KEYS and key not in BY_TIME for column in KEYS[key])

    @property
    def tag_keys(self) -> tuple[str, ...]:
        """The keys of the tags."""
        return tuple(tag for key in self.keys if (tag := tag_of(key)) is not None)

    @property
    def time_unit(self) -> TimeUnit:
        """The unit of the time of measured rows."""
        return "day" if self.times else "none"


def grouping(values: Sequence[str], max_keys: int = MAX_KEYS) -> Grouping:
    """The grouping by `KEY,KEY` and repeated values. Raises ValueError."""
    keys = tuple(key for value in values for key in value.split(","))
    if any(key not in KEYS and not TAG_KEY.fullmatch(tag_of(key) or "") for key in keys):
        raise ValueError(f"one of {', '.join(KEYS)}, tags.KEY; or two of them, separated by a comma")
    if len(keys) > max_keys or len({tag_of(key) or f" {key}" for key in keys}) < len(keys):
        raise ValueError("at most two keys, which differ" if max_keys > 1 else "at most one key")
    return Grouping(keys)


def tag_of(name: str) -> str | None:
    """The key of `tags.KEY` or `tag.KEY`; None for another name."""
    kind, dot, key = name.partition(".")
    return key if dot and kind in ("tags", "tag") else None


def quoted(name: str) -> str:
    """A column name in SQL."""
    return f"`{name}`"
