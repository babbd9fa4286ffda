"""The periods of plans and accounts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import update
from tests.kit.backend import span
from tests.kit.clickhouse_front import ClickHouseFront
from tests.kit.events import event
from tests.kit.postgresql import postgresql
from tests.kit.timed_backend import TimedBackend

from infraprism.backend.accounts import PLANS, Accounts
from infraprism.backend.accounts.tables import ACCOUNTS
from infraprism.backend.retention import Retention
from infraprism.backend.retention.periods import PERIODS

NOW_S = datetime(2026, 4, 1, 12, tzinfo=UTC).timestamp()
DAY_MS = 86_400_000
TODAY_MS = int(NOW_S * 1000) // DAY_MS * DAY_MS


@pytest.fixture
def accounts(tmp_path: Path) -> Iterator[Accounts]:
    with closing(Accounts(tmp_path / "accounts.sqlite")) as found:
        yield found


@pytest.mark.parametrize("plan", PLANS)
def test_the_cutoff_is_a_midnight_as_many_days_ago_as_the_plan_allows(accounts: Accounts, plan: str) -> None:
    retention = Retention(accounts.database, lambda: NOW_S)
    account_id = accounts.add(plan=plan).id
    days = PLANS[plan].retention_days
    expected = None if days is None else TODAY_MS - days * DAY_MS
    assert retention.cutoff_ms(account_id) == expected
    assert retention.cutoff_ms(account_id, NOW_S + 86_400) == (None if expected is None else expected + DAY_MS)
    assert retention.all_cutoffs_ms() == ({} if expected is None else {account_id: expected})


def test_an_enterprise_account_has_its_own_period(accounts: Accounts) -> None:
    account_id = accounts.add(plan="enterprise").id
    accounts.database.run(update(ACCOUNTS).where(ACCOUNTS.c.id == account_id).values(retention_days=730))
    assert Retention(accounts.database, lambda: NOW_S).cutoff_ms(account_id) == TODAY_MS - 730 * DAY_MS


def test_an_account_can_shorten_the_period_of_its_plan_but_not_extend_it(accounts: Accounts) -> None:
    retention = Retention(accounts.database, lambda: NOW_S)
    account_id = accounts.add(plan="growth").id
    for own, days in ((30, 30), (365, 90), (None, 90)):
        retention.set_days(account_id, own)
        assert (retention.days(account_id), retention.plan_days(account_id)) == (days, 90)
    for invalid in (0, -1, 10**9):
        with pytest.raises(ValueError, match="1 to"):
            retention.set_days(account_id, invalid)


def test_what_was_deleted_stays_expired(accounts: Accounts) -> None:
    retention = Retention(accounts.database, lambda: NOW_S)
    account_id = accounts.add().id
    retention.set_deleted(account_id, 5 * DAY_MS)
    retention.set_deleted(account_id, 3 * DAY_MS)
    assert retention.cutoff_ms(account_id) == retention.deleted_before_ms(account_id) == 5 * DAY_MS
    assert retention.all_cutoffs_ms() == retention.all_deleted_before_ms() == {account_id: 5 * DAY_MS}


def test_the_documentation_has_every_period() -> None:
    page = (Path(__file__).parents[2] / "docs" / "retention.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `(\w+)`.*\| ([^|]+) \|$", page, re.MULTILINE))
    for kept in PERIODS:
        if kept.days is not None:
            assert rows[kept.table] == kept.period == f"{kept.days} days"


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TimedBackend]:
    with TimedBackend(tmp_path_factory.mktemp("periods") / "data", "2026-04-01T12:00") as running:
        yield running


def test_an_account_sees_and_shortens_its_period(backend: TimedBackend) -> None:
    key = backend.add_account(plan="growth")
    shown = backend.get("/v1/retention", key).json
    assert (shown["days"], shown["events_since"]) == (90, "2026-01-01T00:00:00Z")
    assert {one["table"] for one in shown["data"]} == {one.table for one in PERIODS}
    for days, status in ((30, 204), (91, 400), (0, 400)):
        assert backend.send("PUT", "/v1/retention", {"days": days}, key).status == status
    assert backend.get("/v1/retention", key).json["events_since"] == "2026-03-02T00:00:00Z"


def test_expired_events_are_excluded_and_refused_on_a_clickhouse_server(tmp_path: Path) -> None:
    start_ns = int(NOW_S) * 10**9
    calls = [event(number, timestamp_ns=start_ns - number * DAY_MS * 10**6) for number in (1, 20)]
    with postgresql() as server, ClickHouseFront(tmp_path / "server") as front:
        settings = {"store": front.url(), "accounts": server.url()}
        with TimedBackend(tmp_path / "data", "2026-04-01T12:00", settings=settings) as backend:
            key = backend.add_account(plan="scale")
            assert backend.export(*map(span, calls), key=key).rejected == 0
            account_id = backend.account_id(key)
            with closing(Accounts(server.url())) as accounts:
                Retention(accounts.database).set_days(account_id, 7)
            while len(backend.events(key)) != 1:  # applied in two seconds
                pass
            assert [backend.get(f"/v1/events/{one.id}", key).status for one in calls] == [200, 404]
            assert backend.export(span(calls[1]), key=key).error_message.startswith("spans refused: 1 expired")
            answer = backend.get("/v1/analytics/costs", key, start_date="2026-01-01", end_date="2026-04-01").json
            assert answer["summary"]["total_events"] == 1
            assert answer["summary"]["period"]["earlier"] == "excluded"
