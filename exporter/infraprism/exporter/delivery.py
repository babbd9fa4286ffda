r"""Delivery: one thread that sends what waits, and knows what became of every event.

    app / processor --add--> Pending --first--> Sender --Answer--> RetryBackoff, DeliveryStats
                        \                        |
                         `---> overflow <---------'   what cannot be kept, or not sent in time

Events stay in `Pending` until their end is known. There is one request under way at a time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from opentelemetry import context
from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY, _SUPPRESS_INSTRUMENTATION_KEY

from infraprism.exporter.delivery_log import Notices
from infraprism.exporter.export_result import Answer
from infraprism.exporter.pending import Pending
from infraprism.exporter.retry_backoff import RetryBackoff
from infraprism.exporter.sender import Sender, connect
from infraprism.exporter.settings import Settings
from infraprism.schema.delivery_stats import DeliveryStats
from infraprism.schema.otlp_encoder import request_bytes

SHUTDOWN_ATTEMPTS: Final = 3
"""A process that ends does not wait out its whole time for an endpoint that is not there."""
_SHORTEST_TIMEOUT_S: Final = 0.05

Overflow = Callable[[Sequence[bytes], str], int]
"""Where events go that cannot be kept in memory or not be sent in time, before they are dropped.

Called with spans as `encoder.span_bytes` made them, oldest first, and the reason (`queue_full` or `shutdown`), on the
thread that adds events or shuts down. Returns how many of them, from the first on, it has safely: these are counted as
spooled, the others as dropped. What it raises is counted, and it has none of them then.
"""


class Delivery:
    """Takes encoded events in and sends them. Safe to use from any thread; the thread starts with the first event."""

    def __init__(self, settings: Settings, delivery_stats: DeliveryStats, overflow: Overflow | None = None) -> None:
        self._settings = settings
        self._delivery_stats = delivery_stats
        self._overflow = overflow
        self._notices = Notices(settings.host)
        self._pending = Pending(settings.max_queue_events, settings.max_queue_bytes)
        self._pace = RetryBackoff(settings.max_batch_events)
        self._changed = threading.Condition()
        self._running_here = threading.Lock()
        self._thread: threading.Thread | None = None
        self._sender: Sender | None = None
        self._oldest_at = 0.0
        # Events ever taken into the queue, ended, and ended without being delivered.
        self._taken = self._ended = self._lost = 0
        self._flush_to = 0
        self._stop_at: float | None = None
        self._abandoned = False

    def add(self, spans: Sequence[bytes]) -> None:
        """Take in events made by `encoder.span_bytes`, which the tally has accepted already."""
        with self._changed:
            was_empty = not self._pending
            stopping = self._stop_at is not None
            taken = 0 if stopping else self._pending.put(spans)
            self._taken += taken
            if was_empty:
                self._oldest_at = time.monotonic()
            if was_empty or len(self._pending) >= self._pace.batch_events:
                self._changed.notify_all()
        if taken:
            self._start()
        if taken < len(spans):
            self._let_go(spans[taken:], "shutdown" if stopping else "queue_full")

    def flush(self, timeout_s: float) -> bool:
        """Send what waits, now. True if all of it was delivered within the timeout."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            target, lost = self._taken, self._lost
            if self._ended < target:
                self._flush_to = max(self._flush_to, target)
                self._pace.skip_backoff()
                self._changed.notify_all()
        if self._ended < target and not self._start():
            self._run_here(deadline)
        with self._changed:
            self._changed.wait_for(
                lambda: self._ended >= target or self._abandoned, max(0.0, deadline - time.monotonic())
            )
            return self._ended >= target and self._lost == lost

    def stop(self, timeout_s: float) -> None:
        """Send what waits, as far as the timeout allows, and let go of the rest. Further calls do nothing."""
        with self._changed:
            if self._stop_at is not None:
                return
            deadline = self._stop_at = time.monotonic() + timeout_s
            self._pace.skip_backoff()
            self._changed.notify_all()
        if self._pending and not self._start():
            self._run_here(deadline)
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(max(0.0, deadline - time.monotonic()))
        with self._changed:
            self._abandoned = True
            left = self._pending.clear()
            self._ended += len(left)
            self._lost += len(left)
            self._changed.notify_all()
        if thread is not None and thread.is_alive() and self._sender is not None:
            self._sender.abort()
        self._let_go(left, "shutdown")

    def _start(self) -> bool:
        """Whether the thread runs. It cannot be started any more while the interpreter shuts down."""
        thread = self._thread
        if thread is not None and thread.is_alive():
            return True
        with self._changed:
            if self._thread is thread:
                fresh = threading.Thread(target=self._run, name="infraprism-delivery", daemon=True)
                try:
                    fresh.start()
                except RuntimeError:
                    return False
                self._thread = fresh
        return True

    def _run_here(self, deadline: float) -> None:
        """Do the thread's work on the caller's, which waits for it anyway."""
        if self._running_here.acquire(timeout=max(0.0, deadline - time.monotonic())):
            try:
                self._run(deadline)
            finally:
                self._running_here.release()

    def _run(self, deadline: float | None = None) -> None:
        # Our own requests are no calls of the application: instrumentations of HTTP and gRPC clients leave them out.
        suppressed = context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, value=True)
        suppressed = context.set_value(_SUPPRESS_HTTP_INSTRUMENTATION_KEY, value=True, context=suppressed)
        token = context.attach(suppressed)
        try:
            while batch := self._next(deadline):
                self._settle(batch, self._send(batch, deadline))
            if self._stop_at is not None and self._sender is not None:
                self._sender.close()
        except Exception:  # noqa: BLE001  # no error of ours reaches the application; the next event starts a new thread
            self._delivery_stats.error("exporter.delivery")
        finally:
            context.detach(token)

    def _next(self, deadline: float | None) -> list[bytes]:
        """Wait until a request is due; empty if there is none any more, or not before the deadline."""
        with self._changed:
            while not self._is_over(deadline):
                now = time.monotonic()
                due_in_s = self._due_in_s(now)
                if due_in_s is not None and due_in_s <= 0:
                    return self._pending.first(self._pace.batch_events, self._settings.max_batch_bytes)
                if deadline is not None:
                    due_in_s = min(deadline - now, due_in_s if due_in_s is not None else deadline - now)
                self._changed.wait(due_in_s)
            return []

    def _is_over(self, deadline: float | None) -> bool:
        if self._abandoned:
            return True
        if deadline is not None and (not self._pending or time.monotonic() >= deadline):
            return True
        if self._stop_at is None:
            return False
        hopeless = self._pace.attempts >= SHUTDOWN_ATTEMPTS or self._pace.not_before > self._stop_at
        return not self._pending or hopeless

    def _due_in_s(self, now: float) -> float | None:
        """Seconds until the next request is due; None while there is nothing to send."""
        if not self._pending:
            return None
        pause = self._pace.not_before - now
        if pause > 0:
            return pause
        full = len(self._pending) >= self._pace.batch_events
        full = full or self._pending.size_bytes >= self._settings.max_batch_bytes
        if full or self._pace.attempts or self._flush_to > self._ended or self._stop_at is not None:
            return 0.0
        return self._oldest_at + self._settings.max_delay_s - now

    def _send(self, batch: list[bytes], deadline: float | None) -> Answer:
        timeout_s = self._settings.timeout_s
        for limit in (deadline, self._stop_at):
            if limit is not None:
                timeout_s = min(timeout_s, max(_SHORTEST_TIMEOUT_S, limit - time.monotonic()))
        try:
            sender = self._sender = self._sender or connect(self._settings)
            return sender.send(request_bytes(batch), timeout_s)
        except Exception:  # noqa: BLE001  # a fault of ours or of a library: counted, tried again, given up at last
            self._delivery_stats.error("exporter.send")
            return Answer("later", "error", maybe_poison=True)

    def _settle(self, batch: list[bytes], answer: Answer) -> None:
        size = len(batch)
        with self._changed:
            if self._abandoned:
                return
            if answer.outcome == "taken":
                rejected, reason = min(answer.rejected, size), "partial_success"
            elif self._is_final(size, answer):
                rejected, reason = size, answer.reason
            else:
                rejected, reason = 0, ""
            if reason:
                self._remove(size, rejected, reason)
        if rejected:
            self._notices.rejected(reason, rejected)
        elif answer.outcome == "later":
            self._notices.waiting(answer.reason, len(self._pending))

    def _is_final(self, size: int, answer: Answer) -> bool:
        """Whether the endpoint will not take these events in any way; if not, the pace is set for the next attempt."""
        if answer.outcome == "later":
            self._pace.failed(size, time.monotonic(), answer.retry_after_s, maybe_poison=answer.maybe_poison)
            return self._pace.retries_exhausted
        if answer.outcome == "too_large" and size > 1:
            self._pace.too_large(size)
            return False
        return True

    def _remove(self, size: int, rejected: int, reason: str) -> None:
        self._pace.succeeded()
        self._pending.remove(size)
        self._delivery_stats.end("delivered", count=size - rejected)
        self._delivery_stats.end("rejected", reason, rejected)
        self._ended += size
        self._lost += rejected
        self._oldest_at = time.monotonic()
        self._changed.notify_all()

    def _let_go(self, spans: Sequence[bytes], reason: str) -> None:
        """Events that have no place here, or no time left, are kept by the overflow, else dropped."""
        kept = 0
        if spans and self._overflow is not None:
            try:
                kept = min(max(0, self._overflow(spans, reason)), len(spans))
            except Exception:  # noqa: BLE001  # no error of ours reaches the application
                self._delivery_stats.error("exporter.overflow")
        self._delivery_stats.end("spooled", reason, kept)
        self._delivery_stats.end("dropped", reason, len(spans) - kept)
        if kept < len(spans):
            self._notices.dropped(reason, len(spans) - kept)
