"""One LLM call: collects its usage and ends its span exactly once.

A call starts with its span, receives a response or the chunks of a stream, and ends once: stopped, failed or abandoned.
Its callers (for a parsed response, a stream or a raw body; sync or async) only report what happened. Its methods do not
raise into the application.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from time import time_ns
from typing import Concatenate, Final, ParamSpec

from opentelemetry.trace import Status, StatusCode

from infraprism.instrumentation import conventions as key
from infraprism.instrumentation import error_types
from infraprism.instrumentation.background import StoredResponseSpan
from infraprism.instrumentation.call_span import AnySpan
from infraprism.instrumentation.usage_reader import Attribute, Operation, StreamEvent, get_field, read_fields
from infraprism.schema import stream_usage_warning
from infraprism.schema.delivery_stats import DeliveryStats

log: Final = logging.getLogger("infraprism.instrumentation")
delivery_stats: Final = DeliveryStats()
"""Counts the internal errors that were kept from the application, by the place where they occurred."""

_P = ParamSpec("_P")
_ERROR_STATUS: Final = Status(StatusCode.ERROR)
_NO_FIELDS: Final[dict[str, object]] = {}


def record_internal_error(place: str) -> None:
    """Count an internal error that must not reach the application. Call it in the `except` block of that error.

    The text of the error is not logged, since it could contain a part of the response.
    """
    try:
        delivery_stats.error(place)
        log.debug("InfraPrism failed to observe a call: %s", place)
    except Exception:  # noqa: BLE001, S110 - nothing may be raised here, not even by a logging handler
        pass


def _never_raises(
    method: Callable[Concatenate[LLMCall, _P], None],
) -> Callable[Concatenate[LLMCall, _P], None]:
    place = f"llm_call.{method.__name__}"

    @wraps(method)
    def wrapper(self: LLMCall, /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception:  # noqa: BLE001 - rule: no internal error reaches the application
            record_internal_error(place)

    return wrapper


class LLMCall:
    """One call in progress.

    `attributes` are the span attributes read from the response so far. `last_chunk_ns` is when the last chunk of a
    stream arrived, in nanoseconds since 1970, and 0 before the first. `last_chunk` is that chunk if it has no usage in
    the usual field: some providers report the usage in another field of the last chunk. `client_is_reading` is True
    while the client package itself reads the stream: if it closes the response then, the application has not abandoned
    the call. `waits_for_usage` is True once chunks are objects with a `usage` of None and only the usage is still
    missing. `hides_usage`: we requested the usage of the stream, and the application does not get it.
    `usage_not_requested`: it is a stream that reports usage only on request, and nothing requested it.
    """

    __slots__ = (
        "_events",
        "_first_chunk_ns",
        "_open_span",
        "_operation",
        "_started_ns",
        "attributes",
        "client_is_reading",
        "hides_usage",
        "last_chunk",
        "last_chunk_ns",
        "usage_not_requested",
        "waits_for_usage",
    )

    def __init__(self, span: AnySpan | StoredResponseSpan, operation: Operation, started_ns: int) -> None:
        # Whatever ends the call pops the span. That is one atomic operation and needs no lock, which a finalizer could
        # find already held.
        self._open_span = [span]
        self._operation = operation
        self._events = operation.events
        self._started_ns = started_ns
        self.attributes: dict[str, Attribute] = {}
        self._first_chunk_ns = 0
        self.last_chunk_ns = 0
        self.last_chunk: object = None
        self.client_is_reading = False
        self.waits_for_usage = False
        self.hides_usage = False
        self.usage_not_requested = False

    def on_chunk(self, chunk: object) -> None:
        """Record one chunk of a stream, before the application gets it."""
        # Inlined, with early returns: it runs for every chunk.
        try:
            self.last_chunk_ns = time_ns()
            values = chunk if type(chunk) is dict else getattr(chunk, "__dict__", _NO_FIELDS)
            if self._events:
                event = self._events.get(values.get("type"))  # type: ignore[arg-type]  # it can be any value
                if event is not None:
                    self._on_event(chunk, event)
                elif self._first_chunk_ns:
                    return
            elif not self.attributes or values.get("usage") is not None or values is chunk:
                # Until an attribute was found: the first chunk of some providers does not contain the model yet.
                # Of decoded JSON only events that contain the word `usage` arrive here.
                read_fields(chunk, self._operation.plan, self.attributes)
                self.waits_for_usage = bool(self.attributes) and "usage" in values and values is not chunk
            else:
                self.last_chunk = chunk
                if self._first_chunk_ns:
                    return
            self._first_chunk_ns = self._first_chunk_ns or self.last_chunk_ns
        except Exception:  # noqa: BLE001 - rule: no internal error reaches the application
            record_internal_error("llm_call.on_chunk")

    def _on_event(self, source: object, event: StreamEvent) -> None:
        for name in event.path:
            source = get_field(source, name)
        read_fields(source, event.plan, self.attributes)

    def on_response(self, response: object) -> None:
        """Record a complete response: an object of the client package or decoded JSON."""
        try:
            read_fields(response, self._operation.plan, self.attributes)
        except Exception:  # noqa: BLE001 - rule: no internal error reaches the application
            record_internal_error("llm_call.on_response")

    @_never_raises
    def on_sse_event(self, event: object, *, live: bool) -> None:
        """Record one decoded server-sent event of a body that the application reads itself.

        `live` is False if the complete body was available at once, so that its time is not that of a chunk.
        """
        first, last = self._first_chunk_ns, self.last_chunk_ns
        self.on_chunk(event)
        if not live:
            self._first_chunk_ns, self.last_chunk_ns = first, last
        error = get_field(event, "error")
        if error is not None:
            # No event follows an error, and an application that reads bytes may never close the response.
            self.attributes.setdefault(key.ERROR_TYPE, error_types.of_response(error))
            self._end(None)

    @_never_raises
    def on_bytes(self) -> None:
        """Record the time at which bytes of a stream arrived."""
        self.last_chunk_ns = time_ns()
        self._first_chunk_ns = self._first_chunk_ns or self.last_chunk_ns

    def stop(self) -> None:
        """End: the application received the complete response."""
        self._end(None)

    def abandon(self) -> None:
        """End without error: the application stopped reading. The usage read so far is kept."""
        self._end(None)

    def fail(self, error: BaseException) -> None:
        """End: the call raised, or was cancelled."""
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        if not self._open_span:
            return
        try:
            span = self._open_span.pop()
        except IndexError:
            return  # another thread ended it
        try:
            try:
                self._set_result(span, error)
            finally:
                # A stream ends with its last chunk, however late the application closes it.
                span.end(self.last_chunk_ns if error is None and self.last_chunk_ns else None)
        except Exception:  # noqa: BLE001 - rule: no internal error reaches the application
            record_internal_error("llm_call.end")

    def _set_result(self, span: AnySpan | StoredResponseSpan, error: BaseException | None) -> None:
        attributes = self.attributes
        if self.last_chunk is not None and attributes.keys().isdisjoint(_TOKENS):
            read_fields(self.last_chunk, self._operation.plan, attributes)
        self.last_chunk = None
        if key.USAGE_PARTS in attributes and self._operation.complete is not None:
            self._operation.complete(attributes)
        if self._operation.input_excludes_cache and key.INPUT_TOKENS in attributes:
            attributes[key.INPUT_TOKENS] = sum(attributes.get(part, 0) for part in _INPUT_PARTS)  # type: ignore[misc]  # counts
        if self._operation.on_end is not None:
            self._operation.on_end(attributes, self._first_chunk_ns > 0)
        if self._first_chunk_ns:
            attributes[key.TIME_TO_FIRST_CHUNK] = max(0, self._first_chunk_ns - self._started_ns) / 1e9
        if error is not None:
            attributes.update(error_types.of_exception(error))
        elif self.usage_not_requested and attributes and attributes.keys().isdisjoint(_TOKENS):
            stream_usage_warning.warn()
        if key.ERROR_TYPE in attributes:
            span.set_status(_ERROR_STATUS)
        if attributes:
            span.set_attributes(attributes)

    def __del__(self) -> None:
        """Abandon a call that is garbage-collected while open."""
        if self._open_span:
            self.usage_not_requested = False  # a finalizer must not log
            self.abandon()


_TOKENS: Final = frozenset((key.INPUT_TOKENS, key.OUTPUT_TOKENS))
_INPUT_PARTS: Final = (key.INPUT_TOKENS, key.CACHE_READ_TOKENS, key.CACHE_WRITE_TOKENS)
