"""Observe the body of an HTTP response that the application reads itself, or that was read already.

`with_raw_response`, `with_streaming_response` and similar methods return bytes to the application. Only the usage in
them is decoded, within size limits, and no content is kept.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any, Final

from infraprism.instrumentation.llm_call import LLMCall, record_internal_error
from infraprism.instrumentation.proxies import Proxy, proxy_class_for

MAX_BODY_BYTES: Final = 32 * 2**20
"""A larger JSON body is not decoded a second time, and its usage is unknown."""
MAX_LINE_BYTES: Final = 4 * 2**20
"""A longer line of a stream is not buffered to read its usage."""
_MAX_EVENTS_WITHOUT_MODEL: Final = 8
_BYTE_STREAMS: Final = ("SyncByteStream", "AsyncByteStream")
"""The base classes by which httpx recognises synchronous and asynchronous byte streams."""


def observe_response(call: LLMCall, response: Any) -> None:
    """Report the usage in the body of this httpx response to `call`, and end the call with the body."""
    if not response.is_closed:
        observe_open_response(call, response)
        return
    parser = _parser_for(call, response.headers, live=False)
    parser.feed(response.content)
    parser.end()
    call.stop()


def observe_open_response(call: LLMCall, response: Any) -> None:
    """End `call` when this open httpx response is closed, and report what is read of it other than by the package."""
    observer = _BodyObserver(call, response.headers)
    # httpx decodes the content encoding (gzip and others) with this object, for every way of reading, sync or async.
    decoder, stream = response._get_content_decoder(), response.stream  # noqa: SLF001 - there is no public access
    response._decoder = proxy_class_for(_DecoderProxy, type(decoder))(decoder, observer)  # noqa: SLF001 - see above
    response.stream = proxy_class_for(_ByteStreamProxy, type(stream), _BYTE_STREAMS)(stream, observer)


def stop_decoding(response: Any) -> None:
    """Remove the decoder proxy: the package's stream reads the body from now on, and its chunks are observed."""
    try:
        decoder = response.__dict__.get("_decoder")
        if isinstance(decoder, _DecoderProxy):
            response._decoder = decoder._original  # noqa: SLF001 - there is no public access
    except Exception:  # noqa: BLE001 - rule: no internal error reaches the application
        record_internal_error("response_body.stop_decoding")


def _parser_for(call: LLMCall, headers: Any, *, live: bool) -> _BodyParser:
    content_type = headers.get("content-type", "json")
    if content_type.startswith("text/event-stream"):
        return SSEParser(call, live=live)
    return JSONParser(call) if "json" in content_type or content_type.startswith("text/") else _NoParser()


class _NoParser:
    """Ignores a body that is neither JSON nor server-sent events."""

    def feed(self, data: bytes) -> None:
        pass

    def end(self) -> None:
        pass


class JSONParser:
    """Collects the `parts` of a JSON body, and decodes it once."""

    def __init__(self, call: LLMCall) -> None:
        self._call = call
        self.parts: list[bytes] = []
        self._bytes_available = MAX_BODY_BYTES

    def feed(self, data: bytes) -> None:
        """Add data."""
        self._bytes_available -= len(data)
        if self._bytes_available >= 0:
            self.parts.append(data)
        else:
            self.parts.clear()

    def end(self) -> None:
        """Parse the complete body, and report it to the call."""
        if self.parts and self._bytes_available >= 0:
            with suppress(ValueError):  # incomplete, or no JSON: no usage was reported
                self._call.on_response(json.loads(b"".join(self.parts)))
        self.parts.clear()


class SSEParser:
    """Finds the server-sent events that contain usage, in data split at any byte.

    `live` is False if the complete body was available at once, so that its time is not that of a chunk. `parts` is the
    data of the line that is not complete yet.
    """

    def __init__(self, call: LLMCall, *, live: bool) -> None:
        self._call = call
        self._live = live
        self.parts: list[bytes] = []
        self._bytes_available = MAX_LINE_BYTES
        self._events_without_model = _MAX_EVENTS_WITHOUT_MODEL

    def feed(self, data: bytes) -> None:
        """Add data, and report the events of each complete line to the call."""
        if self._live:
            self._call.on_bytes()
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            self._buffer(data[start:end])
            self._end_line()
            start = end + 1
        self._buffer(data[start:])

    def _buffer(self, data: bytes) -> None:
        self._bytes_available -= len(data)
        if self._bytes_available >= 0 and data:
            self.parts.append(data)

    def end(self) -> None:
        """Report the event of the last line, if it has no line break."""
        self._end_line()

    def _end_line(self) -> None:
        line = b"".join(self.parts) if self._bytes_available >= 0 else b""
        self.parts.clear()
        self._bytes_available = MAX_LINE_BYTES
        if line.startswith(b"data:") and self._may_have_usage(line):
            with suppress(ValueError):  # not JSON, such as the `[DONE]` at the end of a stream
                self._call.on_sse_event(json.loads(line[len(b"data:") :]), live=self._live)

    def _may_have_usage(self, line: bytes) -> bool:
        # The first events contain the model, and errors begin with the word. Other events are not decoded.
        if b'"usage"' in line or b'"error"' in line[:64]:
            return True
        self._events_without_model -= 1
        return self._events_without_model >= 0 and not self._call.attributes


_BodyParser = JSONParser | SSEParser | _NoParser


class _BodyObserver:
    """A call and the parser of its body, which is created when the application first reads the body.

    `decoded`: whether the last chunk that was received was passed to the decoder.
    """

    __slots__ = ("_headers", "_parser", "call", "decoded")

    def __init__(self, call: LLMCall, headers: Any) -> None:
        self.call = call
        self._headers = headers
        self._parser: _BodyParser | None = None
        self.decoded = False

    def feed(self, data: bytes) -> None:
        if self._parser is None:
            self._parser = _parser_for(self.call, self._headers, live=True)
        self._parser.feed(data)

    def on_raw_chunk(self, data: bytes) -> None:
        """Parse a chunk as it was received, after the application processed it, if it was not passed to the decoder.

        An application that reads a compressed response raw, as with `iter_raw`, decodes it itself: it is not parsed.
        """
        decoded, self.decoded = self.decoded, False
        if decoded or self.call.client_is_reading:
            return
        try:
            if self._headers.get("content-encoding", "identity") == "identity":
                self.feed(data)
        except Exception:  # noqa: BLE001 - rule: no internal error reaches the application
            record_internal_error("response_body.on_raw_chunk")

    def end(self) -> None:
        if self._parser is not None:
            self._parser.end()


class _DecoderProxy(Proxy):
    """Proxy of httpx's content decoder that observes its output: bytes, or in httpx2 an iterator of bytes."""

    __slots__ = ("_observer",)

    def __init__(self, decoder: Any, observer: _BodyObserver) -> None:
        super().__init__(decoder)
        self._observer = observer

    def decode(self, data: bytes) -> bytes | Iterator[bytes]:
        self._observer.decoded = True
        decoded: bytes | Iterator[bytes] = self._original.decode(data)
        return decoded if self._observer.call.client_is_reading else self._observed(decoded)

    def flush(self) -> bytes | Iterator[bytes]:
        decoded: bytes | Iterator[bytes] = self._original.flush()
        return decoded if self._observer.call.client_is_reading else self._observed(decoded)

    def _observed(self, decoded: bytes | Iterator[bytes]) -> bytes | Iterator[bytes]:
        return self._feed(decoded) if isinstance(decoded, bytes) else map(self._feed, decoded)

    def _feed(self, data: bytes) -> bytes:
        try:
            self._observer.feed(data)
        except Exception:  # noqa: BLE001 - rule: no internal error reaches the application
            record_internal_error("response_body.decode")
        return data


class _ByteStreamProxy(Proxy):
    """Proxy of a response's byte stream that ends the call when the stream is closed or fails."""

    __slots__ = ("_observer",)

    def __init__(self, stream: Any, observer: _BodyObserver) -> None:
        super().__init__(stream)
        self._observer = observer

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._original) if self._observer.call.client_is_reading else self._observed()

    def __aiter__(self) -> AsyncIterator[bytes]:
        chunks: AsyncIterator[bytes] = self._original.__aiter__()
        return chunks if self._observer.call.client_is_reading else self._observed_async(chunks)

    def _observed(self) -> Iterator[bytes]:
        chunks = iter(self._original)
        try:
            for chunk in chunks:
                try:
                    yield chunk
                finally:
                    self._observer.on_raw_chunk(chunk)
        except GeneratorExit:
            raise
        except BaseException as error:
            self._observer.call.fail(error)
            raise
        finally:
            if (close := getattr(chunks, "close", None)) is not None:
                close()

    async def _observed_async(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        try:
            async for chunk in chunks:
                try:
                    yield chunk
                finally:
                    self._observer.on_raw_chunk(chunk)
        except GeneratorExit:
            raise
        except BaseException as error:
            self._observer.call.fail(error)
            raise
        finally:
            if (close := getattr(chunks, "aclose", None)) is not None:
                await close()

    def close(self) -> None:
        try:
            self._original.close()
        finally:
            self._on_closed()

    async def aclose(self) -> None:
        try:
            await self._original.aclose()
        finally:
            self._on_closed()

    def _on_closed(self) -> None:
        if self._observer.call.client_is_reading:
            return
        try:
            self._observer.end()
        except Exception:  # noqa: BLE001 - rule: no internal error reaches the application
            record_internal_error("response_body.close")
        self._observer.call.abandon()
