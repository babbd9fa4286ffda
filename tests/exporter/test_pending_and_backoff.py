"""The bounds of the queue, the retry backoff and the batch size."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from infraprism.exporter import retry_backoff
from infraprism.exporter.pending import Pending
from infraprism.exporter.retry_backoff import RetryBackoff, wait_s


def test_a_full_queue_refuses_the_newest_by_count() -> None:
    pending = Pending(max_events=3, max_bytes=10**6)
    assert pending.put([b"1", b"2", b"3", b"4"]) == 3
    assert pending.put([b"5"]) == 0
    assert pending.first(10, 10**6) == [b"1", b"2", b"3"]


def test_a_full_queue_refuses_the_newest_by_bytes() -> None:
    pending = Pending(max_events=100, max_bytes=3000)
    assert pending.put([b"x" * 900] * 5) == 3
    pending.remove(1)
    assert pending.put([b"y" * 900] * 5) == 1


def test_a_batch_is_bounded_but_never_empty() -> None:
    pending = Pending(max_events=100, max_bytes=10**6)
    pending.put([b"x" * 500, b"y" * 500, b"z" * 500])
    assert len(pending.first(100, 1000)) == 2
    assert len(pending.first(100, 10)) == 1
    assert len(pending.first(1, 10**6)) == 1


@given(st.lists(st.one_of(st.lists(st.binary(max_size=50), max_size=5), st.integers(0, 5)), max_size=30))
def test_the_size_of_the_queue_is_exact_after_any_sequence_of_operations(steps: list[list[bytes] | int]) -> None:
    pending, model = Pending(max_events=10, max_bytes=10**6), []
    for step in steps:
        if isinstance(step, int):
            count = min(step, len(pending))
            pending.remove(count)
            model = model[count:]
        else:
            added = pending.put(step)
            model += step[:added]
            assert added == min(len(step), 10 - (len(model) - added))
        assert pending.first(100, 10**6) == model
    assert (pending.size_bytes == 0) == (not model)
    assert pending.clear() == model
    assert len(pending) == pending.size_bytes == 0


@given(st.integers(1, 10_000))
def test_the_backoff_has_full_jitter_and_an_upper_bound(attempt: int) -> None:
    assert 0 <= wait_s(attempt) <= min(retry_backoff.LONGEST_WAIT_S, 2.0 ** min(attempt - 1, 10))


@given(st.integers(1, 100), st.floats(-10, 10**9))
def test_a_requested_wait_is_honoured_up_to_an_hour(attempt: int, requested: float) -> None:
    bounded = min(max(requested, 0.0), retry_backoff.LONGEST_RETRY_AFTER_S)
    assert bounded <= wait_s(attempt, requested) <= bounded + 1


def test_skip_backoff_ends_the_backoff_but_not_a_wait_that_the_endpoint_requested() -> None:
    own, requested = RetryBackoff(100), RetryBackoff(100)
    own.failed(100, now=50.0, retry_after_s=None, maybe_poison=False)
    requested.failed(100, now=50.0, retry_after_s=20.0, maybe_poison=False)
    own.skip_backoff()
    requested.skip_backoff()
    assert own.not_before == 0.0
    assert requested.not_before >= 70.0


def test_server_errors_halve_the_batch_and_only_a_single_event_exhausts_its_retries() -> None:
    backoff, sizes = RetryBackoff(1024), []
    while not backoff.retries_exhausted:
        sizes.append(backoff.batch_events)
        backoff.failed(backoff.batch_events, now=0.0, retry_after_s=None, maybe_poison=True)
    assert sizes[:11] == [1024, 512, 256, 128, 64, 32, 16, 8, 4, 2, 1]
    assert sizes[10:] == [1] * retry_backoff.MAX_POISON_ATTEMPTS


def test_the_batch_size_grows_back_after_a_request_was_too_large() -> None:
    backoff = RetryBackoff(1600)
    backoff.too_large(1600)
    assert backoff.batch_events == 800
    for _ in range(8):
        backoff.succeeded()
    assert backoff.batch_events == 1600
