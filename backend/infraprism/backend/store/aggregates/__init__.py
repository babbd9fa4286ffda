"""Aggregates: sums of the calls of each account and day, which equal the events at every moment."""

from infraprism.backend.store.aggregates.aggregates import Aggregates, NotAnsweredError, RelationExpiredError
from infraprism.backend.store.aggregates.finalised import FinalisedDayError, UnknownSumsError

__all__ = ["Aggregates", "FinalisedDayError", "NotAnsweredError", "RelationExpiredError", "UnknownSumsError"]
