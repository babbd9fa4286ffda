"""Which events: the parameters that the REST paths share, and their conditions in SQL."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from infraprism.backend.store.database import Parameter
from infraprism.schema import fields

_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(2200, 1, 1, tzinfo=UTC)
_TAG_ESCAPE: Final = re.compile(r"(?<!\\),")
_MAX_TEXT: Final = 256
_NO_MOMENT: Final = "a date such as 2026-01-31, or a time such as 2026-01-31T10:30:00Z"


def one_of(allowed: Iterable[str]) -> AfterValidator:
    """A check that a text is one of a closed list."""
    names = tuple(allowed)

    def check(value: str) -> str:
        if value not in names:
            raise ValueError(f"one of {', '.join(names)}")
        return value

    return AfterValidator(check)


def _moment(value: str) -> str:
    _bounds(value)
    return value


def _tags(values: list[str]) -> list[str]:
    tag_pairs(values)
    return values


Moment = Annotated[str, AfterValidator(_moment)]
Text = Annotated[str, Field(max_length=_MAX_TEXT)]


class Filters(BaseModel):
    r"""Filters of events; several hold together.

    Dates are ISO 8601: a day, which is whole and UTC, or a time, UTC where it has no offset. Both ends are included.
    `tags` is `key:value,key:value`, and may be given several times; a comma inside a value is written `\,`.
    """

    model_config = ConfigDict(extra="forbid")

    start_date: Moment | None = None
    end_date: Moment | None = None
    entity_type: Annotated[str, one_of(fields.ENTITY_TYPES)] | None = None
    entity_id: Text | None = None
    model: Text | None = None
    provider: Annotated[str, one_of(fields.PROVIDERS)] | None = None
    session_id: Text | None = None
    success: bool | None = None
    tags: Annotated[list[str], Field(max_length=fields.MAX_TAGS), AfterValidator(_tags)] = []  # a field

    def conditions(self, account_id: str) -> tuple[str, dict[str, Parameter]]:
        """What an account's event must fulfil, in SQL, and the values bound in it."""
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
    """The pairs in `key:value,key:value`. Raises ValueError."""
    pairs = []
    for pair in (pair for value in values for pair in _TAG_ESCAPE.split(value)):
        key, colon, value = pair.partition(":")
        if not colon or not fields.TAG_KEY.fullmatch(key):
            raise ValueError("pairs such as feature:chatbot,env:prod")
        pairs.append((key, value.replace("\\,", ",")))
    return pairs


def milliseconds(moment: datetime) -> int:
    """Since 1970, UTC."""
    return (moment - _FIRST) // timedelta(milliseconds=1)


def _bounds(value: str) -> tuple[datetime, datetime]:
    """The first and the last millisecond that a day or a time stands for. Raises ValueError."""
    try:
        if _DATE.fullmatch(value):
            day = datetime.combine(date.fromisoformat(value), datetime.min.time(), UTC)
            first, last = day, day + timedelta(days=1) - timedelta(milliseconds=1)
        else:
            # In a query string a bare + of an offset arrives as a space.
            first = datetime.fromisoformat(value.replace(" ", "+") if "T" in value else value)
            last = first = first.replace(tzinfo=UTC) if first.tzinfo is None else first.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(_NO_MOMENT) from None
    if not _FIRST <= first < _LAST:
        raise ValueError(_NO_MOMENT)
    return first, last
