"""OTLP/gRPC: `opentelemetry.proto.collector.trace.v1.TraceService/Export`."""

from __future__ import annotations

from typing import Any, Final, Never

import grpc  # type: ignore[import-untyped]  # the package has no types
import grpc.aio  # type: ignore[import-untyped]  # as above

from infraprism.backend.ingest import otlp_responses
from infraprism.backend.ingest.receiver import MAX_BODY_BYTES, Intake
from infraprism.backend.ingest.rejections import Reason, RefusedError

_SERVICE: Final = "opentelemetry.proto.collector.trace.v1.TraceService"
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
_MAX_CONCURRENT: Final = 256


def server(intake: Intake) -> grpc.aio.Server:
    """The server, without an address yet."""

    async def export(body: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        try:
            metadata: Any = context.invocation_metadata() or ()
            account = intake.account(next((value for key, value in metadata if key == "authorization"), None))
            with intake.reservation() as room:
                room.add(len(body))
                rejected = await intake.take(account, body, room, encoding="protobuf", compressed=False)
        except RefusedError as refused:
            await _abort(context, refused.reason)
        return otlp_responses.success(rejected).SerializeToString()

    # Requests stay bytes: the statement reads them as they came.
    handler = grpc.unary_unary_rpc_method_handler(export)
    created = grpc.aio.server(
        options=(("grpc.max_receive_message_length", MAX_BODY_BYTES), ("grpc.so_reuseport", 0)),
        maximum_concurrent_rpcs=_MAX_CONCURRENT,
    )
    created.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, {"Export": handler}),))
    return created


async def _abort(context: grpc.aio.ServicerContext[bytes, bytes], reason: Reason) -> Never:
    details = otlp_responses.failure(reason).SerializeToString()
    await context.abort(_CODES[reason.grpc_code], reason.message, (("grpc-status-details-bin", details),))
    raise AssertionError("abort raises")
