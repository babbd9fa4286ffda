"""Reads the outline of an OTLP request: how many spans it has, when they start, and which scopes they belong to.

Messages are kept as bytes, so that the cost depends on the size of a request and not on what is nested in it. A few
kilobytes of compressed empty messages would otherwise take seconds and gigabytes to parse.

Concatenated protobuf messages are one merged message. Therefore one call reads a level of all messages together.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

MAX_SPANS: Final = 50_000
"""Per request."""
MAX_GROUPS: Final = 10_000
"""Resources and scopes per request."""
MAX_ATTRIBUTES_PER_SPAN: Final = 64
"""On average over a request; an event has at most 58."""
MAX_SPAN_BYTES: Final = 64 * 2**10
_BYTES_PER_MESSAGE: Final = 12
_FREE_MESSAGES: Final = 10_000
"""Attributes, events and links of a request: these, and one per 12 bytes. An attribute has 40 on average."""
_MAX_NESTED_BYTES: Final = 64 * 2**10
"""Of the arrays and maps in the attributes of a request. No accepted attribute has one."""

_BYTES: Final = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
_FIXED64: Final = descriptor_pb2.FieldDescriptorProto.TYPE_FIXED64
_REPEATED: Final = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
_MESSAGES: Final = {
    "Request": {"resource_spans": (1, _BYTES)},
    "ResourceSpans": {"resource": (1, _BYTES), "scope_spans": (2, _BYTES)},
    "ScopeSpans": {"scope": (1, _BYTES), "spans": (2, _BYTES)},
    "Spans": {
        "start_time_unix_nano": (7, _FIXED64),
        "attributes": (9, _BYTES),
        "events": (11, _BYTES),
        "links": (13, _BYTES),
        "status": (15, _BYTES),
    },
    "Resource": {"attributes": (1, _BYTES), "entity_refs": (3, _BYTES)},
    "Scope": {"name": (1, _BYTES), "attributes": (3, _BYTES)},
    "Events": {"attributes": (3, _BYTES)},
    "Links": {"attributes": (4, _BYTES)},
    "Attributes": {"value": (2, _BYTES)},
    "Values": {"array_value": (5, _BYTES), "kvlist_value": (6, _BYTES)},
}
"""The fields of OTLP messages that are read, all repeated, with their numbers and types."""


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="outline.proto", package="outline", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field_name, (number, kind) in fields.items():
            field = message.field.add(name=field_name, number=number, type=kind, label=_REPEATED)
            if kind == _FIXED64:
                field.options.packed = False
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"outline.{name}")) for name in _MESSAGES}


_CLASSES: Final = _classes()


class MalformedError(ValueError):
    """The bytes are not a protobuf message."""


class TooManyError(ValueError):
    """A request has more spans, groups or attributes than are accepted."""


class Outline(NamedTuple):
    """`scopes` are the distinct names of its scopes, in bytes. Each span has one start time."""

    scopes: frozenset[bytes]
    number: int
    starts_ns: list[int]


def outline(body: bytes) -> Outline:
    """The outline of a request. Raises MalformedError and TooManyError."""
    return _read(body).outline


def limit_nesting(body: bytes) -> None:
    """Check that a request can be parsed completely at a cost that its size justifies.

    Raises MalformedError and TooManyError.
    """
    read = _read(body)
    _limit(sum(map(len, read.entity_refs)), _MAX_NESTED_BYTES)
    attributes = [
        read.attributes,
        _parse("Events", b"".join(read.events)).attributes,
        _parse("Links", b"".join(read.links)).attributes,
    ]
    number = sum(map(len, attributes))
    _limit(number, _most_messages(body))
    encoded = _parse("Attributes", b"".join(itertools.chain(*attributes))).value
    # A parser merges the values of an attribute that has several.
    _limit(len(encoded), number)
    values = _parse("Values", b"".join(encoded))
    _limit(max(len(values.array_value), len(values.kvlist_value)), number)
    _limit(sum(map(len, values.array_value)) + sum(map(len, values.kvlist_value)), _MAX_NESTED_BYTES)


class _Read(NamedTuple):
    """The outline, and messages of the request as bytes. `attributes` are those of spans, resources and scopes."""

    outline: Outline
    attributes: Sequence[bytes]
    events: Sequence[bytes]
    links: Sequence[bytes]
    entity_refs: Sequence[bytes]


def _read(body: bytes) -> _Read:
    groups = _parse("Request", body).resource_spans
    _limit(len(groups), MAX_GROUPS)
    found = _parse("ResourceSpans", b"".join(groups))
    scoped = found.scope_spans
    _limit(len(scoped) + len(found.resource), 2 * MAX_GROUPS)
    resources = _parse("Resource", b"".join(found.resource))
    _limit(len(resources.attributes) + len(resources.entity_refs), MAX_GROUPS)
    attributes = list(resources.attributes)
    scopes: set[bytes] = set()
    spans: list[bytes] = []
    for one in scoped:
        parsed = _parse("ScopeSpans", one)
        _limit(len(parsed.scope), MAX_GROUPS)
        scope = _parse("Scope", b"".join(parsed.scope))
        _limit(len(scope.name) + len(attributes) + len(scope.attributes), 2 * MAX_GROUPS)
        scopes.add(scope.name[-1] if scope.name else b"")
        attributes += scope.attributes
        _limit(len(spans) + len(parsed.spans), MAX_SPANS)
        spans += parsed.spans
    _limit(max(map(len, spans), default=0), MAX_SPAN_BYTES)
    parts = _parse("Spans", b"".join(spans))
    number = len(spans)
    in_spans = len(parts.attributes), len(parts.events) + len(parts.links) + len(parts.status)
    _limit(max(in_spans), MAX_ATTRIBUTES_PER_SPAN * number)
    _limit(sum(in_spans) + len(attributes), _most_messages(body))
    attributes += parts.attributes
    found_outline = Outline(frozenset(scopes), number, list(parts.start_time_unix_nano))
    return _Read(found_outline, attributes, parts.events, parts.links, resources.entity_refs)


def _most_messages(body: bytes) -> int:
    return _FREE_MESSAGES + len(body) // _BYTES_PER_MESSAGE


def _parse(name: str, encoded: bytes) -> Any:
    message: Message = _CLASSES[name]()
    try:
        message.MergeFromString(encoded)
    except DecodeError:
        raise MalformedError from None
    return message


def _limit(number: int, most: int) -> None:
    if number > most:
        raise TooManyError
