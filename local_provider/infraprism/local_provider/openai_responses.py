"""OpenAI's Responses API."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from infraprism.local_provider import billing
from infraprism.local_provider.answers import answer_text, chosen_tool, instance_of, pieces
from infraprism.local_provider.call import Call
from infraprism.local_provider.errors import error_object, invalid
from infraprism.local_provider.openai_chat import service_tier
from infraprism.local_provider.reply import Reply, encoded, named_event
from infraprism.local_provider.stream_end import ending
from infraprism.local_provider.truth import Billed

_WEB_SEARCH = ("web_search", "web_search_preview", "web_search_2025_08_26")


def responses(call: Call) -> Reply:
    """POST /responses."""
    earlier = call.body.get("previous_response_id")
    if earlier is not None and call.memory.stored_tokens(earlier) is None:
        message = f"Previous response with id '{earlier}' not found."
        return invalid(call, message, code="previous_response_not_found")
    output = _output(call)
    searches = sum(item["type"] == "web_search_call" for item in output)
    usage = _usage(call, output, searches)
    response = _response(call, output, usage, searches)
    call.memory.store_response(response["id"], (usage.input_tokens or 0) + (usage.output_tokens or 0))
    silent = call.asks("no-usage")
    if silent:
        response["usage"] = None
    reply = Reply(
        model=response["model"],
        response_id=response["id"],
        usage=usage,
        reported=None if silent else usage,
        service_tier=response["service_tier"],
    )
    if not call.streamed:
        return replace(reply, body=encoded(response))
    error = error_object("stream-error", call)
    failed = {"type": "error", "code": error["code"], "message": error["message"], "param": None}
    events = _events(call, response)
    middle = max(1, len(events) // 2)
    return ending(call, replace(reply, events=_numbered(events)), named_event(failed | {"sequence_number": middle}))


def _output(call: Call) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if call.behaviour.reasons:
        items.append({"id": f"rs_{secrets.token_hex(24)}", "type": "reasoning", "summary": []})
    tools = call.body.get("tools") or []
    if any(tool.get("type") in _WEB_SEARCH for tool in tools):
        action = {"type": "search", "query": call.text[:60], "queries": [call.text[:60]]}
        item = {"id": f"ws_{secrets.token_hex(24)}", "type": "web_search_call", "status": "completed"}
        items.append(item | {"action": action})
    answered = _last_item_type(call) == "function_call_output"
    functions = [tool for tool in tools if tool.get("type") == "function"]
    chosen = None if answered else chosen_tool(functions, call.body.get("tool_choice"), call)
    if chosen:
        item = {"id": f"fc_{secrets.token_hex(24)}", "type": "function_call", "status": "completed"}
        items.append(item | {"name": chosen[0], "arguments": chosen[1], "call_id": f"call_{secrets.token_hex(12)}"})
    else:
        part = {"type": "output_text", "text": _text(call), "annotations": [], "logprobs": []}
        item = {"id": f"msg_{secrets.token_hex(24)}", "type": "message", "status": "completed"}
        items.append(item | {"role": "assistant", "content": [part]})
    return items


def _last_item_type(call: Call) -> str | None:
    given = call.body.get("input")
    last = given[-1] if isinstance(given, list) and given else {}
    return last.get("type") if isinstance(last, Mapping) else None


def _text(call: Call) -> str:
    wanted = (call.body.get("text") or {}).get("format") or {}
    if wanted.get("type") == "json_schema":
        return encoded(instance_of(wanted.get("schema", {}), call)).decode()
    return answer_text(call)


def _usage(call: Call, output: list[dict[str, Any]], searches: int) -> Billed:
    total = billing.input_tokens(call)
    cached = billing.cached_tokens(call, total)
    reasoning = billing.reasoning_tokens(call)
    return Billed(
        input_tokens=total,
        output_tokens=billing.output_tokens(call, encoded([_said(item) for item in output]).decode()) + reasoning,
        cache_read_tokens=cached,
        cache_write_tokens=cached // 3 if call.behaviour.bills_cache_writes else 0,
        reasoning_tokens=reasoning,
        web_searches=searches or None,
    )


def _said(item: Mapping[str, Any]) -> str:
    if item["type"] == "message":
        return str(item["content"][0]["text"])
    return str(item.get("arguments", ""))


def _response(call: Call, output: list[dict[str, Any]], usage: Billed, searches: int) -> dict[str, Any]:
    body = call.body
    now = int(time.time())
    response = {
        "id": f"resp_{secrets.token_hex(24)}",
        "object": "response",
        "created_at": now,
        "status": "completed",
        "background": False,
        "completed_at": now,
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "max_tool_calls": None,
        "model": call.behaviour.answered_by,
        "output": output,
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "previous_response_id": body.get("previous_response_id"),
        "prompt_cache_key": None,
        "prompt_cache_retention": None,
        "reasoning": {"effort": "medium" if call.behaviour.reasons else None, "summary": None},
        "safety_identifier": None,
        "service_tier": service_tier(call),
        "temperature": body.get("temperature", 1.0),
        "text": body.get("text") or {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools") or [],
        "top_logprobs": 0,
        "top_p": body.get("top_p", 1.0),
        "truncation": "disabled",
        "usage": {
            "input_tokens": usage.input_tokens,
            "input_tokens_details": {
                "cache_write_tokens": usage.cache_write_tokens,
                "cached_tokens": usage.cache_read_tokens,
            },
            "output_tokens": usage.output_tokens,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
            "total_tokens": (usage.input_tokens or 0) + (usage.output_tokens or 0),
        },
        "user": None,
        "metadata": body.get("metadata") or {},
    }
    if searches:
        nothing = {"image_tokens": 0, "text_tokens": 0}
        images = {"input_tokens": 0, "input_tokens_details": nothing, "output_tokens": 0, "total_tokens": 0}
        response["tool_usage"] = {"image_gen": images, "web_search": {"num_requests": searches}}
    return response


def _events(call: Call, response: dict[str, Any]) -> list[dict[str, Any]]:
    begun = response | {"status": "in_progress", "completed_at": None, "output": [], "usage": None}
    begun.pop("tool_usage", None)
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
    ]
    for index, item in enumerate(response["output"]):
        place = {"output_index": index, "item_id": item["id"]}
        started, between = _item_events(call, item, place)
        events.append({"type": "response.output_item.added", "output_index": index, "item": started})
        events += between
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    events.append({"type": "response.completed", "response": response})
    return events


def _item_events(
    call: Call, item: dict[str, Any], place: dict[str, Any]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    count = call.behaviour.chunks
    if item["type"] == "message":
        part = item["content"][0]
        at = place | {"content_index": 0}
        deltas = [
            {"type": "response.output_text.delta", **at, "delta": piece, "logprobs": []}
            for piece in pieces(part["text"], count)
        ]
        return item | {"status": "in_progress", "content": []}, [
            {"type": "response.content_part.added", **at, "part": part | {"text": ""}},
            *deltas,
            {"type": "response.output_text.done", **at, "text": part["text"], "logprobs": []},
            {"type": "response.content_part.done", **at, "part": part},
        ]
    if item["type"] == "function_call":
        deltas = [
            {"type": "response.function_call_arguments.delta", **place, "delta": piece}
            for piece in pieces(item["arguments"], count)
        ]
        done = {"type": "response.function_call_arguments.done", **place, "arguments": item["arguments"]}
        return item | {"status": "in_progress", "arguments": ""}, [*deltas, done]
    if item["type"] == "web_search_call":
        steps = ("in_progress", "searching", "completed")
        return item | {"status": "in_progress"}, [
            {"type": f"response.web_search_call.{step}", **place} for step in steps
        ]
    return item, []


def _numbered(events: list[dict[str, Any]]) -> list[bytes]:
    return [named_event(event | {"sequence_number": number}) for number, event in enumerate(events)]
