"""OTLP/gRPC: `opentelemetry.proto.collector.trace.v1.TraceService/Export`."""

from __future__ import annotations

from typing import Any, Final, Never

import grpc  # type: ignore[import-untyped]  # the package has no types
import grpc.aio  # type: ignore[import-untyped]  # as above

from infraprism.backend.ingest import otlp_responses
from infraprism.backend.ingest.receiver import MAX_BODY_BYTES, Receiver
from infraprism.backend.ingest.rejections import RejectedError, Rejection

_SERVICE: Final = "opentelemetry.proto.collector.trace.v1.TraceService"
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
_MAX_CONCURRENT: Final = 256


def server(receiver: Receiver) -> grpc.aio.Server:
    """The server, not yet bound to an address."""

    async def export(body: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        try:
            metadata: Any = context.invocation_metadata() or ()
            account = receiver.authenticate(next((value for key, value in metadata if key == "authorization"), None))
            with receiver.reservation(account) as reservation:
                reservation.add(len(body))
                rejected = await receiver.receive(account, body, reservation, encoding="protobuf", compressed=False)
        except RejectedError as error:
            await _abort(context, error.rejection)
        return otlp_responses.success(rejected).SerializeToString()

    # Without a deserializer the handler gets the request as bytes, which the SQL statement reads.
    handler = grpc.unary_unary_rpc_method_handler(export)
    created = grpc.aio.server(
        options=(("grpc.max_receive_message_length", MAX_BODY_BYTES), ("grpc.so_reuseport", 0)),
        maximum_concurrent_rpcs=_MAX_CONCURRENT,
    )
    created.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, {"Export": handler}),))
    return created


async def _abort(context: grpc.aio.ServicerContext[bytes, bytes], rejection: Rejection) -> Never:
    details = otlp_responses.failure(rejection).SerializeToString()
    await context.abort(_CODES[rejection.grpc_code], rejection.message, (("grpc-status-details-bin", details),))
    raise AssertionError("abort raises")
