"""Exports as jobs: requests, links, downloads, limits and isolation."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from tests.kit.backend import Backend, span
from tests.kit.events import event
from tests.kit.exports import PERIOD, download, ended, exported, json_rows
from tests.kit.timed_backend import TimedBackend

from infraprism.backend.accounts import Accounts
from infraprism.backend.audit.audit_log import AuditLog
from infraprism.backend.jobs import Jobs

CALLS = [event(number, timestamp_ns=1_790_000_000_000_000_000 + number * 10**9) for number in range(1, 101)]
CSV = {**PERIOD, "format": "csv"}


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with Backend(tmp_path_factory.mktemp("exports") / "data") as running:
        assert running.export(*map(span, CALLS)).rejected == 0
        yield running


def _error(answer: Any) -> tuple[int, str]:
    return answer.status, answer.json["error"]["code"]


def test_small_requests_are_in_an_export_that_is_requested_after_their_acknowledgement(backend: Backend) -> None:
    key = backend.add_account()
    for number in range(5):
        assert backend.export(span(event(1000 + number)), key=key).rejected == 0
        export, file = exported(backend, key, format="json")
        assert (export["rows"], len(json_rows(file))) == (number + 1, number + 1)


def test_files_are_readable_by_their_owner_only(backend: Backend) -> None:
    exported(backend, format="csv")
    found = list((backend.data_dir / "exports").rglob("*"))
    assert found
    for path in [backend.data_dir / "exports", *found]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    assert not [path for path in found if path.suffix in (".part", ".converted")]


def test_a_download_has_headers_that_keep_it_out_of_caches(backend: Backend) -> None:
    export, file = exported(backend, format="csv")
    answer = download(backend, export)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-disposition"] == f'attachment; filename="{export["file_name"]}"'
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["etag"] == f'"{export["sha256"]}"'
    assert int(answer.headers["content-length"]) == len(file) == export["bytes"]


def test_a_download_can_be_continued(backend: Backend) -> None:
    export, file = exported(backend, format="csv")
    first = download(backend, export, range="bytes=0-99")
    rest = download(backend, export, range="bytes=100-", if_range=f'"{export["sha256"]}"')
    assert (first.status, rest.status) == (206, 206)
    assert first.body + rest.body == file
    assert download(backend, export, range=f"bytes={len(file)}-").status == 416
    assert download(backend, export, **{"range": "bytes=100-", "if-range": '"another"'}).status == 200


@pytest.mark.parametrize("place", [0, 5, 20, 40, 60, -60, -20, -1])
def test_an_altered_link_does_not_exist(backend: Backend, place: int) -> None:
    export, _ = exported(backend, format="csv")
    token = export["link"].removeprefix("/downloads/")
    place %= len(token)
    other = "0" if token[place] != "0" else "1"
    altered = {**export, "link": "/downloads/" + token[:place] + other + token[place + 1 :]}
    assert _error(download(backend, altered)) == (404, "not_found")


@pytest.mark.parametrize(
    "path",
    ["/downloads/", "/downloads/x", "/downloads/..%2f..%2faccounts.sqlite", "/downloads/a.b.c.1.d", "/downloads/%00"],
)
def test_a_forged_link_does_not_exist(backend: Backend, path: str) -> None:
    assert backend.http(path, None, {}).status == 404


def test_a_link_signed_for_another_account_does_not_give_its_file(backend: Backend) -> None:
    export, _ = exported(backend, format="csv")
    other = backend.add_account()
    account_id = backend.get("/v1/me", other).json["id"]
    token = export["link"].removeprefix("/downloads/").split(".")
    assert download(backend, {"link": "/downloads/" + ".".join([account_id, *token[1:]])}).status == 404


def test_an_export_of_another_account_does_not_exist(backend: Backend) -> None:
    export, _ = exported(backend, format="csv")
    other = backend.add_account()
    for method, path in (
        ("GET", "/v1/exports/{}"), ("DELETE", "/v1/exports/{}"), ("GET", "/v1/jobs/{}"), ("DELETE", "/v1/jobs/{}"),
    ):  # fmt: skip
        assert backend.send(method, path.format(export["id"]), key=other).status == 404
    assert backend.get("/v1/exports", other).json == {"data": []}
    assert download(backend, export).status == 200


def test_an_export_has_no_event_of_another_account(backend: Backend) -> None:
    other = backend.add_account()
    assert backend.export(span(event(5000)), key=other).rejected == 0
    export, file = exported(backend, other, format="json")
    assert (export["rows"], len(json_rows(file))) == (1, 1)


def test_each_get_has_a_new_link_and_the_same_file(backend: Backend) -> None:
    export, file = exported(backend, format="csv")
    again = backend.get(f"/v1/exports/{export['id']}").json
    assert download(backend, again).body == file
    assert again["link_expires_at"] >= export["link_expires_at"]


def test_a_repeated_request_with_the_same_key_is_the_same_export(backend: Backend) -> None:
    key = backend.add_account()
    first, again = (backend.send("POST", "/v1/exports", CSV, key, idempotency_key="once") for _ in range(2))
    assert (first.status, again.status) == (202, 202)
    assert first.json["id"] == again.json["id"]
    other = backend.send("POST", "/v1/exports", {**CSV, "entity_id": "x"}, key, idempotency_key="once")
    assert _error(other) == (409, "conflict")
    assert len(backend.get("/v1/exports", key).json["data"]) == 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({**CSV, "start_date": "2026-03-02", "end_date": "2026-03-01"}, "invalid_parameter"),
        ({**CSV, "format": "xml"}, "invalid_parameter"),
        ({"format": "csv"}, "invalid_parameter"),
        ({**PERIOD}, "invalid_parameter"),
        ({**CSV, "start_date": None}, "invalid_parameter"),
        ({**CSV, "account": "acc_1"}, "unknown_parameter"),
        ({**CSV, "start_date": "tomorrow"}, "invalid_parameter"),
        ({**CSV, "time_zone": "../../etc/passwd"}, "invalid_parameter"),
        ({**CSV, "entity_id": "x" * 257}, "invalid_parameter"),
        ({**CSV, "entity_id": ["x"] * 101}, "invalid_parameter"),
        ({**CSV, "entity_id": {"a": 1}}, "invalid_parameter"),
        ({**CSV, "tags": {"KEY": "x"}}, "invalid_parameter"),
        ({**CSV, "tags": 5}, "invalid_parameter"),
        ({**CSV, "format": "parquet", "compression": "gzip"}, "invalid_parameter"),
        ([], "invalid_parameter"),
        (b"{", "invalid_request"),
        (b"\xff\xfe", "invalid_request"),
        (b"", "invalid_parameter"),
    ],
)
def test_an_invalid_request_is_refused_with_its_reason(backend: Backend, body: object, code: str) -> None:
    before = len(backend.get("/v1/exports").json["data"])
    assert _error(backend.send("POST", "/v1/exports", body)) == (400, code)
    assert len(backend.get("/v1/exports").json["data"]) == before


@pytest.mark.parametrize("text", ["'; DROP TABLE events --", "{account:String}", "%s", "\\", "\N{NULL}", "' OR '1'='1"])
def test_a_filter_is_never_part_of_a_statement(backend: Backend, text: str) -> None:
    for name in ("entity_id", "session_id", "model"):
        export, _ = exported(backend, format="csv", **{name: text})
        assert export["rows"] == 0
    assert len(backend.events()) == len(CALLS)


@pytest.mark.parametrize("value", ["", "a b", "ä", "x" * 256])
def test_an_invalid_idempotency_key_is_refused(backend: Backend, value: str) -> None:
    assert backend.send("POST", "/v1/exports", CSV, idempotency_key=value).status == 400


def test_the_audit_log_has_the_export_and_its_download_and_no_value(backend: Backend) -> None:
    key = backend.add_account()
    account_id = backend.get("/v1/me", key).json["id"]
    export, _ = exported(backend, key, format="csv", entity_id="acme-corp")
    download(backend, export, range="bytes=5-")
    with closing(Accounts(backend.data_dir / "accounts.sqlite")) as accounts:
        entries = AuditLog(accounts.database).entries(account_id)
    assert [(one.action, one.object) for one in entries] == [
        ("export.created", export["id"]),
        ("export.downloaded", export["id"]),
    ]
    assert {one.actor for one in entries} == {entries[0].actor}
    assert entries[0].actor.startswith("key_")


def test_a_deleted_export_has_no_file_and_no_job(backend: Backend) -> None:
    export, _ = exported(backend, format="csv")
    assert backend.send("DELETE", f"/v1/exports/{export['id']}").status == 200
    assert backend.get(f"/v1/exports/{export['id']}").status == 404
    assert download(backend, export).status == 404
    assert not list((backend.data_dir / "exports").rglob(f"{export['id']}*"))


def _add_jobs(backend: Backend, key: str, kind: str, number: int) -> None:
    """Jobs that do not run, as if other servers ran them."""
    account_id = backend.get("/v1/me", key).json["id"]
    with closing(Accounts(backend.data_dir / "accounts.sqlite")) as accounts:
        jobs = Jobs(accounts.database)
        for _ in range(number):
            job = jobs.add(account_id, "held", {}, actor="key_1")
            with closing(sqlite3.connect(backend.data_dir / "accounts.sqlite")) as other:
                other.execute(
                    "UPDATE jobs SET kind = ?, state = 'running', lease_owner = 'other', lease_until_ms = 9e15"
                    " WHERE id = ?",
                    (kind, job.id),
                )
                other.commit()


def test_an_account_has_a_limited_number_of_exports_that_have_not_ended(backend: Backend) -> None:
    key = backend.add_account()
    _add_jobs(backend, key, "export", 5)
    assert _error(backend.send("POST", "/v1/exports", CSV, key)) == (409, "too_many_exports")


def test_events_that_are_being_deleted_are_not_exported(backend: Backend) -> None:
    key = backend.add_account()
    _add_jobs(backend, key, "deletion", 1)
    assert _error(backend.send("POST", "/v1/exports", CSV, key)) == (409, "conflict")


def test_links_expire_after_an_hour_and_files_after_seven_days(tmp_path_factory: pytest.TempPathFactory) -> None:
    with TimedBackend(tmp_path_factory.mktemp("clock") / "data", "2026-11-01T12:00") as backend:
        assert backend.export(span(event(1))).rejected == 0
        export, file = exported(backend, format="csv")
        backend.set_time("2026-11-01T13:01")
        assert download(backend, export).status == 404
        again = backend.get(f"/v1/exports/{export['id']}").json
        assert download(backend, again).body == file
        backend.set_time("2026-11-08T12:01")
        expired = backend.get(f"/v1/exports/{export['id']}").json
        assert (expired["state"], expired["link"]) == ("succeeded", None)
        assert download(backend, again).status == 404
        while list((backend.data_dir / "exports").rglob("*.csv")):
            backend.get("/v1/jobs")
        backend.set_time("2026-12-02T12:00")
        while backend.get("/v1/jobs").json["data"]:
            pass


def test_expired_events_are_not_exported(tmp_path_factory: pytest.TempPathFactory) -> None:
    with TimedBackend(tmp_path_factory.mktemp("clock") / "data", "2026-09-30T12:00") as backend:
        assert backend.export(*map(span, CALLS)).rejected == 0
        backend.set_period(backend.account_id(), 5)
        while len(backend.events()):
            pass
        export, file = exported(backend, format="json")
        assert (export["rows"], file) == (0, b"")
        assert ended(backend, export["id"])["totals"]["total_events"] == 0
