"""Anthropic's messages, and the counting of their tokens."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from infraprism.local_provider import billing
from infraprism.local_provider.answers import answer_text, chosen_tool, instance_of, pieces, thinking_text
from infraprism.local_provider.call import Call
from infraprism.local_provider.errors import error_body, error_object
from infraprism.local_provider.reply import Reply, encoded, named_event
from infraprism.local_provider.stream_end import ending
from infraprism.local_provider.truth import Billed


def messages(call: Call) -> Reply:
    """POST /v1/messages."""
    content, stop_reason = _content(call)
    usage = _billed(call, content)
    message: dict[str, Any] = {
        "id": f"msg_{secrets.token_hex(12)}",
        "type": "message",
        "role": "assistant",
        "model": call.behaviour.answered_by,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": _usage_json(usage, thinking=_thinks(call)),
    }
    silent = call.asks("no-usage")
    if silent:
        del message["usage"]
    reply = Reply(
        body=encoded(message),
        model=message["model"],
        response_id=message["id"],
        usage=usage,
        reported=None if silent else usage,
        service_tier="standard",
    )
    return _stream(call, reply, message, usage) if call.streamed else reply


def count_tokens(call: Call) -> Reply:
    """POST /v1/messages/count_tokens, which is free."""
    return Reply(body=encoded({"input_tokens": billing.input_tokens(call)}), model=call.behaviour.answered_by)


def _thinks(call: Call) -> bool:
    return (call.body.get("thinking") or {}).get("type") in ("enabled", "adaptive")


def _content(call: Call) -> tuple[list[dict[str, Any]], str]:
    blocks: list[dict[str, Any]] = []
    if _thinks(call):
        signature = secrets.token_hex(32)
        blocks.append({"type": "thinking", "thinking": thinking_text(call), "signature": signature})
    tools = call.body.get("tools") or []
    if any(str(tool.get("type", "")).startswith("web_search") for tool in tools):
        blocks += _web_search(call)
    functions = [
        {"name": tool.get("name"), "parameters": tool["input_schema"]} for tool in tools if "input_schema" in tool
    ]
    choice = call.body.get("tool_choice") or {}
    wanted = "none" if choice.get("type") == "none" else choice
    chosen = None if _answers_a_tool(call) else chosen_tool(functions, wanted, call)
    if chosen:
        schema = next(tool["parameters"] for tool in functions if tool["name"] == chosen[0])
        tool_id = f"toolu_{secrets.token_hex(12)}"
        given = instance_of(schema, call)
        blocks.append({"type": "tool_use", "id": tool_id, "name": chosen[0], "input": given})
        return blocks, "tool_use"
    wanted_format = (call.body.get("output_config") or {}).get("format") or call.body.get("output_format") or {}
    text = answer_text(call)
    if wanted_format.get("type") == "json_schema":
        text = encoded(instance_of(wanted_format.get("schema", {}), call)).decode()
    blocks.append({"type": "text", "text": text})
    return blocks, "end_turn"


def _answers_a_tool(call: Call) -> bool:
    content = call.body["messages"][-1].get("content")
    return isinstance(content, list) and any(block.get("type") == "tool_result" for block in content)


def _web_search(call: Call) -> list[dict[str, Any]]:
    search_id = f"srvtoolu_{secrets.token_hex(12)}"
    found = {
        "type": "web_search_result",
        "url": "https://example.com/help",
        "title": "Help",
        "encrypted_content": secrets.token_hex(24),
        "page_age": None,
    }
    query = {"query": call.text[:60]}
    return [
        {"type": "server_tool_use", "id": search_id, "name": "web_search", "input": query},
        {"type": "web_search_tool_result", "tool_use_id": search_id, "content": [found]},
    ]


def _billed(call: Call, content: list[dict[str, Any]]) -> Billed:
    total = billing.input_tokens(call)
    read, short, hour = billing.anthropic_cache(call, total)
    said = encoded(
        [{key: value for key, value in block.items() if key not in ("signature", "id")} for block in content]
    )
    thought = sum(billing.tokens_of(block["thinking"]) for block in content if block["type"] == "thinking")
    searches = sum(block["type"] == "server_tool_use" for block in content)
    return Billed(
        input_tokens=total,
        output_tokens=billing.output_tokens(call, said.decode()),
        cache_read_tokens=read,
        cache_write_tokens=short + hour,
        cache_write_1h_tokens=hour,
        reasoning_tokens=thought if _thinks(call) else None,
        web_searches=searches or None,
    )


def _usage_json(usage: Billed, *, thinking: bool) -> dict[str, Any]:
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


def _uncached(usage: Billed) -> int:
    """Anthropic's `input_tokens` leaves out what is read from and written to the cache."""
    return (usage.input_tokens or 0) - (usage.cache_read_tokens or 0) - (usage.cache_write_tokens or 0)


def _searches_json(usage: Billed) -> dict[str, int]:
    return {"web_search_requests": usage.web_searches or 0, "web_fetch_requests": 0}


def _stream(call: Call, reply: Reply, message: dict[str, Any], usage: Billed) -> Reply:
    silent = call.asks("no-usage")
    opening: dict[str, Any] = message | {"content": [], "stop_reason": None}
    if not silent:
        first = _usage_json(usage, thinking=False) | {"output_tokens": 1}
        first.pop("server_tool_use", None)
        opening["usage"] = first
    events: list[dict[str, Any]] = [{"type": "message_start", "message": opening}]
    for index, block in enumerate(message["content"]):
        started, deltas = _block_events(call, block)
        events.append({"type": "content_block_start", "index": index, "content_block": started})
        if index == 0:
            events.append({"type": "ping"})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    ended = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    events.append({"type": "message_delta", "delta": ended} | ({} if silent else {"usage": _final(call, usage)}))
    events.append({"type": "message_stop"})
    error = error_body(error_object("stream-error", call), call)
    whole = replace(reply, body=None, events=[named_event(event) for event in events])
    return ending(call, whole, named_event(error))


def _final(call: Call, usage: Billed) -> dict[str, Any]:
    if call.asks("old-delta"):
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


def _block_events(call: Call, block: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    count = call.behaviour.chunks
    if block["type"] == "text":
        return {"type": "text", "text": ""}, [
            {"type": "text_delta", "text": piece} for piece in pieces(block["text"], count)
        ]
    if block["type"] == "thinking":
        thoughts = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"])]
        signature = {"type": "signature_delta", "signature": block["signature"]}
        return {"type": "thinking", "thinking": "", "signature": ""}, [*thoughts, signature]
    if "input" in block:
        given = encoded(block["input"]).decode()
        return {**block, "input": {}}, [
            {"type": "input_json_delta", "partial_json": piece} for piece in ["", *pieces(given, count)]
        ]
    return dict(block), []
