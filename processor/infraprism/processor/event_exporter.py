"""Where events go: the face of an exporter that takes events as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import entry_points
from typing import Final, Protocol, TypeGuard

from opentelemetry.sdk.trace.export import SpanExporter

from infraprism.processor.span_pipeline import Ended
from infraprism.schema import Event
from infraprism.schema.delivery_stats import DeliveryStats

ENTRY_POINT_GROUP: Final = "opentelemetry_traces_exporter"
ENTRY_POINT_NAME: Final = "infraprism"


class EventExporter(Protocol):
    """An exporter that takes events themselves, and says what became of each of them in its `tally`.

    It counts every event that it is given as accepted, and later as exactly one of the tally's outcomes.
    """

    @property
    def delivery_stats(self) -> DeliveryStats:
        """What became of the events."""

    def export_events(self, events: Sequence[Event]) -> None:
        """Take events in. Never blocks and never raises."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Wait until every event taken in has come to its end; False if that took longer than the timeout."""

    def shutdown(self, timeout_millis: int = 5000) -> None:
        """Send or keep what is left, within the timeout, and take in nothing more."""


def takes_events(exporter: object) -> TypeGuard[EventExporter]:
    """Whether an exporter takes events themselves; any other is given spans made from them."""
    return callable(getattr(exporter, "export_events", None))


def span_intake_of(exporter: object) -> Callable[[Iterable[Ended]], None] | None:
    """How to hand spans themselves to an exporter that is given spans of the same calls by others too, or None.

    It takes them in, never blocks and never raises.
    """
    settle: Callable[[Iterable[Ended]], None] | None = getattr(exporter, "settle", None)
    return settle


def registered_exporter() -> SpanExporter | EventExporter:
    """A new exporter of the kind registered as `infraprism`, configured by the environment.

    Raises LookupError if none is registered, and whatever the exporter raises for settings it cannot use.
    """
    for entry_point in entry_points(group=ENTRY_POINT_GROUP, name=ENTRY_POINT_NAME):
        made: SpanExporter | EventExporter = entry_point.load()()
        return made
    raise LookupError(f"no exporter named {ENTRY_POINT_NAME!r} is registered under {ENTRY_POINT_GROUP!r}")
