"""The field table of the event.

The event type, the attribute keys, the columns of the store, the allow-list of the collector configuration and the
inventory in the README are derived from it; tests fail if any of them differs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

PREFIX: Final = "infraprism."
TAG_PREFIX: Final = PREFIX + "tags."

Kind = Literal["string", "int", "bool", "decimal", "tags"]
Presence = Literal["always", "attribution", "failure", "opt_in"]

MAX_TOKENS: Final = 10**12
"""Upper bound of token counts; a larger count is an error of the reporter."""
MAX_LATENCY_MS: Final = 2**32 - 1
EARLIEST_TIMESTAMP_MS: Final = 1_577_836_800_000
"""2020-01-01 UTC, the earliest start time that the backend accepts: before it no call was billed."""
MAX_CLOCK_SKEW_MS: Final = 86_400_000
"""How far ahead of the backend's clock a start time may be."""
MAX_TAGS: Final = 32
MAX_COST_DIGITS: Final = 18
"""Digits before and after the decimal point of a cost: the capacity of Decimal(38, 18) in the store."""

# Printable text on one line. The excluded code points are controls, soft hyphen, zero-width spaces and direction marks,
# line and paragraph separators, and surrogates (which have no UTF-8 form). The zero-width joiners U+200C and U+200D are
# part of words and emoji. The syntax is valid in RE2 as well.
_PRINTABLE: Final = (
    r"[^\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff]"
)

ENTITY_TYPES: Final = ("customer", "team", "project", "employee")
OPERATIONS: Final = ("chat", "completion", "embeddings", "image", "audio", "rerank", "other")
COST_STATUSES: Final = ("priced", "provider_reported", "unknown_model", "no_usage", "incomplete")
SERVICE_TIERS: Final = ("standard", "batch", "flex", "priority")
ERROR_TYPES: Final = (
    "rate_limit",
    "invalid_request",
    "authentication",
    "permission",
    "not_found",
    "timeout",
    "connection",
    "context_length",
    "content_filter",
    "overloaded",
    "server_error",
    "cancelled",
    "other",
)
PROVIDERS: Final = (
    "openai",
    "anthropic",
    "azure",
    "aws_bedrock",
    "google_gemini",
    "google_vertex",
    "mistral",
    "cohere",
    "groq",
    "deepseek",
    "xai",
    "perplexity",
    "openrouter",
    "together",
    "fireworks",
    "ollama",
    "cerebras",
    "sambanova",
    "deepinfra",
    "nvidia",
    "huggingface",
    "replicate",
    "ai21",
    "moonshot",
    "alibaba",
    "zhipu",
    "zai",
    "bigmodel",
    "minimax",
    "ibm_watsonx",
    "databricks",
    "cloudflare",
    "github",
    "vercel",
    "voyage",
    "jina",
    "writer",
    "upstage",
    "novita",
    "nebius",
    "hyperbolic",
    "baseten",
    "lambda",
    "arcee",
    "avian",
    "cursor",
    "doubleword",
    "github_copilot",
    "meta_ai",
    "ovhcloud",
    "quicksilverpro",
    "typesafe",
    "other",
)
"""Providers that bill calls. A closed list; any other provider is `other`."""


@dataclass(frozen=True, eq=False, repr=False)
class Field:
    r"""One field of the event.

    `pattern` has no anchors, matches the whole value, and uses only syntax that Python's `re` and RE2 share (RE2 spells
    `\u2028` as `\x{2028}`: see `re2`). `values` is a closed list. A string field has either; other fields have neither.
    `maximum` bounds integers; their minimum is 0.
    """

    name: str
    kind: Kind
    presence: Presence
    description: str
    example: str
    unit: str = ""
    pattern: str = ""
    values: tuple[str, ...] = ()
    maximum: int = 0
    promised: bool = True
    """Listed in the published data inventory; all others are closed lists or opt-in detail."""

    @cached_property
    def key(self) -> str:
        """The attribute key on the wire; for tags the prefix of the keys."""
        if self.kind == "tags":
            return TAG_PREFIX
        return f"{PREFIX}usage.{self.name}" if self.presence == "opt_in" else PREFIX + self.name

    @cached_property
    def regex(self) -> re.Pattern[str]:
        """The pattern, compiled; use `fullmatch`."""
        return re.compile(self.pattern or "|".join(map(re.escape, self.values)))

    @cached_property
    def re2(self) -> str:
        """The anchored pattern in RE2's spelling, for the store and the collector."""
        source = self.pattern or "|".join(map(re.escape, self.values))
        source = source.replace(r"\ud800-\udfff", "")
        return "^(?:" + re.sub(r"\\u([0-9a-f]{4})", r"\\x{\1}", source) + ")$"


MODEL = Field(
    "model",
    "string",
    "always",
    "Model identifier: the response model, else the request model; `invalid` if that is no model name",
    "gpt-4o",
    pattern=r"[A-Za-z0-9@~/][A-Za-z0-9._:/@~#+-]{0,127}",
)
PROVIDER = Field("provider", "string", "always", "Provider that bills the call", "openai", values=PROVIDERS)
OPERATION = Field("operation", "string", "always", "Kind of call", "chat", values=OPERATIONS, promised=False)
INPUT_TOKENS = Field(
    "input_tokens",
    "int",
    "always",
    "Input tokens, including cache reads and writes; absent if the provider did not report them",
    "150",
    unit="token",
    maximum=MAX_TOKENS,
)
OUTPUT_TOKENS = Field(
    "output_tokens",
    "int",
    "always",
    "Output tokens, including reasoning; absent if the provider did not report them",
    "500",
    unit="token",
    maximum=MAX_TOKENS,
)
TOTAL_TOKENS = Field(
    "total_tokens", "int", "always", "Input plus output tokens", "650", unit="token", maximum=2 * MAX_TOKENS
)
LATENCY_MS = Field(
    "latency_ms",
    "int",
    "always",
    "Duration of the call; for a stream, until its last chunk",
    "1200",
    unit="ms",
    maximum=MAX_LATENCY_MS,
)
COST_USD = Field(
    "cost_usd",
    "decimal",
    "always",
    "Calculated cost, exact; absent if unknown",
    "0.0065",
    unit="USD",
    pattern=rf"(?:0|[1-9][0-9]{{0,{MAX_COST_DIGITS - 1}}})(?:\.[0-9]{{1,{MAX_COST_DIGITS}}})?",
)
COST_STATUS = Field(
    "cost_status",
    "string",
    "always",
    "How the cost was determined, or why it is absent",
    "priced",
    values=COST_STATUSES,
    promised=False,
)
SUCCESS = Field("success", "bool", "always", "Whether the call succeeded", "true")
ENTITY_TYPE = Field(
    "entity_type", "string", "attribution", "What the call is attributed to", "customer", values=ENTITY_TYPES
)
ENTITY_ID = Field(
    "entity_id", "string", "attribution", "Your identifier of the entity", "acme-corp", pattern=_PRINTABLE + "{1,256}"
)
SESSION_ID = Field(
    "session_id",
    "string",
    "attribution",
    "Conversation or workflow identifier",
    "550e8400-e29b-41d4-a716-446655440000",
    pattern=_PRINTABLE + "{1,256}",
)
TAGS = Field(
    "tags",
    "tags",
    "attribution",
    f"Up to {MAX_TAGS} key-value pairs set by your code",
    '{"feature": "chatbot"}',
    pattern=_PRINTABLE + "{0,256}",
)
TAG_KEY: Final = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
ERROR_TYPE = Field("error_type", "string", "failure", "Category of the error", "rate_limit", values=ERROR_TYPES)
ERROR_CODE = Field(
    "error_code",
    "string",
    "failure",
    "The provider's code or the HTTP status; never a message",
    "429",
    pattern=r"[a-z0-9_.-]{1,64}",
)


def _detail(name: str, description: str, example: str, unit: str = "token", maximum: int = MAX_TOKENS) -> Field:
    return Field(name, "int", "opt_in", description, example, unit=unit, maximum=maximum, promised=False)


USAGE_DETAIL: Final = (
    _detail("cache_read_tokens", "Input tokens read from the provider's cache", "100"),
    _detail("cache_write_tokens", "Input tokens written to the provider's cache", "20"),
    _detail("cache_write_1h_tokens", "Part of cache_write_tokens with a lifetime of one hour", "20"),
    _detail("reasoning_tokens", "Output tokens of hidden reasoning", "64"),
    _detail("audio_input_tokens", "Input tokens of audio", "30"),
    _detail("audio_output_tokens", "Output tokens of audio", "40"),
    _detail("web_searches", "Web searches billed by the provider", "1", unit="search", maximum=10**6),
    _detail("time_to_first_token_ms", "Time to the first chunk of a stream", "230", unit="ms", maximum=MAX_LATENCY_MS),
    Field(
        "service_tier",
        "string",
        "opt_in",
        "Service tier of the response",
        "standard",
        values=SERVICE_TIERS,
        promised=False,
    ),
    Field("streamed", "bool", "opt_in", "Whether the response was streamed", "true", promised=False),
)
"""Used to price a call; exported only with INFRAPRISM_USAGE_DETAIL=true."""

FIELDS: Final = (
    MODEL,
    PROVIDER,
    OPERATION,
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    TOTAL_TOKENS,
    LATENCY_MS,
    COST_USD,
    COST_STATUS,
    SUCCESS,
    ENTITY_TYPE,
    ENTITY_ID,
    SESSION_ID,
    TAGS,
    ERROR_TYPE,
    ERROR_CODE,
    *USAGE_DETAIL,
)
"""Every field that is an attribute on the wire, in column order. The timestamp is the start time of the span."""

BY_KEY: Final = {field.key: field for field in FIELDS}
