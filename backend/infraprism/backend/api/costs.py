"""`/v1/analytics/costs`: exact sums of cost and tokens."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field

from infraprism.backend.accounts import Account
from infraprism.backend.api.errors import ApiError
from infraprism.backend.api.filters import Filters
from infraprism.backend.store import Database
from infraprism.schema.fields import TAG_KEY

_DAYS: Final = 30
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
    " countIf(cost_usd IS NULL) AS unpriced_events"
)


def _group(value: str) -> str:
    tag = _tag_of(value)
    if value not in _KEYS and (tag is None or not TAG_KEY.fullmatch(tag)):
        raise ValueError(f"one of {', '.join(_KEYS)}, tags.KEY")
    return value


def _tag_of(group: str) -> str | None:
    kind, dot, key = group.partition(".")
    return key if dot and kind in ("tags", "tag") else None


class CostQuery(Filters):
    """The filters and the grouping of a sum.

    Without `start_date` and `end_date` the sum covers the last 30 days, including today; with one of them, the 30 days
    from or up to that date.
    """

    group_by: Annotated[str, AfterValidator(_group)] | None = None
    limit: Annotated[int, Field(ge=1, le=100_000)] = 10_000


def summary(database: Database, account: Account, query: CostQuery) -> bytes:
    """The sums as JSON: `{data: [group...], summary: {...}}`.

    A cost or token sum is null if no event of the group has a value; `unpriced_events` counts the events without a
    cost. The summary covers all groups, also if `limit` truncates `data`; then `has_more` is true. Raises ApiError.
    """
    query = _with_period(query)
    where, values = query.conditions(account.id)
    keys = _keys(query.group_by)
    tag = _tag_of(query.group_by or "")
    if tag is not None:
        values["group_tag"] = tag
    names = ", ".join(f"{expression} AS {_quoted(name)}" for name, expression in keys.items())
    group = ", ".join(_quoted(name) for name in keys)
    order = group if query.group_by in _BY_TIME else f"total_cost DESC NULLS LAST{', ' + group if group else ''}"
    rows = database.read(
        f"SELECT {names + ', ' if names else ''}{_SUMS} FROM events WHERE {where}"
        + (
            f" GROUP BY GROUPING SETS (({group}), ()) ORDER BY grouping({group}) DESC, {order} LIMIT {{count:UInt64}}"
            if group
            else ""
        ),
        {**values, "count": query.limit + 2},
    )
    return _response_body(rows, query, grouped=bool(keys))


def _keys(group_by: str | None) -> dict[str, str]:
    if group_by is None:
        return {}
    tag = _tag_of(group_by)
    if tag is None:
        return _KEYS[group_by]
    return {f"tags.{tag}": "if(mapContains(tags, {group_tag:String}), tags[{group_tag:String}], NULL)"}


def _quoted(name: str) -> str:
    return f"`{name}`"


def _with_period(query: CostQuery) -> CostQuery:
    start, end = query.start_date, query.end_date
    if start is None and end is None:
        end = str(datetime.now(UTC).date())
    span = timedelta(days=_DAYS - 1)
    if start is None:
        assert end is not None
        start = str((datetime.fromisoformat(end[:10]) - span).date())
    if end is None:
        end = str((datetime.fromisoformat(start[:10]) + span).date())
    period = query.model_copy(update={"start_date": start, "end_date": end})
    _, values = period.conditions("")
    if values["start_ms"] > values["end_ms"]:  # type: ignore[operator]  # both are numbers
        raise ApiError(400, "invalid_parameter", "end_date: not before start_date")
    return period


def _response_body(rows: list[bytes], query: CostQuery, *, grouped: bool) -> bytes:
    # Numbers are copied as the digits that the store returned, so that no float rounds a cost.
    total: dict[str, Any] = json.loads(rows[0], parse_float=_Digits, parse_int=_Digits) if rows else {}
    events = total.get("total_events", "0")
    data = (rows[1:] if grouped else rows) if events != "0" else []
    summed = {
        "total_cost": "0" if events == "0" else total["total_cost"] or "null",
        "total_events": events,
        "unpriced_events": total.get("unpriced_events", "0"),
        "period": json.dumps({"start": query.start_date, "end": query.end_date}),
    }
    shown = b",".join(data[: query.limit])
    body = ",".join(f'"{name}":{value}' for name, value in summed.items())
    more = "true" if len(data) > query.limit else "false"
    return b'{"data":[' + shown + b'],"summary":{' + body.encode() + b'},"has_more":' + more.encode() + b"}"


class _Digits(str):
    """A JSON number as its source text."""

    __slots__ = ()
