"""The preview: prints each event as OTLP/JSON, decoded from the bytes that would be sent."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from infraprism.schema.delivery_stats import DeliveryStats
from infraprism.schema.native_threads import Lock

_IDS: Final = ("traceId", "spanId")


class Preview:
    """An event sink that prints one line of JSON per event and sends nothing.

    Prints on stderr, since stdout belongs to the application.
    """

    def __init__(self, delivery_stats: DeliveryStats) -> None:
        self._delivery_stats = delivery_stats
        self._lock = Lock()

    def add(self, spans: Sequence[bytes]) -> None:
        """Print spans made by `span_bytes`."""
        try:
            lines = "".join(as_json(span) + "\n" for span in spans)
            with self._lock:
                sys.stderr.write(lines)
                sys.stderr.flush()
        except (OSError, ValueError, AttributeError):
            # stderr may be closed, broken, None, or unable to encode a character.
            self._delivery_stats.error("exporter.preview")
        self._delivery_stats.end("dropped", "preview", len(spans))

    def flush(self, timeout_s: float) -> bool:  # noqa: ARG002  # the signature of EventSink
        """Return True: every event is printed already."""
        return True

    def stop(self, timeout_s: float) -> None:
        """Do nothing: no event is held."""


def as_json(span: bytes) -> str:
    """The OTLP/JSON of one span made by `span_bytes`: ids in hex, enums as numbers, integers as strings."""
    import json  # noqa: PLC0415  # only a preview needs these
    from base64 import b64decode  # noqa: PLC0415

    from google.protobuf.json_format import MessageToDict  # noqa: PLC0415
    from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans  # noqa: PLC0415

    converted = MessageToDict(ScopeSpans.FromString(span).spans[0], use_integers_for_enums=True)
    for name in _IDS:
        converted[name] = b64decode(converted[name]).hex()
    return json.dumps(converted, ensure_ascii=False)
