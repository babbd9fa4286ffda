"""The demo checks itself: the events are the calls that the provider served, and hold nothing of their content."""

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
"""Texts shorter than this can be in an event by chance."""
_PART: Final = 20
_SPAN: Final = frozenset(
    ("traceId", "spanId", "name", "kind", "startTimeUnixNano", "endTimeUnixNano", "attributes", "scope", "status")
)


class _Facts(NamedTuple):
    model: str
    input_tokens: int | None
    output_tokens: int | None
    success: bool


def calls(exchanges: Iterable[Exchange]) -> list[Exchange]:
    """The last attempt of every billed call: what a client retries is one call."""
    last: dict[tuple[str, bytes, int], Exchange] = {}
    begun: Counter[tuple[str, bytes]] = Counter()
    for exchange in exchanges:
        if exchange.record.operation in _BILLED:
            same = (exchange.path, exchange.request)
            begun[same] += exchange.record.attempt == 0
            last[*same, begun[same]] = exchange
    return list(last.values())


def check_counts(served: Sequence[Exchange], events: Sequence[Mapping[str, Any]]) -> None:
    """Every call is one event with the provider's own numbers; raises Failure where they differ."""
    expected = Counter(_truth_facts(exchange) for exchange in served)
    found = Counter(_event_facts(event) for event in events)
    if len(served) != len(events):
        raise Failure(f"the provider served {len(served)} calls, but {len(events)} events are stored")
    if expected != found:
        missing = ", ".join(str(tuple(facts)) for facts in expected - found)
        wrong = ", ".join(str(tuple(facts)) for facts in found - expected)
        raise Failure(f"events differ from what the provider served: expected {missing}; stored {wrong}")


def _truth_facts(exchange: Exchange) -> _Facts:
    truth = exchange.record
    reported = truth.reported
    return _Facts(
        truth.response_model or truth.request_model,
        reported.input_tokens if reported else None,
        reported.output_tokens if reported else None,
        success=truth.error_code is None,
    )


def _event_facts(event: Mapping[str, Any]) -> _Facts:
    return _Facts(event["model"], event["input_tokens"], event["output_tokens"], success=event["success"])


def contents(exchanges: Iterable[Exchange], *keys: str) -> set[str]:
    """Every text in requests and answers, and the keys; all that no event may hold.

    The pieces of a stream are put together. The names of models are left out, since an event has one.
    """
    found = set(keys)
    for exchange in exchanges:
        pieces: defaultdict[str, str] = defaultdict(str)
        for line in (exchange.request, *exchange.response.splitlines()):
            for key, text in _texts(line.removeprefix(b"data: ")):
                found.add(text)
                pieces[key] += text
        found.update(pieces.values())
        found -= {exchange.record.request_model, exchange.record.response_model or ""}
    return {text for text in found if len(text) >= _SHORT}


def _texts(line: bytes) -> Iterator[tuple[str, str]]:
    """Every text of a line of JSON, with the key that it stands under."""
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
    """No part of the texts is in the bytes that left; raises Failure, without saying the text."""
    sent = b"\0".join(bodies)
    leaked = sum(any(part in sent for part in _parts(text)) for text in texts)
    if leaked:
        raise Failure(f"parts of {leaked} texts of requests and answers are in what left the app")


def _parts(text: str) -> Iterator[bytes]:
    """A text in parts that are long enough to be nobody else's, so that a shortened one is found as well."""
    for start in range(0, max(1, len(text) - _PART + 1), _PART):
        yield text[start : start + _PART].encode()


def check_closed(spans: Iterable[Mapping[str, Any]]) -> None:
    """Every span is an event and nothing else: only keys of the field table, nothing around them; raises Failure."""
    left = {attribute["key"] for span in spans for attribute in span.get("attributes", ())}
    unknown = {key for key in left if key not in fields.BY_KEY and not key.startswith(fields.TAG_PREFIX)}
    around = {place for span in spans for place in _around(span)}
    if unknown or around:
        raise Failure(f"what is in no field of the table left the app: {', '.join(sorted(unknown | around))}")


def _around(span: Mapping[str, Any]) -> Iterator[str]:
    """Whatever a span has that an event's has not; its resource has to be empty."""
    yield from (place for place, value in span.items() if place not in _SPAN and value)
    yield from (f"scope.{place}" for place in span["scope"] if place not in ("name", "version"))
    yield from (f"status.{place}" for place in span.get("status", {}) if place != "code")
