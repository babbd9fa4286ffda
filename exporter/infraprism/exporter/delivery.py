r"""Delivery: one thread that sends the queued events and counts the outcome of each.

    app / processor --add--> Pending --first--> Sender --ExportResult--> RetryBackoff, DeliveryStats
                        \                        |
                         `---> overflow <---------'   a full queue, or not sent before the shutdown

Events stay in `Pending` until their outcome is known. There is one request at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from opentelemetry import context
from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY, _SUPPRESS_INSTRUMENTATION_KEY

from infraprism.exporter.delivery_log import DeliveryLog
from infraprism.exporter.export_result import ExportResult
from infraprism.exporter.pending import Pending
from infraprism.exporter.retry_backoff import RetryBackoff
from infraprism.exporter.sender import Sender, connect
from infraprism.exporter.settings import Settings
from infraprism.schema.delivery_stats import DeliveryStats
from infraprism.schema.native_threads import Condition, Lock, Thread, run_apart, run_deferred
from infraprism.schema.otlp_encoder import request_bytes

SHUTDOWN_ATTEMPTS: Final = 3
"""Failed attempts after which a shutdown gives up, even if its timeout is not over."""
_MIN_TIMEOUT_S: Final = 0.05

Overflow = Callable[[Sequence[bytes], str], int]
"""Receives events that do not fit into the queue or were not sent in time, before they are dropped.

Called with spans made by `span_bytes`, oldest first, and the reason (`queue_full` or `shutdown`), on the thread
that adds events or shuts down. Returns how many of them, counted from the first, it has stored: these are counted as
spooled, the others as dropped. An exception is counted as an error, and all of them as dropped.
"""


class Delivery:
    """Queues encoded events and sends them. Thread-safe. The delivery thread starts with the first event."""

    def __init__(self, settings: Settings, delivery_stats: DeliveryStats, overflow: Overflow | None = None) -> None:
        self._settings = settings
        self._delivery_stats = delivery_stats
        self._overflow = overflow
        self._log = DeliveryLog(settings.host)
        self._pending = Pending(settings.max_queue_events, settings.max_queue_bytes)
        self._backoff = RetryBackoff(settings.max_batch_events)
        self._changed = Condition()
        self._caller_lock = Lock()
        self._thread: Thread | None = None
        self._sender: Sender | None = None
        self._oldest_at = 0.0
        # All events so far that were queued, that ended, and that ended without being delivered.
        self._queued = self._ended = self._lost = 0
        self._flush_to = 0
        self._stop_at: float | None = None
        self._abandoned = False

    def add(self, spans: Sequence[bytes]) -> None:
        """Queue events made by `span_bytes`, which are counted as accepted already."""
        with self._changed:
            was_empty = not self._pending
            stopping = self._stop_at is not None
            queued = 0 if stopping else self._pending.put(spans)
            self._queued += queued
            if was_empty:
                self._oldest_at = time.monotonic()
            if was_empty or len(self._pending) >= self._backoff.batch_events:
                self._changed.notify_all()
        if queued:
            self._start()
        if queued < len(spans):
            self._spool_or_drop(spans[queued:], "shutdown" if stopping else "queue_full")

    def flush(self, timeout_s: float) -> bool:
        """Send the queued events now. True if all of them were delivered within the timeout."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            target, lost = self._queued, self._lost
            if self._ended < target:
                self._flush_to = max(self._flush_to, target)
                self._backoff.skip_backoff()
                self._changed.notify_all()
        if self._ended < target and not self._start():
            self._run_on_caller(deadline)
        with self._changed:
            self._changed.wait_for(
                lambda: self._ended >= target or self._abandoned, max(0.0, deadline - time.monotonic())
            )
            delivered = self._ended >= target and self._lost == lost
        run_deferred()
        return delivered

    def stop(self, timeout_s: float) -> None:
        """Send the queued events within the timeout, and spool or drop the rest. Further calls do nothing."""
        with self._changed:
            if self._stop_at is not None:
                return
            deadline = self._stop_at = time.monotonic() + timeout_s
            self._backoff.skip_backoff()
            self._changed.notify_all()
        if self._pending and not self._start():
            self._run_on_caller(deadline)
        thread = self._thread
        if thread is not None and not thread.is_current:
            thread.join(max(0.0, deadline - time.monotonic()))
        with self._changed:
            self._abandoned = True
            unsent = self._pending.clear()
            self._ended += len(unsent)
            self._lost += len(unsent)
            self._changed.notify_all()
        if thread is not None and thread.is_alive() and self._sender is not None:
            # It may wait for a lock of the gRPC library, which a patch has replaced.
            run_apart(self._sender.abort)
        self._spool_or_drop(unsent, "shutdown")
        run_deferred()

    def _start(self) -> bool:
        """Start the thread. False if that is impossible, since the interpreter is shutting down."""
        thread = self._thread
        if thread is not None and thread.is_alive():
            return True
        with self._changed:
            if self._thread is thread:
                started = Thread(self._run, "infraprism-delivery")
                try:
                    started.start()
                except RuntimeError:
                    return False
                self._thread = started
        return True

    def _run_on_caller(self, deadline: float) -> None:
        """Do the work of the thread on the calling thread, which waits for it anyway."""
        if self._caller_lock.acquire(max(0.0, deadline - time.monotonic())):
            try:
                self._run(deadline)
            finally:
                self._caller_lock.release()

    def _run(self, deadline: float | None = None) -> None:
        # Instrumentations of HTTP and gRPC clients must not record our own requests.
        suppressed = context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, value=True)
        suppressed = context.set_value(_SUPPRESS_HTTP_INSTRUMENTATION_KEY, value=True, context=suppressed)
        token = context.attach(suppressed)
        try:
            while batch := self._next(deadline):
                self._handle(batch, self._send(batch, deadline))
            if self._stop_at is not None and self._sender is not None:
                self._sender.close()
        except Exception:  # noqa: BLE001  # must not reach the application; the next event starts a new thread
            self._delivery_stats.error("exporter.delivery")
        finally:
            context.detach(token)

    def _next(self, deadline: float | None) -> list[bytes]:
        """Wait until a request is due and return its events. Empty after the last one, or if none is due in time."""
        with self._changed:
            while not self._is_over(deadline):
                now = time.monotonic()
                due_in_s = self._due_in_s(now)
                if due_in_s is not None and due_in_s <= 0:
                    return self._pending.first(self._backoff.batch_events, self._settings.max_batch_bytes)
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
        no_attempt_left = self._backoff.attempts >= SHUTDOWN_ATTEMPTS or self._backoff.not_before > self._stop_at
        return not self._pending or no_attempt_left

    def _due_in_s(self, now: float) -> float | None:
        """Seconds until the next request is due; None while there is nothing to send."""
        if not self._pending:
            return None
        backoff_s = self._backoff.not_before - now
        if backoff_s > 0:
            return backoff_s
        full = len(self._pending) >= self._backoff.batch_events
        full = full or self._pending.size_bytes >= self._settings.max_batch_bytes
        if full or self._backoff.attempts or self._flush_to > self._ended or self._stop_at is not None:
            return 0.0
        return self._oldest_at + self._settings.max_delay_s - now

    def _send(self, batch: list[bytes], deadline: float | None) -> ExportResult:
        timeout_s = self._settings.timeout_s
        for limit in (deadline, self._stop_at):
            if limit is not None:
                timeout_s = min(timeout_s, max(_MIN_TIMEOUT_S, limit - time.monotonic()))
        try:
            sender = self._sender = self._sender or connect(self._settings)
            return sender.send(request_bytes(batch), timeout_s)
        except Exception:  # noqa: BLE001  # a bug here or in a library: counted, retried, in the end rejected
            self._delivery_stats.error("exporter.send")
            return ExportResult("retry", "error", maybe_poison=True)

    def _handle(self, batch: list[bytes], result: ExportResult) -> None:
        size = len(batch)
        with self._changed:
            if self._abandoned:
                return
            if result.outcome == "success":
                rejected, reason = min(result.rejected, size), "partial_success"
            elif self._is_final(size, result):
                rejected, reason = size, result.reason
            else:
                rejected, reason = 0, ""
            if reason:
                self._remove(size, rejected, reason)
        if rejected:
            self._log.rejected(reason, rejected)
        elif result.outcome == "retry":
            self._log.retrying(result.reason, len(self._pending))

    def _is_final(self, size: int, result: ExportResult) -> bool:
        """Whether the endpoint rejects these events for good. If not, the backoff is set for the next attempt."""
        if result.outcome == "retry":
            self._backoff.failed(size, time.monotonic(), result.retry_after_s, maybe_poison=result.maybe_poison)
            return self._backoff.retries_exhausted
        if result.outcome == "too_large" and size > 1:
            self._backoff.too_large(size)
            return False
        return True

    def _remove(self, size: int, rejected: int, reason: str) -> None:
        self._backoff.succeeded()
        self._pending.remove(size)
        self._delivery_stats.end("delivered", count=size - rejected)
        self._delivery_stats.end("rejected", reason, rejected)
        self._ended += size
        self._lost += rejected
        self._oldest_at = time.monotonic()
        self._changed.notify_all()

    def _spool_or_drop(self, spans: Sequence[bytes], reason: str) -> None:
        """Pass events to the overflow, and count those that it does not store as dropped."""
        spooled = 0
        if spans and self._overflow is not None:
            try:
                spooled = min(max(0, self._overflow(spans, reason)), len(spans))
            except Exception:  # noqa: BLE001  # must not reach the application
                self._delivery_stats.error("exporter.overflow")
        self._delivery_stats.end("spooled", reason, spooled)
        self._delivery_stats.end("dropped", reason, len(spans) - spooled)
        if spooled < len(spans):
            self._log.dropped(reason, len(spans) - spooled)
