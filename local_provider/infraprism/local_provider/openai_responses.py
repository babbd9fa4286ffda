"""OpenAI's Responses API."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from infraprism.local_provider import billing
from infraprism.local_provider.billing_record import BilledTokens
from infraprism.local_provider.errors import error_object, invalid
from infraprism.local_provider.generated_text import chosen_tool, generated_text, instance_of, split_text
from infraprism.local_provider.openai_chat import service_tier
from infraprism.local_provider.provider_request import ProviderRequest
from infraprism.local_provider.provider_response import ProviderResponse, encoded, named_event
from infraprism.local_provider.stream_end import end_stream

_WEB_SEARCH = ("web_search", "web_search_preview", "web_search_2025_08_26")


def responses(request: ProviderRequest) -> ProviderResponse:
    """POST /responses."""
    previous = request.body.get("previous_response_id")
    if previous is not None and request.state.stored_tokens(previous) is None:
        message = f"Previous response with id '{previous}' not found."
        return invalid(request, message, code="previous_response_not_found")
    output = _output(request)
    searches = sum(item["type"] == "web_search_call" for item in output)
    usage = _usage(request, output, searches)
    body = _response(request, output, usage, searches)
    request.state.store_response(body["id"], (usage.input_tokens or 0) + (usage.output_tokens or 0))
    without_usage = request.has_marker("no-usage")
    if without_usage:
        body["usage"] = None
    response = ProviderResponse(
        model=body["model"],
        response_id=body["id"],
        usage=usage,
        reported=None if without_usage else usage,
        service_tier=body["service_tier"],
    )
    if not request.streamed:
        return replace(response, body=encoded(body))
    error = error_object("stream-error", request)
    failed = {"type": "error", "code": error["code"], "message": error["message"], "param": None}
    events = _events(request, body)
    middle = max(1, len(events) // 2)
    return end_stream(
        request, replace(response, events=_numbered(events)), named_event(failed | {"sequence_number": middle})
    )


def _output(request: ProviderRequest) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if request.behaviour.reasons:
        items.append({"id": f"rs_{secrets.token_hex(24)}", "type": "reasoning", "summary": []})
    tools = request.body.get("tools") or []
    if any(tool.get("type") in _WEB_SEARCH for tool in tools):
        action = {"type": "search", "query": request.text[:60], "queries": [request.text[:60]]}
        item = {"id": f"ws_{secrets.token_hex(24)}", "type": "web_search_call", "status": "completed"}
        items.append(item | {"action": action})
    is_tool_result = _last_item_type(request) == "function_call_output"
    functions = [tool for tool in tools if tool.get("type") == "function"]
    chosen = None if is_tool_result else chosen_tool(functions, request.body.get("tool_choice"), request)
    if chosen:
        item = {"id": f"fc_{secrets.token_hex(24)}", "type": "function_call", "status": "completed"}
        items.append(item | {"name": chosen[0], "arguments": chosen[1], "call_id": f"call_{secrets.token_hex(12)}"})
    else:
        part = {"type": "output_text", "text": _text(request), "annotations": [], "logprobs": []}
        item = {"id": f"msg_{secrets.token_hex(24)}", "type": "message", "status": "completed"}
        items.append(item | {"role": "assistant", "content": [part]})
    return items


def _last_item_type(request: ProviderRequest) -> str | None:
    given = request.body.get("input")
    last = given[-1] if isinstance(given, list) and given else {}
    return last.get("type") if isinstance(last, Mapping) else None


def _text(request: ProviderRequest) -> str:
    text_format = (request.body.get("text") or {}).get("format") or {}
    if text_format.get("type") == "json_schema":
        return encoded(instance_of(text_format.get("schema", {}), request)).decode()
    return generated_text(request)


def _usage(request: ProviderRequest, output: list[dict[str, Any]], searches: int) -> BilledTokens:
    total = billing.input_tokens(request)
    cached = billing.cached_tokens(request, total)
    reasoning = billing.reasoning_tokens(request)
    return BilledTokens(
        input_tokens=total,
        output_tokens=billing.output_tokens(request, encoded([_output_text(item) for item in output]).decode())
        + reasoning,
        cache_read_tokens=cached,
        cache_write_tokens=cached // 3 if request.behaviour.bills_cache_writes else 0,
        reasoning_tokens=reasoning,
        web_searches=searches or None,
    )


def _output_text(item: Mapping[str, Any]) -> str:
    if item["type"] == "message":
        return str(item["content"][0]["text"])
    return str(item.get("arguments", ""))


def _response(
    request: ProviderRequest, output: list[dict[str, Any]], usage: BilledTokens, searches: int
) -> dict[str, Any]:
    body = request.body
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
        "model": request.behaviour.response_model,
        "output": output,
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "previous_response_id": body.get("previous_response_id"),
        "prompt_cache_key": None,
        "prompt_cache_retention": None,
        "reasoning": {"effort": "medium" if request.behaviour.reasons else None, "summary": None},
        "safety_identifier": None,
        "service_tier": service_tier(request),
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


def _events(request: ProviderRequest, response: dict[str, Any]) -> list[dict[str, Any]]:
    created = response | {"status": "in_progress", "completed_at": None, "output": [], "usage": None}
    created.pop("tool_usage", None)
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": created},
        {"type": "response.in_progress", "response": created},
    ]
    for index, item in enumerate(response["output"]):
        place = {"output_index": index, "item_id": item["id"]}
        started, between = _item_events(request, item, place)
        events.append({"type": "response.output_item.added", "output_index": index, "item": started})
        events += between
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    events.append({"type": "response.completed", "response": response})
    return events


def _item_events(
    request: ProviderRequest, item: dict[str, Any], place: dict[str, Any]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    count = request.behaviour.chunks
    if item["type"] == "message":
        part = item["content"][0]
        at = place | {"content_index": 0}
        deltas = [
            {"type": "response.output_text.delta", **at, "delta": part_text, "logprobs": []}
            for part_text in split_text(part["text"], count)
        ]
        return item | {"status": "in_progress", "content": []}, [
            {"type": "response.content_part.added", **at, "part": part | {"text": ""}},
            *deltas,
            {"type": "response.output_text.done", **at, "text": part["text"], "logprobs": []},
            {"type": "response.content_part.done", **at, "part": part},
        ]
    if item["type"] == "function_call":
        deltas = [
            {"type": "response.function_call_arguments.delta", **place, "delta": part_text}
            for part_text in split_text(item["arguments"], count)
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
