"""Parse a request into provider and operation, and route it to its handler."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from infraprism.local_provider.anthropic_messages import count_tokens, messages
from infraprism.local_provider.billing_record import Operation, ProviderName
from infraprism.local_provider.errors import invalid, requested_error
from infraprism.local_provider.model_markers import behaviour_of
from infraprism.local_provider.openai_chat import chat, completion
from infraprism.local_provider.openai_embeddings import embeddings, models
from infraprism.local_provider.openai_responses import responses
from infraprism.local_provider.provider_request import ProviderRequest, ServerState
from infraprism.local_provider.provider_response import ProviderResponse


class _Route(NamedTuple):
    operation: Operation
    handler: Callable[[ProviderRequest], ProviderResponse]
    required: str | None


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


def parse_request(
    method: str, target: str, *, headers: Mapping[str, str], raw: bytes, state: ServerState, canary: str | None
) -> tuple[ProviderRequest, _Route | None]:
    """The request and its route, which is None for an unknown path."""
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
    name = deployment or (body.get("model") if isinstance(body, dict) else None)
    model = name if isinstance(name, str) else ""
    route = routes.get(operation)
    prefix = "req_011" if provider == "anthropic" else "req_"
    return ProviderRequest(
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
        state=state,
        canary=canary,
        query=dict(parse_qsl(parts.query)),
    ), route


def _key(headers: Mapping[str, str]) -> str:
    bearer = headers.get("authorization", "").removeprefix("Bearer ").strip()
    return headers.get("x-api-key") or headers.get("api-key") or bearer


def respond(request: ProviderRequest, route: _Route | None) -> ProviderResponse:
    """The provider's response."""
    if route is None:
        return invalid(request, f"Invalid URL (POST {request.path})", status=404)
    if not request.key:
        return invalid(request, "You didn't provide an API key.", status=401)
    if route.required is not None and (problem := _problem(request, route.required)):
        return invalid(request, problem, code="missing_required_parameter")
    identity = request.path.encode() + request.key.encode() + request.raw
    return requested_error(request, identity) or route.handler(request)


def _problem(request: ProviderRequest, required: str) -> str | None:
    if not request.model:
        return "you must provide a model parameter"
    if not request.body.get(required) and not request.body.get("previous_response_id"):
        return f"Missing required parameter: '{required}'."
    return None
