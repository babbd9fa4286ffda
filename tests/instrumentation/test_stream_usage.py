"""Streams that report usage only on request: one line of the log, and INFRAPRISM_STREAM_USAGE requests and hides it."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kit.client_calls import MESSAGES, client, httpx
from tests.kit.provider import OPENAI_KEY
from tests.kit.recorded_spans import RecordedSpans

from infraprism.instrumentation import instrument, uninstrument
from infraprism.instrumentation.stream_usage import UsageFilter
from infraprism.local_provider import LocalProvider
from infraprism.schema import settings

INPUT = "gen_ai.usage.input_tokens"
CHUNK: dict[str, Any] = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini"}
TEXT = CHUNK | {"choices": [{"index": 0, "delta": {"content": 'a,"usage":null,'}, "finish_reason": None}]}
COUNTS = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordedSpans]:
    """The package is instrumented, and asks for usage."""
    monkeypatch.setenv("INFRAPRISM_STREAM_USAGE", "true")
    settings.logged.clear()
    found = RecordedSpans()
    instrument(found.provider)
    yield found
    uninstrument()


def events(*chunks: dict[str, Any], separators: tuple[str, str] = (",", ":"), line_break: str = "\n") -> bytes:
    lines = [*(json.dumps(chunk, separators=separators) for chunk in chunks), "[DONE]"]
    return "".join(f"data: {line}{line_break}{line_break}" for line in lines).encode()


def answering(url: str, body: bytes, **headers: str) -> tuple[openai.OpenAI, list[dict[str, Any]]]:
    """A client for `url` that receives this stream for every request, and the requests."""
    requests: list[dict[str, Any]] = []

    def answer(request: Any) -> Any:
        requests.append(json.loads(request.content))
        return httpx.Response(200, headers={"content-type": "text/event-stream", **headers}, content=body)

    http = httpx.Client(transport=httpx.MockTransport(answer))
    return openai.OpenAI(api_key=OPENAI_KEY, base_url=url, http_client=http), requests


def answering_in_parts(url: str, body: bytes, encoding: str) -> tuple[openai.OpenAI, list[dict[str, Any]]]:
    """As `answering`, with a body that is read in parts, so that `iter_raw` can be used."""

    class Parts(httpx.SyncByteStream):  # type: ignore[misc]  # the name depends on the version
        def __iter__(self) -> Iterator[bytes]:
            yield body[:40]
            yield body[40:]

    requests: list[dict[str, Any]] = []

    def answer(request: Any) -> Any:
        requests.append(json.loads(request.content))
        headers = {"content-type": "text/event-stream", "content-encoding": encoding}
        return httpx.Response(200, headers=headers, stream=Parts())

    http = httpx.Client(transport=httpx.MockTransport(answer))
    return openai.OpenAI(api_key=OPENAI_KEY, base_url=url, http_client=http), requests


def chat(opened: Any, **parameters: Any) -> list[Any]:
    return list(opened.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, stream=True, **parameters))


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("https://api.openai.com/v1", True),
        ("https://eu.api.openai.com/v1", True),
        ("https://api.openai.com.example.com/v1", False),
        ("https://resource.openai.azure.com/openai/v1", True),
        ("https://resource.openai.azure.com/openai/deployments/d", False),
        ("https://api.mistral.ai/v1", False),
        ("https://8.8.8.8/v1", False),
        ("http://127.0.0.1:1/v1", True),
        ("http://[::1]:1/v1", True),
        ("http://10.0.0.5:8000/v1", True),
        ("http://localhost:8000/v1", True),
        ("http://vllm:8000/v1", True),
    ],
)
def test_usage_is_requested_only_from_servers_that_accept_the_parameter(
    url: str, asked: bool, recorded: RecordedSpans
) -> None:
    opened, requests = answering(url, events(TEXT))
    chat(opened)
    assert requests[0].get("stream_options") == ({"include_usage": True} if asked else None)


def test_other_stream_options_of_the_application_are_kept(recorded: RecordedSpans) -> None:
    opened, requests = answering("https://api.openai.com/v1", events(TEXT))
    options = {"include_obfuscation": False}
    chat(opened, stream_options=options)
    chat(opened, extra_body={"stream_options": options})
    assert [request["stream_options"] for request in requests] == [{**options, "include_usage": True}] * 2
    assert options == {"include_obfuscation": False}


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize("place", ["argument", "extra_body"])
def test_nothing_changes_where_the_application_sets_include_usage(
    value: bool, place: str, recorded: RecordedSpans
) -> None:
    body = events(TEXT | {"usage": None}, CHUNK | {"choices": [], "usage": COUNTS})
    opened, requests = answering("https://api.openai.com/v1", body)
    option: dict[str, Any] = {"stream_options": {"include_usage": value}}
    received = chat(opened, **(option if place == "argument" else {"extra_body": option}))
    assert requests[0]["stream_options"] == {"include_usage": value}
    assert len(received) == 2
    assert "usage" in received[0].model_fields_set


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")], ids=["compact", "spaced"])
@pytest.mark.parametrize("line_break", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_the_application_gets_the_stream_that_it_would_get_without_the_request(
    encoding: str, separators: tuple[str, str], line_break: str, recorded: RecordedSpans
) -> None:
    form: dict[str, Any] = {"separators": separators, "line_break": line_break}
    added = events(TEXT | {"usage": None}, CHUNK | {"choices": [], "usage": COUNTS}, **form)
    headers = {} if encoding == "identity" else {"content-encoding": encoding}
    opened, _ = answering("https://api.openai.com/v1", gzip.compress(added) if encoding == "gzip" else added, **headers)
    (received,) = chat(opened)
    assert received.to_dict() == TEXT
    with opened.chat.completions.with_streaming_response.create(
        model="gpt-4o-mini", messages=MESSAGES, stream=True
    ) as response:
        assert response.read() == events(TEXT, **form)
    assert [dict(span.attributes or {})[INPUT] for span in recorded.spans] == [7, 7]


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_raw_bytes_are_without_the_requested_usage_unless_they_are_compressed(
    encoding: str, recorded: RecordedSpans
) -> None:
    """A documented limit: `iter_raw` of a compressed response returns what the provider sent, and it is not parsed."""
    added = events(TEXT | {"usage": None}, CHUNK | {"choices": [], "usage": COUNTS})
    sent = gzip.compress(added) if encoding == "gzip" else added
    request = {"model": "gpt-4o-mini", "messages": MESSAGES, "stream": True}
    opened, _ = answering_in_parts("https://api.openai.com/v1", sent, encoding)
    with opened.chat.completions.with_streaming_response.create(**request) as response:
        received = b"".join(response.http_response.iter_raw())
    assert received == (sent if encoding == "gzip" else events(TEXT))
    assert (INPUT in dict(recorded.only().attributes or {})) is (encoding == "identity")


def test_usage_beside_choices_is_recorded_and_stays_in_the_stream(recorded: RecordedSpans) -> None:
    opened, _ = answering("https://api.openai.com/v1", events(TEXT | {"usage": COUNTS}))
    (received,) = chat(opened)
    assert received.usage.total_tokens == 10
    assert dict(recorded.only().attributes or {})[INPUT] == 7


def test_a_body_that_is_read_before_it_is_returned_is_not_asked_for_usage(recorded: RecordedSpans) -> None:
    opened, requests = answering("https://api.openai.com/v1", events(TEXT))
    opened.post("/chat/completions", cast_to=httpx.Response, body={"model": "m", "messages": MESSAGES, "stream": True})
    assert "stream_options" not in requests[0]


PLAIN = events(TEXT, TEXT)
ADDED = events(TEXT | {"usage": None}, TEXT | {"usage": None}, CHUNK | {"choices": [], "usage": COUNTS})


@given(st.lists(st.integers(0, len(ADDED)), max_size=20))
def test_the_filter_gives_the_same_for_data_split_at_any_byte(cuts: list[int]) -> None:
    found: list[object] = []
    filtered = UsageFilter(found.append)
    places = [0, *sorted(cuts), len(ADDED)]
    pieces = [filtered.feed(ADDED[start:end]) for start, end in pairwise(places)]
    assert b"".join(pieces) + filtered.flush() == PLAIN
    assert found == [CHUNK | {"choices": [], "usage": COUNTS}]


@given(st.binary(max_size=200))
def test_the_filter_keeps_all_other_bytes(data: bytes) -> None:
    filtered = UsageFilter(lambda _: None)
    assert filtered.feed(data) + filtered.flush() == data


def test_the_setting_is_off_by_default(provider: LocalProvider) -> None:
    found = RecordedSpans()
    instrument(found.provider)
    with client("openai", provider, asynchronous=False) as used:
        chat(used)
    assert INPUT not in dict(found.only().attributes or {})


def test_a_stream_without_usage_is_one_line_of_the_log_per_process(
    provider: LocalProvider, caplog: pytest.LogCaptureFixture
) -> None:
    settings.logged.clear()
    instrument(RecordedSpans().provider)
    with client("openai", provider, asynchronous=False) as used, caplog.at_level(logging.WARNING):
        used.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
        chat(used, stream_options={"include_usage": True})
        assert not caplog.records
        chat(used)
        chat(used)
    (record,) = caplog.records
    assert "stream_options={'include_usage': True}" in record.getMessage()
    assert "INFRAPRISM_STREAM_USAGE=true" in record.getMessage()


@pytest.mark.parametrize("received", [b"", b"data: {", PLAIN[:-20]], ids=["nothing", "a part of a line", "lines"])
def test_a_cancellation_reaches_the_application_at_once(received: bytes, recorded: RecordedSpans) -> None:
    class Endless(httpx.AsyncByteStream):  # type: ignore[misc]  # the name depends on the version
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield received
            waiting.set()
            await asyncio.Event().wait()

    async def answer(_: Any) -> Any:
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Endless())

    async def read(opened: openai.AsyncOpenAI) -> None:
        async with opened.chat.completions.with_streaming_response.create(
            model="gpt-4o-mini", messages=MESSAGES, stream=True
        ) as response:
            async for _ in response.iter_bytes():
                pass

    async def run() -> None:
        http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
        async with openai.AsyncOpenAI(api_key=OPENAI_KEY, http_client=http) as opened:
            task = asyncio.create_task(read(opened))
            await waiting.wait()
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()

    waiting = asyncio.Event()
    asyncio.run(run())
