"""Spans that come in batches, settled into events: for an exporter that stands alone in somebody's span processor.

A call's spans may come in different batches. What is held is handed on by a thread that runs only while something is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence

from infraprism.processor.span_pipeline import Ended, Intake
from infraprism.schema import Event
from infraprism.schema.delivery_stats import DeliveryStats


class DeduplicatedBatches:
    """Takes spans from any thread, and gives `hand_on` each call's event, at once or after a second. Never raises.

    `hand_on` must not raise. After `stop` nothing is held any more.
    """

    def __init__(self, delivery_stats: DeliveryStats, hand_on: Callable[[Sequence[Event]], None]) -> None:
        self._intake = Intake(delivery_stats)
        self._hand_on = hand_on
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def take(self, spans: Iterable[Ended]) -> None:
        """Take in spans that have ended."""
        with self._changed:
            events = self._intake.take(spans, time.monotonic())
            if self._stopped or not self._watched():
                events += self._intake.close()
            self._changed.notify_all()
        self._hand_on(events)

    def flush(self) -> None:
        """Hand on what is held."""
        with self._changed:
            events = self._intake.flush()
        self._hand_on(events)

    def stop(self) -> None:
        """Hand on all that is held, and hold nothing any more."""
        with self._changed:
            self._stopped = True
            events = self._intake.close()
            self._changed.notify_all()
        self._hand_on(events)

    def _watched(self) -> bool:
        """Whether nothing is held, or a thread hands it on in time; none can be started while the interpreter ends."""
        if self._thread is not None or self._intake.next_due_s is None:
            return True
        thread = threading.Thread(target=self._watch, name="infraprism-settling", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return False
        self._thread = thread
        return True

    def _watch(self) -> None:
        while True:
            with self._changed:
                due_s = self._intake.next_due_s
                if due_s is None:
                    self._thread = None
                    return
                self._changed.wait(max(0.0, due_s - time.monotonic()))
                events = self._intake.due(time.monotonic())
            self._hand_on(events)
