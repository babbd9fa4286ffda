"""The demo checks itself: the events are the calls that the provider served, and hold nothing of their content."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from infraprism.cli.failure import Failure
from infraprism.local_provider import Exchange
from infraprism.schema import fields

_BILLED: Final = ("chat", "responses", "completion", "embeddings")
_SHORT: Final = 10
"""Texts shorter than this can be in an event by chance."""


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
        if exchange.truth.operation in _BILLED:
            same = (exchange.path, exchange.request)
            begun[same] += exchange.truth.attempt == 0
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
    truth = exchange.truth
    reported = truth.reported
    return _Facts(
        truth.model_answered or truth.model_asked,
        reported.input_tokens if reported else None,
        reported.output_tokens if reported else None,
        success=truth.error_code is None,
    )


def _event_facts(event: Mapping[str, Any]) -> _Facts:
    return _Facts(event["model"], event["input_tokens"], event["output_tokens"], success=event["success"])


def contents(exchanges: Iterable[Exchange], *keys: str) -> set[str]:
    """Every text in requests and answers, and the keys; all that no event may hold.

    The names of models are left out, since an event has one.
    """
    found = set(keys)
    for exchange in exchanges:
        for line in (exchange.request, *exchange.response.splitlines()):
            found.update(_texts(line.removeprefix(b"data: ")))
        found -= {exchange.truth.model_asked, exchange.truth.model_answered or ""}
    return {text for text in found if len(text) >= _SHORT}


def _texts(line: bytes) -> Iterator[str]:
    try:
        value = json.loads(line)
    except ValueError:
        return
    yield from _strings(value)


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def check_no_content(bodies: Iterable[bytes], secrets: Iterable[str]) -> None:
    """None of the texts is in the bytes that left; raises Failure, without saying the text."""
    sent = b"\0".join(bodies)
    leaked = [text for text in secrets if text.encode() in sent]
    if leaked:
        raise Failure(f"{len(leaked)} texts of requests and answers are in what left the app")


def check_keys(spans: Iterable[Mapping[str, Any]]) -> None:
    """Every attribute that left is in the field table; raises Failure."""
    left = {attribute["key"] for span in spans for attribute in span.get("attributes", ())}
    unknown = {key for key in left if key not in fields.BY_KEY and not key.startswith(fields.TAG_PREFIX)}
    if unknown:
        raise Failure(f"attributes that are not in the field table left the app: {', '.join(sorted(unknown))}")
