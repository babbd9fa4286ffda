"""`/v1/analytics/costs`: exact sums of cost and tokens."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field

from infraprism.backend.accounts import Account
from infraprism.backend.api.errors import ApiError
from infraprism.backend.api.filters import Filters
from infraprism.backend.api.times import interval
from infraprism.backend.store import Database
from infraprism.backend.store.database import Parameter
from infraprism.schema.fields import TAG_KEY

_DAYS: Final = 30
_MAX_KEYS: Final = 2
_KEYS: Final = {
    "entity": {"entity_type": "nullIf(toString(entity_type), '')", "entity_id": "nullIf(entity_id, '')"},
    "model": {"model": "toString(model)"},
    "provider": {"provider": "toString(provider)"},
    "session": {"session_id": "nullIf(session_id, '')"},
    "day": {"day": "toString(toDate(timestamp, 'UTC'))"},
    "week": {"week": "toString(toMonday(timestamp, 'UTC'))"},
    "month": {"month": "formatDateTime(timestamp, '%Y-%m', 'UTC')"},
}
_BY_TIME: Final = frozenset({"day", "week", "month"})
_SUMS: Final = (
    # 256 bits: the sum of any number of costs is exact.
    "sum(toDecimal256(cost_usd, 18)) AS total_cost, count() AS total_events,"
    " sum(input_tokens) AS total_input_tokens,"
    " sum(output_tokens) AS total_output_tokens,"
    " accurateCastOrNull(round(avg(latency_ms)), 'UInt64') AS avg_latency_ms,"
    " countIf(cost_usd IS NULL) AS unpriced_events, countIf(NOT success) AS failed_events,"
    " countIf(NOT success AND cost_usd IS NULL) AS unpriced_failed_events,"
    " if(count() = 0, NULL, round(countIf(NOT success) / count(), 4)) AS error_rate"
)
_SUMMED: Final = ("unpriced_events", "failed_events", "unpriced_failed_events", "error_rate")
"""The columns of `_SUMS` of the summary, in addition to cost and events."""


def _groups(values: list[str]) -> list[str]:
    """The keys to group by, from `KEY,KEY` and repeated parameters. Raises ValueError."""
    groups = [group for value in values for group in value.split(",")]
    for group in groups:
        tag = _tag_of(group)
        if group not in _KEYS and (tag is None or not TAG_KEY.fullmatch(tag)):
            raise ValueError(f"one of {', '.join(_KEYS)}, tags.KEY; or two of them, separated by a comma")
    if len(groups) > _MAX_KEYS or len({_tag_of(group) or f" {group}" for group in groups}) < len(groups):
        raise ValueError("at most two keys, which differ")
    return groups


def _tag_of(group: str) -> str | None:
    kind, dot, key = group.partition(".")
    return key if dot and kind in ("tags", "tag") else None


class CostQuery(Filters):
    """The filters and the grouping of a sum.

    Without `start_date` and `end_date` the sum covers the last 30 days, including today. With `start_date` alone it
    covers all days until today, with `end_date` alone all days until that date. `group_by` is one key or two.
    """

    group_by: Annotated[list[str], Field(default_factory=list), AfterValidator(_groups)]
    limit: Annotated[int, Field(ge=1, le=100_000)] = 10_000


def summary(database: Database, account: Account, query: CostQuery) -> bytes:
    """The sums as JSON: `{data: [group...], summary: {...}}`.

    A cost or token sum is null if no event of the group has a value; `unpriced_events` counts the events without a
    cost. The summary covers all groups, also if `limit` truncates `data`; then `has_more` is true. Raises ApiError.
    """
    query = _with_period(query)
    where, values = query.conditions(account.id)
    models = None if query.model is None else _models(database, where, values)
    keys = _keys(query.group_by)
    tags = {f"group_tag_{place}": _tag_of(group) or "" for place, group in enumerate(query.group_by)}
    names = ", ".join(f"{expression} AS {_quoted(name)}" for name, expression in keys.items())
    group = ", ".join(_quoted(name) for name in keys)
    rows = database.read(
        f"SELECT {names + ', ' if names else ''}{_SUMS} FROM events WHERE {where}"
        + (
            f" GROUP BY GROUPING SETS (({group}), ()) ORDER BY grouping({group}) DESC,"
            f" {_order(query.group_by, keys)} LIMIT {{count:UInt64}}"
            if group
            else ""
        ),
        {**values, **tags, "count": query.limit + 2},
    )
    return _response_body(rows, query, models, grouped=bool(keys))


def _models(database: Database, where: str, values: dict[str, Parameter]) -> list[str]:
    """The models that the model filter found."""
    rows = database.read(f"SELECT DISTINCT toString(model) AS model FROM events WHERE {where} ORDER BY model", values)
    return [json.loads(row)["model"] for row in rows]


def _keys(groups: Sequence[str]) -> dict[str, str]:
    """The key columns and their expressions."""
    keys: dict[str, str] = {}
    for place, group in enumerate(groups):
        tag = _tag_of(group)
        if tag is None:
            keys |= _KEYS[group]
        else:
            parameter = f"{{group_tag_{place}:String}}"
            keys[f"tags.{tag}"] = f"if(mapContains(tags, {parameter}), tags[{parameter}], NULL)"
    return keys


def _order(groups: Sequence[str], keys: Iterable[str]) -> str:
    """By time if a key is a time, then by cost."""
    times = [_quoted(group) for group in groups if group in _BY_TIME]
    return ", ".join((*times, "total_cost DESC NULLS LAST", *(_quoted(name) for name in keys)))


def _quoted(name: str) -> str:
    return f"`{name}`"


def _with_period(query: CostQuery) -> CostQuery:
    """The query with the period that it covers; a missing start is the first event."""
    if query.end_date is not None:
        return query
    today = datetime.now(UTC).date()
    start = str(today - timedelta(days=_DAYS - 1)) if query.start_date is None else query.start_date
    if interval(start).first > interval(str(today)).last:
        raise ApiError(400, "invalid_parameter", "start_date: in the future; set end_date as well")
    return query.model_copy(update={"start_date": start, "end_date": str(today)})


def _response_body(rows: list[bytes], query: CostQuery, models: list[str] | None, *, grouped: bool) -> bytes:
    # Numbers are copied as the digits that the store returned, so that no float rounds a cost.
    total: dict[str, Any] = json.loads(rows[0], parse_float=_Digits, parse_int=_Digits) if rows else {}
    events = total.get("total_events", "0")
    data = (rows[1:] if grouped else rows) if events != "0" else []
    period = {
        name: None if value is None else interval(value).text
        for name, value in (("start", query.start_date), ("end", query.end_date))
    }
    summed = {
        "total_cost": "0" if events == "0" else total["total_cost"] or "null",
        "total_events": events,
        **{name: total.get(name, "0" if name != "error_rate" else None) or "null" for name in _SUMMED},
        "period": json.dumps(period),
    }
    if models is not None:
        summed["models"] = json.dumps(models)
    shown = b",".join(data[: query.limit])
    body = ",".join(f'"{name}":{value}' for name, value in summed.items())
    more = "true" if len(data) > query.limit else "false"
    return b'{"data":[' + shown + b'],"summary":{' + body.encode() + b'},"has_more":' + more.encode() + b"}"


class _Digits(str):
    """A JSON number as its source text."""

    __slots__ = ()
