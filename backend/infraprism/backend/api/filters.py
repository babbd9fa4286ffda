"""Query parameters that filter events, and their SQL conditions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from infraprism.backend.store.database import Parameter
from infraprism.schema import fields

_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)
_TAG_ESCAPE: Final = re.compile(r"(?<!\\),")
_MAX_TEXT: Final = 256
_EXPECTED_TIME: Final = "a date such as 2026-01-31, or a time such as 2026-01-31T10:30:00Z"


def one_of(allowed: Iterable[str]) -> AfterValidator:
    """A validator for the values of a closed list."""
    names = tuple(allowed)

    def check(value: str) -> str:
        if value not in names:
            raise ValueError(f"one of {', '.join(names)}")
        return value

    return AfterValidator(check)


def _valid_time(value: str) -> str:
    _bounds(value)
    return value


def _tags(values: list[str]) -> list[str]:
    tag_pairs(values)
    return values


Time = Annotated[str, AfterValidator(_valid_time)]
Text = Annotated[str, Field(max_length=_MAX_TEXT)]


class Filters(BaseModel):
    r"""Filters of events, combined with AND.

    Dates are ISO 8601: a UTC day, or a time, which is UTC if it has no offset. Both ends are inclusive.
    `tags` is `key:value,key:value` and may be repeated; a comma in a value is escaped as `\,`.
    """

    model_config = ConfigDict(extra="forbid")

    start_date: Time | None = None
    end_date: Time | None = None
    entity_type: Annotated[str, one_of(fields.ENTITY_TYPES)] | None = None
    entity_id: Text | None = None
    model: Text | None = None
    provider: Annotated[str, one_of(fields.PROVIDERS)] | None = None
    session_id: Text | None = None
    success: bool | None = None
    tags: Annotated[list[str], Field(max_length=fields.MAX_TAGS), AfterValidator(_tags)] = []  # a field

    def conditions(self, account_id: str) -> tuple[str, dict[str, Parameter]]:
        """The SQL condition on the events of an account, and its bound parameters."""
        parts = ["account = {account:String}"]
        values: dict[str, Parameter] = {"account": account_id}
        if self.start_date is not None:
            parts.append("timestamp >= fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC')")
            values["start_ms"] = milliseconds(_bounds(self.start_date)[0])
        if self.end_date is not None:
            parts.append("timestamp <= fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC')")
            values["end_ms"] = milliseconds(_bounds(self.end_date)[1])
        for name in ("entity_type", "entity_id", "model", "provider", "session_id"):
            if (value := getattr(self, name)) is not None:
                parts.append(f"{name} = {{{name}:String}}")
                values[name] = value
        if self.success is not None:
            parts.append(f"success = {self.success}".lower())
        for place, (key, value) in enumerate(tag_pairs(self.tags)):
            parts.append(f"mapContains(tags, {{tag_key_{place}:String}})")
            parts.append(f"tags[{{tag_key_{place}:String}}] = {{tag_value_{place}:String}}")
            values |= {f"tag_key_{place}": key, f"tag_value_{place}": value}
        return " AND ".join(parts), values


def tag_pairs(values: Iterable[str]) -> list[tuple[str, str]]:
    """Parse `key:value,key:value`. Raises ValueError."""
    pairs = []
    for pair in (pair for value in values for pair in _TAG_ESCAPE.split(value)):
        key, colon, value = pair.partition(":")
        if not colon or not fields.TAG_KEY.fullmatch(key):
            raise ValueError("pairs such as feature:chatbot,env:prod")
        pairs.append((key, value.replace("\\,", ",")))
    return pairs


def milliseconds(time: datetime) -> int:
    """Milliseconds since 1970, UTC."""
    return (time - _EPOCH) // timedelta(milliseconds=1)


def _bounds(value: str) -> tuple[datetime, datetime]:
    """The first and last millisecond of a day, or a time twice. Raises ValueError."""
    try:
        if _DATE.fullmatch(value):
            day = datetime.combine(date.fromisoformat(value), datetime.min.time(), UTC)
            first, last = day, day + timedelta(days=1) - timedelta(milliseconds=1)
        else:
            # An unescaped + in a query string is decoded as a space.
            first = datetime.fromisoformat(value.replace(" ", "+") if "T" in value else value)
            last = first = first.replace(tzinfo=UTC) if first.tzinfo is None else first.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(_EXPECTED_TIME) from None
    if not _EPOCH <= first < _LATEST:
        raise ValueError(_EXPECTED_TIME)
    return first, last
