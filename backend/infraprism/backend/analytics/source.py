"""Measured rows from the events themselves: one row per call. See `store.measured_rows`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from infraprism.backend.store import schema
from infraprism.backend.store.database import Parameter
from infraprism.backend.store.measured_rows import TOKEN_FIELDS, MeasuredRows, Relation, TimeUnit, latency_bucket

Source = Callable[[MeasuredRows], Relation]
"""Where measured rows come from."""

_TIMES: Final[dict[TimeUnit, str]] = {
    "none": "toDateTime(0, 'UTC')",
    "quarter_hour": "toDateTime(toStartOfFifteenMinutes(timestamp), 'UTC')",
    "day": "toDateTime(toStartOfDay(timestamp, {rows_time_zone:String}), 'UTC')",
}
_MEASURES: Final = {
    "calls": "toUInt64(1)",
    "failed_calls": "toUInt64(NOT success)",
    "unpriced_calls": "toUInt64(cost_usd IS NULL)",
    "unpriced_failed_calls": "toUInt64(cost_usd IS NULL AND NOT success)",
    **{name: f"CAST({name}, 'Nullable(UInt64)')" for name in TOKEN_FIELDS},
    **{f"calls_without_{name}": f"toUInt64({name} IS NULL)" for name in TOKEN_FIELDS},
    # 256 bits: the sum of any number of costs is exact.
    "total_cost": "toDecimal256(cost_usd, 18)",
    "latency_ms": "toUInt64(latency_ms)",
    "latency": f"map({latency_bucket('latency_ms')}, toUInt64(1))",
}


def measured_rows(request: MeasuredRows) -> Relation:
    """The rows of a request, one per call."""
    columns = {"time": _TIMES[request.time_unit], **{name: f"events.{name}" for name in request.dimensions}}
    parameters: dict[str, Parameter] = {**request.parameters, "rows_account": request.account_id}
    for column, key in (("tag_value", request.tag_key), ("other_tag_value", request.other_tag_key)):
        if key is not None:
            columns[column] = _tag_value(f"{{rows_{column}:String}}")
            parameters[f"rows_{column}"] = key
    table = f"{schema.EVENTS} AS events"
    if request.every_tag:
        table += " ARRAY JOIN CAST(events.tags, 'Array(Tuple(String, String))') AS tag"
        columns |= {"tag_key": "tag.1", "tag_value": "tag.2"}
    where = ["account = {rows_account:String}"]
    if request.first_ms is not None:
        where.append("timestamp >= fromUnixTimestamp64Milli({rows_first_ms:Int64}, 'UTC')")
        parameters["rows_first_ms"] = request.first_ms
    if request.end_ms is not None:
        where.append("timestamp < fromUnixTimestamp64Milli({rows_end_ms:Int64}, 'UTC')")
        parameters["rows_end_ms"] = request.end_ms
    if request.time_unit == "day":
        parameters["rows_time_zone"] = request.time_zone
    measures = _MEASURES | ({"first_time": "timestamp", "last_time": "timestamp"} if request.with_times else {})
    selected = ", ".join(f"{sql} AS {name}" for name, sql in (columns | measures).items())
    conditions = " AND ".join((*where, *request.conditions, *request.event_conditions))
    return Relation(f"(SELECT {selected} FROM {table} WHERE {conditions})", parameters)


def _tag_value(key: str) -> str:
    return f"if(mapContains(tags, {key}), CAST(tags[{key}], 'Nullable(String)'), NULL)"
