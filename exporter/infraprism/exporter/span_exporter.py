"""InfraPrismSpanExporter: the OpenTelemetry span exporter that sends events to an InfraPrism backend."""

from __future__ import annotations

import atexit
import os
import sys
import time
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from infraprism.attribution import span_start_context
from infraprism.exporter import fork_safety
from infraprism.exporter.delivery import Overflow
from infraprism.exporter.event_sink import DroppingSink, EventSink, open_event_sink
from infraprism.exporter.settings import Settings, SettingsError, read_settings
from infraprism.processor.span_pipeline import EndedSpan
from infraprism.processor.worker import Worker
from infraprism.schema import Event
from infraprism.schema.delivery_stats import DeliveryStats
from infraprism.schema.otlp_encoder import span_bytes
from infraprism.schema.settings import boolean

EXIT_TIMEOUT_MILLIS: Final = 5000
_live: Final[weakref.WeakSet[InfraPrismSpanExporter]] = weakref.WeakSet()


def live() -> tuple[InfraPrismSpanExporter, ...]:
    """The exporters of this process that still exist, for a command or a hook that reads their delivery stats."""
    return tuple(_live)


class InfraPrismSpanExporter(SpanExporter):
    """Sends events, and nothing else, to an InfraPrism backend.

    Works in any span processor: each span of an LLM call is converted to an event, spans that report the same call to
    one event, and all other spans are ignored. Spans of other instrumentations are held for a second, since other spans
    of the same call may follow. `InfraPrismSpanProcessor` passes it finished events instead (`export_events`).

    Without arguments it is configured by the environment (docs/settings.md): `INFRAPRISM_ENDPOINT` (default
    `http://localhost:4318`, for gRPC `http://localhost:4317`), `INFRAPRISM_API_KEY`, `INFRAPRISM_PROTOCOL`
    (`http/protobuf` or `grpc`), `INFRAPRISM_PREVIEW`, `INFRAPRISM_USAGE_DETAIL`, `INFRAPRISM_DISABLED`; connections by
    `INFRAPRISM_{CERTIFICATE,CLIENT_KEY,CLIENT_CERTIFICATE}` and
    `OTEL_EXPORTER_OTLP_[TRACES_]{CERTIFICATE,CLIENT_KEY,CLIENT_CERTIFICATE,TIMEOUT,COMPRESSION,HEADERS}`.
    Arguments win. Standard headers and certificates are not used if the standard endpoint has another host.

    - `endpoint`: http or https URL; `/v1/traces` is added for HTTP. `protocol`: `http/protobuf`, `grpc` or `preview`.
    - `headers`: sent with each request. `timeout_s`: of one request, 10. `compression`: `gzip` (default) or `none`.
    - `certificate_file`, `client_key_file`, `client_certificate_file`: PEM files, for https.
    - `max_queue_events`, `max_queue_bytes`: size of the queue (50,000 events, 32 MiB). A full queue drops the newest.
    - `max_batch_events` (2,048) and `max_delay_s` (1.0): when a request is sent.
    - `usage_detail`: send the opt-in fields too. `preview`: print events on stderr, send nothing.
    - `overflow`: see `delivery.Overflow`.

    Raises SettingsError (a ValueError) for an invalid argument. An invalid environment variable or a missing key does
    not raise: it is logged once, and events are counted as dropped (`bad_settings`, `no_api_key`). With
    `INFRAPRISM_DISABLED=true` they are counted as dropped (`disabled`).

    `delivery_stats` has the outcome of every event. No method raises or blocks the application.
    """

    delivery_stats: DeliveryStats
    """The outcome of every accepted event."""

    def __init__(
        self,
        endpoint: str | None = None,
        api_key: str | None = None,
        protocol: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        compression: str | None = None,
        certificate_file: str | None = None,
        client_key_file: str | None = None,
        client_certificate_file: str | None = None,
        max_queue_events: int | None = None,
        max_queue_bytes: int | None = None,
        max_batch_events: int | None = None,
        max_delay_s: float | None = None,
        usage_detail: bool | None = None,
        preview: bool | None = None,
        overflow: Overflow | None = None,
    ) -> None:
        # Must stay the first statement: later, locals() has more than the arguments.
        arguments = {name: value for name, value in locals().items() if name not in ("self", "overflow")}
        self.delivery_stats = DeliveryStats()
        self._overflow = overflow
        self._pid = os.getpid()
        self._is_shut_down = False
        self._settings = _settings(arguments)
        self._usage_detail = isinstance(self._settings, Settings) and self._settings.usage_detail
        self._disabled = boolean("INFRAPRISM_DISABLED")
        self._sink = self._open_event_sink()
        self._worker = self._new_worker()
        # A child keeps the sinks that it inherited: closing a gRPC channel in a child can block.
        self._inherited_sinks: list[EventSink] = []
        _live.add(self)
        self._is_exit_watched = False
        self._finalizer: Any = None
        fork_safety.restart_in_children(self)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Accept the LLM calls among the spans. SUCCESS does not mean that they are delivered: see `force_flush`."""
        self.receive_ended_spans((span, span_start_context.shared.get(span), False) for span in spans)
        return SpanExportResult.FAILURE if self._is_shut_down else SpanExportResult.SUCCESS

    def receive_ended_spans(self, spans: Iterable[EndedSpan]) -> None:
        """Accept spans of another provider, which may report the same calls. Never raises."""
        if self._pid != os.getpid():
            self.restart_in_child()
        self._worker.put_all(spans)

    def _new_worker(self) -> Worker:
        return Worker(
            "infraprism-exporter-spans", self.delivery_stats, self.export_events, on_thread_start=self._watch_exit
        )

    def export_events(self, events: Sequence[Event]) -> None:
        """Accept events. Never blocks and never raises."""
        if not events:
            return
        if self._pid != os.getpid():
            # Some servers fork without running the hooks of os.register_at_fork.
            self.restart_in_child()
        self._watch_exit()
        self.delivery_stats.accept(len(events))
        try:
            spans = [span_bytes(event, usage_detail=self._usage_detail) for event in events]
        except Exception:  # noqa: BLE001  # must not reach the application
            self.delivery_stats.error("exporter.encode")
            self.delivery_stats.end("dropped", "error", len(events))
            return
        try:
            self._sink.add(spans)
        except Exception:  # noqa: BLE001  # as above; the sink counts what it accepted
            self.delivery_stats.error("exporter.add")

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Send the events that were accepted before this call, now.

        True if the endpoint accepted all of them within the timeout. False if any of them is still queued, was rejected
        or dropped, or if nothing can be delivered without a key or with invalid settings.
        """
        deadline_s = time.monotonic() + timeout_millis / 1000
        processed = self._worker.flush(deadline_s)
        return self._sink.flush(max(0.0, deadline_s - time.monotonic())) and processed

    def shutdown(self, timeout_millis: int = 5000) -> None:
        """Send the queued events and accept no more. Those not delivered in time are counted as dropped.

        Returns within the timeout whatever the endpoint does, and earlier if the connection is refused. Further calls
        do nothing.
        """
        self._is_shut_down = True
        atexit.unregister(self._at_exit)
        if self._finalizer is not None:
            self._finalizer.cancel()
        deadline_s = time.monotonic() + timeout_millis / 1000
        self._worker.shutdown(deadline_s)
        self._sink.stop(max(0.0, deadline_s - time.monotonic()))

    def restart_in_child(self) -> None:
        """Start over in a forked process: no events, no counts, no thread and no connection."""
        self._pid = os.getpid()
        self.delivery_stats.restart()
        self._is_exit_watched = False
        self._inherited_sinks.append(self._sink)
        self._sink = self._open_event_sink()
        self._worker = self._new_worker()
        if self._is_shut_down:
            self._sink.stop(0)

    def _open_event_sink(self) -> EventSink:
        if self._disabled:
            return DroppingSink(self.delivery_stats, "disabled")
        return open_event_sink(self._settings, self.delivery_stats, self._overflow)

    def _watch_exit(self) -> None:
        if self._is_exit_watched:
            return
        self._is_exit_watched = True
        atexit.register(self._at_exit)
        # Processes of the multiprocessing package do not run atexit functions.
        util = sys.modules.get("multiprocessing.util")
        if util is not None:
            self._finalizer = util.Finalize(None, self._at_exit, exitpriority=0)

    def _at_exit(self) -> None:
        """Send the queued events if no provider has shut the exporter down.

        A provider that was created before this exporter exports its last spans after this. They go to the new sink.
        """
        self._worker.shutdown(time.monotonic() + EXIT_TIMEOUT_MILLIS / 1000)
        sink, self._sink = self._sink, self._open_event_sink()
        sink.stop(EXIT_TIMEOUT_MILLIS / 1000)


def _settings(arguments: Mapping[str, object]) -> Settings | SettingsError:
    """The settings, or the error if an environment variable is invalid. Raises SettingsError for an argument."""
    try:
        return read_settings(os.environ, {name: value for name, value in arguments.items() if value is not None})
    except SettingsError as error:
        if not error.from_environment:
            raise
        return error
