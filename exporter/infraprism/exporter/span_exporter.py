"""The exporter's OpenTelemetry face."""

from __future__ import annotations

import atexit
import os
import sys
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from infraprism.attribution import span_start_context
from infraprism.exporter import fork_safety
from infraprism.exporter.deduplication import DeduplicatedBatches
from infraprism.exporter.delivery import Overflow
from infraprism.exporter.event_sink import EventSink, open_event_sink
from infraprism.exporter.settings import Settings, SettingsError, read_settings
from infraprism.processor.span_pipeline import Ended
from infraprism.schema import Event
from infraprism.schema.delivery_stats import DeliveryStats
from infraprism.schema.otlp_encoder import span_bytes

EXIT_TIMEOUT_MILLIS: Final = 5000
_live: Final[weakref.WeakSet[InfraPrismSpanExporter]] = weakref.WeakSet()


def live() -> tuple[InfraPrismSpanExporter, ...]:
    """The exporters of this process that still exist: for a command or a hook that asks for their tallies."""
    return tuple(_live)


class InfraPrismSpanExporter(SpanExporter):
    """Sends events, and nothing else, to an InfraPrism backend.

    Give it to any span processor: each span is turned into an event first, spans that report the same call into one,
    and a span that is no LLM call is left out. What other instrumentations than our own report is held for a second,
    in which other spans of the same call may come. `InfraPrismSpanProcessor` hands it finished events instead
    (`export_events`).

    Without arguments it is configured by the environment: `INFRAPRISM_ENDPOINT` (default `http://localhost:4318`, for
    gRPC `http://localhost:4317`), `INFRAPRISM_API_KEY`, `INFRAPRISM_PROTOCOL` (`http/protobuf` or `grpc`),
    `INFRAPRISM_PREVIEW=1`, `INFRAPRISM_USAGE_DETAIL=true`; and, for how a connection is made, by
    `OTEL_EXPORTER_OTLP_[TRACES_]{CERTIFICATE,CLIENT_KEY,CLIENT_CERTIFICATE,TIMEOUT,COMPRESSION,HEADERS}`. Arguments
    win. Standard headers are not sent where the standard endpoint is another host than ours.

    - `endpoint`: http or https URL; `/v1/traces` is added for HTTP. `protocol`: `http/protobuf`, `grpc` or `preview`.
    - `headers`: sent with each request. `timeout_s`: of one request, 10. `compression`: `gzip` (default) or `none`.
    - `certificate_file`, `client_key_file`, `client_certificate_file`: PEM files, for https.
    - `max_queue_events`, `max_queue_bytes`: what waits at most (50,000 events, 32 MiB); a full queue drops the newest.
    - `max_batch_events` (2,048) and `max_delay_s` (1.0): when a request is sent.
    - `usage_detail`: the opt-in fields leave, too. `preview`: print events on stderr, send nothing.
    - `overflow`: see `delivery.Overflow`.

    Raises ValueError, in one line, for an argument that cannot be used. A variable of the environment that cannot be
    used, or a missing key, is no error of the application: it is logged once, and events are counted as dropped
    (`bad_settings`, `no_api_key`).

    `tally` says what became of every event. Nothing here raises while the application runs, or blocks it.
    """

    delivery_stats: DeliveryStats
    """What became of every event that was taken in."""

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
        given: dict[str, object] = {
            "endpoint": endpoint,
            "api_key": api_key,
            "protocol": protocol,
            "headers": headers,
            "timeout_s": timeout_s,
            "compression": compression,
            "certificate_file": certificate_file,
            "client_key_file": client_key_file,
            "client_certificate_file": client_certificate_file,
            "max_queue_events": max_queue_events,
            "max_queue_bytes": max_queue_bytes,
            "max_batch_events": max_batch_events,
            "max_delay_s": max_delay_s,
            "usage_detail": usage_detail,
            "preview": preview,
        }
        self.delivery_stats = DeliveryStats()
        self._overflow = overflow
        self._pid = os.getpid()
        self._is_shut_down = False
        self._settings = _usable(given)
        self._usage_detail = isinstance(self._settings, Settings) and self._settings.usage_detail
        self._outlet = open_event_sink(self._settings, self.delivery_stats, overflow)
        self._settling = DeduplicatedBatches(self.delivery_stats, self.export_events)
        # What a child inherits is kept as it is: letting go of a gRPC channel in a child can hang.
        self._of_parents: list[EventSink] = []
        _live.add(self)
        self._is_exit_watched = False
        self._finalizer: Any = None
        fork_safety.restart_in_children(self)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Take in the LLM calls among the spans; SUCCESS says no more than that: see `tally` and `force_flush`."""
        self.take_spans((span, span_start_context.shared.of(span), False) for span in spans)
        return SpanExportResult.FAILURE if self._is_shut_down else SpanExportResult.SUCCESS

    def take_spans(self, spans: Iterable[Ended]) -> None:
        """Take in spans that have ended, by another way than their provider's: so that calls are told once of both."""
        if self._pid != os.getpid():
            self.restart_in_child()
        self._settling.take(spans)

    def export_events(self, events: Sequence[Event]) -> None:
        """Take events in. Never blocks and never raises."""
        if not events:
            return
        if self._pid != os.getpid():
            # Some servers fork without telling Python.
            self.restart_in_child()
        if not self._is_exit_watched:
            self._watch_exit()
        self.delivery_stats.accept(len(events))
        try:
            spans = [span_bytes(event, usage_detail=self._usage_detail) for event in events]
        except Exception:  # noqa: BLE001  # no error of ours reaches the application
            self.delivery_stats.error("exporter.encode")
            self.delivery_stats.end("dropped", "error", len(events))
            return
        try:
            self._outlet.add(spans)
        except Exception:  # noqa: BLE001  # as above; the outlet counts what it took in
            self.delivery_stats.error("exporter.add")

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Send what was taken in before this call, now.

        True if the endpoint took all of it within the timeout; False if any of it is still on its way, was rejected or
        was dropped meanwhile, or if nothing can be delivered at all for lack of a key or of settings.
        """
        self._settling.flush()
        return self._outlet.flush(timeout_millis / 1000)

    def shutdown(self, timeout_millis: int = 5000) -> None:
        """Send what is left and take in nothing more. What the endpoint did not take in time is counted as dropped.

        Keeps to the timeout whatever the endpoint does. Where nobody answers, it does not wait for all of it. Further
        calls do nothing.
        """
        self._is_shut_down = True
        atexit.unregister(self._at_exit)
        if self._finalizer is not None:
            self._finalizer.cancel()
        self._settling.stop()
        self._outlet.stop(timeout_millis / 1000)

    def restart_in_child(self) -> None:
        """Start over in a forked process: nothing taken in, nothing counted, no thread and no connection."""
        self._pid = os.getpid()
        self.delivery_stats.restart()
        self._is_exit_watched = False
        self._of_parents.append(self._outlet)
        self._outlet = open_event_sink(self._settings, self.delivery_stats, self._overflow)
        self._settling = DeduplicatedBatches(self.delivery_stats, self.export_events)
        if self._is_shut_down:
            self._outlet.stop(0)

    def _watch_exit(self) -> None:
        self._is_exit_watched = True
        atexit.register(self._at_exit)
        # Processes of the multiprocessing package end without what is registered above.
        util = sys.modules.get("multiprocessing.util")
        if util is not None:
            self._finalizer = util.Finalize(None, self._at_exit, exitpriority=0)

    def _at_exit(self) -> None:
        """Used without a provider that shuts it down, or by one that will do so after this: send what is there.

        A provider made before this exporter hands over the last spans of the process only after this.
        """
        self._settling.stop()
        outlet, self._outlet = self._outlet, open_event_sink(self._settings, self.delivery_stats, self._overflow)
        outlet.stop(EXIT_TIMEOUT_MILLIS / 1000)


def _usable(given: Mapping[str, object]) -> Settings | SettingsError:
    """The settings, or why there are none: an error in the environment is not one of the application."""
    try:
        return read_settings(os.environ, {name: value for name, value in given.items() if value is not None})
    except SettingsError as error:
        if not error.from_environment:
            raise
        return error
