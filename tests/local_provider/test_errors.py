from __future__ import annotations

import time
from typing import Any

import anthropic
import openai
import pytest
from tests.kit.provider import ANTHROPIC_KEY, CANARY, OPENAI_KEY

from infraprism.local_provider import MARKERS, LocalProvider

MESSAGES: Any = [{"role": "user", "content": f"Where is my order 1234? {CANARY}"}]
ERRORS = [
    ("err400", openai.BadRequestError, "invalid_value", anthropic.BadRequestError, "invalid_request_error"),
    ("err401", openai.AuthenticationError, "invalid_api_key", anthropic.AuthenticationError, "authentication_error"),
    (
        "err403",
        openai.PermissionDeniedError,
        "unsupported_country_region_territory",
        anthropic.PermissionDeniedError,
        "permission_error",
    ),
    ("err404", openai.NotFoundError, "model_not_found", anthropic.NotFoundError, "not_found_error"),
    ("err429", openai.RateLimitError, "rate_limit_exceeded", anthropic.RateLimitError, "rate_limit_error"),
    ("err500", openai.InternalServerError, None, anthropic.InternalServerError, "api_error"),
    ("err529", openai.InternalServerError, None, anthropic.InternalServerError, "overloaded_error"),
    (
        "context-length",
        openai.BadRequestError,
        "context_length_exceeded",
        anthropic.BadRequestError,
        "invalid_request_error",
    ),
    ("content-filter", openai.BadRequestError, "invalid_prompt", anthropic.BadRequestError, "invalid_request_error"),
]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("marker", "error", "code", "claude_error", "claude_type"), ERRORS, ids=str)
def test_an_error_response_is_that_of_the_provider(
    provider: LocalProvider,
    chat: openai.OpenAI,
    claude: anthropic.Anthropic,
    marker: str,
    error: type[openai.APIStatusError],
    code: str | None,
    claude_error: type[anthropic.APIStatusError],
    claude_type: str,
    streamed: bool,
) -> None:
    stream: Any = {"stream": True} if streamed else {}
    with pytest.raises(error) as rejected:
        chat.chat.completions.create(model=f"gpt-4o-{marker}", messages=MESSAGES, **stream)
    assert rejected.value.code == code
    with pytest.raises(claude_error) as claude_rejected:
        claude.messages.create(model=f"claude-haiku-4-5-{marker}", max_tokens=9, messages=MESSAGES, **stream)
    body: Any = claude_rejected.value.body
    assert (body["type"], body["error"]["type"]) == ("error", claude_type)
    one, other = provider.calls
    assert (one.status, one.error_code, one.usage) == (rejected.value.status_code, code, None)
    assert (other.status, other.error_code, other.usage) == (claude_rejected.value.status_code, claude_type, None)
    assert rejected.value.request_id == one.request_id
    assert claude_rejected.value.request_id == other.request_id


def test_errors_quote_the_prompt_and_the_key_as_the_providers_do(
    chat: openai.OpenAI, claude: anthropic.Anthropic
) -> None:
    with pytest.raises(openai.BadRequestError, match="Where is my order 1234"):
        chat.chat.completions.create(model="gpt-4o-err400", messages=MESSAGES)
    with pytest.raises(openai.AuthenticationError) as rejected:
        chat.chat.completions.create(model="gpt-4o-err401", messages=MESSAGES)
    assert OPENAI_KEY[:8] in str(rejected.value)
    assert OPENAI_KEY[-4:] in str(rejected.value)
    with pytest.raises(anthropic.AuthenticationError, match=ANTHROPIC_KEY[:8]):
        claude.messages.create(model="claude-haiku-4-5-err401", max_tokens=9, messages=MESSAGES)


def test_the_content_filter_of_azure_has_its_own_error_format(azure: openai.AzureOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as rejected:
        azure.chat.completions.create(model="gpt-4o-content-filter", messages=MESSAGES)
    body: Any = rejected.value.body
    assert rejected.value.code == "content_filter"
    assert body["innererror"]["code"] == "ResponsibleAIPolicyViolation"


def test_a_rate_limit_has_a_retry_after_header(chat: openai.OpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as rejected:
        chat.chat.completions.create(model="gpt-4o-err429", messages=MESSAGES)
    assert rejected.value.response.headers["retry-after"] == "1"


def test_a_retry_of_the_client_is_a_second_attempt(provider: LocalProvider) -> None:
    with openai.OpenAI(base_url=provider.openai_base_url, api_key=OPENAI_KEY) as client:
        completion = client.chat.completions.create(model="gpt-4o-retry429", messages=MESSAGES)
    assert completion.model == "gpt-4o-2024-08-06"
    assert [(call.status, call.attempt) for call in provider.calls] == [(429, 0), (200, 1)]


@pytest.mark.parametrize("streamed", [False, True])
def test_with_the_marker_no_usage_the_usage_is_billed_but_not_in_the_response(
    provider: LocalProvider, chat: openai.OpenAI, claude: anthropic.Anthropic, streamed: bool
) -> None:
    stream: Any = {"stream": True} if streamed else {}
    made: Any = chat.chat.completions.create(model="gpt-4o-no-usage", messages=MESSAGES, **stream)
    claude_made: Any = claude.messages.create(
        model="claude-haiku-4-5-no-usage", max_tokens=9, messages=MESSAGES, **stream
    )
    for response in (made, claude_made):
        if streamed:
            list(response)
    assert all(b'"usage"' not in exchange.response for exchange in provider.exchanges)
    assert [call.reported for call in provider.calls] == [None, None]
    assert all(call.usage for call in provider.calls)


def test_an_error_event_of_a_stream_is_sent_after_some_chunks(
    provider: LocalProvider, chat: openai.OpenAI, claude: anthropic.Anthropic
) -> None:
    chunks: list[Any] = []
    with pytest.raises(openai.APIError, match="An error occurred"):
        chunks.extend(chat.chat.completions.create(model="gpt-4o-stream-error", messages=MESSAGES, stream=True))
    with pytest.raises(anthropic.APIStatusError) as failed:
        chunks.extend(
            claude.messages.create(model="claude-haiku-4-5-stream-error", max_tokens=9, messages=MESSAGES, stream=True)
        )
    body: Any = failed.value.body
    assert body["error"]["type"] == "overloaded_error"
    events: Any = list(chat.responses.create(model="gpt-4o-stream-error", input="x", stream=True))
    assert events[-1].type == "error"
    assert events[-1].code == "server_error"
    assert all(len(exchange.response.split(b"\n\n")) > 3 for exchange in provider.exchanges)
    assert [call.reported for call in provider.calls] == [None, None, None]


@pytest.mark.parametrize("streamed", [False, True])
def test_a_dropped_connection_is_a_connection_error(chat: openai.OpenAI, streamed: bool) -> None:
    stream: Any = {"stream": True} if streamed else {}
    with pytest.raises(openai.APIConnectionError):
        list(chat.chat.completions.create(model="gpt-4o-drop", messages=MESSAGES, **stream))


def test_without_a_response_the_client_times_out_and_the_server_closes(chat: openai.OpenAI) -> None:
    with pytest.raises(openai.APITimeoutError):
        chat.with_options(timeout=0.2).chat.completions.create(model="gpt-4o-hang", messages=MESSAGES)


def test_a_slow_response_is_delayed(chat: openai.OpenAI) -> None:
    started = time.monotonic()
    chat.chat.completions.create(model="gpt-4o-slow", messages=MESSAGES)
    assert time.monotonic() - started >= 0.2


def test_every_marker_is_tested() -> None:
    tested = {marker for marker, *_ in ERRORS} | {"retry429", "no-usage", "cached", "old-delta", "stream-error"}
    assert tested | {"drop", "slow", "hang"} == set(MARKERS)
