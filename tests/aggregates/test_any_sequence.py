"""Answers from aggregates equal the events to the last digit after any sequence of changes, starts and kills."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from clickhouse_connect.driver.client import Client
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.kit.summed_store import ACCOUNTS, DAY_MS, DAYS, FIRST_MS, ZONES, SummedStore, every_cube

_accounts = st.sampled_from(ACCOUNTS)
_seeds = st.integers(1, 10**6)
_days = st.integers(0, DAYS - 1)


class _Killed(BaseException):
    """What a kill does in this process: nothing of the statement's caller runs any more."""


class _Killing:
    """A client that raises `_Killed` instead of the statement with this number, counted from now."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.left: int | None = None

    def _step(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise _Killed

    def command(self, *arguments: Any, **options: Any) -> object:
        self._step()
        found: object = self._client.command(*arguments, **options)
        self._step()
        return found

    def raw_query(self, *arguments: Any, **options: Any) -> bytes:
        self._step()
        found: bytes = self._client.raw_query(*arguments, **options)
        return found


class Sequence(RuleBasedStateMachine):
    """A store of two accounts."""

    def __init__(self) -> None:
        super().__init__()
        self._directory = tempfile.TemporaryDirectory()
        self._zones: dict[str, str] = {}
        self._checks = 0
        self._rows_share = 10.0
        self._sent: list[tuple[int, int, str]] = []

    @initialize(rows_share=st.sampled_from((10.0, 0.6)), zone=st.sampled_from(ZONES))
    def open(self, rows_share: float, zone: str) -> None:
        self._rows_share = rows_share
        self._zones = {ACCOUNTS[0]: zone}
        self._start()
        self.insert(1, 300, ACCOUNTS[0])
        self._store.wait()

    def _start(self) -> None:
        clients: list[_Killing] = []

        def wrapped(client: Client) -> _Killing:
            clients.append(_Killing(client))
            return clients[0]

        self._store = SummedStore(Path(self._directory.name), self._rows_share, wrapped, zones=self._zones)
        self._zones, self._client = self._store.zones, clients[0]

    @rule(seed=_seeds, number=st.integers(1, 200), account=_accounts)
    def insert(self, seed: int, number: int, account: str) -> None:
        self._sent.append((seed, number, account))
        self._store.insert(seed, number, account)

    @rule(place=st.integers(0, 100))
    def resend(self, place: int) -> None:
        self._store.insert(*self._sent[place % len(self._sent)])

    @rule(seed=_seeds, account=_accounts, day=_days, length_ms=st.sampled_from((1, DAY_MS)))
    def insert_late(self, seed: int, account: str, day: int, length_ms: int) -> None:
        self._store.insert(seed, 20, account, FIRST_MS + day * DAY_MS, length_ms)

    @rule(account=_accounts, day=_days, length_ms=st.sampled_from((1_000_000, DAY_MS)))
    def delete(self, account: str, day: int, length_ms: int) -> None:
        first_ms = FIRST_MS + day * DAY_MS
        self._store.delete(account, first_ms, first_ms + length_ms)

    @rule(seconds=st.sampled_from((61, 61, 1_000)))
    def wait(self, seconds: int) -> None:
        self._store.wait(seconds)

    @rule(account=_accounts, zone=st.sampled_from(ZONES))
    def change_zone(self, account: str, zone: str) -> None:
        self._zones[account] = zone
        self._store.wait(61)

    @rule()
    def check_again(self) -> None:
        self._store.aggregates.check_again()

    @rule()
    def restart(self) -> None:
        self._store.close()
        self._start()
        self._store.aggregates.work()

    @rule(statements=st.integers(0, 20))
    def kill(self, statements: int) -> None:
        self._client.left = statements
        try:
            self._store.wait()
        except _Killed:
            self._client.left = None
            self.restart()
        self._client.left = None

    @invariant()
    def answers_equal_the_events(self) -> None:
        self._checks += 1
        self._store.check(self._checks, every=False)

    def teardown(self) -> None:
        with self._directory:
            if hasattr(self, "_store"):
                with closing(self._store):
                    self._store.wait(1_000)
                    self._store.wait(1_000)
                    for request in every_cube(self._zones[ACCOUNTS[0]]):
                        assert self._store.rows(request) == self._store.event_rows(request), request


TestSequence = Sequence.TestCase
TestSequence.settings = settings(
    max_examples=5, stateful_step_count=10, deadline=None, suppress_health_check=list(HealthCheck)
)
