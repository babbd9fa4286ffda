"""Conversion between an event and the attributes of its OTLP span."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Context, Decimal, InvalidOperation
from typing import Any, Final

from infraprism.schema import fields
from infraprism.schema.event import Event, cost_text
from infraprism.schema.fields import FIELDS, TAG_PREFIX

SCOPE_NAME: Final = "infraprism"

Attribute = str | int | bool
_READ: Final = Context(prec=60)
# An event is a tuple: the position of each field is looked up once, not by name for every event.
_WITH_DETAIL: Final = tuple((Event._fields.index(field.name), field.key, field.kind) for field in FIELDS)
_WITHOUT_DETAIL: Final = tuple(
    (Event._fields.index(field.name), field.key, field.kind) for field in FIELDS if field.presence != "opt_in"
)
_PLAIN: Final = tuple(field for field in FIELDS if field.kind not in ("tags", "decimal"))


def attributes(event: Event, *, usage_detail: bool = False) -> dict[str, Attribute]:
    """The attributes of the span of an event, in the order of the field table; unknown values are absent."""
    found: dict[str, Attribute] = {}
    for position, key, kind in _WITH_DETAIL if usage_detail else _WITHOUT_DETAIL:
        value: Any = event[position]
        if value is None:
            continue
        if kind == "decimal":
            found[key] = cost_text(value)
        elif kind == "tags":
            for name, text in event.tags:
                found[TAG_PREFIX + name] = text
        else:
            found[key] = value
    return found


def read(trace_id: int, span_id: int, start_ns: int, found: Mapping[str, object]) -> Event | None:
    """The event of a span's attributes, or None if the span is not an event.

    Only keys of the field table are read; `Event` checks the values.
    """
    if fields.COST_STATUS.key not in found or fields.SUCCESS.key not in found:
        return None
    values: dict[str, object] = {field.name: found.get(field.key) for field in _PLAIN}
    del values["total_tokens"]
    return Event(
        trace_id=trace_id,
        span_id=span_id,
        timestamp_ns=start_ns,
        cost_usd=read_cost(found.get(fields.COST_USD.key)),
        tags={
            key.removeprefix(TAG_PREFIX): value
            for key, value in found.items()
            if type(key) is str and key.startswith(TAG_PREFIX) and type(value) is str
        },
        **values,  # type: ignore[arg-type]  # Event checks every value
    )


def read_cost(text: object) -> Decimal | None:
    """A cost from its text on the wire, exact, or None if the text is not a cost."""
    if type(text) is not str or not fields.COST_USD.regex.fullmatch(text):
        return None
    try:
        return _READ.create_decimal(text)
    except InvalidOperation:
        return None
