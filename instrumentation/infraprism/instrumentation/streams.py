"""Observe a stream of the client package, in place.

The stream remains the object of the package. Only its iterator is replaced, by one that reports every chunk to the call
and yields it unchanged. Order, exceptions and the end of the stream are those of the original iterator.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from time import time_ns
from typing import Any

from infraprism.instrumentation.llm_call import LLMCall
from infraprism.instrumentation.proxies import Proxy, proxy_class_for
from infraprism.instrumentation.response_body import observe_open_response, stop_decoding


def observe_stream(call: LLMCall, stream: Any) -> None:
    """Report every chunk of `stream` to `call`, and end the call with the stream: exhausted, failed or abandoned.

    A stream without the iterator attribute that all streams of the package have is observed by the bytes it reads.
    """
    response = stream.response
    if not response.is_closed:
        observe_open_response(call, response)
    source: Any = getattr(stream, "_iterator", None)  # not public; the same in every version
    if hasattr(source, "__anext__"):
        proxy_class = proxy_class_for(_AsyncIteratorProxy, type(source))
        stream._iterator = proxy_class(source, call, response)  # noqa: SLF001 - see above
    elif hasattr(source, "__next__"):
        chunks: Any = _observed_chunks(source, call, response)
        chunks.__name__ = getattr(source, "__name__", chunks.__name__)
        chunks.__qualname__ = getattr(source, "__qualname__", chunks.__qualname__)
        stream._iterator = chunks  # noqa: SLF001 - see above


def _observed_chunks(source: Iterator[Any], call: LLMCall, response: Any) -> Generator[Any, None, None]:
    stop_decoding(response)
    on_chunk, waits_for_usage = call.on_chunk, call.waits_for_usage
    call.client_is_reading = True
    try:
        for chunk in source:
            # A method call for each chunk is half of the cost of observing a stream. Most chunks need none.
            try:
                # Read from the dictionary: a look-up of the attribute searches all base classes, and can evict entries
                # of Python's type cache that the client's own look-ups use.
                if waits_for_usage and chunk.__dict__["usage"] is None:
                    call.last_chunk_ns = time_ns()
                    call.last_chunk = chunk
                else:
                    on_chunk(chunk)
                    waits_for_usage = call.waits_for_usage
            except Exception:  # noqa: BLE001 - an object of another class
                on_chunk(chunk)
            call.client_is_reading = False
            yield chunk
            call.client_is_reading = True
    except GeneratorExit:
        call.abandon()
        raise
    except BaseException as error:
        call.fail(error)
        raise
    finally:
        # This generator may have been closed, or an exception thrown into it: then close the original at once too.
        if (close := getattr(source, "close", None)) is not None:
            close()
    call.stop()


class _AsyncIteratorProxy(Proxy):
    """`_observed_chunks` for asynchronous streams.

    It is an iterator, not a generator: an unfinished asynchronous generator would be one more for the event loop to
    finalize. The other methods of generators (`aclose`, `asend`, `athrow`) are delegated to the original.
    """

    __slots__ = ("_call", "_response", "_started")

    def __init__(self, source: AsyncIterator[Any], call: LLMCall, response: Any) -> None:
        super().__init__(source)
        self._call = call
        self._response = response
        # One attribute for everything that each chunk needs.
        self._started: tuple[LLMCall, Callable[[], Awaitable[Any]]] | None = None

    def __aiter__(self) -> AsyncIterator[object]:
        return self

    async def __anext__(self) -> Any:
        call, next_chunk = self._started or self._begin_reading()
        call.client_is_reading = True
        try:
            chunk = await next_chunk()
        except StopAsyncIteration:
            call.stop()
            raise
        except BaseException as error:
            call.fail(error)
            raise
        try:  # as in `_observed_chunks`
            if call.waits_for_usage and chunk.__dict__["usage"] is None:
                call.last_chunk_ns = time_ns()
                call.last_chunk = chunk
            else:
                call.on_chunk(chunk)
        except Exception:  # noqa: BLE001 - an object of another class
            call.on_chunk(chunk)
        call.client_is_reading = False
        return chunk

    def _begin_reading(self) -> tuple[LLMCall, Callable[[], Awaitable[Any]]]:
        stop_decoding(self._response)
        self._started = self._call, self._original.__anext__
        return self._started

    def __del__(self) -> None:
        """Abandon the call when the stream is dropped. The original may live until the event loop has closed it.

        An iterator that was never advanced does not abandon it: older packages create a second stream of the response.
        """
        if self._started is not None:
            self._call.abandon()
