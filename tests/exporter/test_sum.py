"""Every event has exactly one outcome, whatever the endpoint does, and the delivery stats count it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.kit.events import events
from tests.kit.otlp_sink import OtlpSink, Reply

from infraprism.exporter import InfraPrismSpanExporter, retry_backoff

_REPLIES = st.sampled_from(
    [
        Reply(),
        Reply(),
        Reply(rejected=1),
        Reply(rejected=100),
        Reply(status=400),
        Reply(status=401),
        Reply(status=404),
        Reply(status=413),
        Reply(status=429),
        Reply(status=429, retry_after="0.01"),
        Reply(status=500),
        Reply(status=503),
        Reply(status=503, retry_after="30"),
        Reply(reset=True),
        Reply(body=b"nonsense"),
        Reply(hang_s=0.05),
    ]
)
_STEPS = st.lists(st.one_of(st.integers(1, 30), st.just("flush")), max_size=6)


@pytest.fixture(params=["http/protobuf", "grpc"], scope="module")
def shared_sink(request: pytest.FixtureRequest) -> Iterator[OtlpSink]:
    with OtlpSink(request.param) as opened:
        yield opened


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(replies=st.lists(_REPLIES, max_size=8), steps=_STEPS, queue=st.sampled_from([5, 20, 1000]), spools=st.booleans())
def test_every_event_has_exactly_one_outcome(
    shared_sink: OtlpSink,
    monkeypatch: pytest.MonkeyPatch,
    replies: list[Reply],
    steps: list[int | str],
    queue: int,
    spools: bool,
) -> None:
    monkeypatch.setattr(retry_backoff, "FIRST_WAIT_S", 0.002)
    spooled: list[bytes] = []

    def overflow(spans: Sequence[bytes], _reason: str) -> int:
        spooled.extend(spans)
        return len(spans)

    shared_sink.clear()
    shared_sink.answer_with(*replies)
    exporter = InfraPrismSpanExporter(
        shared_sink.endpoint,
        "ip-key",
        shared_sink.protocol,
        max_queue_events=queue,
        max_batch_events=8,
        max_delay_s=0.001,
        timeout_s=5.0,
        overflow=overflow if spools else None,
    )
    exported = 0
    for step in steps:
        if step == "flush":
            exporter.force_flush(50)
        else:
            exporter.export_events(events(int(step), first=exported + 1))
            exported += int(step)
    exporter.shutdown(timeout_millis=1000)

    counted = exporter.delivery_stats.snapshot()
    assert counted["events"] == {"accepted": exported, "pending": 0}
    assert counted["errors"] == {}
    assert sum(counted["spooled"].values()) == len(spooled)
    accepted = [span.span_id for span in shared_sink.spans()]
    readable = [
        span.span_id
        for request in shared_sink.requests
        if request.taken and request.answered.body is None
        for span in request.spans()
    ]
    # No accepted event is sent again, and every event that is counted as delivered was accepted.
    assert len(readable) == len(set(readable))
    rejected = sum(min(request.answered.rejected, len(request.spans())) for request in shared_sink.requests)
    assert counted["delivered"].get("ok", 0) == len(readable) - rejected
    assert set(accepted) >= set(readable)
