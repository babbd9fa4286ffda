"""A span of any dialect, turned into an event, or into nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from infraprism.processor import prices
from infraprism.processor.attribution import NOTHING, Attribution, checked
from infraprism.processor.dialects import engine
from infraprism.processor.dialects.engine import Reading
from infraprism.processor.dialects.semconv import USAGE_EVENT, USAGE_EVENT_KEYS
from infraprism.processor.dialects.values import MAX_TEXT, UNKNOWN_TIER
from infraprism.processor.errors import error_of
from infraprism.processor.names import model_in, provider_of
from infraprism.processor.notes import Note
from infraprism.processor.once import Part
from infraprism.processor.settling.candidate import SUCCESS, Candidate, Outcome
from infraprism.processor.tally import Tally
from infraprism.schema import Event, fields, wire
from infraprism.schema.event import MAX_TIMESTAMP_NS

_ALREADY_EVENT: Final = fields.COST_STATUS.key
MARKERS: Final = engine.MARKERS | {_ALREADY_EVENT}
"""A span that has none of these keys cannot become an event."""

tally: Final = Tally()
"""Counts, as errors, the spans that `to_event` could not read, and the prices it could not work out."""

_ERROR: Final = StatusCode.ERROR
_is_model: Final = fields.MODEL.regex.fullmatch
_NS_PER_MS: Final = 1_000_000
_MAX_EVENTS_LOOKED_AT: Final = 8
# The generated constructors of named tuples take five times as long.
_tuple: Final[Callable[..., Any]] = tuple.__new__


def to_event(span: ReadableSpan, note: Note | None = None) -> Event | None:
    """The event that a finished span is, or None for a span that is no billed LLM call.

    `note` is what was noted when the span started (see `infraprism.processor.notes`). A span that is an event already
    (made by `event_span`) becomes the same event again. Works for spans that were not sampled, and for objects that
    only look like spans. Never raises; a span of ours that cannot be read is counted in `tally`.
    """
    try:
        return convert(span, note)
    except Exception:  # noqa: BLE001 - no error of ours may reach the application
        tally.error("to_event")
        return None


def convert(span: ReadableSpan, note: Note | None = None) -> Event | None:
    """The same as `to_event`, for callers that count errors themselves: raises what went wrong."""
    found = candidate(span, note)
    return event(found) if isinstance(found, Candidate) else found


def candidate(span: ReadableSpan, note: Note | None = None) -> Candidate | Event | None:
    """What a span says about a billed call, None if it is not about one; an event where the span is one already.

    Raises what went wrong.
    """
    context = span.context
    if note is Part.OF_A_CALL or context is None:
        return None
    span_id = context.span_id
    if not span_id:
        return None
    attributes = dict(attributes_of(span))
    if _ALREADY_EVENT in attributes:
        return wire.read(context.trace_id, span_id, span.start_time or _nearest_ns(span.end_time), attributes)
    scope = _scope(span)
    reading = engine.read(attributes, scope, _name(span))
    if reading is None:
        return None
    if reading.usage.output_tokens is None and (told := _usage_event(span)):
        reading = engine.read({**told, **attributes}, scope, _name(span)) or reading
    first_ms = None
    if reading.dialect in engine.FIRST_CHUNKS:
        reading = _with_first_chunk(span, reading)
        first_ms = reading.said.time_to_first_token_ms
    start, end, parent = span.start_time, span.end_time, span.parent
    start_ns = start if type(start) is int and 0 < start <= MAX_TIMESTAMP_NS else _nearest_ns(end)
    if reading.said.duration_ms is not None and type(end) is int:
        # Written when the call was over, and without a duration of its own.
        start_ns = max(1, end - reading.said.duration_ms * _NS_PER_MS)
    # The clock may have gone backwards.
    end_ns = end if type(end) is int and end > start_ns else start_ns
    if first_ms is not None:
        # A generator that is handed on unread may end the span before the stream begins.
        end_ns = max(end_ns, start_ns + first_ms * _NS_PER_MS)
    found: Candidate = _tuple(
        Candidate,
        (
            context.trace_id,
            span_id,
            0 if parent is None else parent.span_id,
            engine.SETTLES_AS.get(reading.dialect, scope),
            start_ns,
            end_ns,
            reading,
            _outcome(span, reading),
            _attribution(span, reading, note or NOTHING),
        ),
    )
    return found


def _scope(span: ReadableSpan) -> str:
    name = getattr(getattr(span, "instrumentation_scope", None), "name", None)
    return name if type(name) is str else ""


def _name(span: ReadableSpan) -> str:
    name = getattr(span, "name", None)
    return name if type(name) is str else ""


def _with_first_chunk(span: ReadableSpan, reading: Reading) -> Reading:
    """The call as a stream, if an event of the span marks the first chunk of one; nothing else of it is looked at."""
    names = engine.FIRST_CHUNKS[reading.dialect]
    start = span.start_time
    try:
        first = next((event.timestamp for event in span.events[:_MAX_EVENTS_LOOKED_AT] if event.name in names), None)
    except Exception:  # noqa: BLE001 - an unreadable event must not lose the call
        tally.error("first_chunk")
        return reading
    if type(first) is not int or type(start) is not int:
        return reading
    said = reading.said._replace(streamed=True)
    if said.time_to_first_token_ms is None and first >= start:
        said = said._replace(time_to_first_token_ms=_latency_ms(first - start))
    return reading._replace(said=said)


def _usage_event(span: ReadableSpan) -> Mapping[str, Any]:
    """The counts in an event of the span that is for them; nothing else of it is looked at."""
    try:
        for event in span.events[-_MAX_EVENTS_LOOKED_AT:]:
            if event.name == USAGE_EVENT:
                found = event.attributes or {}
                return {key: found[key] for key in USAGE_EVENT_KEYS if key in found}
    except Exception:  # noqa: BLE001 - an unreadable event must not lose the call
        tally.error("usage_event")
    return {}


def attributes_of(span: ReadableSpan) -> Mapping[str, Any]:
    """The attributes themselves, which other processors of the application may be at work on as well."""
    found: Any = getattr(span, "_attributes", None)
    found = getattr(found, "_dict", found)
    return found if isinstance(found, dict) else span.attributes or {}


class _Kind(NamedTuple):
    """What calls have in common that differ in their numbers alone: an event of them, and what they are priced as."""

    event: Event
    provider: str
    model: str
    tier: str
    deployment: str | None


_kinds: Final[dict[tuple[object, ...], _Kind]] = {}
MAX_KINDS: Final = 1024
"""Kinds remembered; a process makes some tens of kinds of calls, and a backend sees those of many."""


def event(call: Candidate) -> Event:
    """The event of a call, priced. Raises what went wrong."""
    said, usage = call.reading.said, call.reading.usage
    about = (
        call.reading.operation,
        said.host,
        said.provider,
        said.request_model,
        said.response_model,
        said.service_tier,
        said.streamed,
        call.outcome,
        call.whose,
    )
    kind = _kinds.get(about)
    if kind is None:
        if len(_kinds) >= MAX_KINDS:
            _kinds.clear()
        kind = _kinds[about] = _kind(call)
    cost_usd, cost_status = _cost(kind, call.reading, call.start_ns)
    return kind.event.again(
        call.trace_id,
        call.span_id,
        call.start_ns,
        _latency_ms(call.end_ns - call.start_ns),
        usage,
        cost_usd,
        cost_status,
        # Some write the duration of a call that was not streamed there.
        None if said.streamed is False else said.time_to_first_token_ms,
    )


def _kind(call: Candidate) -> _Kind:
    said, whose = call.reading.said, call.whose
    model = said.response_model
    if model is None or not _is_model(model):
        model = said.request_model
    provider = provider_of(said.host, said.provider, model)
    success, error_type, error_code = call.outcome
    first = Event(
        trace_id=call.trace_id,
        span_id=call.span_id,
        timestamp_ns=call.start_ns,
        model=None if model is None else model_in(model),  # priced by all of it, since it may name the region
        provider=provider,
        operation=call.reading.operation,
        latency_ms=0,
        success=success,
        entity_type=whose.entity_type,
        entity_id=whose.entity_id,
        session_id=whose.session_id,
        tags=whose.tags,
        error_type=error_type,
        error_code=error_code,
        service_tier=said.service_tier,
        streamed=said.streamed,
    )
    # On Azure the request names the deployment, for which the user's own file may have a price.
    deployment = said.request_model if provider == "azure" else None
    return _Kind(first, provider, model or "", said.service_tier or "standard", deployment)


def _cost(kind: _Kind, reading: Reading, start_ns: int) -> tuple[Decimal | None, str]:
    """The provider's own figure, else the price of the usage when the call was made; without either, why not."""
    reported = reading.said.reported_cost_usd
    if reported is not None:
        return reported, "provider_reported"
    usage = reading.usage
    if usage.input_tokens is None and usage.output_tokens is None:
        return None, "no_usage"
    if reading.contradicts:
        tally.error("usage.contradiction")
        return None, "incomplete"
    if kind.tier == UNKNOWN_TIER:
        return None, "incomplete"
    try:
        return prices.price(kind.provider, kind.model, usage, start_ns, tier=kind.tier, deployment=kind.deployment)
    except Exception:  # noqa: BLE001 - a fault in pricing must not lose the call
        tally.error("price")
        return None, "incomplete"


def _outcome(span: ReadableSpan, reading: Reading) -> Outcome:
    said = reading.said
    name = said.error
    failed = name is not None or getattr(span.status, "status_code", None) is _ERROR
    if not failed and reading.dialect not in engine.EXCEPTION_FAILS:
        return SUCCESS
    types, message = _exceptions(span)
    if not (failed or types or message):
        return SUCCESS
    names = [said.error_code] if said.error_code is not None else []
    own = engine.OWN_ERRORS.get(reading.dialect)
    if own and (name or next(iter(types), "")).lower() in own and _is_answered(reading):
        return SUCCESS
    text = getattr(span.status, "description", None) or message
    kind, code = error_of(name, said.http_status, [*names, *types], [text] if type(text) is str else [])
    return Outcome(success=False, error_type=kind, error_code=code)


def _is_answered(reading: Reading) -> bool:
    return reading.said.response_id is not None or reading.usage.output_tokens is not None


def _exceptions(span: ReadableSpan) -> tuple[list[str], object]:
    """The classes of the exceptions recorded, last first, and the message of the first; no stack trace is looked at."""
    try:
        recorded = [event.attributes for event in span.events[-_MAX_EVENTS_LOOKED_AT:] if event.name == "exception"]
        names = [attributes.get("exception.type") for attributes in reversed(recorded) if attributes]
        message = next((attributes.get("exception.message") for attributes in recorded if attributes), None)
    except Exception:  # noqa: BLE001 - an unreadable event must not lose the call
        tally.error("exceptions")
        return [], None
    return [name for name in names if type(name) is str and len(name) <= MAX_TEXT], message


def _attribution(span: ReadableSpan, reading: Reading, noted: Attribution) -> Attribution:
    """What the span says itself, over what held when it started, over the default of the process."""
    said, default = reading.said, of_resource(span.resource)
    whose = noted if default is NOTHING else noted.over(default)
    if said.session_on_span is not None and session_from_span():
        whose = whose.over(checked(None, None, said.session_on_span, {}))
    if not reading.tags and said.entity_type is None and said.entity_id is None and said.session_id is None:
        return whose
    return checked(said.entity_type, said.entity_id, said.session_id, reading.tags).over(whose)


def session_from_span() -> bool:
    """Whether a session, conversation or user that a dialect writes on its spans may leave, as the session.

    `INFRAPRISM_SESSION_FROM_SPAN=true`; off unless set, since what stands there may be anything.
    """
    return os.environ.get("INFRAPRISM_SESSION_FROM_SPAN", "").strip().lower() in ("true", "1")


_of_resources: Final[dict[int, tuple[object, Attribution]]] = {}
_MAX_RESOURCES: Final = 64


def of_resource(resource: Resource | None) -> Attribution:
    """The default attribution in a resource's attributes; worked out once per resource."""
    known = _of_resources.get(id(resource))
    if known is not None and known[0] is resource:
        return known[1]
    made = NOTHING
    if resource is not None:
        got = dict(resource.attributes)
        tags = {key[len(fields.TAG_PREFIX) :]: value for key, value in got.items() if key.startswith(fields.TAG_PREFIX)}
        made = checked(
            got.get(fields.ENTITY_TYPE.key), got.get(fields.ENTITY_ID.key), got.get(fields.SESSION_ID.key), tags
        )
        made = NOTHING if made == NOTHING else made
    if len(_of_resources) >= _MAX_RESOURCES:
        _of_resources.clear()
    _of_resources[id(resource)] = resource, made
    return made


def _nearest_ns(end: object) -> int:
    """When a call was made whose start is unknown: only an object that is no real span has none."""
    return end if type(end) is int and 0 < end <= MAX_TIMESTAMP_NS else time.time_ns()


def _latency_ms(duration_ns: int) -> int:
    """To the nearest millisecond. Longer than the field can hold is its maximum."""
    latency_ms = (duration_ns + _NS_PER_MS // 2) // _NS_PER_MS
    return min(fields.MAX_LATENCY_MS, latency_ms)
