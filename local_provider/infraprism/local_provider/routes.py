"""Which path is which operation of which provider, and how each is answered."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from infraprism.local_provider.anthropic_messages import count_tokens, messages
from infraprism.local_provider.behaviour import behaviour_of
from infraprism.local_provider.call import Call, Memory
from infraprism.local_provider.errors import invalid, refusal_of
from infraprism.local_provider.openai_chat import chat, completion
from infraprism.local_provider.openai_embeddings import embeddings, models
from infraprism.local_provider.openai_responses import responses
from infraprism.local_provider.reply import Reply
from infraprism.local_provider.truth import Operation, ProviderName


class _Route(NamedTuple):
    operation: Operation
    answer: Callable[[Call], Reply]
    needs: str | None


_POST: Final[Mapping[str, _Route]] = {
    "chat/completions": _Route("chat", chat, "messages"),
    "responses": _Route("responses", responses, "input"),
    "embeddings": _Route("embeddings", embeddings, "input"),
    "completions": _Route("completion", completion, "prompt"),
    "messages": _Route("chat", messages, "messages"),
    "messages/count_tokens": _Route("count_tokens", count_tokens, "messages"),
}
_GET: Final[Mapping[str, _Route]] = {"models": _Route("models", models, None)}
_AZURE: Final = re.compile(r"/openai/(?:deployments/(?P<deployment>[^/]+)|v1)/(?P<operation>.+)|/openai/(?P<flat>.+)")


def understand(
    method: str, target: str, *, headers: Mapping[str, str], raw: bytes, memory: Memory, canary: str | None
) -> tuple[Call, _Route | None]:
    """The request as a call, and its route; None for a path that the provider does not have."""
    parts = urlsplit(target)
    routes = _POST if method == "POST" else _GET if method == "GET" else {}
    provider: ProviderName = "openai"
    deployment = None
    if azure := _AZURE.fullmatch(parts.path):
        provider, operation = "azure", azure["operation"] or azure["flat"]
        deployment = unquote(azure["deployment"]) if azure["deployment"] else None
    else:
        operation = parts.path.removeprefix("/v1/")
        if operation.startswith("messages") or "anthropic-version" in headers:
            provider = "anthropic"
    try:
        body = json.loads(raw) if raw else {}
    except ValueError:
        body = None
    asked = deployment or (body.get("model") if isinstance(body, dict) else None)
    model = asked if isinstance(asked, str) else ""
    route = routes.get(operation)
    prefix = "req_011" if provider == "anthropic" else "req_"
    return Call(
        provider=provider,
        operation=route.operation if route else "unknown",
        path=parts.path,
        headers=headers,
        raw=raw,
        body=body if isinstance(body, dict) else {},
        model=model,
        key=_key(headers),
        behaviour=behaviour_of(model),
        request_id=prefix + secrets.token_hex(16),
        memory=memory,
        canary=canary,
        query=dict(parse_qsl(parts.query)),
    ), route


def _key(headers: Mapping[str, str]) -> str:
    bearer = headers.get("authorization", "").removeprefix("Bearer ").strip()
    return headers.get("x-api-key") or headers.get("api-key") or bearer


def answer(call: Call, route: _Route | None) -> Reply:
    """The provider's answer."""
    if route is None:
        return invalid(call, f"Invalid URL (POST {call.path})", status=404)
    if not call.key:
        return invalid(call, "You didn't provide an API key.", status=401)
    if route.needs is not None and (problem := _problem(call, route.needs)):
        return invalid(call, problem, code="missing_required_parameter")
    identity = call.path.encode() + call.key.encode() + call.raw
    return refusal_of(call, identity) or route.answer(call)


def _problem(call: Call, needed: str) -> str | None:
    if not call.model:
        return "you must provide a model parameter"
    if not call.body.get(needed) and not call.body.get("previous_response_id"):
        return f"Missing required parameter: '{needed}'."
    return None
