"""A response made with `background=True` becomes one event, with the usage that a later response reports."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from opentelemetry.sdk.trace import TracerProvider
from tests.kit.client_calls import httpx
from tests.kit.spans import KeepsEndedSpans, KeepsEvents, provider_with

from infraprism.instrumentation import attribution, background, instrument
from infraprism.processor import InfraPrismSpanProcessor
from infraprism.schema import Event

if not hasattr(openai, "responses") and not hasattr(openai.resources, "responses"):
    pytest.skip("this version of openai has no Responses API", allow_module_level=True)

CREATED_S = 1_790_000_000
USAGE = {
    "input_tokens": 1000,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 100,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 1100,
}
FLUSH_MILLIS = 10_000


def response(status: str, usage: Any = None, **fields: Any) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": CREATED_S,
        "model": "gpt-5.4",
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "background": True,
        "status": status,
        "usage": usage,
        **fields,
    }


COMPLETED = response("completed", USAGE)


class Answers:
    """A provider that returns these bodies in turn, the last one for ever, and the events that result."""

    def __init__(self, *, processors: tuple[Any, ...] = ()) -> None:
        self.exporter = KeepsEvents()
        self.processor = InfraPrismSpanProcessor(self.exporter)
        self.provider: TracerProvider = provider_with(self.processor, *processors)
        self.bodies: list[Any] = []
        instrument(self.provider)

    def respond(self, _: Any) -> Any:
        body = self.bodies.pop(0) if len(self.bodies) > 1 else self.bodies[0]
        if isinstance(body, bytes):
            return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=body)
        return httpx.Response(body.pop("_status", 200), json=body)

    def client(self, *bodies: Any) -> openai.OpenAI:
        self.bodies = list(bodies)
        http_client: Any = httpx.Client(transport=httpx.MockTransport(self.respond))
        return openai.OpenAI(api_key="none", max_retries=0, http_client=http_client)

    def async_client(self, *bodies: Any) -> openai.AsyncOpenAI:
        self.bodies = list(bodies)
        http_client: Any = httpx.AsyncClient(transport=httpx.MockTransport(self.respond))
        return openai.AsyncOpenAI(api_key="none", max_retries=0, http_client=http_client)

    def events(self) -> list[Event]:
        assert self.processor.force_flush(FLUSH_MILLIS)
        return self.exporter.events


@pytest.fixture
def answers() -> Iterator[Answers]:
    found = Answers()
    yield found
    found.processor.shutdown()


def sse(*events: dict[str, Any]) -> bytes:
    return b"".join(b"event: %s\ndata: %s\n\n" % (e["type"].encode(), json.dumps(e).encode()) for e in events)


def create(client: openai.OpenAI, **options: Any) -> Any:
    return client.responses.create(model="gpt-5.4", input="x", background=True, **options)


def figures(events: list[Event]) -> list[tuple[object, ...]]:
    return [(e.input_tokens, e.output_tokens, str(e.cost_usd), e.cost_status, e.success) for e in events]


PRICED = (1000, 100, "0.004", "priced", True)


def test_the_first_complete_response_has_the_usage_and_further_ones_change_nothing(answers: Answers) -> None:
    client = answers.client(response("queued"), response("in_progress"), COMPLETED)
    with attribution(customer="acme"):
        create(client)
    with attribution(customer="other"):
        for _ in range(4):
            client.responses.retrieve("resp_1")
    (event,) = answers.events()
    assert figures([event]) == [PRICED]
    assert event.entity_id == "acme"
    assert event.timestamp_ns >= CREATED_S * 10**9


def test_the_same_for_asynchronous_clients(answers: Answers) -> None:
    async def run() -> None:
        client = answers.async_client(response("queued"), COMPLETED)
        await client.responses.create(model="gpt-5.4", input="x", background=True)
        await asyncio.gather(*(client.responses.retrieve("resp_1") for _ in range(3)))

    asyncio.run(run())
    assert figures(answers.events()) == [PRICED]


def test_a_raw_response_is_read_as_well(answers: Answers) -> None:
    client = answers.client(response("queued"), COMPLETED)
    client.responses.with_raw_response.create(model="gpt-5.4", input="x", background=True)
    client.responses.with_raw_response.retrieve("resp_1")
    assert figures(answers.events()) == [PRICED]


def test_a_response_that_is_never_retrieved_is_one_event_without_usage(answers: Answers) -> None:
    create(answers.client(response("queued")))
    answers.processor.shutdown()
    assert [(e.cost_status, e.success) for e in answers.exporter.events] == [("no_usage", True)]


def test_the_exit_of_a_child_process_reports_responses_that_were_not_retrieved(answers: Answers) -> None:
    create(answers.client(response("queued")))
    assert answers.events() == []
    answers.processor.flush_at_process_exit()
    assert [e.cost_status for e in answers.exporter.events] == ["no_usage"]


def test_a_flush_between_request_and_result_makes_no_second_event(answers: Answers) -> None:
    client = answers.client(response("queued"), response("in_progress"), COMPLETED)
    with attribution(customer="acme"):
        create(client)
    for _ in range(3):
        answers.events()
        client.responses.retrieve("resp_1")
    (event,) = answers.events()
    assert figures([event]) == [PRICED]
    assert event.entity_id == "acme"


def test_a_flush_exports_other_calls_while_a_response_is_held(answers: Answers) -> None:
    ordinary = response("completed", USAGE, background=False, id="resp_2")
    client = answers.client(response("queued"), ordinary)
    create(client)
    client.responses.create(model="gpt-5.4", input="x")
    assert figures(answers.events()) == [PRICED]


def test_a_stream_that_is_read_to_its_end_is_one_event(answers: Answers) -> None:
    created = {"type": "response.created", "sequence_number": 0, "response": response("in_progress")}
    completed = {"type": "response.completed", "sequence_number": 1, "response": COMPLETED}
    client = answers.client(sse(created, completed), COMPLETED)
    for _ in create(client, stream=True):
        pass
    client.responses.retrieve("resp_1")
    assert figures(answers.events()) == [PRICED]


@pytest.mark.parametrize("resumed", [False, True])
def test_a_stream_that_was_cut_off_is_completed_by_a_retrieval(answers: Answers, resumed: bool) -> None:
    created = {"type": "response.created", "sequence_number": 0, "response": response("in_progress")}
    completed = {"type": "response.completed", "sequence_number": 1, "response": COMPLETED}
    client = answers.client(sse(created), sse(completed) if resumed else COMPLETED)
    for _ in create(client, stream=True):
        break
    gc.collect()  # ends the call of a stream that was not read to its end
    if resumed:
        for _ in client.responses.retrieve("resp_1", stream=True, starting_after=0):
            pass
    else:
        client.responses.retrieve("resp_1")
    assert figures(answers.events()) == [PRICED]


def test_a_cancelled_response_is_one_event(answers: Answers) -> None:
    client = answers.client(response("in_progress"), response("cancelled"))
    create(client)
    client.responses.cancel("resp_1")
    client.responses.retrieve("resp_1")
    assert [e.cost_status for e in answers.events()] == ["no_usage"]


def test_a_failed_response_is_a_failed_call_with_its_usage(answers: Answers) -> None:
    failed = response("failed", USAGE, error={"code": "rate_limit_exceeded", "message": "x"})
    client = answers.client(response("queued"), failed)
    create(client)
    client.responses.retrieve("resp_1")
    (event,) = answers.events()
    assert (event.success, event.error_type, event.input_tokens) == (False, "rate_limit", 1000)


def test_a_failed_retrieval_is_no_call(answers: Answers) -> None:
    client = answers.client(response("queued"), {"_status": 404, "error": {"message": "x"}}, COMPLETED)
    create(client)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve("resp_1")
    client.responses.retrieve("resp_1")
    assert figures(answers.events()) == [PRICED]


def test_a_stored_response_that_was_not_made_in_the_background_is_no_call(answers: Answers) -> None:
    answers.client(response("completed", USAGE, background=False)).responses.retrieve("resp_2")
    assert answers.events() == []


def test_an_ordinary_response_is_one_event_when_it_is_shown_again(answers: Answers) -> None:
    ordinary = response("completed", USAGE, background=False)
    client = answers.client(ordinary)
    client.responses.create(model="gpt-5.4", input="x")
    client.responses.retrieve("resp_1")
    assert figures(answers.events()) == [PRICED]


def test_processes_that_retrieve_the_same_response_send_the_same_event(answers: Answers) -> None:
    client = answers.client(COMPLETED)
    client.responses.retrieve("resp_1")
    background.forget()  # another process
    client.responses.retrieve("resp_1")
    first, second = answers.events()
    assert (first.id, first.timestamp_ns) == (second.id, second.timestamp_ns)


def test_the_telemetry_of_the_application_has_one_span_per_request_that_creates_a_response() -> None:
    kept = KeepsEndedSpans()
    answers = Answers(processors=(kept,))
    client = answers.client(response("queued"), COMPLETED)
    create(client)
    client.responses.retrieve("resp_1")
    assert figures(answers.events()) == [PRICED]
    assert len(kept.spans) == 1
    answers.processor.shutdown()


def test_each_retrieval_returns_what_it_returns_without_instrumentation(answers: Answers) -> None:
    returned: Callable[[], Any] = lambda: answers.client(COMPLETED).responses.retrieve("resp_1").to_dict()  # noqa: E731
    with_instrumentation = returned()
    from infraprism.instrumentation import uninstrument  # noqa: PLC0415

    uninstrument()
    assert with_instrumentation == returned()
