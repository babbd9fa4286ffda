"""The period of an analytics query, and the measured rows that its filters select."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from infraprism.backend.analytics import periods, time_zones
from infraprism.backend.analytics.grouping import TIME_ZONE, Grouping, grouping
from infraprism.backend.analytics.periods import Period
from infraprism.backend.analytics.source import Source, measured_rows
from infraprism.backend.api.errors import ApiError
from infraprism.backend.api.filters import DIMENSIONS, Filters, Time, one_of
from infraprism.backend.retention import coverage
from infraprism.backend.retention.coverage import Earlier
from infraprism.backend.retention.retained_events import WITH_EXPIRED, RetainedEvents
from infraprism.backend.store import Database
from infraprism.backend.store.aggregates import NotAnsweredError
from infraprism.backend.store.aggregates.relation import is_permanent
from infraprism.backend.store.aggregates.zone_names import UTC_ZONE, is_same_zone
from infraprism.backend.store.database import Parameter, Readable
from infraprism.backend.store.measured_rows import MeasuredRows, Relation, TimeUnit

_DAYS: Final = 30
MAX_OFFSET: Final = 10**9
Limit = Annotated[int, Field(ge=1, le=100_000)]
Offset = Annotated[int, Field(ge=0, le=MAX_OFFSET)]
Order = Annotated[str, one_of(("asc", "desc"))]


def _two_keys(values: list[str]) -> list[str]:
    return list(grouping(values).keys)


def _two_keys_without_time(values: list[str]) -> list[str]:
    by = grouping(values)
    if by.times:
        raise ValueError(f"{by.times[0]}: use /v1/analytics/costs/timeseries")
    return list(by.keys)


GroupBy = Annotated[list[str], Field(default_factory=list, max_length=2), AfterValidator(_two_keys)]
GroupByWithoutTime = Annotated[
    list[str], Field(default_factory=list, max_length=2), AfterValidator(_two_keys_without_time)
]


@dataclass(frozen=True)
class Reader:
    """What a query of one account reads: the database, the source of measured rows, and the account.

    Events that start before `cutoff_ms` are expired: no statement on `database` sees them. `sources` other than that of
    single calls have sums of days that outlive the events; they are used with `uses_sums`. These are days of the
    account's `reporting_zone`, or of an earlier one. `notes` has what the answers lack, by period.
    """

    database: Readable
    source: Source
    account_id: str
    cutoff_ms: int | None = None
    uses_sums: bool = True
    reporting_zone: str = UTC_ZONE
    notes: dict[tuple[int | None, int | None], Earlier] = field(default_factory=dict, compare=False)

    @classmethod
    def of(
        cls,
        database: Database,
        source: Source,
        account_id: str,
        cutoff_ms: int | None,
        reporting_zone: str = UTC_ZONE,
    ) -> Reader:
        """The reader of an account."""
        seen = database if cutoff_ms is None else RetainedEvents(database, account_id, cutoff_ms)
        return cls(seen, source, account_id, cutoff_ms, reporting_zone=reporting_zone)

    def rows(
        self,
        query: Filters,
        period: Period | None,
        by: Grouping,
        unit: TimeUnit | None = None,
        more: tuple[str, ...] = (),
        *,
        with_times: bool = False,
        every_tag: bool = False,
    ) -> Relation:
        """The measured rows of a period that the filters select, with the dimensions of a grouping and `more`.

        Without a period the dates of the filters apply, or none. Raises ApiError.
        """
        bounds = query.bounds_ms() if period is None else (period.first_ms, period.end_ms)
        selection = query.selection()
        is_by_tag = len(selection.tags) == 1 and not every_tag
        tag_keys = by.tag_keys or (tuple(selection.tags) if is_by_tag else ())
        columns = dict(zip(tag_keys, ("tag_value", "other_tag_value"), strict=False))
        filtered = [column for name in selection.by_dimension for column in DIMENSIONS.get(name, (name,))]
        conditions = list(selection.by_dimension.values())
        on_events = []
        parameters: dict[str, Parameter] = dict(selection.parameters)
        for key, condition in selection.tags.items():
            if key in columns:
                conditions.append(condition.on_value(columns[key]))
            else:
                on_events.append(condition.on_events)
        return self._bounded(
            MeasuredRows(
                self.account_id,
                *bounds,
                tuple(dict.fromkeys((*by.dimensions, *filtered, *more))),
                tag_keys[0] if tag_keys else None,
                tag_keys[1] if len(tag_keys) > 1 else None,
                tuple(conditions),
                tuple(on_events),
                parameters,
                unit or by.time_unit,
                query.time_zone,
                with_times,
                every_tag,
            )
        )

    def _bounded(self, request: MeasuredRows) -> Relation:
        """The rows of a request, without what is expired. Raises ApiError."""
        has_sums = self.uses_sums and self.source is not measured_rows and is_permanent(request)
        bounds = (request.first_ms, request.end_ms)
        zones: tuple[str, ...] = (UTC_ZONE, self.reporting_zone)
        if request.time_unit == "day":
            zones = tuple(zone for zone in zones if is_same_zone(zone, request.time_zone))
        try:
            for found in coverage.answers(*bounds, self.cutoff_ms, zones=zones, has_sums=has_sums and bool(zones)):
                try:
                    relation = self.source(replace(request, first_ms=found.first_ms, end_ms=found.end_ms))
                except NotAnsweredError:  # the sums are of days of another time zone
                    continue
                if found.earlier is not None:
                    self.notes[bounds] = max(self.notes.get(bounds, "sums"), found.earlier, key=coverage.WORST.index)
                has_expired = found.earlier in {"sums", "whole_days"}
                return Relation(relation.sql, {**relation.parameters, WITH_EXPIRED: 1}) if has_expired else relation
        except coverage.NothingRetainedError as error:
            raise ApiError(400, "beyond_retention", str(error)) from None
        raise NotAnsweredError

    def described(self, period: Period) -> dict[str, object]:
        """A period as in responses, and what the answer lacks of it."""
        return {**period.texts, **self.note(period.first_ms, period.end_ms)}

    def note(self, first_ms: int | None, end_ms: int | None) -> dict[str, object]:
        """What the answer lacks of a period: nothing, or `events_since`, `earlier` and `incomplete`."""
        earlier = self.notes.get((first_ms, end_ms))
        if earlier is None or self.cutoff_ms is None:
            return {}
        return {
            "events_since": coverage.time_text(self.cutoff_ms),
            "earlier": earlier,
            "incomplete": earlier != "sums",
        }

    def excluded_before_ms(self, period: Period) -> int:
        """The time before which an answer has nothing, in milliseconds since 1970. 0: it has all of the period."""
        return self.cutoff_ms or 0 if self.notes.get((period.first_ms, period.end_ms)) == "excluded" else 0

    def of_events(self) -> Reader:
        """The same, without sums that outlive the events."""
        return replace(self, uses_sums=False)

    def of_single_calls(self) -> Reader:
        """The same, with one measured row per call."""
        return replace(self, source=measured_rows)

    def read(self, sql: str, relation: Relation, query: Filters, **parameters: Parameter) -> list[bytes]:
        """The rows of a statement on a relation."""
        return self.database.read(sql, {**relation.parameters, TIME_ZONE: query.time_zone, **parameters})


class PeriodQuery(Filters):
    """Filters with a period.

    Without `start_date` and `end_date` it is the last 30 days, including today. With `start_date` alone it has all days
    until today, with `end_date` alone all days until that date.
    """

    def covered(self) -> Period:
        """The period. Raises ApiError."""
        zone = time_zones.zone(self.time_zone)
        today = datetime.now(zone).date()
        if self.end_date is not None:
            start, end = self.period()
            assert end is not None
            return Period(start and (start.day or start.first), end.day or end.first, zone)
        start, _ = self.period()
        first = today - timedelta(days=_DAYS - 1) if start is None else start.day or start.first
        if start is not None and start.first > time_zones.start_of_day(today + timedelta(days=1), zone):
            raise ApiError(400, "invalid_parameter", "start_date: in the future; set end_date as well")
        return Period(first, today, zone)


class ComparedQuery(PeriodQuery):
    """Filters with a period and one to compare with: `compare`, or `compare_start` and `compare_end`.

    `previous` is the equally long period before. `weekday` begins whole weeks earlier, so that weekdays match.
    """

    compare: Annotated[str, one_of(periods.COMPARISONS)] = "none"
    compare_start: Time | None = None
    compare_end: Time | None = None

    def compared(self, current: Period, default: str = "none") -> Period | None:
        """The period to compare with; None without one. Raises ApiError."""
        if self.compare_start is None and self.compare_end is None:
            comparison = self.compare if "compare" in self.model_fields_set else default
            try:
                return current.compared(comparison)
            except ValueError as error:
                raise ApiError(400, "invalid_parameter", f"compare: {error}") from None
        if self.compare_start is None or self.compare_end is None:
            raise ApiError(400, "invalid_parameter", "compare_start, compare_end: set both")
        if self.compare != "none":
            raise ApiError(400, "invalid_parameter", "compare: not together with compare_start and compare_end")
        other = Filters(start_date=self.compare_start, end_date=self.compare_end, time_zone=self.time_zone)
        try:
            start, end = other.period()
        except ApiError as error:
            message = error.message.replace("start_date", "compare_start").replace("end_date", "compare_end")
            raise ApiError(400, error.code, message) from None
        assert start is not None
        assert end is not None
        return Period(start.day or start.first, end.day or end.first, current.zone)
