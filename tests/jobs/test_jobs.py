"""Jobs run once, continue after a server was killed, and can be cancelled: in SQLite and in PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.kit.postgresql import PostgreSQL, postgresql

from infraprism.backend.jobs import (
    ConflictError,
    Job,
    JobContext,
    JobFailedError,
    JobRunner,
    Jobs,
    Kind,
    LeaseLostError,
    StoppedError,
)
from infraprism.backend.relational import DatabaseUnavailableError
from infraprism.backend.relational.database import RelationalDatabase
from infraprism.backend.store import StoreError

ACCOUNT, OTHER = "acc_1", "acc_2"
LEASE_S = 30.0
DAY_S = 24 * 3600.0


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Work(Kind):
    """A kind that runs a function."""

    def __init__(self, function: Callable[[JobContext], Mapping[str, Any]]) -> None:
        self._function = function
        self.discarded: list[str] = []
        self.maintained = 0

    def run(self, context: JobContext) -> Mapping[str, Any]:
        return self._function(context)

    def discard(self, job: Job) -> None:
        self.discarded.append(job.id)

    def maintain(self) -> None:
        self.maintained += 1


class _KilledError(BaseException):
    """Ends a run as `kill -9` does: nothing is stored after it."""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    with postgresql() as running:
        yield running


_databases = iter(range(1000))


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RelationalDatabase]:
    location: Path | str = tmp_path / "accounts.sqlite"
    if request.param == "PostgreSQL":
        location = request.getfixturevalue("server").new_database(f"jobs_{next(_databases)}")
    with closing(RelationalDatabase(location)) as opened:
        yield opened


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def jobs(database: RelationalDatabase, clock: Clock) -> Jobs:
    return Jobs(database, clock)


def _add(jobs: Jobs, account: str = ACCOUNT, key: str | None = None, **parameters: Any) -> Job:
    return jobs.add(account, "work", parameters, actor="key_1", idempotency_key=key)


def _found(jobs: Jobs, job: Job) -> Job:
    found = jobs.find(job.account_id, job.id)
    assert found is not None
    return found


def _runner(jobs: Jobs, clock: Clock, function: Callable[[JobContext], Mapping[str, Any]]) -> JobRunner:
    return JobRunner(jobs, {"work": Work(function)}, clock, lease_s=LEASE_S)


def _killed(_: JobContext) -> Mapping[str, Any]:
    raise _KilledError


def test_a_job_runs_once_and_keeps_its_result(jobs: Jobs, clock: Clock) -> None:
    added = _add(jobs, number=1)
    assert (added.state, added.parameters, added.actor) == ("queued", {"number": 1}, "key_1")
    runner = _runner(jobs, clock, lambda context: {"twice": context.job.parameters["number"] * 2})
    assert [runner.run_next(), runner.run_next()] == [True, False]
    job = _found(jobs, added)
    assert (job.state, job.result, job.is_final) == ("succeeded", {"twice": 2}, True)
    assert job.ended_ms == round(clock.now * 1000)


def test_the_oldest_job_runs_first_and_one_of_an_account_at_a_time(jobs: Jobs, clock: Clock) -> None:
    first = _add(jobs)
    clock.now += 1
    second, of_other = _add(jobs), _add(jobs, OTHER)
    taken = [jobs.take(owner, LEASE_S, frozenset({"work"})) for owner in ("a", "b", "c")]
    assert [job and job.id for job in taken] == [first.id, of_other.id, None]
    jobs.end(first.id, "a", "succeeded", result={})
    after = jobs.take("c", LEASE_S, frozenset({"work"}))
    assert after is not None
    assert after.id == second.id


def test_a_server_takes_only_the_kinds_that_it_has(jobs: Jobs) -> None:
    _add(jobs)
    assert jobs.take("a", LEASE_S, frozenset({"another"})) is None


def test_the_job_of_a_killed_server_continues_from_its_checkpoint_when_its_lease_has_ended(
    jobs: Jobs, clock: Clock
) -> None:
    def killed(context: JobContext) -> Mapping[str, Any]:
        context.save({"chunk": 3}, 30, 100)
        raise _KilledError

    added = _add(jobs)
    with pytest.raises(_KilledError):
        _runner(jobs, clock, killed).run_next()
    continued = _runner(jobs, clock, lambda context: {"from": context.checkpoint["chunk"]})
    clock.now += LEASE_S - 1
    assert not continued.run_next()
    job = _found(jobs, added)
    assert (job.state, job.progress_done, job.progress_total) == ("running", 30, 100)
    clock.now += 2
    assert continued.run_next()
    assert _found(jobs, added).result == {"from": 3}


def test_a_server_that_lost_its_lease_cannot_save_or_end_the_job(jobs: Jobs, clock: Clock) -> None:
    added = _add(jobs)
    errors: list[Exception] = []

    def slow(context: JobContext) -> Mapping[str, Any]:
        clock.now += LEASE_S + 1
        assert _runner(jobs, clock, lambda _: {"by": "other"}).run_next()
        try:
            context.save({}, 1)
        except LeaseLostError as error:
            errors.append(error)
            assert context.should_stop()
        return {"by": "slow"}

    assert _runner(jobs, clock, slow).run_next()
    assert len(errors) == 1
    assert _found(jobs, added).result == {"by": "other"}


def test_two_runners_run_each_job_once(jobs: Jobs, database: RelationalDatabase, clock: Clock) -> None:
    runs: list[str] = []
    meeting = threading.Barrier(2, timeout=60)

    def record(context: JobContext) -> Mapping[str, Any]:
        runs.append(context.job.id)
        return {}

    added = {_add(jobs, f"acc_{number % 5}").id for number in range(20)}

    def run() -> None:
        runner = _runner(Jobs(database, clock), clock, record)
        meeting.wait()
        while len(runs) < len(added):
            runner.run_next()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(runs) == sorted(added)


def test_a_job_that_has_not_begun_is_cancelled_at_once(jobs: Jobs, clock: Clock) -> None:
    added = _add(jobs)
    cancelled = jobs.cancel(ACCOUNT, added.id)
    assert cancelled is not None
    assert cancelled.state == "cancelled"
    assert not _runner(jobs, clock, _killed).run_next()
    with pytest.raises(ConflictError):
        jobs.cancel(ACCOUNT, added.id)


def test_a_running_job_is_cancelled_at_its_next_checkpoint(jobs: Jobs, clock: Clock) -> None:
    added = _add(jobs)

    def cancelled(context: JobContext) -> Mapping[str, Any]:
        context.raise_if_stopped()
        jobs.cancel(ACCOUNT, added.id)
        context.save({}, 1)
        context.raise_if_stopped()
        return {}

    work = Work(cancelled)
    assert JobRunner(jobs, {"work": work}, clock).run_next()
    assert (_found(jobs, added).state, work.discarded) == ("cancelled", [added.id])


def test_the_cancelled_job_of_a_killed_server_is_discarded_and_not_run(jobs: Jobs, clock: Clock) -> None:
    added = _add(jobs)
    with pytest.raises(_KilledError):
        _runner(jobs, clock, _killed).run_next()
    jobs.cancel(ACCOUNT, added.id)
    clock.now += LEASE_S + 1
    work = Work(_killed)
    assert JobRunner(jobs, {"work": work}, clock).run_next()
    assert (_found(jobs, added).state, work.discarded) == ("cancelled", [added.id])


def test_a_job_stops_with_its_server_and_continues_at_the_next_start(jobs: Jobs, clock: Clock) -> None:
    added = _add(jobs)
    running = threading.Event()

    def until_stopped(context: JobContext) -> Mapping[str, Any]:
        context.save({"chunk": 7}, 7)
        running.set()
        while not context.should_stop():
            pass
        raise StoppedError

    stopped = _runner(jobs, clock, until_stopped)
    stopped.start()
    assert running.wait(60)
    stopped.stop()
    assert _found(jobs, added).state == "queued"
    assert _runner(jobs, clock, lambda context: context.checkpoint).run_next()
    assert _found(jobs, added).result == {"chunk": 7}


def test_a_server_that_is_the_only_one_continues_jobs_without_waiting(jobs: Jobs, clock: Clock) -> None:
    added = _add(jobs)
    with pytest.raises(_KilledError):
        _runner(jobs, clock, _killed).run_next()
    jobs.release_leases()
    assert _runner(jobs, clock, lambda _: {}).run_next()
    assert _found(jobs, added).state == "succeeded"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StoreError(210), "store_unavailable"),
        (DatabaseUnavailableError("closed"), "database_unavailable"),
        (OSError(5, "Input/output error"), "disk_unavailable"),
    ],
)
def test_a_job_is_tried_again_after_growing_pauses(jobs: Jobs, clock: Clock, error: Exception, code: str) -> None:
    added = _add(jobs)
    attempts: list[float] = []

    def unavailable(_: JobContext) -> Mapping[str, Any]:
        attempts.append(clock.now)
        if len(attempts) < 12:
            raise error
        return {}

    runner = _runner(jobs, clock, unavailable)
    while not _found(jobs, added).is_final:
        runner.run_next()
        assert _found(jobs, added).error_code == (code if len(attempts) < 12 else None)
        clock.now += 1
    pauses = [after - before for before, after in pairwise(attempts)]
    assert pauses == sorted(pauses)
    assert pauses[0] == pytest.approx(2)
    assert pauses[-1] == pytest.approx(300)


def test_a_job_that_cannot_succeed_fails_with_its_code_and_is_discarded(jobs: Jobs, clock: Clock) -> None:
    def failing(_: JobContext) -> Mapping[str, Any]:
        raise JobFailedError("no_space", "the disk is full")

    added, work = _add(jobs), Work(failing)
    assert JobRunner(jobs, {"work": work}, clock).run_next()
    job = _found(jobs, added)
    assert (job.state, job.error_code, job.error_message) == ("failed", "no_space", "the disk is full")
    assert work.discarded == [added.id]


def test_an_internal_error_fails_one_job_and_not_the_others(jobs: Jobs, clock: Clock) -> None:
    broken, whole = _add(jobs, divisor=0), _add(jobs, OTHER, divisor=1)
    runner = _runner(jobs, clock, lambda context: {"quotient": 1 // context.job.parameters["divisor"]})
    assert [runner.run_next(), runner.run_next()] == [True, True]
    assert (_found(jobs, broken).state, _found(jobs, broken).error_code) == ("failed", "internal_error")
    assert _found(jobs, whole).state == "succeeded"


def test_a_repeated_request_with_the_same_key_is_the_same_job(jobs: Jobs) -> None:
    first, again = _add(jobs, key="k", number=1), _add(jobs, key="k", number=1)
    assert first.id == again.id
    assert _add(jobs, OTHER, key="k", number=2).id != first.id
    with pytest.raises(ConflictError):
        _add(jobs, key="k", number=2)
    with pytest.raises(ConflictError):
        jobs.add(ACCOUNT, "another", {"number": 1}, actor="key_1", idempotency_key="k")
    assert [job.id for job in jobs.list(ACCOUNT)] == [first.id]


def test_concurrent_requests_with_the_same_key_add_one_job(jobs: Jobs) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(_add(jobs, key="k").id)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_refused_job_is_not_stored(jobs: Jobs) -> None:
    def refuse(*_: object) -> None:
        raise ConflictError("no")

    with pytest.raises(ConflictError):
        jobs.add(ACCOUNT, "work", {}, actor="key_1", on_new=refuse)
    assert jobs.list(ACCOUNT) == []


def test_an_account_cannot_see_or_cancel_the_jobs_of_another(jobs: Jobs) -> None:
    job = _add(jobs)
    assert jobs.find(OTHER, job.id) is None
    assert jobs.cancel(OTHER, job.id) is None
    assert jobs.list(OTHER) == []
    assert not _found(jobs, job).is_cancel_requested


def test_ended_jobs_are_removed_after_30_days(jobs: Jobs, clock: Clock) -> None:
    ended, waiting = _add(jobs), _add(jobs, OTHER)
    jobs.cancel(ACCOUNT, ended.id)
    work = Work(_killed)
    runner = JobRunner(jobs, {"work": work}, clock)
    clock.now += 30 * DAY_S - 1
    runner.maintain_when_due()
    assert jobs.find(ACCOUNT, ended.id) is not None
    clock.now += 61
    runner.maintain_when_due()
    assert jobs.find(ACCOUNT, ended.id) is None
    assert jobs.find(OTHER, waiting.id) is not None
    assert work.maintained == 2
