"""The SELECT columns of an event in REST responses and exports."""

from __future__ import annotations

from typing import Final

from infraprism.schema import fields

_SHOWN: Final = (
    fields.MODEL,
    fields.PROVIDER,
    fields.INPUT_TOKENS,
    fields.OUTPUT_TOKENS,
    fields.TOTAL_TOKENS,
    fields.COST_USD,
    fields.COST_STATUS,
    fields.LATENCY_MS,
    fields.OPERATION,
    fields.ENTITY_TYPE,
    fields.ENTITY_ID,
    fields.SESSION_ID,
    fields.TAGS,
    fields.SUCCESS,
    fields.ERROR_TYPE,
    fields.ERROR_CODE,
)


def shown(*, usage_detail: bool) -> tuple[fields.Field, ...]:
    """The fields of an event in a response, in order. Before them it has `id` and `timestamp`."""
    return (*_SHOWN, *fields.USAGE_DETAIL) if usage_detail else _SHOWN


def event(*, usage_detail: bool) -> str:
    """The columns. The table `events` is qualified, since the result columns have the same names."""
    columns = ["concat('evt_', lower(hex(events.id))) AS id", "events.timestamp AS timestamp"]
    for field in shown(usage_detail=usage_detail):
        # An absent string is stored as the empty string.
        absent = field.kind == "string" and field.presence != "always"
        value = f"nullIf(toString(events.{field.name}), '')" if absent else f"events.{field.name}"
        columns.append(f"{value} AS {field.name}")
    return ", ".join(columns)
