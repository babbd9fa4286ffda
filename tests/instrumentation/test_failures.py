"""A failed call raises the same error, and is one span with its `error.type` and without its message."""

from __future__ import annotations

import asyncio
import socket
import traceback
from typing import Any

import anthropic
import openai
import pytest
from opentelemetry.trace import StatusCode
from pydantic import BaseModel
from tests.kit.client_calls import MESSAGES, WAYS, Way, client, httpx, used
from tests.kit.provider import ANTHROPIC_KEY, CANARY, OPENAI_KEY
from tests.kit.reading import shown, value
from tests.kit.recorded_spans import RecordedSpans

from infraprism.instrumentation import uninstrument
from infraprism.local_provider import LocalProvider
from infraprism.processor import to_event

SIDES = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
ALL_WAYS = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name.replace(" ", "_"))
MODELS = {"openai": "gpt-4o-mini", "anthropic": "claude-haiku-4-5"}
BASIC_WAYS = ("chat", "stream", "messages", "messages stream", "messages raw")
ERRORS = {
    "err400": ("invalid_request", "400"),
    "err401": ("authentication", "401"),
    "err403": ("permission", "403"),
    "err404": ("not_found", "404"),
    "err429": ("rate_limit", "429"),
    "err500": ("server_error", "500"),
}


async def outcome(way: Way, provider: LocalProvider, model: str, *, asynchronous: bool, **options: Any) -> object:
    async with used(client(way.package, provider, asynchronous=asynchronous, **options)) as opened:
        try:
            return await way.run(opened, model)
        except Exception as error:  # noqa: BLE001 - any error must be the same
            return error


def one_failed_span(recorded: RecordedSpans) -> dict[str, Any]:
    span = recorded.only()
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description is None
    assert not span.events
    assert not [text for text in (CANARY, OPENAI_KEY, ANTHROPIC_KEY, OPENAI_KEY[:12]) if text in span.to_json()]
    return dict(span.attributes or {})


@SIDES
@pytest.mark.parametrize(
    ("way", "marker"),
    [(way, marker) for way in WAYS for marker in ERRORS if marker == "err429" or way.name in BASIC_WAYS],
    ids=lambda value: value if isinstance(value, str) else value.name.replace(" ", "_"),
)
def test_a_rejected_call_raises_the_same_error_and_is_one_failed_span(
    way: Way, marker: str, asynchronous: bool, provider: LocalProvider, recorded: RecordedSpans
) -> None:
    model = f"{MODELS[way.package]}-{marker}"
    error = asyncio.run(outcome(way, provider, model, asynchronous=asynchronous))
    assert isinstance(error, openai.APIStatusError | anthropic.APIStatusError)
    attributes = one_failed_span(recorded)
    assert attributes["http.response.status_code"] == provider.calls[0].status
    assert not [name for name in attributes if "usage" in name]
    event = to_event(recorded.only())
    assert event is not None
    kind, code = ERRORS[marker]
    assert (event.error_type, event.error_code) == (kind, code)

    uninstrument()
    bare = asyncio.run(outcome(way, provider, model, asynchronous=asynchronous))
    assert shown(error) == shown(bare)
    # The innermost frame is not one of the instrumentation.
    assert traceback.extract_tb(error.__traceback__)[-1] == traceback.extract_tb(bare.__traceback__)[-1]


@SIDES
@ALL_WAYS
def test_a_connection_that_fails_during_the_response_is_one_failed_span(
    way: Way, asynchronous: bool, provider: LocalProvider, recorded: RecordedSpans
) -> None:
    model = f"{MODELS[way.package]}-drop"
    error = asyncio.run(outcome(way, provider, model, asynchronous=asynchronous))
    assert isinstance(error, Exception)
    assert CANARY not in recorded.only().to_json()
    event = to_event(recorded.only())
    assert event is not None
    assert (event.success, event.error_type) == (False, "connection")
    assert event.output_tokens is None

    uninstrument()
    assert shown(error) == shown(asyncio.run(outcome(way, provider, model, asynchronous=asynchronous)))


@SIDES
@pytest.mark.parametrize("way", [way for way in WAYS if way.streamed], ids=lambda way: way.name.replace(" ", "_"))
def test_an_error_event_in_a_stream_fails_the_call(
    way: Way, asynchronous: bool, provider: LocalProvider, recorded: RecordedSpans
) -> None:
    model = f"{MODELS[way.package]}-stream-error"
    result = asyncio.run(outcome(way, provider, model, asynchronous=asynchronous))
    attributes = one_failed_span(recorded)
    assert "gen_ai.usage.output_tokens" not in attributes
    event = to_event(recorded.only())
    assert event is not None
    assert event.error_type in ("overloaded", "server_error")
    assert not event.success

    uninstrument()
    assert shown(result) == shown(asyncio.run(outcome(way, provider, model, asynchronous=asynchronous)))


@SIDES
@pytest.mark.parametrize("package", MODELS)
def test_a_timeout_is_one_failed_span(
    package: str, asynchronous: bool, provider: LocalProvider, recorded: RecordedSpans
) -> None:
    way = next(way for way in WAYS if way.package == package)
    error = asyncio.run(outcome(way, provider, f"{MODELS[package]}-hang", asynchronous=asynchronous, timeout=0.2))
    assert isinstance(error, openai.APITimeoutError | anthropic.APITimeoutError)
    event = to_event(recorded.only())
    assert event is not None
    assert event.error_type == "timeout"
    assert one_failed_span(recorded)["error.type"] == f"{package}.APITimeoutError"


@SIDES
@pytest.mark.parametrize("package", MODELS)
def test_a_refused_connection_is_one_failed_span(
    package: str, asynchronous: bool, provider: LocalProvider, recorded: RecordedSpans
) -> None:
    way = next(way for way in WAYS if way.package == package)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    error = asyncio.run(outcome(way, provider, "m", asynchronous=asynchronous, base_url=f"http://127.0.0.1:{port}/v1"))
    assert isinstance(error, openai.APIConnectionError | anthropic.APIConnectionError)
    event = to_event(recorded.only())
    assert event is not None
    assert event.error_type == "connection"
    assert one_failed_span(recorded)["server.port"] == port


@SIDES
@pytest.mark.parametrize("package", MODELS)
def test_a_retried_call_is_one_span(
    package: str, asynchronous: bool, provider: LocalProvider, recorded: RecordedSpans
) -> None:
    way = next(way for way in WAYS if way.package == package)
    asyncio.run(outcome(way, provider, f"{MODELS[package]}-retry429", asynchronous=asynchronous, max_retries=2))
    assert [call.attempt for call in provider.calls] == [0, 1]
    span = recorded.only()
    assert span.status.status_code is StatusCode.UNSET
    reported = provider.calls[1].reported
    assert reported is not None
    assert (span.attributes or {})["gen_ai.usage.output_tokens"] == reported.output_tokens


@pytest.mark.parametrize(
    ("marker", "kind"), [("context-length", "context_length"), ("content-filter", "invalid_request")]
)
def test_a_known_provider_code_is_the_error_type(
    marker: str, kind: str, provider: LocalProvider, recorded: RecordedSpans
) -> None:
    asyncio.run(outcome(WAYS[0], provider, f"gpt-4o-{marker}", asynchronous=False))
    event = to_event(recorded.only())
    assert event is not None
    assert event.error_type == kind


def test_an_unknown_provider_code_is_not_recorded(provider: LocalProvider, recorded: RecordedSpans) -> None:
    def reject(request: Any) -> Any:
        body = {"error": {"code": f"x{CANARY}", "type": CANARY, "message": CANARY}}
        return httpx.Response(400, json=body)

    transport = httpx.Client(transport=httpx.MockTransport(reject))
    error = asyncio.run(outcome(WAYS[0], provider, "gpt-4o", asynchronous=False, http_client=transport))
    assert isinstance(error, openai.BadRequestError)
    assert one_failed_span(recorded)["error.type"] == "openai.BadRequestError"


@SIDES
def test_tokens_of_a_response_that_the_client_cannot_parse_are_recorded(
    asynchronous: bool, provider: LocalProvider, recorded: RecordedSpans
) -> None:
    class Answer(BaseModel):
        number: int

    async def parse() -> None:
        async with used(client("openai", provider, asynchronous=asynchronous)) as opened:
            chats = (
                opened.chat.completions if hasattr(opened.chat.completions, "parse") else opened.beta.chat.completions
            )
            # The provider gets another response format than the one that the client parses.
            requested = {"type": "json_object"}
            await value(
                chats.parse(
                    model="gpt-4o", messages=MESSAGES, response_format=Answer, extra_body={"response_format": requested}
                )
            )

    with pytest.raises(ValueError, match="number"):
        asyncio.run(parse())
    reported = provider.calls[0].reported
    assert reported is not None
    attributes = one_failed_span(recorded)
    assert attributes["gen_ai.usage.input_tokens"] == reported.input_tokens
    assert attributes["gen_ai.usage.output_tokens"] == reported.output_tokens
    assert attributes["error.type"].endswith("ValidationError")
