"""Two servers with a store each and one PostgreSQL: the data of an account is in the directory of its region only."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

import grpc  # type: ignore[import-untyped]  # the package has no types
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub
from tests.kit.backend import Backend, request, span
from tests.kit.backups import RECIPIENT, backup, created, restored
from tests.kit.command import infraprism
from tests.kit.events import event
from tests.kit.ports import free_port
from tests.kit.postgresql import postgresql
from tests.kit.raw_files import files_with

from infraprism.backend.accounts import Accounts
from infraprism.backend.jobs import Jobs


class Region(NamedTuple):
    name: str
    server: Backend
    key: str
    account_id: str


@pytest.fixture(scope="module")
def accounts_url() -> Iterator[str]:
    with postgresql() as server:
        yield server.new_database("regions")


@pytest.fixture(scope="module")
def regions(tmp_path_factory: pytest.TempPathFactory, accounts_url: str) -> Iterator[dict[str, Region]]:
    """A server of each region. Each account has 30 events that name its region."""
    directory, found = tmp_path_factory.mktemp("regions"), {}
    ports = {"us": free_port(), "eu": free_port()}
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    with ExitStack() as stack:
        for name, port in ports.items():
            settings = {"region": name, "regions": urls, "accounts": accounts_url}
            server = stack.enter_context(Backend(directory / name, port=port, settings=settings))
            with closing(Accounts(accounts_url, region=name)) as accounts:
                account = accounts.add(company=f"company of {name}")
                key = accounts.add_key(account.id)
            found[name] = Region(name, server, key, account.id)
        for region in found.values():
            sent = [span(event(number, entity_id=f"customer-{region.name}")) for number in range(1, 31)]
            assert region.server.export(*sent, key=region.key).rejected == 0
            assert region.server.export(*sent[:2], key=region.key).rejected == 0
        yield found


def other(regions: dict[str, Region], region: Region) -> Region:
    return regions["eu" if region.name == "us" else "us"]


@pytest.fixture(params=["us", "eu"])
def region(request: pytest.FixtureRequest, regions: dict[str, Region]) -> Region:
    return regions[request.param]


def test_a_region_serves_its_account(region: Region) -> None:
    assert len(region.server.events(region.key)) == 30


@pytest.mark.parametrize("path", ["/v1/events", "/v1/analytics/costs", "/v1/me", "/v1/jobs", "/v1/audit", "/v1/none"])
def test_an_account_of_another_region_gets_421_with_its_url(
    regions: dict[str, Region], region: Region, path: str
) -> None:
    answer = other(regions, region).server.get(path, region.key)
    assert answer.status == 421
    assert region.server.url in answer.body.decode()
    assert f"company of {region.name}" not in answer.body.decode()


def test_events_of_another_region_are_refused_so_that_exporters_keep_them(
    regions: dict[str, Region], region: Region
) -> None:
    there = other(regions, region)
    for spans in ([span(event(100))], [span(event(number)) for number in range(100, 200)]):
        answer = there.server.export(*spans, key=region.key)
        assert answer.status == 503
        assert answer.headers["retry-after"] == "60"
        assert region.server.url in answer.body.decode(errors="replace")
    with grpc.insecure_channel(there.server.grpc_address) as channel, pytest.raises(grpc.RpcError) as raised:
        TraceServiceStub(channel).Export(
            request([span(event(100))]), metadata=(("authorization", f"Bearer {region.key}"),), timeout=20
        )
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    assert region.server.url in raised.value.details()
    assert there.server.get("/metrics").body.decode().count("infraprism_wrong_region_requests 0.0") == 0
    assert len(region.server.events(region.key)) == 30


def test_a_job_is_run_in_the_region_of_its_account(
    regions: dict[str, Region], region: Region, accounts_url: str, tmp_path: Path
) -> None:
    made = created(region.server.data_dir, tmp_path / "backups", "--accounts", accounts_url, "--region", region.name)
    with closing(Accounts(accounts_url)) as accounts:
        (job,) = [job for job in Jobs(accounts.database).list("") if (job.result or {}).get("id") == made["id"]]
        assert job.kind == f"backup:{region.name}"
        kinds = frozenset({f"kind-of-{region.name}"})
        added = Jobs(accounts.database).add(region.account_id, *kinds, {}, actor="operator")
        assert Jobs(accounts.database, region=other(regions, region).name).take("x", 1, kinds) is None
        taken = Jobs(accounts.database, region=region.name).take("x", 1, kinds)
        assert taken is not None
        assert taken.id == added.id
    directory = restored(tmp_path / "backups", tmp_path / "restored", "--accounts", accounts_url)
    assert files_with(directory, f"customer-{region.name}")
    assert files_with(directory, f"customer-{other(regions, region).name}") == []


def test_no_byte_of_an_account_is_in_another_region(regions: dict[str, Region], region: Region) -> None:
    here, there = region.server.data_dir, other(regions, region).server.data_dir
    until = threading.Event()
    while list((here / "log").glob("*.log")):
        until.wait(0.1)
    for identifier in (f"customer-{region.name}", region.account_id):
        assert files_with(here, identifier)
        assert files_with(there, identifier) == []


def test_the_operator_creates_an_account_in_a_region(regions: dict[str, Region], accounts_url: str) -> None:
    ran = infraprism("account", "create", "--company", "new", "--region", "eu", "--accounts", accounts_url)
    assert (ran.returncode, ran.stderr) == (0, "")
    key = ran.stdout.strip().partition("=")[2]
    assert regions["eu"].server.get("/v1/events", key).status == 200
    assert regions["us"].server.get("/v1/events", key).status == 421


def test_a_server_without_its_region_does_not_start(
    regions: dict[str, Region], accounts_url: str, tmp_path: Path
) -> None:
    ran = infraprism(
        "serve", "--data-dir", str(tmp_path / "data"), "--port", "0", "--grpc-port", "0",
        environment={"INFRAPRISM_ACCOUNTS": accounts_url},
    )  # fmt: skip
    assert ran.returncode == 1
    assert "give --region" in ran.stderr


def test_accounts_of_a_server_that_gets_a_region_are_in_it(tmp_path: Path) -> None:
    with Backend(tmp_path / "data") as server:
        assert server.export(span(event())).rejected == 0
    with Backend(tmp_path / "data", settings={"region": "eu"}) as server:
        assert len(server.events()) == 1
        ran = backup(
            "create", tmp_path / "backups", "--data-dir", str(tmp_path / "data"), "--region", "eu", "--json",
            "--recipient", RECIPIENT,
        )  # fmt: skip
        assert json.loads(ran.stdout)["events_in_store"] == 1
