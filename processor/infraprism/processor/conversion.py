"""Converts a finished span of any dialect to an event: span, parsed span, candidate, event.

`candidate_from_span` reads a span, and `event_from_candidate` prices a call. In between, the deduplicator merges the
candidates of the same call; `to_event` converts one span without it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, StatusCode

from infraprism import pricing
from infraprism.attribution.scope import NOTHING, Attribution, checked
from infraprism.attribution.span_start_context import SpanStartContext
from infraprism.deduplication.candidate import SUCCESS, Candidate, Outcome
from infraprism.dialects import engine
from infraprism.dialects.engine import ParsedSpan
from infraprism.dialects.table import SpanFields
from infraprism.dialects.values import UNKNOWN_TIER
from infraprism.processor.span_events import delivery_stats, exceptions, first_event_ns, usage_event
from infraprism.providers.detection import provider_of
from infraprism.providers.error_classification import classify_error
from infraprism.providers.model_names import model_in
from infraprism.providers.regions import region_of
from infraprism.schema import Event, fields, wire
from infraprism.schema.call_context import SUPPRESSED
from infraprism.schema.event import MAX_TIMESTAMP_NS
from infraprism.schema.settings import boolean

_EVENT_MARKER: Final = fields.COST_STATUS.key
MARKER_KEYS: Final = engine.MARKER_KEYS | {_EVENT_MARKER}
"""A span with none of these attributes cannot become an event."""

_ERROR: Final = StatusCode.ERROR
_is_model: Final = fields.MODEL.regex.fullmatch
_no_marker_in: Final = MARKER_KEYS.isdisjoint
_NS_PER_MS: Final = 1_000_000
# The generated constructors of named tuples take five times as long.
_tuple: Final[Callable[..., Any]] = tuple.__new__


def to_event(span: ReadableSpan, start_context: SpanStartContext | None = None) -> Event | None:
    """Convert a finished span to an event; None if the span is not a billed LLM call.

    `start_context` is what `infraprism.attribution.span_start_context` recorded when the span started. A span made by
    `event_span` becomes the same event again. Spans that were not sampled, and objects with the attributes of a
    ReadableSpan, are converted as well. Never raises: a span that cannot be converted is counted in `delivery_stats`.
    """
    try:
        found = candidate_from_span(span, start_context)
        return event_from_candidate(found) if isinstance(found, Candidate) else found
    except Exception:  # noqa: BLE001 - no error of ours may reach the application
        delivery_stats.error("to_event")
        return None


def attributes_of(span: ReadableSpan) -> Mapping[str, Any]:
    """The attributes of a span, not copied: other span processors may change them at the same time."""
    found: Any = getattr(span, "_attributes", None)
    found = getattr(found, "_dict", found)
    return found if isinstance(found, dict) else span.attributes or {}


def may_be_call(span: ReadableSpan) -> bool:
    """Whether a span has an attribute that a billed call of some dialect has."""
    return not _no_marker_in(attributes_of(span))


# -- span to candidate ------------------------------------------------------------------------------------------


def candidate_from_span(span: ReadableSpan, start_context: SpanStartContext | None = None) -> Candidate | Event | None:
    """Read a span: a candidate, None if it is not a billed call, or the event if it was made by `event_span`.

    Raises any error of reading the span.
    """
    context = span.context
    if start_context is SUPPRESSED or context is None or not context.span_id:
        return None
    attributes = dict(attributes_of(span))
    if _EVENT_MARKER in attributes:
        return wire.read(context.trace_id, context.span_id, span.start_time or _nearest_ns(span.end_time), attributes)
    scope = _scope(span)
    parsed = _parse(span, scope, attributes)
    return None if parsed is None else _candidate(span, context, scope, parsed, start_context or NOTHING)


def _scope(span: ReadableSpan) -> str:
    name = getattr(getattr(span, "instrumentation_scope", None), "name", None)
    return name if type(name) is str else ""


def _parse(span: ReadableSpan, scope: str, attributes: dict[str, Any]) -> ParsedSpan | None:
    """Parse the attributes, and the span events that complete them."""
    name = getattr(span, "name", None)
    if type(name) is not str:
        name = ""
    parsed = engine.read(attributes, scope, name, span)
    if parsed is None:
        return None
    if parsed.usage.output_tokens is None and (usage := usage_event(span)):
        parsed = engine.read({**usage, **attributes}, scope, name, span) or parsed
    if parsed.dialect is not None and parsed.dialect.first_chunk_events:
        parsed = _with_first_chunk(span, parsed, parsed.dialect.first_chunk_events)
    return parsed


def _with_first_chunk(span: ReadableSpan, parsed: ParsedSpan, names: frozenset[str]) -> ParsedSpan:
    """The call as a stream, if a span event marks the first chunk."""
    first_ns, start_ns = first_event_ns(span, names), span.start_time
    if first_ns is None or type(start_ns) is not int:
        return parsed
    span_fields = parsed.span_fields._replace(streamed=True)
    if span_fields.time_to_first_token_ms is None and first_ns >= start_ns:
        span_fields = span_fields._replace(time_to_first_token_ms=_latency_ms(first_ns - start_ns))
    return parsed._replace(span_fields=span_fields)


def _candidate(
    span: ReadableSpan, context: SpanContext, scope: str, parsed: ParsedSpan, recorded: Attribution
) -> Candidate:
    parent = span.parent
    start_ns, end_ns = _times(span, parsed)
    found: Candidate = _tuple(
        Candidate,
        (
            context.trace_id,
            context.span_id,
            0 if parent is None else parent.span_id,
            parsed.span_fields.dedup_scope or scope,
            start_ns,
            end_ns,
            parsed,
            _outcome(span, parsed),
            _attribution(span, parsed, recorded),
        ),
    )
    return found


def _times(span: ReadableSpan, parsed: ParsedSpan) -> tuple[int, int]:
    """Start and end of the call, in nanoseconds since 1970."""
    start, end = span.start_time, span.end_time
    start_ns = start if type(start) is int and 0 < start <= MAX_TIMESTAMP_NS else _nearest_ns(end)
    duration_ms = parsed.span_fields.duration_ms
    if duration_ms is not None and type(end) is int:
        # The span was made when the call had ended. Its own duration is not the call's.
        start_ns = max(1, end - duration_ms * _NS_PER_MS)
    # The clock may have gone backwards.
    end_ns = end if type(end) is int and end > start_ns else start_ns
    has_first_chunk = parsed.dialect is not None and parsed.dialect.first_chunk_events
    if has_first_chunk and (first_ms := parsed.span_fields.time_to_first_token_ms) is not None:
        # The span of a call that returns a generator may end before the stream begins.
        end_ns = max(end_ns, start_ns + first_ms * _NS_PER_MS)
    return start_ns, end_ns


def _nearest_ns(end: object) -> int:
    """The start of a call without a start time: the end, or now. Only objects that are no SDK spans lack both."""
    return end if type(end) is int and 0 < end <= MAX_TIMESTAMP_NS else time.time_ns()


def _outcome(span: ReadableSpan, parsed: ParsedSpan) -> Outcome:
    span_fields = parsed.span_fields
    name, failed = span_fields.error, span_fields.failed
    if failed is None:
        failed = name is not None or getattr(span.status, "status_code", None) is _ERROR
    if not failed and (parsed.dialect is None or not parsed.dialect.exception_fails):
        return SUCCESS
    types, message = exceptions(span)
    if not (failed or types or message):
        return SUCCESS
    names = [span_fields.error_code] if span_fields.error_code is not None else []
    text = getattr(span.status, "description", None) or message
    texts = [text] if type(text) is str else []
    error_type, code = classify_error(name, span_fields.http_status, [*names, *types], texts)
    return Outcome(success=False, error_type=error_type, error_code=code)


def _attribution(span: ReadableSpan, parsed: ParsedSpan, recorded: Attribution) -> Attribution:
    """The span's own attributes, then the attribution recorded at its start, then the default of the resource."""
    span_fields, default = parsed.span_fields, resource_attribution(span.resource)
    attribution = recorded if default is NOTHING else recorded.over(default)
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
    """Whether the session, conversation or user id that an instrumentation writes on spans becomes the session id.

    `INFRAPRISM_SESSION_FROM_SPAN=true`; off by default, since the value may be anything.
    """
    return boolean("INFRAPRISM_SESSION_FROM_SPAN")


_resource_attributions: Final[dict[int, tuple[object, Attribution]]] = {}
_MAX_RESOURCES: Final = 64


def resource_attribution(resource: Resource | None) -> Attribution:
    """The default attribution in the attributes of a resource; cached per resource."""
    known = _resource_attributions.get(id(resource))
    if known is not None and known[0] is resource:
        return known[1]
    found = NOTHING
    if resource is not None:
        values = dict(resource.attributes)
        prefix = fields.TAG_PREFIX
        tags = {key[len(prefix) :]: value for key, value in values.items() if key.startswith(prefix)}
        entity_type, entity_id = values.get(fields.ENTITY_TYPE.key), values.get(fields.ENTITY_ID.key)
        found = checked(entity_type, entity_id, values.get(fields.SESSION_ID.key), tags)
        found = NOTHING if found == NOTHING else found
    if len(_resource_attributions) >= _MAX_RESOURCES:
        _resource_attributions.clear()
    _resource_attributions[id(resource)] = resource, found
    return found


# -- candidate to event -----------------------------------------------------------------------------------------


class _Template(NamedTuple):
    """What calls share that differ only in numbers and ids: an event to copy, and the key of their price."""

    event: Event
    provider: str
    model: str
    tier: str
    deployment: str | None
    is_free: bool
    region: str | None


_FREE_MODEL: Final = ":free"
"""The end of the names of OpenRouter's free models."""
_templates: Final[dict[tuple[object, ...], _Template]] = {}
MAX_TEMPLATES: Final = 1024
"""Templates cached. An application has some tens; a backend has those of many applications."""


def event_from_candidate(call: Candidate) -> Event:
    """Build the event of a call, with its cost. Raises any error of building it."""
    span_fields = call.parsed.span_fields
    key = (
        call.parsed.operation,
        span_fields.host,
        span_fields.provider,
        span_fields.request_model,
        span_fields.response_model,
        span_fields.service_tier,
        span_fields.region,
        span_fields.speed,
        span_fields.streamed,
        call.outcome,
        call.attribution,
    )
    template = _templates.get(key)
    if template is None:
        if len(_templates) >= MAX_TEMPLATES:
            _templates.clear()
        template = _templates[key] = _template(call)
    cost_usd, cost_status = _cost(template, call.parsed, call.start_ns)
    return template.event.with_measurements(
        call.trace_id,
        call.span_id,
        call.start_ns,
        _latency_ms(call.end_ns - call.start_ns),
        cost_usd,
        cost_status,
        # Some instrumentations report the duration of a call that was not streamed as its time to first token.
        None if span_fields.streamed is False else span_fields.time_to_first_token_ms,
        call.parsed.usage[:9],
    )


def _template(call: Candidate) -> _Template:
    span_fields, attribution = call.parsed.span_fields, call.attribution
    model = span_fields.response_model
    if model is None or not _is_model(model):
        model = span_fields.request_model
    provider = provider_of(span_fields.host, span_fields.provider, model)
    success, error_type, error_code = call.outcome
    event = Event(
        trace_id=call.trace_id,
        span_id=call.span_id,
        timestamp_ns=call.start_ns,
        model=None if model is None else model_in(model),  # the price depends on all of it: it may name the region
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
    # On Azure the request model is the deployment, and the user's price file may have a price for it.
    deployment = span_fields.request_model if provider == "azure" else None
    models = (span_fields.request_model, span_fields.response_model)
    is_free = any(name is not None and name.endswith(_FREE_MODEL) for name in models)
    if provider == "anthropic":
        deployment = span_fields.speed  # fast mode is priced like a kind of deployment
    tier, region = span_fields.service_tier or "standard", span_fields.region or region_of(span_fields.host)
    return _Template(event, provider, model or "", tier, deployment, is_free, region)


def _cost(template: _Template, parsed: ParsedSpan, start_ns: int) -> tuple[Decimal | None, str]:
    """Cost and cost status: the cost that the provider reported, else the price of the usage at the start time."""
    reported = parsed.span_fields.reported_cost_usd
    if reported or (reported is not None and template.is_free):
        # Gateways report 0 for the other models if they do not bill the call themselves.
        return reported, "provider_reported"
    usage = parsed.usage
    if usage.input_tokens is None and usage.output_tokens is None:
        return None, "no_usage"
    if parsed.contradicts:
        delivery_stats.error("usage.contradiction")
        return None, "incomplete"
    if template.tier == UNKNOWN_TIER or _has_unknown_price(template, parsed.span_fields):
        return None, "incomplete"
    try:
        request = pricing.PricingRequest(
            template.provider, template.model, usage, start_ns, template.tier, template.region, template.deployment
        )
        parts = parsed.span_fields.usage_parts
        return pricing.price(request) if parts is None else pricing.price_parts(request, parts)
    except Exception:  # noqa: BLE001 - an error of pricing must not lose the call
        delivery_stats.error("price")
        return None, "incomplete"


def _has_unknown_price(template: _Template, span_fields: SpanFields) -> bool:
    """Whether the response reports something that changes the bill and that has no rate at this provider."""
    return bool(span_fields.has_unpriced_usage) or (
        span_fields.speed is not None and template.deployment != span_fields.speed
    )


def _latency_ms(duration_ns: int) -> int:
    """Rounded to the nearest millisecond, and at most the maximum of the field."""
    latency_ms = (duration_ns + _NS_PER_MS // 2) // _NS_PER_MS
    return min(fields.MAX_LATENCY_MS, latency_ms)
