"""What really happened: the provider's own record of each request, to hold any report of it against."""

from __future__ import annotations

from typing import Literal, NamedTuple

ProviderName = Literal["openai", "azure", "anthropic"]
Operation = Literal["chat", "responses", "completion", "embeddings", "count_tokens", "models", "unknown"]


class Billed(NamedTuple):
    """Tokens of one request in every bucket; None where the provider's answer has no such number.

    `input_tokens` includes cache reads, cache writes and audio, `output_tokens` includes reasoning and audio, whatever
    the provider's own arithmetic is. `cache_write_1h_tokens` is the part of `cache_write_tokens` kept for an hour.
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


class Truth(NamedTuple):
    """One HTTP request as the provider saw it.

    `usage` is what it bills (None for a refused request), `reported` is what the bytes of the answer tell the client:
    the same, or None for a stream without usage and for an answer that breaks off before its usage is final.
    `attempt` counts from 0; a call that its client retried is one call with several attempts.
    """

    provider: ProviderName
    operation: Operation
    model_asked: str
    model_answered: str | None
    usage: Billed | None
    reported: Billed | None
    status: int
    error_code: str | None
    streamed: bool
    request_id: str
    response_id: str | None
    service_tier: str | None
    attempt: int


class Exchange(NamedTuple):
    """The bytes of one request and of its answer (a stream's events without the chunked framing, nothing gzipped)."""

    truth: Truth
    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    request: bytes
    response: bytes
