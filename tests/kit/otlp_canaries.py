"""OTLP requests with a canary in every field that can contain text, found by the descriptors of the messages."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

CANARY = "CANARY"
PROMPT = f"{CANARY} is a prompt:\nkeep it, please"
"""A text that is not a valid value of any key."""
WORD = f"{CANARY}-word"
"""A text that is a valid model name, and not a valid value of any other key."""
_ids = itertools.count(1)
_MAX_DEPTH = 12
_UNKNOWN_FIELD = b"\xfa\xff\x3f"
"""The tag of field 131071 with a text."""


def value(of: object) -> AnyValue:
    """An attribute value of any of OTLP's types."""
    if isinstance(of, AnyValue):
        return of
    if isinstance(of, list):
        return AnyValue(array_value=ArrayValue(values=[value(item) for item in of]))
    if isinstance(of, dict):
        return AnyValue(kvlist_value=KeyValueList(values=pairs(of)))
    kinds: dict[type, str] = {bool: "bool_value", int: "int_value", float: "double_value", bytes: "bytes_value"}
    return AnyValue() if of is None else AnyValue(**{kinds.get(type(of), "string_value"): of})


def pairs(attributes: dict[str, Any]) -> list[KeyValue]:
    """Attributes as OTLP key-value pairs."""
    return [KeyValue(key=key, value=value(of)) for key, of in attributes.items()]


def values(text: str) -> list[AnyValue]:
    """Values of every type and nesting that contain the text, and values that are hard to parse."""
    raw = text.encode()
    held: list[Any] = [
        text,
        raw,
        [text],
        {text: text},
        [[{"a": [text, raw]}], text],
        {"a": {"b": [text]}, "c": 1},
        [{"a": float("nan")}, text],
        None,
        float("nan"),
        float("inf"),
        -1,
        2**63 - 1,
        -(2**63),
        1.5,
        1e300,
        True,
        "",
        text * 500,
        f'{{"{text}": 1}}',
        f'{{"input": "{text}", "output": 1e999',
        f"Error code: 429 - {text}",
        f"openai.{text}.RateLimitError",
        f"https://{text}.openai.azure.com/{text}?key={text}",
        f"openai.{text}",
    ]
    return [value(of) for of in held]


def span(attributes: dict[str, Any] | list[KeyValue], **fields: Any) -> Span:
    """A span with unique ids."""
    number = next(_ids)
    made = Span(
        trace_id=(0xA << 120 | number).to_bytes(16, "big"),
        span_id=number.to_bytes(8, "big"),
        start_time_unix_nano=1_790_000_000_000_000_000 + number,
        end_time_unix_nano=1_790_000_001_000_000_000 + number,
        **{"name": "chat gpt-4o-mini", "kind": Span.SPAN_KIND_CLIENT, **fields},
    )
    made.attributes.extend(attributes if isinstance(attributes, list) else pairs(attributes))
    return made


def export_request(
    spans: list[Span],
    scope: str | InstrumentationScope = "opentelemetry.instrumentation.openai_v2",
    resource: dict[str, Any] | None = None,
) -> ExportTraceServiceRequest:
    """An export request with spans of one scope."""
    named = InstrumentationScope(name=scope) if isinstance(scope, str) else scope
    group = ScopeSpans(scope=named, spans=spans)
    resource_spans = ResourceSpans(resource=Resource(attributes=pairs(resource or {})), scope_spans=[group])
    return ExportTraceServiceRequest(resource_spans=[resource_spans])


def fill(message: Message, text: str = PROMPT, depth: int = 0) -> None:
    """Put the text into every string and bytes field of a message and below it, and into an unknown field.

    Values that are set already are kept.
    """
    message.MergeFromString(_UNKNOWN_FIELD + bytes([len(text)]) + text.encode())
    for field in message.DESCRIPTOR.fields:
        if field.message_type is not None:
            _fill_inner(message, field, text, depth)
        elif field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES) and not field.name.endswith("_id"):
            put = text if field.type == FieldDescriptor.TYPE_STRING else text.encode()
            if _repeated(field):
                getattr(message, field.name).append(put)
            elif not getattr(message, field.name) and not _oneof_taken(message, field):
                setattr(message, field.name, put)


def _fill_inner(message: Message, field: FieldDescriptor, text: str, depth: int) -> None:
    if depth > _MAX_DEPTH or _oneof_taken(message, field):
        return
    if field.message_type.name == "AnyValue" and not _repeated(field):
        if not message.HasField(field.name):
            getattr(message, field.name).CopyFrom(AnyValue(string_value=text))
        return
    if not _repeated(field):
        fill(getattr(message, field.name), text, depth + 1)
        return
    inner = getattr(message, field.name)
    if field.message_type.name == "KeyValue":
        inner.extend([KeyValue(key=f"{text}.{at}", value=held) for at, held in enumerate(values(text))])
        inner.extend(pairs(dict.fromkeys(_SPOOFED, text)))
        # The application's attribution can be any text that its guards accept.
        inner.extend(pairs(dict.fromkeys(_ATTRIBUTION, PROMPT)))
        return
    if not inner:
        inner.add()
    for item in inner:
        fill(item, text, depth + 1)


_SPOOFED = (
    "redaction.redacted.keys",
    "redaction.masked.keys",
    "infraprism.anything",
    "infraprism.model",
    "infraprism.error_code",
    "infraprism.tags.NOT A KEY",
    "exception.message",
    "exception.stacktrace",
    "names",
    "kept",
)
_ATTRIBUTION = ("infraprism.tags.prompt", "infraprism.entity_id", "infraprism.entity_type", "infraprism.session_id")


def _repeated(field: FieldDescriptor) -> bool:
    return bool(field.is_repeated)


def _oneof_taken(message: Message, field: FieldDescriptor) -> bool:
    oneof = field.containing_oneof
    return oneof is not None and message.WhichOneof(oneof.name) not in (None, field.name)


def logs() -> ExportLogsServiceRequest:
    """Log records with a canary everywhere, one for each type that a body can have."""
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    for body in values(PROMPT):
        records.add().body.CopyFrom(body)
    fill(request)
    return request


def metrics() -> ExportMetricsServiceRequest:
    """Metrics of every kind with a canary everywhere, exemplars included."""
    request = ExportMetricsServiceRequest()
    made = request.resource_metrics.add().scope_metrics.add().metrics
    for kind in ("gauge", "sum", "histogram", "exponential_histogram", "summary"):
        getattr(made.add(), kind).data_points.add()
    fill(request)
    return request


def everywhere(attributes: dict[str, Any], scope: str = "") -> Iterator[ExportTraceServiceRequest]:
    """A call with a canary in every other field of the request, once with each kind of text."""
    for text in (PROMPT, WORD):
        request = export_request([span(attributes, name="")], InstrumentationScope(name=scope))
        fill(request, text)
        yield request


def in_each_key(
    base: dict[str, Any],
    keys: list[str],
    named: frozenset[str] = frozenset(),
    scope: str = "",
    kinds: slice = slice(None),
    per_request: int = 400,
) -> Iterator[ExportTraceServiceRequest]:
    """The call with a canary of every type in each key in turn, alone, and before and after the valid value.

    `kinds` selects some of the types. A model-like word is valid in the keys `named`: they get only other texts.
    """
    spans = []
    for key in keys:
        for held in (*values(PROMPT)[kinds], *(() if key in named else values(WORD)[kinds])):
            others = pairs({name: good for name, good in base.items() if name != key})
            spans.append(span([*others, KeyValue(key=key, value=held)]))
        good = pairs({key: base[key]} if key in base else {})
        bad = pairs({key: PROMPT})
        rest = pairs({name: value_ for name, value_ in base.items() if name != key})
        spans += [span([*rest, *good, *bad]), span([*bad, *good, *rest])]
    for start in range(0, len(spans), per_request):
        yield export_request(spans[start : start + per_request], scope)
