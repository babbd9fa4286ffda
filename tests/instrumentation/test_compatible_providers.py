"""Usage and cost of services with an OpenAI-compatible API, in the places and units in which they report them.

A transport in the process responds with the published shapes: complete, streamed to objects, and read as raw bytes.
"""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import openai
import pytest
from tests.kit.recorded_spans import RecordedSpans

from infraprism.processor import to_event
from infraprism.schema import Event

try:
    import httpx2 as httpx
except ImportError:  # before version 3 of openai
    import httpx  # type: ignore[no-redef]

ASK: Final[list[Any]] = [{"role": "user", "content": "hello"}]
XAI: Final = ("https://api.x.ai/v1", "grok-4-0709")
"""3 USD per million input tokens, 15 USD per million output tokens."""
MOONSHOT: Final = ("https://api.moonshot.ai/v1", "kimi-k2-0905-preview")
GROQ: Final = ("https://api.groq.com/openai/v1", "llama-3.3-70b-versatile")
GEMINI: Final = ("https://generativelanguage.googleapis.com/v1beta/openai", "gemini-2.5-flash")
OPENROUTER: Final = ("https://openrouter.ai/api/v1", "openai/gpt-4o")
PERPLEXITY: Final = ("https://api.perplexity.ai", "sonar")
DEEPINFRA: Final = ("https://api.deepinfra.com/v1/openai", "meta-llama/Llama-3.3-70B-Instruct")
Service = tuple[str, str]
Usage = dict[str, Any]
Ask = Callable[[Service, Usage], Event]


def completion(model: str, usage: Usage | None) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": model, "choices": [choice], "usage": usage}


def chunk(model: str, choice: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    choices = [{"index": 0, "delta": {"content": "a"}, "finish_reason": None, **(choice or {})}]
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": choices, **more}


def sse(*events: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + b"data: [DONE]\n\n"


def transport(body: object) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = "text/event-stream" if isinstance(body, bytes) else "application/json"
    return httpx.MockTransport(lambda _request: httpx.Response(200, headers={"content-type": kind}, content=content))


def client(service: Service, body: object) -> Any:
    http_client = httpx.Client(transport=transport(body))
    return openai.OpenAI(api_key="none", base_url=service[0], max_retries=0, http_client=http_client)


def complete(service: Service, usage: Usage) -> None:
    client(service, completion(service[1], usage)).chat.completions.create(model=service[1], messages=ASK)


def raw(service: Service, usage: Usage) -> None:
    made = client(service, completion(service[1], usage)).chat.completions
    made.with_raw_response.create(model=service[1], messages=ASK)


def streamed(service: Service, usage: Usage) -> None:
    read_stream(service, chunk(service[1]), chunk(service[1], {"finish_reason": "stop"}, usage=usage))


def raw_streamed(service: Service, usage: Usage) -> None:
    read_bytes(service, chunk(service[1]), chunk(service[1], {"finish_reason": "stop"}, usage=usage))


def response(service: Service, usage: Usage) -> None:
    """The usage of a chat with the names of a response."""
    names = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens"}
    names |= {f"{name}_details": f"{meant}_details" for name, meant in names.items()}
    body = {
        "id": "r",
        "object": "response",
        "created_at": 1,
        "model": service[1],
        "status": "completed",
        "output": [],
        "usage": {names.get(name, name): value for name, value in usage.items()},
    }
    client(service, body).responses.create(model=service[1], input="hello")


def read_stream(service: Service, *events: dict[str, Any]) -> None:
    list(client(service, sse(*events)).chat.completions.create(model=service[1], messages=ASK, stream=True))


def read_async_stream(service: Service, *events: dict[str, Any]) -> None:
    async def read() -> None:
        http_client = httpx.AsyncClient(transport=transport(sse(*events)))
        async with openai.AsyncOpenAI(api_key="none", base_url=service[0], http_client=http_client) as made:
            stream = await made.chat.completions.create(model=service[1], messages=ASK, stream=True)
            async for _ in stream:
                pass

    asyncio.run(read())


def read_bytes(service: Service, *events: dict[str, Any]) -> None:
    made = client(service, sse(*events)).chat.completions.with_streaming_response
    with made.create(model=service[1], messages=ASK, stream=True) as opened:
        list(opened.iter_bytes())


WAYS: Final = (complete, raw, streamed, raw_streamed)
READERS: Final = (read_stream, read_async_stream, read_bytes)


def event_of(recorded: RecordedSpans) -> Event:
    event = to_event(recorded.only())
    assert event is not None
    return event


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def ask(request: pytest.FixtureRequest, recorded: RecordedSpans) -> Ask:
    def made(service: Service, usage: Usage) -> Event:
        recorded.clear()
        request.param(service, usage)
        return event_of(recorded)

    return made


def usage_of(
    prompt: int, completion: int, total: int, reasoning: int | None = None, cached: int | None = None
) -> Usage:
    found: Usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}
    if reasoning is not None:
        found["completion_tokens_details"] = {"reasoning_tokens": reasoning}
    if cached is not None:
        found["prompt_tokens_details"] = {"cached_tokens": cached}
    return found


@pytest.mark.parametrize("service", [XAI, GEMINI], ids=lambda service: service[1])
def test_reasoning_that_the_total_proves_to_be_excluded_is_added(ask: Ask, service: Service) -> None:
    event = ask(service, usage_of(1000, 900, 2400, reasoning=500))
    assert (event.input_tokens, event.output_tokens, event.reasoning_tokens) == (1000, 1400, 500)
    assert event.cost_usd is not None
    assert event.cost_usd == ask(service, usage_of(1000, 1400, 2400)).cost_usd


def test_reasoning_that_the_total_proves_to_be_included_is_not_added(ask: Ask) -> None:
    event = ask(XAI, usage_of(1000, 900, 1900, reasoning=500))
    assert (event.output_tokens, event.cost_usd) == (900, Decimal("0.0165"))


def test_cached_input_that_the_total_proves_to_be_excluded_is_added(ask: Ask) -> None:
    event = ask(OPENROUTER, usage_of(1000, 100, 1400, cached=300))
    assert (event.input_tokens, event.output_tokens, event.cache_read_tokens) == (1300, 100, 300)


@pytest.mark.parametrize(
    "usage",
    [
        usage_of(1000, 900, 2400),  # Gemini without details: the difference may be thoughts or the input of tools
        usage_of(1000, 900, 2401, reasoning=500),
        usage_of(1000, 900, 1500, reasoning=500),
        usage_of(1000, 900, 2400, reasoning=500, cached=500),  # either part may be the one that is excluded
    ],
)
def test_a_total_that_no_single_addition_explains_leaves_the_cost_incomplete(ask: Ask, usage: Usage) -> None:
    event = ask(XAI, usage)
    assert (event.input_tokens, event.output_tokens) == (1000, 900)
    assert (event.cost_usd, event.cost_status) == (None, "incomplete")


@pytest.mark.skipif(not hasattr(openai.OpenAI, "responses"), reason="no responses in this version")
def test_the_total_of_a_response_proves_reasoning_too(recorded: RecordedSpans) -> None:
    response(XAI, usage_of(1000, 900, 2400, reasoning=500))
    event = event_of(recorded)
    assert (event.output_tokens, event.cost_usd) == (1400, Decimal("0.024"))


def test_cached_tokens_next_to_the_counts_are_priced_as_cached(ask: Ask) -> None:
    nested = ask(MOONSHOT, usage_of(1000, 100, 1100, cached=900))
    event = ask(MOONSHOT, {**usage_of(1000, 100, 1100), "cached_tokens": 900})
    assert (event.cache_read_tokens, event.cost_usd) == (900, Decimal("0.000445"))
    assert event.cost_usd == nested.cost_usd


@pytest.mark.parametrize("read", READERS)
def test_usage_in_the_extension_of_groq_is_read(recorded: RecordedSpans, read: Callable[..., None]) -> None:
    model, usage = GROQ[1], usage_of(1000, 100, 1100)
    read(
        GROQ,
        chunk(model, x_groq={"id": "req_1"}),
        chunk(model),
        chunk(model, {"delta": {}, "finish_reason": "stop"}, x_groq={"id": "req_1", "usage": usage}),
    )
    event = event_of(recorded)
    assert (event.input_tokens, event.output_tokens, event.cost_status) == (1000, 100, "priced")


@pytest.mark.parametrize("read", READERS)
def test_usage_in_the_choice_of_moonshot_is_read(recorded: RecordedSpans, read: Callable[..., None]) -> None:
    usage = {**usage_of(1000, 100, 1100), "cached_tokens": 900}
    model = MOONSHOT[1]
    read(MOONSHOT, chunk(model), chunk(model), chunk(model, {"delta": {}, "finish_reason": "stop", "usage": usage}))
    event = event_of(recorded)
    assert (event.input_tokens, event.cache_read_tokens, event.cost_usd) == (1000, 900, Decimal("0.000445"))


@pytest.mark.parametrize("read", READERS)
def test_an_unknown_number_in_usage_in_another_field_leaves_the_call_incomplete(
    recorded: RecordedSpans, read: Callable[..., None]
) -> None:
    model, usage = GROQ[1], {**usage_of(1000, 100, 1100), "queue_time": 0.1, "something_new": 1}
    last = chunk(model, {"delta": {}, "finish_reason": "stop"}, x_groq={"id": "req_1", "usage": usage})
    read(GROQ, chunk(model), last)
    assert event_of(recorded).cost_status == "incomplete"


@pytest.mark.parametrize("read", READERS)
def test_usage_in_the_usual_field_takes_precedence(recorded: RecordedSpans, read: Callable[..., None]) -> None:
    model = MOONSHOT[1]
    last = chunk(model, {"finish_reason": "stop", "usage": usage_of(1, 1, 2)}, usage=usage_of(1000, 100, 1100))
    read(MOONSHOT, chunk(model), last)
    assert event_of(recorded).total_tokens == 1100


def test_usage_in_the_last_chunk_is_read_if_the_application_stops_there(recorded: RecordedSpans) -> None:
    model = MOONSHOT[1]
    events = chunk(model), chunk(model, {"finish_reason": "stop", "usage": usage_of(1000, 100, 1100)})
    made = client(MOONSHOT, sse(*events))
    for received in made.chat.completions.create(model=model, messages=ASK, stream=True):
        if received.choices[0].finish_reason is not None:
            break
    gc.collect()
    assert event_of(recorded).total_tokens == 1100


@pytest.mark.parametrize("details", [{}, {"prompt_tokens_details": {"cached_tokens": 0}, "cost": 0}])
def test_an_input_and_an_output_of_0_were_not_reported(ask: Ask, details: Usage) -> None:
    event = ask(OPENROUTER, {**usage_of(0, 0, 0), **details})
    assert (event.input_tokens, event.output_tokens, event.cache_read_tokens) == (None, None, None)
    assert (event.cost_usd, event.cost_status) == (None, "no_usage")


def test_an_output_of_0_next_to_an_input_is_priced(ask: Ask) -> None:
    event = ask(XAI, usage_of(1000, 0, 1000))
    assert (event.input_tokens, event.output_tokens, event.cost_usd) == (1000, 0, Decimal("0.003"))


UPSTREAM: Final = {"upstream_inference_cost": 0.0360795}
REPORTED: Final[tuple[tuple[Service, Usage, str], ...]] = (
    (OPENROUTER, {"cost": 0, "is_byok": True, "cost_details": UPSTREAM}, "0.0360795"),
    (OPENROUTER, {"cost": 0.001, "is_byok": True, "cost_details": UPSTREAM}, "0.0370795"),
    (OPENROUTER, {"cost": 0.0360795, "is_byok": False, "cost_details": UPSTREAM}, "0.0360795"),
    (OPENROUTER, {"cost": 0.95, "cost_details": {"upstream_inference_cost": 19}}, "19.95"),  # before `is_byok`
    (OPENROUTER, {"cost": 0.5, "cost_details": {"upstream_inference_cost": None}}, "0.5"),
    (PERPLEXITY, {"cost": {"input_tokens_cost": 0.001, "request_cost": 0.005, "total_cost": 0.006}}, "0.006"),
    (PERPLEXITY, {"cost": {"currency": "USD", "total_cost": 0.00628}}, "0.00628"),
    (XAI, {"cost_in_usd_ticks": 37756000}, "0.0037756"),
    (XAI, {"cost_in_usd_ticks": 1}, "0.0000000001"),
    (DEEPINFRA, {"estimated_cost": 0.0000268}, "0.0000268"),
)


@pytest.mark.parametrize(("service", "usage", "cost_usd"), REPORTED)
def test_a_reported_cost_is_the_whole_cost_in_usd(ask: Ask, service: Service, usage: Usage, cost_usd: str) -> None:
    event = ask(service, {**usage_of(1000, 100, 1100), **usage})
    assert (event.cost_usd, event.cost_status) == (Decimal(cost_usd), "provider_reported")


@pytest.mark.skipif(not hasattr(openai.OpenAI, "responses"), reason="no responses in this version")
@pytest.mark.parametrize(("service", "usage", "cost_usd"), REPORTED)
def test_a_reported_cost_of_a_response_is_read_too(
    recorded: RecordedSpans, service: Service, usage: Usage, cost_usd: str
) -> None:
    response(service, {**usage_of(1000, 100, 1100), **usage})
    assert event_of(recorded).cost_usd == Decimal(cost_usd)


@pytest.mark.parametrize(
    "usage",
    [
        {"cost": 0},
        {"cost": 0, "is_byok": True},
        {"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": 0}},
        {"cost": {"currency": "EUR", "total_cost": 1}},
        {"cost": {"total_cost": "1"}},
        {"cost": []},
        {"cost_in_usd_ticks": True},
        {"cost_in_usd_ticks": -1},
        {"cost_in_usd_ticks": 0},
        {"estimated_cost": float("nan")},
    ],
)
def test_a_cost_that_is_0_or_unknown_is_not_accepted(ask: Ask, usage: Usage) -> None:
    event = ask(XAI, {**usage_of(1000, 900, 1900), **usage})
    assert (event.cost_usd, event.cost_status) == (Decimal("0.0165"), "priced")


def test_a_reported_cost_of_0_is_accepted_for_a_free_model(ask: Ask) -> None:
    event = ask((OPENROUTER[0], "meta-llama/llama-3.3-70b-instruct:free"), {**usage_of(10, 10, 20), "cost": 0})
    assert event.cost_usd == 0
