"""One LLM call, from the request to its one end.

A call starts with its span, sees an answer or the chunks of a stream, and ends exactly once: answered, failed,
cancelled, or left by the application before its end. Whoever drives it (a plain answer, a stream, raw bytes; sync or
async) only says what happened. Nothing here raises into the application.
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
from infraprism.instrumentation.call_span import AnySpan
from infraprism.instrumentation.usage_reader import Attribute, Operation, StreamEvent, get, take
from infraprism.schema.delivery_stats import DeliveryStats

log: Final = logging.getLogger("infraprism.instrumentation")
delivery_stats: Final = DeliveryStats()
"""Counts the errors of ours that were kept from the application, by the place they happened in."""

_P = ParamSpec("_P")
_FAILED: Final = Status(StatusCode.ERROR)
_NOTHING: Final[dict[str, object]] = {}


def swallow(where: str) -> None:
    """Count an error of ours that must not reach the application; call it while handling that error.

    The error itself is not logged with its text, since that could hold a part of the answer it met.
    """
    try:
        delivery_stats.error(where)
        log.debug("InfraPrism could not observe a call: %s", where)
    except Exception:  # noqa: BLE001, S110 - nothing may get out of here, not even from a logging handler
        pass


def _guarded(
    method: Callable[Concatenate[Call, _P], None],
) -> Callable[Concatenate[Call, _P], None]:
    where = f"call.{method.__name__}"

    @wraps(method)
    def guarded(self: Call, /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception:  # noqa: BLE001 - rule: no error of ours reaches the application
            swallow(where)

    return guarded


class Call:
    """One call that is under way.

    `started_ns` is when its span started, by the clock of spans, and `last_chunk_ns` when the last chunk of a stream
    came, 0 before the first. `reading` is True while the client package itself is at work on a
    stream, so that its closing of the response then is not taken for the application leaving.
    `waits_for_usage` is True once there is no more to be told by chunks, objects, that hold a `usage` of None.
    """

    __slots__ = (
        "_events",
        "_first_chunk_ns",
        "_found",
        "_open",
        "_operation",
        "_started_ns",
        "last_chunk_ns",
        "reading",
        "waits_for_usage",
    )

    def __init__(self, span: AnySpan, operation: Operation, started_ns: int) -> None:
        # The span is taken out by whoever ends the call: one operation that cannot happen twice, and needs no lock
        # that a finalizer could find taken.
        self._open = [span]
        self._operation = operation
        self._events = operation.events
        self._started_ns = started_ns
        self._found: dict[str, Attribute] = {}
        self._first_chunk_ns = 0
        self.last_chunk_ns = 0
        self.reading = False
        self.waits_for_usage = False

    def chunk(self, chunk: object) -> None:
        """See one chunk of a stream, as the application will see it."""
        # Written out, without helpers, and left as soon as can be: it runs for every chunk.
        try:
            self.last_chunk_ns = time_ns()
            values = chunk if type(chunk) is dict else getattr(chunk, "__dict__", _NOTHING)
            if self._events:
                event = self._events.get(values.get("type"))  # type: ignore[arg-type]  # anything may stand there
                if event is not None:
                    self._event(chunk, event)
                elif self._first_chunk_ns:
                    return
            elif not self._found or values.get("usage") is not None:
                # Until something is known, since the first chunk of some providers holds no model yet.
                take(chunk, self._operation.plan, self._found)
                self.waits_for_usage = bool(self._found) and "usage" in values and values is not chunk
            elif self._first_chunk_ns:
                return
            self._first_chunk_ns = self._first_chunk_ns or self.last_chunk_ns
        except Exception:  # noqa: BLE001 - rule: no error of ours reaches the application
            swallow("call.chunk")

    def _event(self, holder: object, event: StreamEvent) -> None:
        for name in event.path:
            holder = get(holder, name)
        take(holder, event.plan, self._found)

    def answer(self, answer: object) -> None:
        """See a whole answer."""
        try:
            take(answer, self._operation.plan, self._found)
        except Exception:  # noqa: BLE001 - rule: no error of ours reaches the application
            swallow("call.answer")

    @_guarded
    def line(self, event: object, *, live: bool) -> None:
        """See one event of a stream that the application reads as bytes; not `live` if it was all there at once."""
        first, last = self._first_chunk_ns, self.last_chunk_ns
        self.chunk(event)
        if not live:
            self._first_chunk_ns, self.last_chunk_ns = first, last
        error = get(event, "error")
        if error is not None:
            # Nothing comes after it, and whoever reads the bytes may never close the response.
            self._found.setdefault(key.ERROR_TYPE, error_types.reported(error))
            self._end(None)

    @_guarded
    def bytes_arrived(self) -> None:
        """See that bytes of a stream came, whatever they are."""
        self.last_chunk_ns = time_ns()
        self._first_chunk_ns = self._first_chunk_ns or self.last_chunk_ns

    @property
    def knows_something(self) -> bool:
        """Whether anything was read of the answer yet."""
        return bool(self._found)

    def answered(self) -> None:
        """End: the whole answer was given to the application."""
        self._end(None)

    def abandoned(self) -> None:
        """End: the application wants no more of the answer. What was seen until then stands; it is no failure."""
        self._end(None)

    def failed(self, error: BaseException) -> None:
        """End: the call raised, or was cancelled."""
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        if not self._open:
            return
        try:
            span = self._open.pop()
        except IndexError:
            return  # another thread was first
        try:
            try:
                self._describe(span, error)
            finally:
                # A stream lasts until its last chunk, however late the application lets go of it.
                span.end(self.last_chunk_ns if error is None and self.last_chunk_ns else None)
        except Exception:  # noqa: BLE001 - rule: no error of ours reaches the application
            swallow("call._end")

    def _describe(self, span: AnySpan, error: BaseException | None) -> None:
        found = self._found
        if self._operation.cache_beside_input and key.INPUT_TOKENS in found:
            found[key.INPUT_TOKENS] = sum(found.get(part, 0) for part in _INPUT_PARTS)  # type: ignore[misc]  # counts
        if self._first_chunk_ns:
            found[key.TIME_TO_FIRST_CHUNK] = max(0, self._first_chunk_ns - self._started_ns) / 1e9
        if error is not None:
            found.update(error_types.attributes(error))
        if key.ERROR_TYPE in found:
            span.set_status(_FAILED)
        if found:
            span.set_attributes(found)

    def __del__(self) -> None:
        """A call that nobody holds any more was left."""
        if self._open:
            self.abandoned()


_INPUT_PARTS: Final = (key.INPUT_TOKENS, key.CACHE_READ_TOKENS, key.CACHE_WRITE_TOKENS)
