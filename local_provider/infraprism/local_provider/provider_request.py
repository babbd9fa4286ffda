"""One parsed request, of any of the APIs, and the state of the server between requests."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from threading import Lock
from typing import Any

from infraprism.local_provider.billing_record import Operation, ProviderName
from infraprism.local_provider.model_markers import ModelBehaviour

_PROMPT_KEYS = ("system", "instructions", "messages", "input", "prompt", "tools", "functions")
_TEXT_KEYS = ("content", "text", "input_text", "prompt", "instructions", "input", "system")


class ServerState:
    """State between requests: cached prompts, stored responses, rejected first attempts."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._prefixes: set[bytes] = set()
        self._responses: dict[str, int] = {}
        self._rejected: set[bytes] = set()

    def is_cached(self, prefix: bytes) -> bool:
        """Whether this prefix of a prompt is cached. It is from now on."""
        with self._lock:
            is_cached = prefix in self._prefixes
            self._prefixes.add(prefix)
            return is_cached

    def store_response(self, response_id: str, tokens: int) -> None:
        """Store the size of a response's context, for `previous_response_id`."""
        with self._lock:
            self._responses[response_id] = tokens

    def stored_tokens(self, response_id: str) -> int | None:
        """Tokens of a stored response's context, or None if there is no such response."""
        with self._lock:
            return self._responses.get(response_id)

    def is_first_attempt(self, identity: bytes) -> bool:
        """True for the first of each two identical requests."""
        with self._lock:
            if identity in self._rejected:
                self._rejected.remove(identity)
                return False
            self._rejected.add(identity)
            return True


@dataclass(frozen=True)
class ProviderRequest:
    """One request. `body` is its JSON, `model` the model (or Azure deployment) it asks for, `key` its API key."""

    provider: ProviderName
    operation: Operation
    path: str
    headers: Mapping[str, str]
    raw: bytes
    body: Mapping[str, Any]
    model: str
    key: str
    behaviour: ModelBehaviour
    request_id: str
    state: ServerState
    canary: str | None = None
    query: Mapping[str, str] = field(default_factory=dict)

    def has_marker(self, marker: str) -> bool:
        """Whether the model's name contains this marker."""
        return marker in self.behaviour.markers

    @property
    def streamed(self) -> bool:
        """Whether a stream is requested."""
        return self.body.get("stream") is True

    @property
    def attempt(self) -> int:
        """The number of earlier attempts, from the header that both vendors' clients send."""
        count = self.headers.get("x-stainless-retry-count", "0")
        return int(count) if count.isdigit() else 0

    @cached_property
    def prompt(self) -> bytes:
        """All fields that cost input tokens, in a canonical form."""
        fields = {key: self.body[key] for key in _PROMPT_KEYS if key in self.body}
        return json.dumps(fields, sort_keys=True).encode()

    @cached_property
    def seed(self) -> bytes:
        """Determines all generated values, so that the same request always gets the same response."""
        return sha256(self.behaviour.response_model.encode() + b"\0" + self.prompt).digest()

    @cached_property
    def text(self) -> str:
        """The last text of the prompt, which errors and responses quote, or an empty text."""
        found = [text for key in ("prompt", "input", "messages") if key in self.body for text in texts(self.body[key])]
        return found[-1] if found else ""


def texts(part: object) -> Iterator[str]:
    """Every text in a message, a content part or a list of them."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, Mapping):
        for key in _TEXT_KEYS:
            if key in part:
                yield from texts(part[key])
    elif isinstance(part, Sequence):
        for item in part:
            yield from texts(item)
