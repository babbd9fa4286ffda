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

from infraprism import pricing
from infraprism.attribution.scope import NOTHING, Attribution, checked
from infraprism.attribution.span_start_context import SpanStartContext
from infraprism.deduplication.candidate import SUCCESS, Candidate, Outcome
from infraprism.dialects import engine
from infraprism.dialects.engine import ParsedSpan
from infraprism.dialects.semconv import USAGE_EVENT, USAGE_EVENT_KEYS
from infraprism.dialects.values import MAX_TEXT, UNKNOWN_TIER
from infraprism.providers.errors import error_of
from infraprism.providers.names import model_in, provider_of
from infraprism.schema import Event, fields, wire
from infraprism.schema.call_context import SUPPRESSED
from infraprism.schema.delivery_stats import DeliveryStats
from infraprism.schema.event import MAX_TIMESTAMP_NS

_ALREADY_EVENT: Final = fields.COST_STATUS.key
MARKER_KEYS: Final = engine.MARKER_KEYS | {_ALREADY_EVENT}
"""A span that has none of these keys cannot become an event."""

delivery_stats: Final = DeliveryStats()
"""Counts, as errors, the spans that `to_event` could not read, and the prices it could not work out."""

_ERROR: Final = StatusCode.ERROR
_is_model: Final = fields.MODEL.regex.fullmatch
_NS_PER_MS: Final = 1_000_000
_MAX_EVENTS_LOOKED_AT: Final = 8
# The generated constructors of named tuples take five times as long.
_tuple: Final[Callable[..., Any]] = tuple.__new__


def to_event(span: ReadableSpan, note: SpanStartContext | None = None) -> Event | None:
    """The event that a finished span is, or None for a span that is no billed LLM call.

    `note` is what was recorded at span start (see `infraprism.attribution.span_start_context`). A span that is an
    event already (made by `event_span`) becomes the same event again. Works for spans that were not sampled, and for
    objects that only look like spans. Never raises; a span that cannot be read is counted in `delivery_stats`.
    """
    try:
        return convert(span, note)
    except Exception:  # noqa: BLE001 - no error of ours may reach the application
        delivery_stats.error("to_event")
        return None


def convert(span: ReadableSpan, note: SpanStartContext | None = None) -> Event | None:
    """The same as `to_event`, for callers that count errors themselves: raises what went wrong."""
    found = candidate(span, note)
    return event(found) if isinstance(found, Candidate) else found


def candidate(span: ReadableSpan, note: SpanStartContext | None = None) -> Candidate | Event | None:
    """What a span says about a billed call, None if it is not about one; an event where the span is one already.

    Raises what went wrong.
    """
    context = span.context
    if note is SUPPRESSED or context is None:
        return None
    span_id = context.span_id
    if not span_id:
        return None
    attributes = dict(attributes_of(span))
    if _ALREADY_EVENT in attributes:
        return wire.read(context.trace_id, span_id, span.start_time or _nearest_ns(span.end_time), attributes)
    scope = _scope(span)
    parsed = engine.read(attributes, scope, _name(span), span)
    if parsed is None:
        return None
    if parsed.usage.output_tokens is None and (told := _usage_event(span)):
        parsed = engine.read({**told, **attributes}, scope, _name(span), span) or parsed
    first_ms = None
    if parsed.dialect is not None and parsed.dialect.first_chunk_events:
        parsed = _with_first_chunk(span, parsed, parsed.dialect.first_chunk_events)
        first_ms = parsed.span_fields.time_to_first_token_ms
    start, end, parent = span.start_time, span.end_time, span.parent
    start_ns = start if type(start) is int and 0 < start <= MAX_TIMESTAMP_NS else _nearest_ns(end)
    if parsed.span_fields.duration_ms is not None and type(end) is int:
        # Written when the call was over, and without a duration of its own.
        start_ns = max(1, end - parsed.span_fields.duration_ms * _NS_PER_MS)
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
            parsed.span_fields.dedup_scope or scope,
            start_ns,
            end_ns,
            parsed,
            _outcome(span, parsed),
            _attribution(span, parsed, note or NOTHING),
        ),
    )
    return found


def _scope(span: ReadableSpan) -> str:
    name = getattr(getattr(span, "instrumentation_scope", None), "name", None)
    return name if type(name) is str else ""


def _name(span: ReadableSpan) -> str:
    name = getattr(span, "name", None)
    return name if type(name) is str else ""


def _with_first_chunk(span: ReadableSpan, parsed: ParsedSpan, names: frozenset[str]) -> ParsedSpan:
    """The call as a stream, if an event of the span marks the first chunk of one; nothing else of it is looked at."""
    start = span.start_time
    try:
        first = next((event.timestamp for event in span.events[:_MAX_EVENTS_LOOKED_AT] if event.name in names), None)
    except Exception:  # noqa: BLE001 - an unreadable event must not lose the call
        delivery_stats.error("first_chunk")
        return parsed
    if type(first) is not int or type(start) is not int:
        return parsed
    span_fields = parsed.span_fields._replace(streamed=True)
    if span_fields.time_to_first_token_ms is None and first >= start:
        span_fields = span_fields._replace(time_to_first_token_ms=_latency_ms(first - start))
    return parsed._replace(span_fields=span_fields)


def _usage_event(span: ReadableSpan) -> Mapping[str, Any]:
    """The counts in an event of the span that is for them; nothing else of it is looked at."""
    try:
        for event in span.events[-_MAX_EVENTS_LOOKED_AT:]:
            if event.name == USAGE_EVENT:
                found = event.attributes or {}
                return {key: found[key] for key in USAGE_EVENT_KEYS if key in found}
    except Exception:  # noqa: BLE001 - an unreadable event must not lose the call
        delivery_stats.error("usage_event")
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
    span_fields, usage = call.parsed.span_fields, call.parsed.usage
    about = (
        call.parsed.operation,
        span_fields.host,
        span_fields.provider,
        span_fields.request_model,
        span_fields.response_model,
        span_fields.service_tier,
        span_fields.streamed,
        call.outcome,
        call.attribution,
    )
    kind = _kinds.get(about)
    if kind is None:
        if len(_kinds) >= MAX_KINDS:
            _kinds.clear()
        kind = _kinds[about] = _kind(call)
    cost_usd, cost_status = _cost(kind, call.parsed, call.start_ns)
    return kind.event.again(
        call.trace_id,
        call.span_id,
        call.start_ns,
        _latency_ms(call.end_ns - call.start_ns),
        usage,
        cost_usd,
        cost_status,
        # Some write the duration of a call that was not streamed there.
        None if span_fields.streamed is False else span_fields.time_to_first_token_ms,
    )


def _kind(call: Candidate) -> _Kind:
    span_fields, attribution = call.parsed.span_fields, call.attribution
    model = span_fields.response_model
    if model is None or not _is_model(model):
        model = span_fields.request_model
    provider = provider_of(span_fields.host, span_fields.provider, model)
    success, error_type, error_code = call.outcome
    first = Event(
        trace_id=call.trace_id,
        span_id=call.span_id,
        timestamp_ns=call.start_ns,
        model=None if model is None else model_in(model),  # priced by all of it, since it may name the region
        provider=provider,
        operation=call.parsed.operation,
        latency_ms=0,
        success=success,
        entity_type=attribution.entity_type,
        entity_id=attribution.entity_id,
        session_id=attribution.session_id,
        tags=attribution.tags,
        error_type=error_type,
        error_code=error_code,
        service_tier=span_fields.service_tier,
        streamed=span_fields.streamed,
    )
    # On Azure the request names the deployment, for which the user's own file may have a price.
    deployment = span_fields.request_model if provider == "azure" else None
    return _Kind(first, provider, model or "", span_fields.service_tier or "standard", deployment)


def _cost(kind: _Kind, parsed: ParsedSpan, start_ns: int) -> tuple[Decimal | None, str]:
    """The provider's own figure, else the price of the usage when the call was made; without either, why not."""
    reported = parsed.span_fields.reported_cost_usd
    if reported is not None:
        return reported, "provider_reported"
    usage = parsed.usage
    if usage.input_tokens is None and usage.output_tokens is None:
        return None, "no_usage"
    if parsed.contradicts:
        delivery_stats.error("usage.contradiction")
        return None, "incomplete"
    if kind.tier == UNKNOWN_TIER:
        return None, "incomplete"
    try:
        return pricing.price(kind.provider, kind.model, usage, start_ns, tier=kind.tier, deployment=kind.deployment)
    except Exception:  # noqa: BLE001 - a fault in pricing must not lose the call
        delivery_stats.error("price")
        return None, "incomplete"


def _outcome(span: ReadableSpan, parsed: ParsedSpan) -> Outcome:
    span_fields = parsed.span_fields
    name, failed = span_fields.error, span_fields.failed
    if failed is None:
        failed = name is not None or getattr(span.status, "status_code", None) is _ERROR
    if not failed and (parsed.dialect is None or not parsed.dialect.exception_fails):
        return SUCCESS
    types, message = _exceptions(span)
    if not (failed or types or message):
        return SUCCESS
    names = [span_fields.error_code] if span_fields.error_code is not None else []
    text = getattr(span.status, "description", None) or message
    kind, code = error_of(name, span_fields.http_status, [*names, *types], [text] if type(text) is str else [])
    return Outcome(success=False, error_type=kind, error_code=code)


def _exceptions(span: ReadableSpan) -> tuple[list[str], object]:
    """The classes of the exceptions recorded, last first, and the message of the first; no stack trace is looked at."""
    try:
        recorded = [event.attributes for event in span.events[-_MAX_EVENTS_LOOKED_AT:] if event.name == "exception"]
        names = [attributes.get("exception.type") for attributes in reversed(recorded) if attributes]
        message = next((attributes.get("exception.message") for attributes in recorded if attributes), None)
    except Exception:  # noqa: BLE001 - an unreadable event must not lose the call
        delivery_stats.error("exceptions")
        return [], None
    return [name for name in names if type(name) is str and len(name) <= MAX_TEXT], message


def _attribution(span: ReadableSpan, parsed: ParsedSpan, noted: Attribution) -> Attribution:
    """What the span says itself, over what held when it started, over the default of the process."""
    span_fields, default = parsed.span_fields, of_resource(span.resource)
    attribution = noted if default is NOTHING else noted.over(default)
    if span_fields.session_on_span is not None and session_from_span():
        attribution = attribution.over(checked(None, None, span_fields.session_on_span, {}))
    if (
        not parsed.tags
        and span_fields.entity_type is None
        and span_fields.entity_id is None
        and span_fields.session_id is None
    ):
        return attribution
    return checked(span_fields.entity_type, span_fields.entity_id, span_fields.session_id, parsed.tags).over(
        attribution
    )


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
