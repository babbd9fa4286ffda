"""Query parameters that filter events, and their SQL conditions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from infraprism.backend.api import model_filter
from infraprism.backend.api.errors import ApiError
from infraprism.backend.api.times import interval, milliseconds
from infraprism.backend.store.database import Parameter
from infraprism.schema import fields

_TAG_ESCAPE: Final = re.compile(r"(?<!\\),")
_MAX_TEXT: Final = 256


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


def _tags(values: list[str]) -> list[str]:
    pairs = tag_pairs(values)
    if len(pairs) > fields.MAX_TAGS or any(len(value) > _MAX_TEXT for _, value in pairs):
        raise ValueError(f"at most {fields.MAX_TAGS} pairs, with values of at most {_MAX_TEXT} characters")
    return values


Time = Annotated[str, AfterValidator(_valid_time)]
Text = Annotated[str, Field(max_length=_MAX_TEXT)]


class Filters(BaseModel):
    r"""Filters of events, combined with AND.

    Dates are ISO 8601: a UTC day, or a time, which is UTC if it has no offset. Both ends are inclusive.
    `model` selects a model and its snapshots.
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
        """The SQL condition on the events of an account, and its bound parameters. Raises ApiError."""
        parts = ["account = {account:String}"]
        values: dict[str, Parameter] = {"account": account_id}
        start = None if self.start_date is None else interval(self.start_date)
        end = None if self.end_date is None else interval(self.end_date)
        if start and end and start.first > end.last:
            raise ApiError(400, "invalid_parameter", f"end_date: {end.text} is before start_date {start.text}")
        if start:
            parts.append("timestamp >= fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC')")
            values["start_ms"] = milliseconds(start.first)
        if end:
            parts.append("timestamp <= fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC')")
            values["end_ms"] = milliseconds(end.last)
        if self.model is not None:
            parts.append(model_filter.CONDITION)
            values["model"] = self.model
        for name in ("entity_type", "entity_id", "provider", "session_id"):
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
