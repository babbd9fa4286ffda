"""Messages of Anthropic, and the endpoint that counts their tokens."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from infraprism.local_provider import billing
from infraprism.local_provider.billing_record import BilledTokens
from infraprism.local_provider.errors import error_body, error_object
from infraprism.local_provider.generated_text import (
    chosen_tool,
    generated_text,
    generated_thinking,
    instance_of,
    split_text,
)
from infraprism.local_provider.provider_request import ProviderRequest
from infraprism.local_provider.provider_response import ProviderResponse, encoded, named_event
from infraprism.local_provider.stream_end import end_stream


def messages(request: ProviderRequest) -> ProviderResponse:
    """POST /v1/messages."""
    content, stop_reason = _content(request)
    usage = _billed(request, content)
    message: dict[str, Any] = {
        "id": f"msg_{secrets.token_hex(12)}",
        "type": "message",
        "role": "assistant",
        "model": request.behaviour.response_model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": _usage_json(usage, thinking=_thinks(request)),
    }
    without_usage = request.has_marker("no-usage")
    if without_usage:
        del message["usage"]
    response = ProviderResponse(
        body=encoded(message),
        model=message["model"],
        response_id=message["id"],
        usage=usage,
        reported=None if without_usage else usage,
        service_tier="standard",
    )
    return _stream(request, response, message, usage) if request.streamed else response


def count_tokens(request: ProviderRequest) -> ProviderResponse:
    """POST /v1/messages/count_tokens, which is not billed."""
    return ProviderResponse(
        body=encoded({"input_tokens": billing.input_tokens(request)}), model=request.behaviour.response_model
    )


def _thinks(request: ProviderRequest) -> bool:
    return (request.body.get("thinking") or {}).get("type") in ("enabled", "adaptive")


def _content(request: ProviderRequest) -> tuple[list[dict[str, Any]], str]:
    blocks: list[dict[str, Any]] = []
    if _thinks(request):
        signature = secrets.token_hex(32)
        blocks.append({"type": "thinking", "thinking": generated_thinking(request), "signature": signature})
    tools = request.body.get("tools") or []
    if any(str(tool.get("type", "")).startswith("web_search") for tool in tools):
        blocks += _web_search(request)
    functions = [
        {"name": tool.get("name"), "parameters": tool["input_schema"]} for tool in tools if "input_schema" in tool
    ]
    choice = request.body.get("tool_choice") or {}
    tool_choice = "none" if choice.get("type") == "none" else choice
    chosen = None if _has_tool_result(request) else chosen_tool(functions, tool_choice, request)
    if chosen:
        schema = next(tool["parameters"] for tool in functions if tool["name"] == chosen[0])
        tool_id = f"toolu_{secrets.token_hex(12)}"
        given = instance_of(schema, request)
        blocks.append({"type": "tool_use", "id": tool_id, "name": chosen[0], "input": given})
        return blocks, "tool_use"
    output_format = (request.body.get("output_config") or {}).get("format") or request.body.get("output_format") or {}
    text = generated_text(request)
    if output_format.get("type") == "json_schema":
        text = encoded(instance_of(output_format.get("schema", {}), request)).decode()
    blocks.append({"type": "text", "text": text})
    return blocks, "end_turn"


def _has_tool_result(request: ProviderRequest) -> bool:
    content = request.body["messages"][-1].get("content")
    return isinstance(content, list) and any(block.get("type") == "tool_result" for block in content)


def _web_search(request: ProviderRequest) -> list[dict[str, Any]]:
    search_id = f"srvtoolu_{secrets.token_hex(12)}"
    found = {
        "type": "web_search_result",
        "url": "https://example.com/help",
        "title": "Help",
        "encrypted_content": secrets.token_hex(24),
        "page_age": None,
    }
    query = {"query": request.text[:60]}
    return [
        {"type": "server_tool_use", "id": search_id, "name": "web_search", "input": query},
        {"type": "web_search_tool_result", "tool_use_id": search_id, "content": [found]},
    ]


def _billed(request: ProviderRequest, content: list[dict[str, Any]]) -> BilledTokens:
    total = billing.input_tokens(request)
    read, short, hour = billing.anthropic_cache(request, total)
    text = encoded(
        [{key: value for key, value in block.items() if key not in ("signature", "id")} for block in content]
    )
    thinking = sum(billing.tokens_of(block["thinking"]) for block in content if block["type"] == "thinking")
    searches = sum(block["type"] == "server_tool_use" for block in content)
    return BilledTokens(
        input_tokens=total,
        output_tokens=billing.output_tokens(request, text.decode()),
        cache_read_tokens=read,
        cache_write_tokens=short + hour,
        cache_write_1h_tokens=hour,
        reasoning_tokens=thinking if _thinks(request) else None,
        web_searches=searches or None,
    )


def _usage_json(usage: BilledTokens, *, thinking: bool) -> dict[str, Any]:
    written = usage.cache_write_tokens or 0
    hour = usage.cache_write_1h_tokens or 0
    counts: dict[str, Any] = {
        "input_tokens": _uncached(usage),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "cache_creation": {"ephemeral_5m_input_tokens": written - hour, "ephemeral_1h_input_tokens": hour},
        "output_tokens": usage.output_tokens,
        "service_tier": "standard",
        "inference_geo": "not_available",
    }
    if thinking:
        counts["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    if usage.web_searches:
        counts["server_tool_use"] = _searches_json(usage)
    return counts


def _uncached(usage: BilledTokens) -> int:
    """Anthropic's `input_tokens`, which excludes cache reads and writes."""
    return (usage.input_tokens or 0) - (usage.cache_read_tokens or 0) - (usage.cache_write_tokens or 0)


def _searches_json(usage: BilledTokens) -> dict[str, int]:
    return {"web_search_requests": usage.web_searches or 0, "web_fetch_requests": 0}


def _stream(
    request: ProviderRequest, response: ProviderResponse, message: dict[str, Any], usage: BilledTokens
) -> ProviderResponse:
    without_usage = request.has_marker("no-usage")
    opening: dict[str, Any] = message | {"content": [], "stop_reason": None}
    if not without_usage:
        first = _usage_json(usage, thinking=False) | {"output_tokens": 1}
        first.pop("server_tool_use", None)
        opening["usage"] = first
    events: list[dict[str, Any]] = [{"type": "message_start", "message": opening}]
    for index, block in enumerate(message["content"]):
        started, deltas = _block_events(request, block)
        events.append({"type": "content_block_start", "index": index, "content_block": started})
        if index == 0:
            events.append({"type": "ping"})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    ended = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    events.append(
        {"type": "message_delta", "delta": ended} | ({} if without_usage else {"usage": _final(request, usage)})
    )
    events.append({"type": "message_stop"})
    error = error_body(error_object("stream-error", request), request)
    stream = replace(response, body=None, events=[named_event(event) for event in events])
    return end_stream(request, stream, named_event(error))


def _final(request: ProviderRequest, usage: BilledTokens) -> dict[str, Any]:
    if request.has_marker("old-delta"):
        return {"output_tokens": usage.output_tokens}
    counts: dict[str, Any] = {
        "input_tokens": _uncached(usage),
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "output_tokens": usage.output_tokens,
    }
    if usage.reasoning_tokens is not None:
        counts["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    if usage.web_searches:
        counts["server_tool_use"] = _searches_json(usage)
    return counts


def _block_events(request: ProviderRequest, block: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    count = request.behaviour.chunks
    if block["type"] == "text":
        return {"type": "text", "text": ""}, [
            {"type": "text_delta", "text": part} for part in split_text(block["text"], count)
        ]
    if block["type"] == "thinking":
        deltas = [{"type": "thinking_delta", "thinking": part} for part in split_text(block["thinking"])]
        signature = {"type": "signature_delta", "signature": block["signature"]}
        return {"type": "thinking", "thinking": "", "signature": ""}, [*deltas, signature]
    if "input" in block:
        given = encoded(block["input"]).decode()
        return {**block, "input": {}}, [
            {"type": "input_json_delta", "partial_json": part} for part in ["", *split_text(given, count)]
        ]
    return dict(block), []
