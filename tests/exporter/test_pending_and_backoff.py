"""Bounds of the queue, and how delivery adapts to the endpoint."""

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
def test_the_queue_knows_its_size_whatever_comes_and_goes(steps: list[list[bytes] | int]) -> None:
    pending, model = Pending(max_events=10, max_bytes=10**6), []
    for step in steps:
        if isinstance(step, int):
            count = min(step, len(pending))
            pending.remove(count)
            model = model[count:]
        else:
            taken = pending.put(step)
            model += step[:taken]
            assert taken == min(len(step), 10 - (len(model) - taken))
        assert pending.first(100, 10**6) == model
    assert (pending.size_bytes == 0) == (not model)
    assert pending.clear() == model
    assert len(pending) == pending.size_bytes == 0


@given(st.integers(1, 10_000))
def test_waits_have_full_jitter_and_a_bound(attempt: int) -> None:
    assert 0 <= wait_s(attempt) <= min(retry_backoff.LONGEST_WAIT_S, 2.0 ** min(attempt - 1, 10))


@given(st.integers(1, 100), st.floats(-10, 10**9))
def test_what_the_endpoint_asks_for_is_kept_to_within_an_hour(attempt: int, asked: float) -> None:
    within = min(max(asked, 0.0), retry_backoff.LONGEST_RETRY_AFTER_S)
    assert within <= wait_s(attempt, asked) <= within + 1


def test_a_hurry_ends_a_pause_of_ours_but_not_one_that_was_asked_for() -> None:
    ours, asked = RetryBackoff(100), RetryBackoff(100)
    ours.failed(100, now=50.0, retry_after_s=None, maybe_poison=False)
    asked.failed(100, now=50.0, retry_after_s=20.0, maybe_poison=False)
    ours.skip_backoff()
    asked.skip_backoff()
    assert ours.not_before == 0.0
    assert asked.not_before >= 70.0


def test_doubtful_answers_single_out_one_event_and_give_up_on_that_one_only() -> None:
    tempo, sizes = RetryBackoff(1024), []
    while not tempo.retries_exhausted:
        sizes.append(tempo.batch_events)
        tempo.failed(tempo.batch_events, now=0.0, retry_after_s=None, maybe_poison=True)
    assert sizes[:11] == [1024, 512, 256, 128, 64, 32, 16, 8, 4, 2, 1]
    assert sizes[10:] == [1] * retry_backoff.DOUBTFUL_ATTEMPTS


def test_requests_grow_back_after_one_was_too_large() -> None:
    tempo = RetryBackoff(1600)
    tempo.too_large(1600)
    assert tempo.batch_events == 800
    for _ in range(8):
        tempo.succeeded()
    assert tempo.batch_events == 1600
