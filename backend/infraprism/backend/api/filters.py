"""Query parameters that filter events, and their SQL conditions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from infraprism.backend.analytics import time_zones
from infraprism.backend.analytics.grouping import tag_of
from infraprism.backend.analytics.time_zones import milliseconds
from infraprism.backend.api import model_filter
from infraprism.backend.api.errors import ApiError
from infraprism.backend.api.times import Interval, interval
from infraprism.backend.store.database import Parameter
from infraprism.schema import fields

_TAG_ESCAPE: Final = re.compile(r"(?<!\\),")
_MAX_TEXT: Final = 256
_MAX_VALUES: Final = 100
"""Values of one filter."""
_VALUES: Final = {
    "entity_type": "entity",
    "entity_id": "entity",
    "provider": "provider",
    "operation": "operation",
    "cost_status": "cost_status",
    "error_type": "error_type",
    "session_id": "session",
}
"""The filters with exact values, and the field that each belongs to. Each is the name of its column."""
_OPTIONAL: Final = {
    "entity": "entity_type",
    "session": "session_id",
    "error_type": "error_type",
    "service_tier": "service_tier",
}
"""The fields that may not be set, apart from tags, and the column that is empty then."""
DIMENSIONS: Final = {
    "entity": ("entity_type", "entity_id"),
    "session": ("session_id",),
}
"""The columns of a filtered field, if it is not the column of that name."""


def one_of(allowed: Iterable[str]) -> AfterValidator:
    """A validator for the values of a closed list."""
    names = tuple(allowed)

    def check(value: str) -> str:
        if value not in names:
            raise ValueError(f"one of {', '.join(names)}")
        return value

    return AfterValidator(check)


def _valid_time(value: str) -> str:
    interval(value)
    return value


def _time_zone(value: str) -> str:
    time_zones.zone(value)
    return value


def _tags(values: list[str]) -> list[str]:
    pairs = tag_pairs(values)
    if len(pairs) > fields.MAX_TAGS or any(len(value) > _MAX_TEXT for _, value in pairs):
        raise ValueError(f"at most {fields.MAX_TAGS} pairs, with values of at most {_MAX_TEXT} characters")
    return values


def _not_set(values: list[str]) -> list[str]:
    for value in values:
        if value not in _OPTIONAL and not fields.TAG_KEY.fullmatch(tag_of(value) or ""):
            raise ValueError(f"one of {', '.join(_OPTIONAL)}, tags.KEY")
    return values


Time = Annotated[str, AfterValidator(_valid_time)]
TimeZone = Annotated[str, AfterValidator(_time_zone)]
Text = Annotated[str, Field(max_length=_MAX_TEXT)]
Texts = Annotated[list[Text], Field(max_length=_MAX_VALUES)]


class Filters(BaseModel):
    r"""Filters of events, combined with AND. A repeated filter selects events with any of its values.

    Dates are ISO 8601: a day in `time_zone` (an IANA name), or a time, which is in that zone if it has no offset. Both
    ends are inclusive. `model` selects a model and its snapshots, with and without a provider's prefix. `tags` is
    `key:value,key:value`; a comma in a value is escaped as `\,`. `none` selects events without a value of a field, also
    in addition to the values of its filter.
    """

    model_config = ConfigDict(extra="forbid")

    start_date: Time | None = None
    end_date: Time | None = None
    time_zone: TimeZone = "UTC"
    entity_type: Annotated[list[Annotated[str, one_of(fields.ENTITY_TYPES)]], Field(max_length=_MAX_VALUES)] = []
    entity_id: Texts = []
    model: Texts = []
    provider: Annotated[list[Annotated[str, one_of(fields.PROVIDERS)]], Field(max_length=_MAX_VALUES)] = []
    operation: Annotated[list[Annotated[str, one_of(fields.OPERATIONS)]], Field(max_length=_MAX_VALUES)] = []
    cost_status: Annotated[list[Annotated[str, one_of(fields.COST_STATUSES)]], Field(max_length=_MAX_VALUES)] = []
    error_type: Annotated[list[Annotated[str, one_of(fields.ERROR_TYPES)]], Field(max_length=_MAX_VALUES)] = []
    session_id: Texts = []
    success: bool | None = None
    tags: Annotated[list[str], Field(max_length=fields.MAX_TAGS), AfterValidator(_tags)] = []
    none: Annotated[list[str], Field(max_length=_MAX_VALUES), AfterValidator(_not_set)] = []

    def period(self) -> tuple[Interval | None, Interval | None]:
        """The first and the last day or time. Raises ApiError if they are in the wrong order or out of the calendar."""
        zone = time_zones.zone(self.time_zone)
        start, end = (
            None if value is None else _interval(name, value, zone)
            for name, value in (("start_date", self.start_date), ("end_date", self.end_date))
        )
        if start and end and start.first > end.last:
            raise ApiError(400, "invalid_parameter", f"end_date: {end.text} is before start_date {start.text}")
        return start, end

    def bounds_ms(self) -> tuple[int | None, int | None]:
        """The first millisecond of the dates, and the one after the last. Raises ApiError."""
        start, end = self.period()
        return start and milliseconds(start.first), end and milliseconds(end.last) + 1

    def conditions(self, account_id: str) -> tuple[str, dict[str, Parameter]]:
        """The SQL condition on the events of an account, and its bound parameters. Raises ApiError."""
        first_ms, end_ms = self.bounds_ms()
        selected = self.selection()
        parts = ["account = {account:String}", *selected.by_dimension.values()]
        parts += [tag.on_events for tag in selected.tags.values()]
        values: dict[str, Parameter] = {"account": account_id, **selected.parameters}
        for name, sign, bound_ms in (("first_ms", ">=", first_ms), ("end_ms", "<", end_ms)):
            if bound_ms is not None:
                parts.append(f"timestamp {sign} fromUnixTimestamp64Milli({{{name}:Int64}}, 'UTC')")
                values[name] = bound_ms
        return " AND ".join(parts), values

    def selection(self) -> Selection:
        """The SQL conditions of all filters but the period."""
        conditions: dict[str, list[str]] = {}
        parameters: dict[str, Parameter] = {}
        for name, dimension in _VALUES.items():
            if values := getattr(self, name):
                conditions.setdefault(dimension, []).append(f"{name} IN {{{name}:Array(String)}}")
                parameters[name] = values
        if self.model:
            conditions["model"] = [model_filter.CONDITION]
            parameters["model_pattern"] = model_filter.pattern(self.model)
        by_dimension = {name: " AND ".join(parts) for name, parts in conditions.items()}
        for name in self.none:
            if column := _OPTIONAL.get(name):
                given = by_dimension.get(name)
                by_dimension[name] = f"({given} OR {column} = '')" if given else f"{column} = ''"
        if self.success is not None:
            by_dimension["success"] = f"success = {self.success}".lower()
        tags: dict[str, TagCondition] = {}
        of_key: dict[str, list[str]] = {tag: [] for name in self.none if (tag := tag_of(name))}
        absent = frozenset(of_key)
        for key, value in tag_pairs(self.tags):
            of_key.setdefault(key, []).append(value)
        for place, (key, values) in enumerate(of_key.items()):
            tags[key] = TagCondition(f"filter_tag_{place}", bool(values), key in absent)
            parameters |= {f"filter_tag_{place}": key, f"filter_tag_{place}_values": values}
        return Selection(by_dimension, tags, parameters)


def conditions_of(account_id: str, filters: Mapping[str, Any]) -> tuple[str, dict[str, Parameter]]:
    """The SQL condition of filters that were validated before, as a job has them. See `Filters.conditions`."""
    return Filters.model_validate(filters).conditions(account_id)


class TagCondition(NamedTuple):
    """The condition on the values of one tag. `name` is the parameter of its key, and begins that of its values."""

    name: str
    has_values: bool
    may_be_absent: bool

    @property
    def on_events(self) -> str:
        """The condition on the column `tags` of events."""
        present = f"mapContains(tags, {{{self.name}:String}})"
        if not self.has_values:
            return f"NOT {present}"
        found = f"{present} AND tags[{{{self.name}:String}}] IN {{{self.name}_values:Array(String)}}"
        return f"({found} OR NOT {present})" if self.may_be_absent else found

    def on_value(self, column: str) -> str:
        """The condition on a nullable column with the value of the tag."""
        found = f"ifNull({column} IN {{{self.name}_values:Array(String)}}, false)"
        if not self.has_values:
            return f"{column} IS NULL"
        return f"({found} OR {column} IS NULL)" if self.may_be_absent else found


class Selection(NamedTuple):
    """SQL conditions by the name of the filtered field, conditions by tag, and bound parameters."""

    by_dimension: dict[str, str]
    tags: dict[str, TagCondition]
    parameters: dict[str, Parameter]


def _interval(name: str, value: str, zone: ZoneInfo) -> Interval:
    try:
        return interval(value, zone)
    except ValueError as error:
        # The first days of the calendar are before 1970 in zones ahead of UTC.
        raise ApiError(400, "invalid_parameter", f"{name}: {error}") from None


def tag_pairs(values: Iterable[str]) -> list[tuple[str, str]]:
    """Parse `key:value,key:value`. Raises ValueError."""
    pairs = []
    for pair in (pair for value in values for pair in _TAG_ESCAPE.split(value)):
        key, colon, value = pair.partition(":")
        if not colon or not fields.TAG_KEY.fullmatch(key):
            raise ValueError("pairs such as feature:chatbot,env:prod")
        pairs.append((key, value.replace("\\,", ",")))
    return pairs
