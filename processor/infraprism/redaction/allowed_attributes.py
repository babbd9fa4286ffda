"""The attributes that a span of generative AI keeps: an allow-list of keys, each with a guard for its value.

Numbers and booleans are kept under the keys of the dialects' tables. Names are kept only if they are in a closed list
or have the form of a model's name, a host or a provider's id. A value that its guard does not accept is removed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from infraprism.dialects import DIALECTS, guards, values
from infraprism.dialects.table import key_of
from infraprism.providers.error_classification import classify_error
from infraprism.schema import fields

Guard = Callable[[Any], Any]
"""Returns the value to keep, or None."""

_MAX_NUMBER: Final = 1e12
_KINDS: Final = (
    *("LLM", "EMBEDDING", "CHAIN", "AGENT", "TOOL", "RETRIEVER", "RERANKER", "GUARDRAIL", "EVALUATOR", "PROMPT"),
    *("workflow", "task", "agent", "tool", "unknown", "generation", "embedding", "span", "event", "chain", "retriever"),
    *("evaluator", "guardrail"),
)
_OPERATIONS: Final = frozenset(
    {
        *("invoke_agent", "create_agent", "execute_tool", "invoke_workflow", "agent_step", "execute_task", "retrieval"),
        *("execute_event_loop_cycle", "fetch_response", "ai.generateText", "ai.streamText", "ai.generateObject"),
        *("ai.streamObject", "ai.embed", "ai.embedMany", "ai.toolCall", *_KINDS, *fields.OPERATIONS),
    }
)
_FINISH_REASONS: Final = frozenset(
    {
        *("stop", "length", "tool_calls", "tool_call", "tool-calls", "tool_use", "function_call", "content_filter"),
        *("content-filter", "end_turn", "max_tokens", "stop_sequence", "error", "pause_turn", "refusal", "completed"),
        *("incomplete", "STOP", "MAX_TOKENS", "SAFETY", "unknown", "other"),
    }
)
_ID: Final = re.compile(r"(?:chatcmpl|cmpl|resp|msg|gen|req|embd)[-_][A-Za-z0-9]{8,64}")
_OPERATION_NAME: Final = re.compile("[A-Za-z_.]{1,64}")
_HOST: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62})?(?:\.[a-z0-9](?:[a-z0-9-]{0,62})?){0,8}")


def number(value: Any) -> Any:
    """A finite number up to _MAX_NUMBER, or a boolean."""
    if type(value) is bool or (type(value) in (int, float) and math.isfinite(value) and abs(value) <= _MAX_NUMBER):
        return value
    return None


def one_of(*names: str) -> Guard:
    """A guard that accepts the names of a closed list."""
    known = frozenset(names)
    return lambda value: value if type(value) is str and value in known else None


def shaped(pattern: re.Pattern[str]) -> Guard:
    """A guard that accepts texts that match the pattern completely."""
    return lambda value: value if type(value) is str and pattern.fullmatch(value) else None


def error_type(value: Any) -> str | None:
    """The error type of the event in place of the class of the exception, which can be any text."""
    name = values.text(value)
    return None if name is None else classify_error(name, None, (), ())[0]


def finish_reasons(value: Any) -> Any:
    """One finish reason or several, without unknown ones."""
    if type(value) is str:
        return value if value in _FINISH_REASONS else None
    if not isinstance(value, Sequence):
        return None
    return tuple(reason for reason in value if type(reason) is str and reason in _FINISH_REASONS) or None


_UNBILLED: Final[dict[str, Guard]] = {
    "operation": one_of(*_OPERATIONS),
    "host": shaped(_HOST),
    "fingerprint": shaped(_ID),
}
"""Kinds of `dialects.guards` of which more may leave here: spans of agents and tools, hosts and ids as they are."""
_NOT_FORWARDED: Final = frozenset({"presence", "error_text", "entity_type", "identifier"})
_FURTHER: Final[dict[str, Guard]] = {
    **dict.fromkeys(
        (
            *("server.port", "gen_ai.request.temperature"),
            *("gen_ai.request.top_p", "gen_ai.request.top_k", "gen_ai.request.max_tokens", "gen_ai.request.seed"),
            *("gen_ai.request.frequency_penalty", "gen_ai.request.presence_penalty", "gen_ai.request.choice.count"),
            *("gen_ai.embeddings.dimension.count", "gen_ai.client.token.usage", "ai.settings.maxRetries"),
        ),
        number,
    ),
    "gen_ai.response.finish_reasons": finish_reasons,
    "gen_ai.output.type": one_of("text", "json", "image", "speech"),
    "gen_ai.tool.type": one_of("function", "extension", "datastore"),
    "ai.response.finishReason": finish_reasons,
    "openinference.span.kind": one_of(*_KINDS),
    "traceloop.span.kind": one_of(*_KINDS),
    "langfuse.observation.type": one_of(*_KINDS),
    "langfuse.observation.level": one_of("DEBUG", "DEFAULT", "WARNING", "ERROR"),
    "openai.api.type": one_of("chat_completions", "responses"),
}


def _allowed(guard: guards.Guard) -> Guard:
    """A value that passes the guard of its kind, or the wider one of this module."""
    wider = _UNBILLED.get(guard.kind)

    def allowed(value: Any) -> Any:
        if type(value) in (str, int, float, bool) and value != "" and guard.accepts(value):
            return value
        return None if wider is None else wider(value)

    return allowed


def _guards() -> dict[str, Guard]:
    allowed: dict[str, Guard] = {
        key: error_type if guard.kind == "error" else _allowed(guard)
        for key, guard in guards.GUARDS.items()
        if guard.kind not in _NOT_FORWARDED and key != guards.EXCEPTION_TYPE
    }
    return {**allowed, **{key: _either(allowed.get(key), further) for key, further in _FURTHER.items()}}


def _either(first: Guard | None, second: Guard) -> Guard:
    return second if first is None else lambda value: value if first(value) is not None else second(value)


GUARDS: Final[Mapping[str, Guard]] = _guards()
"""The allow-list: each key with the guard of its value."""


def kept(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """The attributes that the allow-list keeps."""
    safe = {key: guard(value) for key, value in (attributes or {}).items() if (guard := GUARDS.get(key)) is not None}
    return {key: value for key, value in safe.items() if value is not None}


def name_of(attributes: Mapping[str, Any]) -> str:
    """A span's name out of what may leave: operation and model, as the conventions have it."""
    operation = _first("operation", attributes) or ""
    if not _OPERATION_NAME.fullmatch(operation):
        operation = "gen_ai"
    model = _first("response_model", attributes) or _first("request_model", attributes)
    return operation if model is None else f"{operation} {model}"


def _first(field: str, attributes: Mapping[str, Any]) -> str | None:
    return next((attributes[key] for key in _KEYS_OF[field] if key in attributes), None)


_KEYS_OF: Final[dict[str, tuple[str, ...]]] = {
    field: tuple(dict.fromkeys(key_of(entry) for dialect in DIALECTS for entry in dialect.keys.get(field, ())))
    for field in ("operation", "request_model", "response_model")
}
