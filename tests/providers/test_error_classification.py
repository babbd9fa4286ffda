from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import Status, StatusCode
from tests.kit.error_texts import CLASSIFIED, UNCLASSIFIED
from tests.kit.spans import CALL, ended

from infraprism.dialects.values import count
from infraprism.processor import to_event
from infraprism.providers.error_classification import MAX_NAME, TYPES_BY_STATUS, classify_error
from infraprism.providers.error_messages import MAX_SEARCHED
from infraprism.providers.error_names import CLASSES, CODES, GENERAL
from infraprism.schema.fields import ERROR_CODE, ERROR_TYPES

FAILED = Status(StatusCode.ERROR)


def outcome(status: Status | None = FAILED, events: Any = (), **attributes: Any) -> tuple[bool, str | None, str | None]:
    recorded = {key.replace("__", "."): value for key, value in attributes.items()}
    event = to_event(ended({**CALL, **recorded}, status=status, events=events))
    assert event is not None
    return event.success, event.error_type, event.error_code


@pytest.mark.parametrize(
    ("name", "error_type", "code"),
    [
        ("openai.RateLimitError", "rate_limit", None),
        ("RateLimitError", "rate_limit", None),
        ("langchain_openai.chat_models.base.OpenAIRateLimitError", "rate_limit", None),
        ("pydantic_ai.exceptions.ModelRateLimitError", "rate_limit", None),
        ("rate_limit_error", "rate_limit", "rate_limit_error"),
        ("429", "rate_limit", "429"),
        ("openai.APITimeoutError", "timeout", None),
        ("APITimeoutError", "timeout", None),
        ("asyncio.exceptions.CancelledError", "cancelled", None),
        ("CancelledError", "cancelled", None),
        ("GeneratorExit", "cancelled", None),
        ("context_length_exceeded", "context_length", "context_length_exceeded"),
        ("content_filter", "content_filter", "content_filter"),
        ("overloaded_error", "overloaded", "overloaded_error"),
        ("anthropic.OverloadedError", "overloaded", None),
        ("openai.BadRequestError", "invalid_request", None),
        ("AuthenticationError", "authentication", None),
        ("PermissionDeniedError", "permission", None),
        ("openai.NotFoundError", "not_found", None),
        ("APIConnectionError", "connection", None),
        ("connection_error", "connection", "connection_error"),
        ("openai.InternalServerError", "server_error", None),
        ("ThrottlingException", "rate_limit", None),
        ("botocore.errorfactory.ValidationException", "invalid_request", None),
        ("botocore.exceptions.NoCredentialsError", "authentication", None),
        ("UnrecognizedClientException", "authentication", None),
        ("aiohttp.client_exceptions.ClientConnectorError", "connection", None),
        ("azure.core.exceptions.ServiceRequestError", "connection", None),
        ("semantic_kernel.exceptions.service_exceptions.ServiceResponseException", "other", None),
        ("APIResponseValidationError", "other", None),
        ("_OTHER", "other", None),
        ("openai.APIError", "other", None),
        ("builtins.RuntimeError", "other", None),
        ("my secret customer", "other", None),
        ("my-secret-customer", "other", None),
    ],
)
def test_each_spelling_of_an_error_has_its_type_and_only_provider_codes_are_codes(
    name: str, error_type: str, code: str | None
) -> None:
    assert outcome(error__type=name) == (False, error_type, code)


@pytest.mark.parametrize("status", [*TYPES_BY_STATUS, 418, 422, 500, 502])
def test_an_http_status_determines_type_and_code(status: int) -> None:
    error_type = TYPES_BY_STATUS.get(status) or ("server_error" if status >= 500 else "invalid_request")
    assert outcome(http__response__status_code=status) == (False, error_type, str(status))
    assert outcome(http__response__status_code=str(status), error__type="_OTHER") == (False, error_type, str(status))


def test_a_specific_name_has_precedence_over_the_status() -> None:
    classified = outcome(http__response__status_code=400, error__type="context_length_exceeded")
    assert classified == (False, "context_length", "400")


@pytest.mark.parametrize(
    ("status", "error_type"), [(401, "authentication"), (429, "rate_limit"), (500, "server_error")]
)
def test_a_4xx_response_is_not_classified_as_server_error(status: int, error_type: str) -> None:
    assert classify_error("api_error", status, [], []) == (error_type, str(status))


def test_a_status_of_success_is_no_error_code() -> None:
    classified = outcome(http__response__status_code=200, error__type="overloaded_error")
    assert classified == (False, "overloaded", "overloaded_error")


def test_only_the_status_of_a_message_is_used() -> None:
    status = Status(StatusCode.ERROR, "Error code: 429 - {'error': {'message': 'CANARY sk-abc'}}")
    assert outcome(status=status) == (False, "rate_limit", "429")
    status = Status(StatusCode.ERROR, "RateLimitError: Error code: 429 - CANARY")
    assert outcome(status=status, error__type="_OTHER") == (False, "rate_limit", "429")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("429 Rate limit reached for CANARY", "429"),
        ('529 {"type":"error","error":{"message":"CANARY"}}', "529"),
        ("500 status code (no body)", "500"),
        ("Error: 401 Incorrect API key provided: CANARY", "401"),
        ("429: CANARY", "429"),
        ("HTTP 429 (tokens: rate_limit_exceeded)", "429"),
        ("CANARY\nStatus: 404 (Not Found)", "404"),
        ("Rate limit reached for CANARY", "429"),
        ("Failed after 3 attempts. Last error: Overloaded", "529"),
        ("Incorrect API key provided: CANARY", "401"),
        ("The server had an error while processing your request. CANARY", "500"),
    ],
)
def test_the_messages_of_clients_and_providers_determine_a_status(text: str, code: str) -> None:
    error_type = TYPES_BY_STATUS.get(int(code), "server_error")
    assert outcome(status=Status(StatusCode.ERROR, text), error__type="_OTHER") == (False, error_type, code)


@pytest.mark.parametrize(
    "text",
    [
        "ClientError: 429 RESOURCE_EXHAUSTED. {'error': CANARY}",
        "google.api_core.exceptions.TooManyRequests: 429 POST https://example.com/CANARY",
        "SDKError: API error occurred: Status 429. Body: CANARY",
        "CANARY (status code: 429)",
        "HttpResponseError: (429) CANARY",
        "TooManyRequestsError: headers: {'x': '" + "x" * 900 + "'}, status_code: 429, body: CANARY",
    ],
)
def test_the_status_is_found_in_the_message_format_of_each_client(text: str) -> None:
    assert outcome(status=Status(StatusCode.ERROR, text)) == (False, "rate_limit", "429")


@pytest.mark.parametrize(
    "text",
    [
        "Error code: 4291",
        "500 tokens",
        "My prompt: Overloaded",
        "429",
        "error 429 in the prompt",
        "x" * 2100 + "Error code: 429",
        "200",
        *("ValueError: 500 items", "Status 429", "two words: 429 POST"),
    ],
)
def test_other_digits_in_a_message_are_not_a_status(text: str) -> None:
    assert outcome(status=Status(StatusCode.ERROR, text)) == (False, "other", None)


@pytest.mark.parametrize(("text", "expected"), CLASSIFIED.items())
def test_a_message_determines_type_and_code_in_any_attribute_or_event(
    text: str, expected: tuple[str, str | None]
) -> None:
    assert outcome(status=Status(StatusCode.ERROR, text)) == (False, *expected)
    assert outcome(status=Status(StatusCode.ERROR, text), error__type="openai.APIError") == (False, *expected)
    exception = [("exception", {"exception.type": "Exception", "exception.message": text})]
    assert outcome(events=exception) == (False, *expected)
    if len(text) <= MAX_NAME:
        assert outcome(error__type=text) == (False, *expected)


@pytest.mark.parametrize(("text", "expected"), CLASSIFIED.items())
def test_a_message_in_an_attribute_of_the_dialect_determines_the_same(
    text: str, expected: tuple[str, str | None]
) -> None:
    generation = {"langfuse.observation.type": "generation", "langfuse.observation.level": "ERROR"}
    event = to_event(ended({**generation, "langfuse.observation.status_message": text}))
    assert event is not None
    exact = expected[1] is not None and expected[1].isdigit()  # an attribute is reduced to one word: the status
    assert event.error_code == expected[1]
    assert event.error_type == (expected[0] if not exact else classify_error(None, int(str(expected[1])), [], [])[0])


@pytest.mark.parametrize("text", UNCLASSIFIED)
def test_numbers_and_words_in_other_positions_of_a_message_are_ignored(text: str) -> None:
    assert outcome(status=Status(StatusCode.ERROR, text)) == (False, "other", None)


@pytest.mark.parametrize("text", [*CLASSIFIED, *UNCLASSIFIED])
def test_a_status_or_a_specific_name_has_precedence_over_a_message(text: str) -> None:
    exact = outcome(status=Status(StatusCode.ERROR, text), error__type="RateLimitError", http__status_code=418)
    assert exact == (False, "rate_limit", "418")


def test_an_unspecific_class_end_does_not_end_with_a_specific_one() -> None:
    vague = [end for end, error_type in CLASSES if error_type in (*GENERAL, "other")]
    exact = [end for end, error_type in CLASSES if error_type not in (*GENERAL, "other")]
    assert [(end, more) for end in vague for more in exact if end.endswith(more)] == []


@pytest.mark.parametrize(
    ("name", "error_type"),
    [
        ("org.springframework.web.client.HttpClientErrorException$TooManyRequests", "rate_limit"),
        ("java.net.UnknownHostException", "connection"),
        ("dev.langchain4j.exception.ContentFilteredException", "content_filter"),
        ("System.Threading.Tasks.TaskCanceledException", "cancelled"),
        ("BLOCKED_SAFETY", "content_filter"),
        ("BLOCKED_PROHIBITED_CONTENT", "content_filter"),
        ("Azure.Identity.AuthenticationFailedException", "authentication"),
        ("context.deadlineExceededError", "timeout"),
        ("*net.DNSError", "connection"),
        ("tower::timeout::error::Elapsed", "timeout"),
        ("grpc.StatusCode.UNAVAILABLE", "overloaded"),
        ("google.api_core.exceptions.ResourceExhausted", "rate_limit"),
        ("ModelErrorException", "server_error"),
        ("AI_LoadAPIKeyError", "authentication"),
        ("urllib3.exceptions.ProtocolError", "connection"),
        ("ENOTFOUND", "connection"),
        ("ECONNRESET", "connection"),
        ("ResourceNotFoundException", "not_found"),
        ("<class 'openai.RateLimitError'>", "rate_limit"),
    ],
)
def test_the_errors_of_other_languages_and_libraries_have_their_types(name: str, error_type: str) -> None:
    assert outcome(error__type=name)[:2] == (False, error_type)


def test_only_the_beginning_of_a_long_message_is_searched() -> None:
    for before in ("x" * MAX_SEARCHED, '"code": "' * 5000, "a." * 50_000, "(" * 50_000):
        assert classify_error(None, None, [], [before + " Error code: 429"]) == ("other", None)


def test_the_class_of_a_recorded_exception_is_used_where_there_is_no_other_evidence() -> None:
    events = [("exception", {"exception.type": "openai.RateLimitError", "exception.message": "CANARY"})]
    assert outcome(events=events) == (False, "rate_limit", None)
    assert outcome(events=events, error__type="TimeoutError") == (False, "timeout", None)


@pytest.mark.parametrize("status", [None, Status(StatusCode.UNSET), Status(StatusCode.OK)])
def test_a_call_without_error_status_and_error_type_succeeded(status: Status | None) -> None:
    assert outcome(status=status) == (True, None, None)
    assert outcome(status=status, error__type="TimeoutError") == (False, "timeout", None)


def test_an_exception_that_the_application_handled_is_not_a_failure() -> None:
    events = [("exception", {"exception.type": "openai.RateLimitError"})]
    assert outcome(status=None, events=events) == (True, None, None)


def test_every_code_and_type_of_the_tables_is_legal() -> None:
    assert {*CODES.values(), *TYPES_BY_STATUS.values()} <= set(ERROR_TYPES)
    assert all(ERROR_CODE.regex.fullmatch(code) for code in CODES)


@given(st.none() | st.text(), st.none() | st.integers(), st.lists(st.text()), st.lists(st.text()))
def test_type_and_code_are_always_in_the_closed_lists(
    name: str | None, status: int | None, exceptions: list[str], texts: list[str]
) -> None:
    error_type, code = classify_error(name, status, exceptions, texts)
    assert error_type in ERROR_TYPES
    assert code is None or code in CODES or (code.isdigit() and 400 <= int(code) <= 599)


class _Unreadable:
    """A value with an __index__ that raises."""

    def __index__(self) -> int:
        raise ZeroDivisionError


def test_a_value_that_is_not_a_number_is_no_count() -> None:
    assert count(_Unreadable()) is None


def test_patterns_are_compiled_when_a_message_is_first_searched_and_not_on_import() -> None:
    code = """
from infraprism.processor import InfraPrismSpanProcessor
from infraprism.providers import error_messages
from infraprism.schema.patterns import compiled
assert compiled.cache_info().currsize == 0
assert error_messages.status_in("Error code: 429 - slow down") == 429
assert compiled.cache_info().currsize > 0
"""
    subprocess.run([sys.executable, "-c", code], check=True)
