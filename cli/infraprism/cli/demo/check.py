"""The checks of the demo: the events equal the calls that the provider served, and contain none of their content."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from infraprism.cli.failure import Failure
from infraprism.local_provider import Exchange
from infraprism.schema import fields

_BILLED: Final = ("chat", "responses", "completion", "embeddings")
_SHORT: Final = 10
"""Shorter texts can be part of an event by chance."""
_PART_LENGTH: Final = 20
_SPAN_FIELDS: Final = frozenset(
    ("traceId", "spanId", "name", "kind", "startTimeUnixNano", "endTimeUnixNano", "attributes", "scope", "status")
)


class _Facts(NamedTuple):
    model: str
    input_tokens: int | None
    output_tokens: int | None
    success: bool


def calls(exchanges: Iterable[Exchange]) -> list[Exchange]:
    """The last attempt of every billed call: retries of a client are one call."""
    last: dict[tuple[str, bytes, int], Exchange] = {}
    first_attempts: Counter[tuple[str, bytes]] = Counter()
    for exchange in exchanges:
        if exchange.record.operation in _BILLED:
            request = (exchange.path, exchange.request)
            first_attempts[request] += exchange.record.attempt == 0
            last[*request, first_attempts[request]] = exchange
    return list(last.values())


def check_counts(served: Sequence[Exchange], events: Sequence[Mapping[str, Any]]) -> None:
    """Check that every call is one event with the numbers of the provider. Raises Failure if not."""
    expected = Counter(_record_facts(exchange) for exchange in served)
    found = Counter(_event_facts(event) for event in events)
    if len(served) != len(events):
        raise Failure(f"the provider served {len(served)} calls, but {len(events)} events are stored")
    if expected != found:
        missing = ", ".join(str(tuple(facts)) for facts in expected - found)
        wrong = ", ".join(str(tuple(facts)) for facts in found - expected)
        raise Failure(f"events differ from what the provider served: expected {missing}; stored {wrong}")


def _record_facts(exchange: Exchange) -> _Facts:
    record = exchange.record
    reported = record.reported
    return _Facts(
        record.response_model or record.request_model,
        reported.input_tokens if reported else None,
        reported.output_tokens if reported else None,
        success=record.error_code is None,
    )


def _event_facts(event: Mapping[str, Any]) -> _Facts:
    return _Facts(event["model"], event["input_tokens"], event["output_tokens"], success=event["success"])


def contents(exchanges: Iterable[Exchange], *keys: str) -> set[str]:
    """All texts that no event may contain: those in requests and responses, and the keys.

    The chunks of a stream are joined. Model names are excluded, since an event contains one.
    """
    found = set(keys)
    for exchange in exchanges:
        joined: defaultdict[str, str] = defaultdict(str)
        for line in (exchange.request, *exchange.response.splitlines()):
            for key, text in _texts(line.removeprefix(b"data: ")):
                found.add(text)
                joined[key] += text
        found.update(joined.values())
        found -= {exchange.record.request_model, exchange.record.response_model or ""}
    return {text for text in found if len(text) >= _SHORT}


def _texts(line: bytes) -> Iterator[tuple[str, str]]:
    """Every text in a line of JSON, with its key."""
    try:
        value = json.loads(line)
    except ValueError:
        return
    yield from _strings("", value)


def _strings(key: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        if key != "model":
            yield key, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _strings(name, item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(key, item)


def check_no_content(bodies: Iterable[bytes], texts: Iterable[str]) -> None:
    """Check that no part of the texts is in the bytes that were sent. Raises Failure; its message has no text."""
    sent = b"\0".join(bodies)
    leaked = sum(any(part in sent for part in _parts(text)) for text in texts)
    if leaked:
        raise Failure(f"parts of {leaked} texts of requests and responses are in the data that the app sent")


def _parts(text: str) -> Iterator[bytes]:
    """A text in parts, so that a shortened one is found too. They are long enough to be unique."""
    for start in range(0, max(1, len(text) - _PART_LENGTH + 1), _PART_LENGTH):
        yield text[start : start + _PART_LENGTH].encode()


def check_closed(spans: Iterable[Mapping[str, Any]]) -> None:
    """Check that every span has only attributes of the field table and is otherwise empty. Raises Failure if not."""
    sent = {attribute["key"] for span in spans for attribute in span.get("attributes", ())}
    unknown = {key for key in sent if key not in fields.BY_KEY and not key.startswith(fields.TAG_PREFIX)}
    other = {name for span in spans for name in _other_fields(span)}
    if unknown or other:
        raise Failure(f"the app sent data that is not in the field table: {', '.join(sorted(unknown | other))}")


def _other_fields(span: Mapping[str, Any]) -> Iterator[str]:
    """Fields of a span that the span of an event does not have, such as a resource with attributes."""
    yield from (name for name, value in span.items() if name not in _SPAN_FIELDS and value)
    yield from (f"scope.{name}" for name in span["scope"] if name not in ("name", "version"))
    yield from (f"status.{name}" for name in span.get("status", {}) if name != "code")
