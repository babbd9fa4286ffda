"""Follow a stream of the client package's objects, in place.

The stream stays the package's own object. Only the iterator it draws from is replaced by one that passes every chunk
on untouched and tells the call; order, exceptions and the way it ends are those of the original.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from time import time_ns
from typing import Any

from infraprism.instrumentation.call import Call
from infraprism.instrumentation.proxies import Proxy, like
from infraprism.instrumentation.response_body import read_by_package, watch


def follow(call: Call, stream: Any) -> None:
    """Tell `call` of every chunk of `stream` and of its end, whichever way it ends.

    A stream without the iterator that all of the package's own have is followed by the bytes it reads.
    """
    response = stream.response
    if not response.is_closed:
        watch(call, response)
    source: Any = getattr(stream, "_iterator", None)  # no public name; it is the same in every version
    if hasattr(source, "__anext__"):
        stream._iterator = like(_AsyncChunks, type(source))(source, call, response)  # noqa: SLF001 - see above
    elif hasattr(source, "__next__"):
        chunks: Any = _chunks(source, call, response)
        chunks.__name__ = getattr(source, "__name__", chunks.__name__)
        chunks.__qualname__ = getattr(source, "__qualname__", chunks.__qualname__)
        stream._iterator = chunks  # noqa: SLF001 - see above


def _chunks(source: Iterator[Any], call: Call, response: Any) -> Generator[Any, None, None]:
    read_by_package(response)
    see, waits_for_usage = call.chunk, call.waits_for_usage
    call.reading = True
    try:
        for chunk in source:
            # A call for each chunk is half of what following a stream costs: most chunks are passed on without.
            try:
                # Out of its dictionary: a field of the class is looked up in all of its bases, past Python's memory of
                # what it found there, where chance has it that the client's own look-ups need the same place.
                if waits_for_usage and chunk.__dict__["usage"] is None:
                    call.last_chunk_ns = time_ns()
                else:
                    see(chunk)
                    waits_for_usage = call.waits_for_usage
            except Exception:  # noqa: BLE001 - an object of another class
                see(chunk)
            call.reading = False
            yield chunk
            call.reading = True
    except GeneratorExit:
        call.abandoned()
        raise
    except BaseException as error:
        call.failed(error)
        raise
    finally:
        # Somebody may have closed this one, or thrown into it: then the original ends now, and not some time later.
        if (close := getattr(source, "close", None)) is not None:
            close()
    call.answered()


class _AsyncChunks(Proxy):
    """The same for asynchronous streams.

    A plain iterator and no generator: an unfinished asynchronous generator more would be one more for the event loop
    to finalize. What generators have beyond iteration (`aclose`, `asend`, `athrow`) is the original's.
    """

    __slots__ = ("_begun", "_call", "_response")

    def __init__(self, source: AsyncIterator[Any], call: Call, response: Any) -> None:
        super().__init__(source)
        self._call = call
        self._response = response
        # One field for all that is needed for each chunk.
        self._begun: tuple[Call, Callable[[], Awaitable[Any]]] | None = None

    def __aiter__(self) -> AsyncIterator[object]:
        return self

    async def __anext__(self) -> Any:
        call, draw = self._begun or self._begin()
        call.reading = True
        try:
            chunk = await draw()
        except StopAsyncIteration:
            call.answered()
            raise
        except BaseException as error:
            call.failed(error)
            raise
        try:  # as in `_chunks`
            if call.waits_for_usage and chunk.__dict__["usage"] is None:
                call.last_chunk_ns = time_ns()
            else:
                call.chunk(chunk)
        except Exception:  # noqa: BLE001 - an object of another class
            call.chunk(chunk)
        call.reading = False
        return chunk

    def _begin(self) -> tuple[Call, Callable[[], Awaitable[Any]]]:
        read_by_package(self._response)
        self._begun = self._call, self._original.__anext__
        return self._begun

    def __del__(self) -> None:
        """The stream was dropped; the original may go on living until the event loop has closed it.

        A stream that nobody ever drew from says nothing: older packages make another one of the same response.
        """
        if self._begun is not None:
            self._call.abandoned()
