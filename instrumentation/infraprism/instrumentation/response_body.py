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
from infraprism.instrumentation.proxies import Proxy, like

MAX_ANSWER_BYTES: Final = 32 * 2**20
"""A whole answer beyond this is not decoded a second time; its usage stays unknown."""
MAX_LINE_BYTES: Final = 4 * 2**20
"""A line of a stream beyond this is not held to look for its usage."""
_MAX_TRIES: Final = 8
_BYTE_STREAMS: Final = ("SyncByteStream", "AsyncByteStream")
"""By these classes httpx tells which kind of byte stream it has."""


def follow(call: Call, response: Any) -> None:
    """Tell `call` of the usage that the body of this httpx response holds, and end it with the body."""
    if not response.is_closed:
        watch(call, response)
        return
    search = _search(call, response.headers, live=False)
    search.feed(response.content)
    search.end()
    call.answered()


def watch(call: Call, response: Any) -> None:
    """Tell `call` when this open httpx response is closed, and of all that is read of it past the package's stream."""
    watched = _Watch(call, response.headers)
    # httpx decodes the transfer (gzip and the like) in this object, for reading in whatever way, sync or async.
    decoder, stream = response._get_content_decoder(), response.stream  # noqa: SLF001 - no public place
    response._decoder = like(_Decoder, type(decoder))(decoder, watched)  # noqa: SLF001 - see above
    response.stream = like(_Body, type(stream), _BYTE_STREAMS)(stream, watched)


def read_by_package(response: Any) -> None:
    """From here on the package's own stream reads this body, once and to its end: its bytes need no second look."""
    try:
        decoder = response.__dict__.get("_decoder")
        if isinstance(decoder, _Decoder):
            response._decoder = decoder._original  # noqa: SLF001 - no public place
    except Exception:  # noqa: BLE001 - rule: no error of ours reaches the application
        swallow("bodies.read_by_package")


def _search(call: Call, headers: Any, *, live: bool) -> _Search:
    content_type = headers.get("content-type", "json")
    if content_type.startswith("text/event-stream"):
        return _Events(call, live=live)
    return _Answer(call) if "json" in content_type or content_type.startswith("text/") else _Nothing()


class _Nothing:
    """Looks for nothing in a body that is neither JSON nor server-sent events."""

    def feed(self, piece: bytes) -> None:
        pass

    def end(self) -> None:
        pass


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


_Search = _Answer | _Events | _Nothing


class _Watch:
    """A call, and the search of the body that it gets its answer in, which is made once somebody reads that.

    `decoded`: whether the decoder was given the piece that came over the wire last.
    """

    __slots__ = ("_headers", "_search", "call", "decoded")

    def __init__(self, call: Call, headers: Any) -> None:
        self.call = call
        self._headers = headers
        self._search: _Search | None = None
        self.decoded = False

    def feed(self, piece: bytes) -> None:
        if self._search is None:
            self._search = _search(self.call, self._headers, live=True)
        self._search.feed(piece)

    def passed(self, piece: bytes) -> None:
        """See a piece as it came over the wire, after the application had it: only where nobody decoded it.

        Whoever reads a response raw, as `iter_raw` does, and had it compressed, decodes it out of our sight.
        """
        decoded, self.decoded = self.decoded, False
        if decoded or self.call.reading:
            return
        try:
            if self._headers.get("content-encoding", "identity") == "identity":
                self.feed(piece)
        except Exception:  # noqa: BLE001 - rule: no error of ours reaches the application
            swallow("bodies.raw")

    def end(self) -> None:
        if self._search is not None:
            self._search.end()


class _Decoder(Proxy):
    """Stands before httpx's content decoder and shows what comes out of it: bytes, or in httpx2 pieces of bytes."""

    __slots__ = ("_watch",)

    def __init__(self, decoder: Any, watch: _Watch) -> None:
        super().__init__(decoder)
        self._watch = watch

    def decode(self, data: bytes) -> bytes | Iterator[bytes]:
        self._watch.decoded = True
        decoded: bytes | Iterator[bytes] = self._original.decode(data)
        return decoded if self._watch.call.reading else self._shown(decoded)

    def flush(self) -> bytes | Iterator[bytes]:
        decoded: bytes | Iterator[bytes] = self._original.flush()
        return decoded if self._watch.call.reading else self._shown(decoded)

    def _shown(self, decoded: bytes | Iterator[bytes]) -> bytes | Iterator[bytes]:
        return self._piece(decoded) if isinstance(decoded, bytes) else map(self._piece, decoded)

    def _piece(self, piece: bytes) -> bytes:
        try:
            self._watch.feed(piece)
        except Exception:  # noqa: BLE001 - rule: no error of ours reaches the application
            swallow("bodies.decoder")
        return piece


class _Body(Proxy):
    """Stands before the byte stream of a response: tells the call when it is closed, or fails while it is read."""

    __slots__ = ("_watch",)

    def __init__(self, stream: Any, watch: _Watch) -> None:
        super().__init__(stream)
        self._watch = watch

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._original) if self._watch.call.reading else self._watched()

    def __aiter__(self) -> AsyncIterator[bytes]:
        chunks: AsyncIterator[bytes] = self._original.__aiter__()
        return chunks if self._watch.call.reading else self._watched_async(chunks)

    def _watched(self) -> Iterator[bytes]:
        pieces = iter(self._original)
        try:
            for piece in pieces:
                try:
                    yield piece
                finally:
                    self._watch.passed(piece)
        except GeneratorExit:
            raise
        except BaseException as error:
            self._watch.call.failed(error)
            raise
        finally:
            if (close := getattr(pieces, "close", None)) is not None:
                close()

    async def _watched_async(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        try:
            async for piece in chunks:
                try:
                    yield piece
                finally:
                    self._watch.passed(piece)
        except GeneratorExit:
            raise
        except BaseException as error:
            self._watch.call.failed(error)
            raise
        finally:
            if (close := getattr(chunks, "aclose", None)) is not None:
                await close()

    def close(self) -> None:
        try:
            self._original.close()
        finally:
            self._closed()

    async def aclose(self) -> None:
        try:
            await self._original.aclose()
        finally:
            self._closed()

    def _closed(self) -> None:
        if self._watch.call.reading:
            return
        try:
            self._watch.end()
        except Exception:  # noqa: BLE001 - rule: no error of ours reaches the application
            swallow("bodies.closed")
        self._watch.call.abandoned()
