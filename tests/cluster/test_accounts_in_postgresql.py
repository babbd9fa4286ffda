"""Accounts: the same behaviour in a SQLite file and in PostgreSQL."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.kit.postgresql import PASSWORD, PostgreSQL

from infraprism.backend.accounts import Accounts, InvalidKeyError
from infraprism.backend.accounts.stored_accounts import StoredAccounts
from infraprism.backend.first_key import FirstKey
from infraprism.backend.relational import DatabaseUnavailableError

KEY = "ip-the-key-of-this-test-8Zq2"


@pytest.fixture(params=["sqlite", "postgresql"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    if request.param == "sqlite":
        return tmp_path / "accounts.sqlite"
    found: str = request.getfixturevalue("new_database")()
    return found


@pytest.fixture
def accounts(location: Path | str) -> Iterator[Accounts]:
    with closing(Accounts(location)) as opened:
        yield opened


def test_an_account_is_found_by_its_key_also_by_another_process(accounts: Accounts, location: Path | str) -> None:
    added = accounts.add(company="Acme", usage_detail=True)
    assert accounts.add_key(added.id, KEY) == KEY
    with closing(Accounts(location)) as other:
        assert other.find_by_key(KEY) == added
        assert other.all() == [added]
        assert other.find_by_key(KEY + "x") is None


def test_a_revoked_key_stays_listed_and_is_not_found(accounts: Accounts) -> None:
    added = accounts.add()
    accounts.add_key(added.id, KEY)
    kept = accounts.add_key(added.id)
    (key,) = [found for found in accounts.keys(added.id) if found.id == found.id_of(KEY)]
    accounts.revoke_key(key)
    assert accounts.find_by_key(KEY) is None
    assert accounts.find_by_key(kept) == added
    assert [found.revoked_at is not None for found in accounts.keys(added.id) if found.id == key.id] == [True]


def test_settings_of_an_account_are_changed(accounts: Accounts) -> None:
    added = accounts.add()
    accounts.set_usage_detail(added.id, enabled=True)
    assert [account.usage_detail for account in accounts.all()] == [True]


def test_a_secret_is_created_once_for_all_processes(accounts: Accounts, location: Path | str) -> None:
    with closing(Accounts(location)) as other:
        assert accounts.secret("cursor") == other.secret("cursor")
        assert len(accounts.secret("cursor")) == 32
        assert accounts.secret("cursor") != accounts.secret("other")


def test_an_uncommitted_account_is_visible_only_here_and_discarded_at_the_end(location: Path | str) -> None:
    with closing(Accounts(location)) as accounts, closing(Accounts(location)) as other:
        accounts.begin()
        key = accounts.add_with_key()
        assert accounts.find_by_key(key) is not None
        assert other.is_empty()
    with closing(Accounts(location)) as accounts:
        assert accounts.is_empty()


def test_an_invalid_key_creates_no_account(accounts: Accounts) -> None:
    with pytest.raises(InvalidKeyError):
        accounts.add_with_key("ip-aaaaaaaaaaaaa")
    accounts.add_with_key(KEY)
    with pytest.raises(DatabaseUnavailableError):
        accounts.add_with_key(KEY)
    assert len(accounts.all()) == 1


def test_two_nodes_that_start_first_at_the_same_time_create_one_account(
    new_database: Callable[[], str], tmp_path: Path
) -> None:
    location = new_database()
    barrier = threading.Barrier(2)
    shown: list[str | None] = []

    def start(name: str) -> None:
        (tmp_path / name).mkdir()
        with closing(Accounts(location)) as accounts:
            first_key = FirstKey(tmp_path / name, "")
            barrier.wait(10)
            first_key.prepare(accounts)
            first_key.commit(accounts)
            shown.append(first_key.to_show)

    threads = [threading.Thread(target=start, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    with closing(Accounts(location)) as accounts:
        assert len(accounts.all()) == 1
    assert len([key for key in shown if key]) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda url: url.replace(PASSWORD, "wrong-" + PASSWORD),
        lambda url: url + "_missing",
        lambda url: url.replace("127.0.0.1:", "127.0.0.1:1"),
        lambda url: url.replace("postgresql:", "mysql:"),
        lambda url: url.replace("@", ":::@:"),
    ],
    ids=["password", "database", "port", "scheme", "form"],
)
def test_an_error_names_the_cause_and_never_the_password(
    postgresql_server: PostgreSQL, change: Callable[[str], str]
) -> None:
    with pytest.raises(DatabaseUnavailableError) as failure:
        Accounts(change(postgresql_server.url()))
    assert str(failure.value)
    assert "\n" not in str(failure.value)
    assert PASSWORD not in str(failure.value)
    assert PASSWORD not in repr(failure.value.__cause__)


def test_accounts_are_unavailable_while_the_server_is_stopped_and_found_again_after(
    postgresql_server: PostgreSQL, new_database: Callable[[], str], caplog: pytest.LogCaptureFixture
) -> None:
    with closing(Accounts(new_database())) as accounts:
        key = accounts.add_with_key()
        postgresql_server.stop()
        try:
            with caplog.at_level(logging.ERROR), pytest.raises(DatabaseUnavailableError):
                accounts.find_by_key(key)
        finally:
            postgresql_server.start()
        assert PASSWORD not in caplog.text
        assert accounts.find_by_key(key) is not None


def test_a_check_finds_a_damaged_file(tmp_path: Path) -> None:
    file = tmp_path / "accounts.sqlite"
    with closing(StoredAccounts(file)) as stored:
        stored.check(verify_file=True)
        file.write_bytes(b"x" * len(file.read_bytes()))
        with pytest.raises(DatabaseUnavailableError):
            stored.check(verify_file=True)


def test_a_check_of_postgresql_reads_it(new_database: Callable[[], str]) -> None:
    with closing(StoredAccounts(new_database())) as stored:
        stored.check(verify_file=True)
