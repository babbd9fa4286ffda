"""OTLP/gRPC: `opentelemetry.proto.collector.trace.v1.TraceService/Export`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, Final, Never

import grpc  # type: ignore[import-untyped]  # the package has no types
import grpc.aio  # type: ignore[import-untyped]  # as above

from infraprism.backend.accounts import Account
from infraprism.backend.accounts.accounts import only_header
from infraprism.backend.ingest import otlp_responses
from infraprism.backend.ingest.batch_writer import RejectedSpans
from infraprism.backend.ingest.receiver import MAX_BODY_BYTES, Receiver
from infraprism.backend.ingest.rejections import BUSY, TOO_SLOW, UNREADABLE, RejectedError, Rejection
from infraprism.backend.limits import Limits

_SERVICE: Final = "opentelemetry.proto.collector.trace.v1.TraceService"
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
_CALLS_OF_ONE_CONNECTION: Final = 1024
_MIN_PING_INTERVAL_MS: Final = 10_000
_MAX_PING_STRIKES: Final = 2

Context = Any  # grpc.aio.ServicerContext has no types


def server(receiver: Receiver, limits: Limits) -> grpc.aio.Server:
    """The server, not yet bound to an address."""
    calls = _Calls(receiver, limits)
    # A stream of one message, which is the same on the wire as a single message. The handler of a single message would
    # be called when that is complete, so that a client without a key could send a large one, or none at all.
    handler = grpc.stream_unary_rpc_method_handler(calls.export)
    created = grpc.aio.server(
        options=(
            ("grpc.max_receive_message_length", MAX_BODY_BYTES),
            ("grpc.so_reuseport", 0),
            ("grpc.max_concurrent_streams", _CALLS_OF_ONE_CONNECTION),
            ("grpc.max_allowed_incoming_connections", limits.grpc_connection_limit()),
            ("grpc.server_handshake_timeout_ms", round(limits.grpc_handshake_timeout_s * 1000)),
            ("grpc.max_connection_idle_ms", round(limits.grpc_idle_timeout_s * 1000)),
            ("grpc.http2.min_ping_interval_without_data_ms", _MIN_PING_INTERVAL_MS),
            ("grpc.http2.max_ping_strikes", _MAX_PING_STRIKES),
        ),
    )
    created.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, {"Export": handler}),))
    return created


class _Calls:
    """Handles the calls. The key is checked before a message is read."""

    def __init__(self, receiver: Receiver, limits: Limits) -> None:
        self._receiver = receiver
        self._limits = limits
        self._number = 0
        self._unread: dict[asyncio.Timeout, None] = {}

    async def export(self, messages: AsyncIterator[bytes], context: Context) -> bytes:
        """Handle one call."""
        try:
            rejected = await self._receive(messages, context)
        except RejectedError as error:
            await _abort(context, error.rejection)
        return otlp_responses.success(rejected).SerializeToString()

    async def _receive(self, messages: AsyncIterator[bytes], context: Context) -> RejectedSpans:
        metadata: Any = context.invocation_metadata() or ()
        account = self._receiver.authenticate(only_header([value for key, value in metadata if key == "authorization"]))
        with self._counted():
            body = await self._message(messages)
            return await self._store(account, body)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        if self._number >= self._limits.grpc_calls:
            raise RejectedError(BUSY)
        self._number += 1
        try:
            yield
        finally:
            self._number -= 1

    async def _message(self, messages: AsyncIterator[bytes]) -> bytes:
        """The only message of a call. Raises RejectedError."""
        timeout = asyncio.timeout(self._limits.grpc_message_timeout_s)
        try:
            async with timeout:
                self._unread[timeout] = None
                if len(self._unread) > self._limits.grpc_unread_calls:
                    # The oldest is ended: a call without a message must not keep others from sending theirs.
                    next(iter(self._unread)).reschedule(asyncio.get_running_loop().time())
                body = await anext(messages, b"")
                if await anext(messages, None) is not None:
                    raise RejectedError(UNREADABLE)
                return body
        except TimeoutError:
            raise RejectedError(TOO_SLOW) from None
        finally:
            self._unread.pop(timeout, None)

    async def _store(self, account: Account, body: bytes) -> RejectedSpans:
        with self._receiver.reservation(account) as reservation:
            reservation.add(len(body))
            return await self._receiver.receive(account, body, reservation, encoding="protobuf", compressed=False)


async def _abort(context: Context, rejection: Rejection) -> Never:
    details = otlp_responses.failure(rejection).SerializeToString()
    await context.abort(_CODES[rejection.grpc_code], rejection.message, (("grpc-status-details-bin", details),))
    raise AssertionError("abort raises")
