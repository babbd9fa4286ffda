"""Aggregates: sums of the calls of each account and day, which equal the events at every moment."""

from infraprism.backend.store.aggregates.aggregates import Aggregates, RelationExpiredError

__all__ = ["Aggregates", "RelationExpiredError"]
