"""Follow the body of an HTTP response that the application reads itself, or that was read already.

`with_raw_response`, `with_streaming_response` and their like give the application bytes. Of them only the usage is
decoded, within bounds, and nothing is kept.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any, Final

from infraprism.instrumentation.call import Call, swallow

MAX_ANSWER_BYTES: Final = 32 * 2**20
"""A whole answer beyond this is not decoded a second time; its usage stays unknown."""
MAX_LINE_BYTES: Final = 4 * 2**20
"""A line of a stream beyond this is not held to look for its usage."""
_MAX_TRIES: Final = 8


def follow(call: Call, response: Any) -> None:
    """Tell `call` of the usage that the body of this httpx response holds, and of the body's end."""
    streamed = response.headers.get("content-type", "").startswith("text/event-stream")
    decode = _Events(call, live=not response.is_closed) if streamed else _Answer(call)
    if response.is_closed:
        decode.feed(response.content)
        decode.end()
        call.answered()
        return
    # httpx decodes the transfer (gzip and the like) in this object, for reading in whatever way, sync or async.
    response._decoder = _Decoder(response._get_content_decoder(), decode)  # noqa: SLF001 - there is no public place
    response.stream = _observed(type(response.stream), _ReadBody)(response.stream, call, decode)


def watch_close(call: Call, response: Any) -> None:
    """Tell `call` when this httpx response is closed, by whatever route."""
    response.stream = _observed(type(response.stream), _Body)(response.stream, call, None)


class _Answer:
    """Collects a JSON answer that is read in pieces, and decodes it once."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._pieces: list[bytes] = []
        self._room = MAX_ANSWER_BYTES

    def feed(self, piece: bytes) -> None:
        self._room -= len(piece)
        if self._room >= 0:
            self._pieces.append(piece)
        else:
            self._pieces.clear()

    def end(self) -> None:
        if self._pieces and self._room >= 0:
            with suppress(ValueError):  # not read to its end, or no JSON: no usage was reported
                self._call.answer(json.loads(b"".join(self._pieces)))
        self._pieces.clear()


class _Events:
    """Finds, in server-sent events that are read in pieces of any size, the few that may tell something.

    `live` is False where the whole stream was there at once, so that its time says nothing.
    """

    def __init__(self, call: Call, *, live: bool) -> None:
        self._call = call
        self._live = live
        self._pieces: list[bytes] = []
        self._room = MAX_LINE_BYTES
        self._tries = _MAX_TRIES

    def feed(self, piece: bytes) -> None:
        if self._live:
            self._call.bytes_arrived()
        start = 0
        while (end := piece.find(b"\n", start)) >= 0:
            self._hold(piece[start:end])
            self.end()
            start = end + 1
        self._hold(piece[start:])

    def _hold(self, piece: bytes) -> None:
        self._room -= len(piece)
        if self._room >= 0 and piece:
            self._pieces.append(piece)

    def end(self) -> None:
        line = b"".join(self._pieces) if self._room >= 0 else b""
        self._pieces.clear()
        self._room = MAX_LINE_BYTES
        if line.startswith(b"data:") and self._may_tell(line):
            with suppress(ValueError):  # the end mark of a stream, for example
                self._call.line(json.loads(line[len(b"data:") :]), live=self._live)

    def _may_tell(self, line: bytes) -> bool:
        # The first events name the model; errors begin with the word. All others pass without being decoded.
        if b'"usage"' in line or b'"error"' in line[:64]:
            return True
        self._tries -= 1
        return self._tries >= 0 and not self._call.knows_something


class _Decoder:
    """Stands before httpx's content decoder and shows what comes out of it."""

    def __init__(self, decoder: Any, seen: _Answer | _Events) -> None:
        self._decoder = decoder
        self._seen = seen

    def decode(self, data: bytes) -> bytes:
        return self._show(self._decoder.decode(data))

    def flush(self) -> bytes:
        return self._show(self._decoder.flush())

    def _show(self, decoded: bytes) -> bytes:
        try:
            if decoded:
                self._seen.feed(decoded)
        except Exception:  # noqa: BLE001 - rule: no error of ours reaches the application
            swallow("bodies.decoder")
        return decoded

    def __getattr__(self, name: str) -> Any:
        return _of(self, "_decoder", name)


class _Body:
    """Stands before the byte stream of a response and tells the call when it is closed."""

    def __init__(self, stream: Any, call: Call, seen: _Answer | _Events | None) -> None:
        self._stream = stream
        self._call = call
        self._seen = seen

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._stream)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream.__aiter__()  # type: ignore[no-any-return]

    def close(self) -> None:
        try:
            self._stream.close()
        finally:
            self._closed()

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            self._closed()

    def _closed(self) -> None:
        try:
            if self._seen is not None:
                self._seen.end()
        except Exception:  # noqa: BLE001 - rule: no error of ours reaches the application
            swallow("bodies.closed")
        self._call.closed()

    def __getattr__(self, name: str) -> Any:
        return _of(self, "_stream", name)


class _ReadBody(_Body):
    """The same where the application reads the bytes: also tells the call of a failure while reading."""

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except GeneratorExit:
            raise
        except BaseException as error:
            self._call.failed(error)
            raise

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = self._stream.__aiter__()
        try:
            async for chunk in chunks:
                yield chunk
        except GeneratorExit:
            raise
        except BaseException as error:
            self._call.failed(error)
            raise
        finally:
            if (close := getattr(chunks, "aclose", None)) is not None:
                await close()


def _of(holder: object, inner: str, name: str) -> Any:
    # Through the dictionary: copying asks an object without any fields yet.
    if inner in holder.__dict__:
        return getattr(holder.__dict__[inner], name)
    raise AttributeError(name)


def _observed(stream: type, observer: type[_Body]) -> type[Any]:
    """A class of `observer` that httpx takes for the kind of byte stream that `stream` is."""
    made = _made.get((stream, observer))
    if made is None:
        kinds = [base for base in stream.__mro__ if base.__name__ in ("SyncByteStream", "AsyncByteStream")]
        made = _made[stream, observer] = type(observer.__name__, (observer, *kinds), {})
    return made


_made: Final[dict[tuple[type, type], type[Any]]] = {}
