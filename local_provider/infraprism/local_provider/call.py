"""A request as the provider understands it, whatever API it came by."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from threading import Lock
from typing import Any

from infraprism.local_provider.behaviour import Behaviour
from infraprism.local_provider.truth import Operation, ProviderName

_PROMPT_KEYS = ("system", "instructions", "messages", "input", "prompt", "tools", "functions")
_TEXT_KEYS = ("content", "text", "input_text", "prompt", "instructions", "input", "system")


class Memory:
    """What a provider remembers between requests: cached prompts, stored responses, refused first attempts."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._prefixes: set[bytes] = set()
        self._responses: dict[str, int] = {}
        self._refused: set[bytes] = set()

    def is_cached(self, prefix: bytes) -> bool:
        """Whether this prefix of a prompt was seen before; from now on it was."""
        with self._lock:
            seen = prefix in self._prefixes
            self._prefixes.add(prefix)
            return seen

    def store_response(self, response_id: str, tokens: int) -> None:
        """Keep a response's context, for `previous_response_id`."""
        with self._lock:
            self._responses[response_id] = tokens

    def stored_tokens(self, response_id: str) -> int | None:
        """Tokens of a stored response's context; None if there is no such response."""
        with self._lock:
            return self._responses.get(response_id)

    def is_first_attempt(self, identity: bytes) -> bool:
        """True for the first of each two requests that are alike."""
        with self._lock:
            if identity in self._refused:
                self._refused.remove(identity)
                return False
            self._refused.add(identity)
            return True


@dataclass(frozen=True)
class Call:
    """One request. `body` is its JSON, `model` the model (or Azure deployment) it asks for, `key` its API key."""

    provider: ProviderName
    operation: Operation
    path: str
    headers: Mapping[str, str]
    raw: bytes
    body: Mapping[str, Any]
    model: str
    key: str
    behaviour: Behaviour
    request_id: str
    memory: Memory
    canary: str | None = None
    query: Mapping[str, str] = field(default_factory=dict)

    def asks(self, marker: str) -> bool:
        """Whether the model's name holds this marker."""
        return marker in self.behaviour.markers

    @property
    def streamed(self) -> bool:
        """Whether the answer is to be streamed."""
        return self.body.get("stream") is True

    @property
    def attempt(self) -> int:
        """How often the client tried this before, as both vendors' clients say."""
        count = self.headers.get("x-stainless-retry-count", "0")
        return int(count) if count.isdigit() else 0

    @cached_property
    def prompt(self) -> bytes:
        """All of the request that costs input tokens, in a canonical form."""
        asked = {key: self.body[key] for key in _PROMPT_KEYS if key in self.body}
        return json.dumps(asked, sort_keys=True).encode()

    @cached_property
    def seed(self) -> bytes:
        """Drives every choice about the answer, so that the same request is always answered alike."""
        return sha256(self.behaviour.answered_by.encode() + b"\0" + self.prompt).digest()

    @cached_property
    def text(self) -> str:
        """The last text of the prompt, as far as there is one: what errors and answers quote."""
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
