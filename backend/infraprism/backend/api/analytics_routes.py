"""The routes of `/v1/analytics/`, and of the lists of sessions, models, values and tags."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import FastAPI, Query, Response

from infraprism.backend.accounts import Account
from infraprism.backend.api import changes, costs, distributions, forecasts, listings, quality, timeseries
from infraprism.backend.api.authentication import Caller
from infraprism.backend.api.periods import Reader

Respond = Callable[[Account, Callable[[Reader], bytes]], Awaitable[Response]]
"""Runs a query of an account on a query thread."""


def add_analytics_routes(app: FastAPI, respond: Respond) -> None:
    """Add the routes."""

    @app.get("/v1/analytics/costs")
    async def sum_costs(account: Caller, query: Annotated[costs.CostQuery, Query()]) -> Response:
        """Sums of cost and tokens, optionally grouped and compared with another period."""
        return await respond(account, lambda reader: costs.summary(reader, query))

    @app.get("/v1/analytics/costs/timeseries")
    async def sum_intervals(account: Caller, query: Annotated[timeseries.TimeseriesQuery, Query()]) -> Response:
        """Sums of cost of each hour, day, week or month, optionally by the groups with the highest cost."""
        return await respond(account, lambda reader: timeseries.series(reader, query))

    @app.get("/v1/analytics/latency")
    async def measure_latency(account: Caller, query: Annotated[quality.GroupedQuery, Query()]) -> Response:
        """Quantiles of latency, optionally grouped."""
        return await respond(account, lambda reader: quality.latencies(reader, query))

    @app.get("/v1/analytics/errors")
    async def count_errors(account: Caller, query: Annotated[quality.GroupedQuery, Query()]) -> Response:
        """Failed calls by category of the error, optionally grouped."""
        return await respond(account, lambda reader: quality.errors(reader, query))

    @app.get("/v1/analytics/changes")
    async def split_change(account: Caller, query: Annotated[changes.ChangeQuery, Query()]) -> Response:
        """The change of costs between two periods, split into parts that add up to it."""
        return await respond(account, lambda reader: changes.split(reader, query))

    @app.get("/v1/analytics/forecast")
    async def forecast_cost(account: Caller, query: Annotated[forecasts.ForecastQuery, Query()]) -> Response:
        """The expected cost of the current week or month, with an interval."""
        return await respond(account, lambda reader: forecasts.of_period(reader, query))

    @app.get("/v1/analytics/distribution")
    async def distribute(account: Caller, query: Annotated[distributions.DistributionQuery, Query()]) -> Response:
        """Quantiles and bins of cost, latency or tokens of events, sessions or entities."""
        return await respond(account, lambda reader: distributions.values(reader, query))


def add_listing_routes(app: FastAPI, respond: Respond) -> None:
    """Add the routes of lists."""

    @app.get("/v1/sessions")
    async def list_sessions(account: Caller, query: Annotated[listings.SessionQuery, Query()]) -> Response:
        """Sessions with their sums."""
        return await respond(account, lambda reader: listings.list_sessions(reader, query))

    @app.get("/v1/sessions/{session_id:path}")
    async def get_session(
        account: Caller, session_id: str, query: Annotated[listings.NoParameters, Query()]
    ) -> Response:
        """One session with its sums, also by model."""
        del query
        return await respond(account, lambda reader: listings.one_session(reader, session_id))

    @app.get("/v1/models")
    async def list_models(account: Caller, query: Annotated[listings.ModelQuery, Query()]) -> Response:
        """Models with their sums."""
        return await respond(account, lambda reader: listings.list_models(reader, query))

    @app.get("/v1/values")
    async def list_values(account: Caller, query: Annotated[listings.ValueQuery, Query()]) -> Response:
        """The values of a field that begin with a prefix, the most frequent first."""
        return await respond(account, lambda reader: listings.list_values(reader, query))

    @app.get("/v1/tags")
    async def list_tags(account: Caller, query: Annotated[listings.TagQuery, Query()]) -> Response:
        """The keys of tags, the most frequent first."""
        return await respond(account, lambda reader: listings.list_tags(reader, query))
