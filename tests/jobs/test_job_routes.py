"""The routes of jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.kit.backend import Backend

from infraprism.backend.accounts import Accounts
from infraprism.backend.jobs import Job, Jobs


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with Backend(tmp_path_factory.mktemp("jobs") / "data") as running:
        yield running


def _added(data_dir: Path) -> Job:
    """A job of a kind that the server does not run."""
    with closing(Accounts(data_dir / "accounts.sqlite")) as accounts:
        return Jobs(accounts.database).add(accounts.all()[0].id, "another", {}, actor="key_1")


def test_a_job_is_listed_read_and_cancelled_once(backend: Backend) -> None:
    job = _added(backend.data_dir)
    assert job.id in [one["id"] for one in backend.get("/v1/jobs", state="queued").json["data"]]
    read = backend.get(f"/v1/jobs/{job.id}").json
    assert (read["state"], read["progress"], read["error"]) == ("queued", {"done": 0, "total": None}, None)
    cancelled = backend.send("DELETE", f"/v1/jobs/{job.id}")
    assert (cancelled.status, cancelled.json["state"]) == (200, "cancelled")
    again = backend.send("DELETE", f"/v1/jobs/{job.id}")
    assert (again.status, again.json["error"]["code"]) == (409, "conflict")


@pytest.mark.parametrize("job_id", ["job_0", "job_%00", "..%2f..", "%c3%a4", "x" * 2000])
def test_a_job_of_another_account_does_not_exist(backend: Backend, job_id: str) -> None:
    other = backend.add_account()
    for name in (job_id, _added(backend.data_dir).id):
        assert backend.get(f"/v1/jobs/{name}", other).status == 404
        assert backend.send("DELETE", f"/v1/jobs/{name}", key=other).status == 404
    assert backend.get("/v1/jobs", other).json == {"data": []}
