"""Responses made with `background=True`: their usage is in a response that is retrieved later.

The span of the request that creates such a response ends without usage and is marked as pending. The first retrieved
response that is complete gets a second span, with the usage and the same response id. The span processor makes one
event of both. Further retrievals get no span. A response that this process did not create is counted as well: another
process may have created it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import Status, StatusCode

from infraprism.attribution import scope as attribution_scope
from infraprism.instrumentation import conventions as key
from infraprism.schema.call_context import BACKGROUND_PENDING, BACKGROUND_RESULT

if TYPE_CHECKING:
    from infraprism.instrumentation.usage_reader import Attribute

MAX_RESPONSES: Final = 4096
"""Response ids remembered, of pending and of reported responses; if there are more, all are removed."""

_ERROR_STATUS: Final = Status(StatusCode.ERROR)
# No locks: a finalizer can end a call while its thread is in here.
_pending: Final[dict[str, object]] = {}
"""By response id: the attribution of the request."""
_reported: Final[dict[str, object]] = {}


def complete_created(attributes: dict[str, Attribute], streamed: bool) -> None:  # noqa: FBT001 - called with values only
    """Complete the attributes of a request that creates a response: mark it if it was made in the background."""
    status, is_background = attributes.pop(key.RESPONSE_STATUS, None), attributes.pop(key.IS_BACKGROUND, None)
    response_id = attributes.get(key.RESPONSE_ID)
    # Some servers do not return `background`. A complete response body that is not final can have no other reason.
    is_background = is_background == "True" or (
        is_background is None and status == BACKGROUND_PENDING and not streamed and key.ERROR_TYPE not in attributes
    )
    if not is_background or status is None or type(response_id) is not str:
        attributes.pop(key.CREATED_AT, None)
        attributes.pop(key.COMPLETED_AT, None)
        return
    attributes[key.BACKGROUND_STATE] = status
    if status == BACKGROUND_PENDING:
        if not streamed:  # the end of a stream may be noticed after its result was retrieved
            _reported.pop(response_id, None)
        _remember(_pending, response_id, attribution_scope.current.get())
    else:
        _pending.pop(response_id, None)
        _remember(_reported, response_id)


def _remember(ids: dict[str, object], response_id: str, value: object = None) -> None:
    if len(ids) >= MAX_RESPONSES:
        ids.clear()
    ids[response_id] = value


def _is_first_result(attributes: dict[str, Attribute]) -> bool:
    """Whether these are the attributes of a background response that is complete and not reported yet."""
    status, is_background = attributes.pop(key.RESPONSE_STATUS, None), attributes.pop(key.IS_BACKGROUND, None)
    response_id = attributes.get(key.RESPONSE_ID)
    if status != BACKGROUND_RESULT or type(response_id) is not str:
        return False
    if response_id not in _pending and is_background != "True":
        return False
    if len(_reported) >= MAX_RESPONSES:
        _reported.clear()
    mine = object()
    return _reported.setdefault(response_id, mine) is mine  # one atomic operation: several threads may poll


def forget() -> None:
    """Remember no response, as in a new process."""
    _pending.clear()
    _reported.clear()


class StoredResponseSpan:
    """Collects what `LLMCall` reports of a retrieval. At its end it starts and ends a span if one is due."""

    __slots__ = ("_attributes", "_name", "_start", "_start_ns")

    def __init__(self, start: Callable[..., Any], name: str, attributes: dict[str, Attribute], start_ns: int) -> None:
        self._start = start
        self._name = name
        self._attributes = attributes
        self._start_ns = start_ns

    def set_attributes(self, attributes: dict[str, Attribute]) -> None:
        """Add attributes."""
        self._attributes.update(attributes)

    def set_status(self, status: Status) -> None:
        """Ignored: it is that of the retrieval. The status of the response follows from its attributes."""

    def end(self, end_time: int | None = None) -> None:
        """Report the response if it is complete, was made in the background and has not been reported."""
        attributes = self._attributes
        if not _is_first_result(attributes):
            return
        attributes.pop(key.TIME_TO_FIRST_CHUNK, None)
        attributes[key.BACKGROUND_STATE] = BACKGROUND_RESULT
        model, failed = attributes.get(key.RESPONSE_MODEL), key.ERROR_TYPE in attributes
        frame: Any = _pending.pop(str(attributes[key.RESPONSE_ID]), None)
        token = None if frame is None else attribution_scope.current.set(frame)
        try:
            span = self._start(f"{self._name} {model}" if model else self._name, attributes, self._start_ns)
        finally:
            if token is not None:
                attribution_scope.current.reset(token)
        if span is not None:
            if failed:
                span.set_status(_ERROR_STATUS)
            span.end(end_time)
