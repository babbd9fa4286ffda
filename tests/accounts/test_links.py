"""One-time links: stored as hashes, used once by one process, replaced and expired."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.kit.accounts import PASSWORD, Organisation
from tests.kit.timed_backend import Clock

from infraprism.backend.accounts import Accounts, RefusedError
from infraprism.backend.accounts.links import LIFETIME_S, Kind, Links
from infraprism.backend.accounts.tables import LINKS

_USE = """
import sys
from pathlib import Path
from infraprism.backend.accounts import Accounts, RefusedError
from infraprism.backend.accounts.links import Links
location, token, now = sys.argv[1], sys.argv[2], float(sys.argv[3])
accounts = Accounts(location if "://" in location else Path(location), lambda: now)
links = Links(accounts.database, accounts.clock)
print("ready", flush=True)
sys.stdin.readline()
try:
    with accounts.database.transaction() as connection:
        links.use(connection, "setup", token)
    print("used")
except RefusedError as refused:
    print(refused.reason)
accounts.close()
"""


@pytest.fixture
def links(accounts: Accounts) -> Links:
    return Links(accounts.database, accounts.clock)


def created(accounts: Accounts, links: Links, kind: Kind = "setup") -> str:
    with accounts.database.transaction() as connection:
        return links.create(connection, kind, accounts.add().id)


def is_used(accounts: Accounts, links: Links, token: str, kind: Kind = "setup") -> bool:
    try:
        with accounts.database.transaction() as connection:
            links.use(connection, kind, token)
    except RefusedError:
        return False
    return True


def test_a_link_works_once(accounts: Accounts, links: Links) -> None:
    token = created(accounts, links)
    assert links.is_valid("setup", token)
    assert [is_used(accounts, links, token) for _ in range(3)] == [True, False, False]
    assert not links.is_valid("setup", token)


@pytest.mark.parametrize("kind", list(LIFETIME_S))
def test_a_link_expires(accounts: Accounts, links: Links, clock: Clock, kind: Kind) -> None:
    early, late = created(accounts, links, kind), created(accounts, links, kind)
    clock.pass_s(LIFETIME_S[kind] - 1)
    assert is_used(accounts, links, early, kind)
    clock.pass_s(1)
    assert not is_used(accounts, links, late, kind)


def test_a_link_of_another_kind_is_not_valid(accounts: Accounts, links: Links) -> None:
    token = created(accounts, links)
    assert not is_used(accounts, links, token, "reset-password")
    assert is_used(accounts, links, token)


def test_an_unused_link_is_replaced_by_a_new_one_of_the_same_kind_only(organisation: Organisation) -> None:
    links, logins, account = organisation.logins.links, organisation.logins, organisation.account.id
    first, second = logins.setup_link(account), logins.setup_link(account)
    assert [links.is_valid("setup", token) for token in (first, second)] == [False, True]
    _, of_owner = logins.operator_link(organisation.owner)
    _, of_admin = logins.operator_link(organisation.admin)
    assert links.is_valid("reset-password", of_owner)
    _, newer = logins.operator_link(organisation.owner)
    valid = [links.is_valid("reset-password", token) for token in (of_owner, newer, of_admin)]
    assert valid == [False, True, True]
    assert links.is_valid("setup", second)


def test_only_the_hash_of_a_token_is_stored_and_expired_rows_are_deleted(
    accounts: Accounts, links: Links, clock: Clock
) -> None:
    token = created(accounts, links)
    (row,) = accounts.database.rows(select(LINKS))
    assert token not in repr(row)
    assert token.encode() not in bytes(row.hash)
    clock.pass_s(LIFETIME_S["setup"])
    created(accounts, links)
    assert len(accounts.database.rows(select(LINKS))) == 1


def test_a_link_stays_valid_if_what_it_is_used_for_is_refused(organisation: Organisation) -> None:
    token = organisation.logins.setup_link(organisation.account.id)
    for email, password in (("second@acme.example", "short"), ("owner@acme.example", PASSWORD), ("no", PASSWORD)):
        with pytest.raises(RefusedError):
            organisation.logins.setup(token, email=email, name="Eve", password=password)
    assert organisation.logins.setup(token, email="second@acme.example", name="Eve", password=PASSWORD)


def test_of_two_processes_that_use_a_link_at_the_same_time_one_succeeds(
    accounts: Accounts, location: Path | str, links: Links, clock: Clock
) -> None:
    for _ in range(3):
        token = created(accounts, links)
        command = [sys.executable, "-c", _USE, str(location), token, str(clock())]
        processes = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        assert sorted(process.communicate(timeout=60)[0] for process in processes) == ["invalid_link\n", "used\n"]


def test_a_removed_member_cannot_use_a_link(organisation: Organisation) -> None:
    kind, token = organisation.logins.operator_link(organisation.viewer)
    assert kind == "reset-password"
    organisation.members.remove(organisation.account.id, organisation.by(organisation.owner), organisation.viewer.id)
    with pytest.raises(RefusedError) as refused:
        organisation.logins.reset_password(token, PASSWORD)
    assert refused.value.reason == "invalid_link"


@pytest.mark.parametrize("token", ["", "0" * 64, "\0", "\ud800", "' OR 1=1 --", "x" * 100_000])
def test_a_text_that_is_no_token_is_refused(organisation: Organisation, token: str) -> None:
    calls = (
        lambda: organisation.logins.verify_email(token),
        lambda: organisation.logins.reset_password(token, PASSWORD),
        lambda: organisation.logins.accept_invitation(token, password=PASSWORD),
        lambda: organisation.logins.setup(token, email="x@acme.example", name="X", password=PASSWORD),
    )
    for call in calls:
        with pytest.raises(RefusedError) as refused:
            call()
        assert refused.value.reason == "invalid_link"
