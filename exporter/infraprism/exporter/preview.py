"""Shows each event exactly as it would leave: the bytes made for the wire, read back and printed as OTLP/JSON."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import Final

from infraprism.schema.delivery_stats import DeliveryStats

_IDS: Final = ("traceId", "spanId")


class Preview:
    """An outlet that prints one line of JSON per event, and sends nothing.

    It prints on stderr, since stdout belongs to the application and may be its result.
    """

    def __init__(self, delivery_stats: DeliveryStats) -> None:
        self._delivery_stats = delivery_stats
        self._lock = threading.Lock()

    def add(self, spans: Sequence[bytes]) -> None:
        """Print spans made by `encoder.span_bytes`."""
        try:
            lines = "".join(as_json(span) + "\n" for span in spans)
            with self._lock:
                sys.stderr.write(lines)
                sys.stderr.flush()
        except (OSError, ValueError, AttributeError):
            # stderr may be closed, broken, unable to write a character, or not there at all.
            self._delivery_stats.error("exporter.preview")
        self._delivery_stats.end("dropped", "preview", len(spans))

    def flush(self, timeout_s: float) -> bool:  # noqa: ARG002  # an outlet's signature
        """All is printed already."""
        return True

    def stop(self, timeout_s: float) -> None:
        """Nothing is left to do."""


def as_json(span: bytes) -> str:
    """The OTLP/JSON of one span made by `encoder.span_bytes`: ids in hex, enums as numbers, integers as text."""
    import json  # noqa: PLC0415  # a preview is no normal run
    from base64 import b64decode  # noqa: PLC0415

    from google.protobuf.json_format import MessageToDict  # noqa: PLC0415
    from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans  # noqa: PLC0415

    shown = MessageToDict(ScopeSpans.FromString(span).spans[0], use_integers_for_enums=True)
    for name in _IDS:
        shown[name] = b64decode(shown[name]).hex()
    return json.dumps(shown, ensure_ascii=False)
