"""Measured rows: the relation that every analytics query reads, from single calls or from stored sums of calls.

A relation has one row per call, or one per set of calls with equal dimensions. Its columns:

| column | type | content |
|---|---|---|
| `time` | DateTime('UTC') | start of the `time_unit`; 1970-01-01 with `time_unit` "none" |
| each of `MeasuredRows.dimensions` | as in the table `events` | absent strings are empty |
| `tag_value` | Nullable(String) | the value of `tag_key`; NULL if not set. Only with a `tag_key` |
| `other_tag_value` | Nullable(String) | the same of `other_tag_key` |
| `tag_key`, `tag_value` | String | only with `every_tag`: a row of a call for each of its tags |
| `calls`, `failed_calls`, `unpriced_calls`, `unpriced_failed_calls` | UInt64 | numbers of calls |
| each of `TOKEN_FIELDS` | Nullable(UInt64) | sum of the calls with a value; NULL if no call has one |
| `calls_without_` and each of `TOKEN_FIELDS` | UInt64 | the calls without a value |
| `total_cost` | Nullable(Decimal(76, 18)) | exact sum of the priced calls; NULL if no call is priced |
| `latency_ms` | UInt64 | sum over all calls |
| `latency` | Map(Int16, UInt64) | calls per latency bucket, see `latency_bucket` |
| `first_time`, `last_time` | DateTime64(3, 'UTC') | of the first and the last call. Only `with_times` |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from infraprism.backend.store.database import Parameter
from infraprism.schema.fields import FIELDS

TimeUnit = Literal["none", "quarter_hour", "day"]

DIMENSIONS: Final = (
    "entity_type",
    "entity_id",
    "model",
    "provider",
    "operation",
    "service_tier",
    "success",
    "error_type",
    "cost_status",
    "session_id",
)
"""The columns of `events` that can be grouped and filtered."""
TOKEN_FIELDS: Final = tuple(field.name for field in FIELDS if field.unit == "token")
BUCKETS_PER_DOUBLING: Final = 16
"""Scale 4 of the exponential histogram of OpenTelemetry."""
ZERO_BUCKET: Final = -2
"""The bucket of a latency of 0 ms. That of 1 ms is -1."""


@dataclass(frozen=True)
class MeasuredRows:
    """Which calls are measured, and by what they are grouped.

    `first_ms` (inclusive) and `end_ms` (exclusive) are milliseconds since 1970, UTC; None has no bound. `dimensions`
    are the names in `DIMENSIONS` that are grouped or filtered. `conditions` are SQL conditions on those dimensions and
    on `tag_value` and `other_tag_value`, combined with AND. `event_conditions` can only be applied to single calls:
    they use other columns of `events`, such as `tags`. `parameters` are the bound values of both. With `time_unit`
    "day", days begin at midnight in `time_zone`; a quarter-hour is the same in every time zone.
    """

    account_id: str
    first_ms: int | None = None
    end_ms: int | None = None
    dimensions: tuple[str, ...] = ()
    tag_key: str | None = None
    other_tag_key: str | None = None
    conditions: tuple[str, ...] = ()
    event_conditions: tuple[str, ...] = ()
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    time_unit: TimeUnit = "none"
    time_zone: str = "UTC"
    with_times: bool = False
    every_tag: bool = False


@dataclass(frozen=True)
class Relation:
    """A parenthesised SELECT for `FROM`, and its bound parameters. The names of its own start with `rows_`."""

    sql: str
    parameters: Mapping[str, Parameter]

    def renamed(self, prefix: str) -> Relation:
        """The same relation; its own parameters begin with `prefix`, for two relations in one statement."""
        renamed = {f"{prefix}{name}" if name.startswith("rows_") else name: at for name, at in self.parameters.items()}
        return Relation(self.sql.replace("{rows_", f"{{{prefix}rows_"), renamed)


def latency_bucket(latency_ms: str) -> str:
    """The SQL expression of the bucket of a latency.

    Bucket i has the latencies in (2^(i/16), 2^((i+1)/16)] ms. The middle of a bucket is at most 2.2 % off.
    """
    bucket = f"ceil(log2({latency_ms}) * {BUCKETS_PER_DOUBLING}) - 1"
    return f"toInt16(if({latency_ms} = 0, {ZERO_BUCKET}, {bucket}))"
