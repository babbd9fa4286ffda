"""Requests of recent events are kept within bounds of memory and age."""

from __future__ import annotations

from infraprism.backend.ingest.recent_events import MAX_ACCOUNT_BYTES, MAX_AGE_S, MAX_BYTES, RecentEvents


def test_requests_are_returned_once_and_in_order() -> None:
    recent = RecentEvents()
    recent.add("a", b"1", 0.0)
    recent.add("b", b"2", 0.0)
    recent.add("a", b"3", 1.0)
    assert recent.take("a", 2.0) == [b"1", b"3"]
    assert recent.take("a", 2.0) == []
    assert recent.take("b", 2.0) == [b"2"]


def test_old_requests_are_removed() -> None:
    recent = RecentEvents()
    recent.add("a", b"1", 0.0)
    recent.add("a", b"2", 10.0)
    assert recent.take("a", MAX_AGE_S + 5.0) == [b"2"]


def test_an_account_keeps_its_latest_requests() -> None:
    recent, body = RecentEvents(), bytes(MAX_ACCOUNT_BYTES // 4)
    for number in range(10):
        recent.add("a", body + bytes([number]), float(number))
    assert [kept[-1] for kept in recent.take("a", 10.0)] == [7, 8, 9]


def test_all_accounts_together_are_bounded() -> None:
    recent, body = RecentEvents(), bytes(MAX_ACCOUNT_BYTES)
    accounts = [str(number) for number in range(MAX_BYTES // MAX_ACCOUNT_BYTES + 3)]
    for account in accounts:
        recent.add(account, body, 0.0)
    assert sum(len(recent.take(account, 1.0)) for account in accounts) == MAX_BYTES // MAX_ACCOUNT_BYTES
