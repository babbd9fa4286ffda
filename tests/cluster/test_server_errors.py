"""Starting with `--store`: each failure is one line that names the cause, and no password is shown."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
from tests.kit import postgresql as postgresql_kit
from tests.kit.clickhouse_front import PASSWORD, ClickHouseFront
from tests.kit.command import clean_environment
from tests.kit.ports import free_port

from infraprism.backend.cluster import server_address
from infraprism.backend.cluster.server_address import AddressError


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseFront]:
    with ClickHouseFront(tmp_path_factory.mktemp("server") / "data") as running:
        yield running


def serve(directory: Path, *options: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable, "-m", "infraprism.cli", "serve", "--data-dir", str(directory / "data"),
            "--port", "0", "--grpc-port", "0", *options,
        ],
        env=clean_environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def startup_error(process: subprocess.Popen[str]) -> str:
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.count("\n") == 1, errors
    for secret in (PASSWORD, postgresql_kit.PASSWORD):
        assert secret not in output + errors
    return errors


def test_wrong_user_and_password_are_named(
    front: ClickHouseFront, new_database: Callable[[], str], tmp_path: Path
) -> None:
    store = front.url(password=f"not-{PASSWORD}")
    error = startup_error(serve(tmp_path, "--store", store, "--accounts", new_database()))
    assert "refused the user and the password of --store" in error


def test_a_host_that_does_not_answer_is_named(new_database: Callable[[], str], tmp_path: Path) -> None:
    port = free_port()
    store = f"clickhouse://user:{PASSWORD}@127.0.0.1:{port}/calls"
    error = startup_error(serve(tmp_path, "--store", store, "--accounts", new_database()))
    assert f"clickhouse://127.0.0.1:{port}/calls does not answer: check host, port and secure" in error


def test_a_server_without_tls_is_named(front: ClickHouseFront, new_database: Callable[[], str], tmp_path: Path) -> None:
    error = startup_error(serve(tmp_path, "--store", front.url(options=""), "--accounts", new_database()))
    assert "does not answer in TLS" in error


def test_a_certificate_is_verified(new_database: Callable[[], str], tmp_path: Path) -> None:
    authority = trustme.CA()
    file = tmp_path / "server.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(file)
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    with ClickHouseFront(tmp_path / "server", certificate=str(file)) as front:
        options = ("--store", front.url(options=""), "--accounts", new_database())
        assert "is not trusted: set SSL_CERT_FILE" in startup_error(serve(tmp_path, *options))
        process = serve(tmp_path, *options, SSL_CERT_FILE=str(tmp_path / "authority.pem"))
        assert process.stdout is not None
        assert any("is ready" in line for line in process.stdout)
        process.terminate()
        process.communicate(timeout=60)


def test_an_old_server_is_refused(new_database: Callable[[], str], tmp_path: Path) -> None:
    with ClickHouseFront(tmp_path / "server", version="24.3.1.1") as front:
        error = startup_error(serve(tmp_path, "--store", front.url(), "--accounts", new_database()))
    assert "is ClickHouse 24.3.1.1: 25.8 or newer is needed" in error


def test_a_cluster_that_the_server_does_not_know_is_refused(
    front: ClickHouseFront, new_database: Callable[[], str], tmp_path: Path
) -> None:
    store = front.url(options="?secure=false&cluster=main")
    error = startup_error(serve(tmp_path, "--store", store, "--accounts", new_database()))
    assert "has no cluster of this name" in error


def test_a_store_without_the_database_of_leases_is_refused(front: ClickHouseFront, tmp_path: Path) -> None:
    assert "--store needs --accounts postgresql://" in startup_error(serve(tmp_path, "--store", front.url()))


def test_a_wrong_password_of_postgresql_is_named(
    front: ClickHouseFront, new_database: Callable[[], str], tmp_path: Path
) -> None:
    accounts = new_database().replace(postgresql_kit.PASSWORD, "wrong")
    error = startup_error(serve(tmp_path, "--store", front.url(), "--accounts", accounts))
    assert "PostgreSQL (--accounts) cannot be used" in error


def test_passwords_are_neither_in_the_list_of_processes_nor_in_the_output(
    front: ClickHouseFront, new_database: Callable[[], str], tmp_path: Path
) -> None:
    process = serve(tmp_path, "--store", front.url(), "--accounts", new_database())
    assert process.stdout is not None
    lines = iter(process.stdout)
    assert any("is ready" in line for line in lines)
    shown = subprocess.run(
        ["ps", "-ww", "-p", str(process.pid), "-o", "args"], capture_output=True, text=True, check=True
    )
    process.terminate()
    output, errors = process.communicate(timeout=60)
    assert "clickhouse://infraprism@127.0.0.1" in shown.stdout
    for secret in (PASSWORD, postgresql_kit.PASSWORD):
        assert secret not in shown.stdout + output + errors


def test_an_address_has_hosts_user_and_database_and_hides_its_password() -> None:
    address = server_address.parse("clickhouse://u:p%40ss@a,b:9000/calls?cluster=main")
    assert address.hosts == (("a", 8443), ("b", 9000))
    assert (address.user, address.password, address.database, address.cluster) == ("u", "p@ss", "calls", "main")
    assert "p@ss" not in repr(address) + str(address)


@pytest.mark.parametrize(
    "text",
    [
        "http://u:secret-1@a/calls",
        "clickhouse://a/calls",
        "clickhouse://u:secret-1@/calls",
        "clickhouse://u:secret-1@a:x/calls",
        "clickhouse://u:secret-1@a/",
        "clickhouse://u:secret-1@a/ca-lls",
        "clickhouse://u:secret-1@a/calls?cluster=a'b",
        "clickhouse://u:secret-1@a/calls?secure=maybe",
        "clickhouse://u:secret-1@a/calls?verify=false",
        "clickhouse://u:secret-1@[a/calls",
        "clickhouse://u:secret-1@a,b/calls",
    ],
)
def test_a_wrong_address_is_refused_without_showing_its_password(text: str) -> None:
    with pytest.raises(AddressError) as failure:
        server_address.parse(text)
    assert "secret-1" not in str(failure.value)
