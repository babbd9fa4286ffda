"""Request the usage of streams that report it only on request, and hide from the application what that adds.

Chat completions and completions report usage in a stream only if the request has `stream_options.include_usage`. The
provider then sends one more chunk, with usage and without choices, and in OpenAI's API a `usage` of null in each other
chunk (https://platform.openai.com/docs/api-reference/chat/create). Both are removed from the bytes of the response,
below the HTTP library, so that each way to read the stream returns what it would return without us.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from copy import copy
from ipaddress import ip_address
from itertools import chain
from typing import Any, Final

from infraprism.instrumentation.llm_call import LLMCall, record_internal_error
from infraprism.instrumentation.proxies import Proxy, proxy_class_for
from infraprism.schema.settings import boolean

VARIABLE: Final = "INFRAPRISM_STREAM_USAGE"
_OPTIONS: Final = "stream_options"
_INCLUDE: Final = "include_usage"
_OPENAI: Final = "api.openai.com"
_AZURE: Final = ".openai.azure.com"
_AZURE_V1_PATH: Final = "/openai/v1"
"""Azure's versioned API rejects the parameter in its older versions; the v1 API accepts it."""
_NULL_USAGE: Final = re.compile(rb',\s*"usage"\s*:\s*null(?=\s*[,}])|"usage"\s*:\s*null\s*,')
_BYTE_STREAMS: Final = ("SyncByteStream", "AsyncByteStream")


def enabled() -> bool:
    """Whether the environment asks for it."""
    return boolean(VARIABLE)


def requests_usage(options: Any) -> bool | None:
    """What the application's request sets for `include_usage`; None if it does not set it."""
    value = _stream_options(options).get(_INCLUDE)
    return None if value is None else value is True


def accepts_request(server: Any) -> bool:
    """Whether the server of this URL accepts the parameter: OpenAI, Azure's v1 API, and servers in a private network.

    Others may reject a request that has it, so their requests remain unchanged.
    """
    host = str(getattr(server, "host", None) or getattr(server, "hostname", None) or "").lower().strip("[]")
    if host == _OPENAI or host.endswith(f".{_OPENAI}"):
        return True
    if host.endswith(_AZURE):
        return str(server.path).startswith(_AZURE_V1_PATH)
    try:
        return ip_address(host).is_private
    except ValueError:
        return bool(host) and "." not in host


def with_usage(options: Any) -> Any:
    """Options of the same request that ask for usage. Nothing of the application's own objects is changed."""
    changed = copy(options)
    stream_options = {**_stream_options(options), _INCLUDE: True}
    if _OPTIONS in _mapping(options.extra_json):
        changed.extra_json = {**options.extra_json, _OPTIONS: stream_options}
    else:
        changed.json_data = {**_mapping(options.json_data), _OPTIONS: stream_options}
    return changed


def _stream_options(options: Any) -> Mapping[str, Any]:
    """The package merges `extra_json` over `json_data`, one level deep."""
    extra = _mapping(options.extra_json)
    return _mapping(extra[_OPTIONS] if _OPTIONS in extra else _mapping(options.json_data).get(_OPTIONS))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def hide_usage(call: LLMCall, response: Any) -> None:
    """Remove the requested usage from the body of this httpx response, and report it to `call`."""
    if not response.headers.get("content-type", "").startswith("text/event-stream"):
        return
    events = UsageFilter(call.on_response)
    if response.is_closed:
        if hasattr(response, "_content"):  # a transport that returns complete responses, such as that of a mock
            response._content = events.feed(response.content) + events.flush()  # noqa: SLF001 - no public access
    elif response.headers.get("content-encoding", "identity") == "identity":
        stream = response.stream
        response.stream = proxy_class_for(_FilteredStream, type(stream), _BYTE_STREAMS)(stream, events)
    else:
        # A compressed body can be filtered only after decoding, so `iter_raw` returns it as it was received.
        decoder = response._get_content_decoder()  # noqa: SLF001 - see above
        response._decoder = proxy_class_for(_FilteredDecoder, type(decoder))(decoder, events)  # noqa: SLF001


class UsageFilter:
    """Removes what the parameter adds to server-sent events, in data split at any byte.

    `on_usage` gets each removed chunk, decoded. At most the line that is not complete yet is held back.
    """

    def __init__(self, on_usage: Callable[[object], None]) -> None:
        self._on_usage = on_usage
        self._parts: list[bytes] = []
        self._removes_blank_line = False

    def feed(self, data: bytes) -> bytes:
        """The data without what was added; empty if nothing is left of it."""
        if b"\n" not in data:
            self._parts.append(data)
            return b""
        self._parts.append(data)
        lines = b"".join(self._parts).split(b"\n")
        self._parts = [lines.pop()]
        return b"".join(self._filtered(line + b"\n") for line in lines)

    def flush(self) -> bytes:
        """The rest, at the end of the body."""
        rest = b"".join(self._parts)
        self._parts = []
        return self._filtered(rest)

    def _filtered(self, line: bytes) -> bytes:
        removes, self._removes_blank_line = self._removes_blank_line, False
        if removes and not line.strip():
            return b""
        if b'"usage"' not in line or not line.startswith(b"data:"):
            return line
        try:
            if len(_NULL_USAGE.findall(line)) == 1:
                return _NULL_USAGE.sub(b"", line)
            if self._is_added(line):
                self._removes_blank_line = True
                return b""
        except Exception:  # noqa: BLE001 - rule: no internal error reaches the application
            record_internal_error("stream_usage.filter")
        return line

    def _is_added(self, line: bytes) -> bool:
        with suppress(ValueError):
            chunk = json.loads(line[len(b"data:") :])
            if isinstance(chunk, dict) and chunk.get("choices") == [] and isinstance(chunk.get("usage"), dict):
                self._on_usage(chunk)
                return True
        return False


class _FilteredStream(Proxy):
    """Proxy of a response's byte stream with filtered bytes."""

    __slots__ = ("_events",)

    def __init__(self, stream: Any, events: UsageFilter) -> None:
        super().__init__(stream)
        self._events = events

    def __iter__(self) -> Iterator[bytes]:
        return _FilteredBytes(iter(self._original), self._events)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _FilteredAsyncBytes(self._original.__aiter__(), self._events)

    def close(self) -> None:
        self._original.close()

    async def aclose(self) -> None:
        await self._original.aclose()


class _FilteredBytes:
    """Filtered bytes. What was held back when the original ends or fails comes first, then its end or error.

    A cancellation is raised at once.
    """

    def __init__(self, source: Iterator[bytes], events: UsageFilter) -> None:
        self._source = source
        self._events = events
        self._ended: Exception | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._ended is not None:
            raise self._ended
        while True:
            try:
                data = self._events.feed(next(self._source))
            except Exception as error:
                data = self._events.flush()
                if not data:
                    raise
                self._ended = error
            if data:
                return data

    def close(self) -> None:
        if (close := getattr(self._source, "close", None)) is not None:
            close()


class _FilteredAsyncBytes:
    """`_FilteredBytes` for asynchronous streams."""

    def __init__(self, source: AsyncIterator[bytes], events: UsageFilter) -> None:
        self._source = source
        self._events = events
        self._ended: Exception | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._ended is not None:
            raise self._ended
        while True:
            try:
                data = self._events.feed(await self._source.__anext__())
            except Exception as error:
                data = self._events.flush()
                if not data:
                    raise
                self._ended = error
            if data:
                return data

    async def aclose(self) -> None:
        if (close := getattr(self._source, "aclose", None)) is not None:
            await close()


class _FilteredDecoder(Proxy):
    """Proxy of httpx's content decoder with filtered output: bytes, or in httpx2 an iterator of bytes."""

    __slots__ = ("_events",)

    def __init__(self, decoder: Any, events: UsageFilter) -> None:
        super().__init__(decoder)
        self._events = events

    def decode(self, data: bytes) -> bytes | Iterator[bytes]:
        decoded: bytes | Iterator[bytes] = self._original.decode(data)
        return self._events.feed(decoded) if isinstance(decoded, bytes) else map(self._events.feed, decoded)

    def flush(self) -> bytes | Iterator[bytes]:
        decoded: bytes | Iterator[bytes] = self._original.flush()
        if isinstance(decoded, bytes):
            return self._events.feed(decoded) + self._events.flush()
        return chain(map(self._events.feed, decoded), (self._events.flush() for _ in range(1)))
