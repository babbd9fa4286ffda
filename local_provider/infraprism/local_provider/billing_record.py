"""The billing record of each request, which events are checked against."""

from __future__ import annotations

from typing import Literal, NamedTuple

ProviderName = Literal["openai", "azure", "anthropic"]
Operation = Literal["chat", "responses", "completion", "embeddings", "count_tokens", "models", "unknown"]


class BilledTokens(NamedTuple):
    """Tokens of one request by kind. None if the provider's response has no such field.

    `input_tokens` includes cache reads, cache writes and audio, and `output_tokens` includes reasoning and audio, also
    for providers that report them separately. `cache_write_1h_tokens` is the part of `cache_write_tokens` with a
    lifetime of one hour.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    reasoning_tokens: int | None = None
    audio_input_tokens: int | None = None
    audio_output_tokens: int | None = None
    web_searches: int | None = None


class BillingRecord(NamedTuple):
    """One HTTP request as the provider billed it.

    `usage` is what it bills (None for a rejected request). `reported` is what the response contains: the same, or None
    for a stream without usage and for a response that is truncated before the final usage. `attempt` counts from 0: a
    call that its client retried is one call with several attempts.
    """

    provider: ProviderName
    operation: Operation
    request_model: str
    response_model: str | None
    usage: BilledTokens | None
    reported: BilledTokens | None
    status: int
    error_code: str | None
    streamed: bool
    request_id: str
    response_id: str | None
    service_tier: str | None
    attempt: int


class Exchange(NamedTuple):
    """The bytes of one request and of its response (without chunked framing and compression)."""

    record: BillingRecord
    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    request: bytes
    response: bytes
