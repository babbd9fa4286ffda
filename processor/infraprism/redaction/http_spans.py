"""Redacts the spans of HTTP requests to providers: URLs without query, no bodies and no headers.

Instrumentations of HTTP clients can write bodies and headers, and all write URLs. Some providers take the API key in
the query.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from infraprism.providers.detection import OTHER, provider_of

_URLS: Final = ("url.full", "http.url")
_HOSTS: Final = ("server.address", "http.host", "net.peer.name", "http.server_name")
_PATHS: Final = ("url.path", "http.target", "http.route")
_PLAIN: Final = frozenset(
    {
        *("http.request.method", "http.response.status_code", "http.request.resend_count", "http.request.body.size"),
        *("http.response.body.size", "http.request.size", "http.response.size", "url.scheme", "url.template"),
        *("url.domain", "url.port", "server.port", "network.protocol.name", "network.protocol.version"),
        *("network.peer.address", "network.peer.port", "network.transport", "network.type", "error.type"),
        *("http.method", "http.status_code", "http.scheme", "http.flavor", "http.request_content_length"),
        *("http.response_content_length", "http.status_text", "net.peer.port", "net.peer.ip", "net.transport"),
        *("http.user_agent", "user_agent.original", "peer.service", "thread.id", "thread.name", "component"),
    }
)
"""Keys of the semantic conventions for HTTP, new and old, with values that are metadata."""
_BEFORE_QUERY: Final = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)?(?:[^/?#@]*@)?(?P<rest>[^?#]*)", re.IGNORECASE)
_API_PATH: Final = re.compile(
    r"/(?:v\d\w*/)?(?:chat/completions|completions|responses|embeddings|messages|rerank|images/generations|audio/\w+)\b"
    r"|/openai/deployments/|:(?:stream)?[gG]enerateContent\b|:(?:embedContent|batchEmbedContents|predict|rawPredict)\b"
    r"|/model/[^/]+/(?:converse|invoke)|/api/(?:chat|generate|embed)\b"
)


def is_request(attributes: Mapping[str, Any]) -> bool:
    """Whether these attributes of a CLIENT span are of a request to a provider or to a compatible API."""
    urls = [value for key in _URLS if type(value := attributes.get(key)) is str]
    hosts = [*urls, *(value for key in _HOSTS if type(value := attributes.get(key)) is str)]
    if any(provider_of(host, None, None) != OTHER for host in hosts):
        return True
    paths = [*urls, *(value for key in _PATHS if type(value := attributes.get(key)) is str)]
    return any(_API_PATH.search(_without_query(path)) for path in paths)


def kept(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of a request's span: URLs without user information, query and fragment."""
    safe: dict[str, Any] = {}
    for key, value in attributes.items():
        if key in _PLAIN:
            safe[key] = value
        elif (guard := _GUARDS.get(key)) is not None and type(value) is str:
            safe[key] = guard(value)
    return safe


def _without_query(url: str) -> str:
    found = _BEFORE_QUERY.match(url)
    return "" if found is None else (found["scheme"] or "") + found["rest"]


_GUARDS: Final[Mapping[str, Callable[[str], str]]] = dict.fromkeys((*_URLS, *_HOSTS, *_PATHS), _without_query)
