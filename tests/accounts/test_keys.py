"""API keys: scopes, the day of last use, rotation, and revocation in other processes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from tests.kit.accounts import Organisation
from tests.kit.timed_backend import Clock

from infraprism.backend.accounts import Accounts, Key, RefusedError, permissions
from infraprism.backend.accounts.key_uses import KeyUses
from infraprism.backend.accounts.keys import MAX_OVERLAP_S
from infraprism.backend.accounts.permissions import SCOPES, Scope, of_key
from infraprism.backend.accounts.tables import KEYS
from infraprism.backend.relational import DatabaseUnavailableError

EFFECTIVE_S = 5.0
DAY_S = 86_400


@pytest.fixture
def other(location: Path | str, accounts: Accounts, clock: Clock) -> Iterator[Accounts]:
    """The same database in another process."""
    with closing(Accounts(location, clock)) as opened:
        yield opened


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(RefusedError) as found:
        call()
    return found.value.reason


def test_a_key_has_a_name_and_scopes_and_only_its_hash_is_stored(organisation: Organisation) -> None:
    text, key = organisation.keys.create(
        organisation.account.id, organisation.by(organisation.owner), name="ci", scopes=["read", "ingest"]
    )
    assert (key.id, key.name, key.scope_names) == (Key.id_of(text), "ci", ["ingest", "read"])
    assert organisation.keys.all(organisation.account.id) == [key]
    assert all(text not in repr(row) for row in organisation.accounts.database.rows(select(KEYS)))
    found = organisation.accounts.find_key(text)
    assert found is not None
    assert (found.account.id, found.scopes) == (organisation.account.id, {"ingest", "read"})


@given(own=st.sets(st.sampled_from(SCOPES), min_size=1), wanted=st.sets(st.sampled_from(SCOPES), min_size=1))
def test_scopes_are_never_widened(own: set[Scope], wanted: set[Scope]) -> None:
    principal = of_key("key_0", own)
    assert principal.scopes == own
    assert permissions.scopes_of(permissions.scopes_text(wanted)) == wanted
    if "admin" not in own:
        with pytest.raises(RefusedError):
            principal.require_admin()


def test_a_key_cannot_create_or_rotate_a_key_with_more_scopes_than_its_own(organisation: Organisation) -> None:
    keys, account = organisation.keys, organisation.account.id
    by = of_key("key_0", ["admin", "read"])
    assert keys.create(account, by, name=None, scopes=["read"])
    assert keys.create(account, by, name=None, scopes=["admin", "read"])
    for scopes in (["ingest"], list(SCOPES)):
        assert refused(lambda scopes=scopes: keys.create(account, by, name=None, scopes=scopes)) == "forbidden"
    text, stronger = keys.create(account, permissions.operator(), name=None, scopes=SCOPES)
    assert refused(lambda: keys.rotate(account, by, stronger.id)) == "forbidden"
    assert organisation.accounts.find_key(text) is not None
    reader = of_key("key_1", ["read", "ingest"])
    assert refused(lambda: keys.create(account, reader, name=None, scopes=["read"])) == "forbidden"
    assert refused(lambda: keys.revoke(account, reader, stronger.id)) == "forbidden"


@pytest.mark.parametrize("scopes", [[], ["write"], ["read", "ADMIN"], [""]])
def test_unknown_scopes_are_refused(organisation: Organisation, scopes: list[Scope]) -> None:
    creating = lambda: organisation.keys.create(  # noqa: E731
        organisation.account.id, permissions.operator(), name=None, scopes=scopes
    )
    assert refused(creating) == "invalid"


def test_unknown_words_among_stored_scopes_permit_nothing() -> None:
    assert permissions.scopes_of("superuser READ ingest,admin") == frozenset()


def test_another_process_refuses_a_revoked_key_within_five_seconds(
    organisation: Organisation, other: Accounts, clock: Clock
) -> None:
    text, key = organisation.keys.create(organisation.account.id, permissions.operator(), name=None, scopes=["read"])
    assert other.find_key(text) is not None
    organisation.keys.revoke(organisation.account.id, permissions.operator(), key.id)
    assert organisation.accounts.find_key(text) is None
    clock.pass_s(EFFECTIVE_S)
    assert other.find_key(text) is None


def test_a_clock_that_goes_back_does_not_keep_a_revoked_key_valid(
    organisation: Organisation, other: Accounts, clock: Clock
) -> None:
    text, key = organisation.keys.create(organisation.account.id, permissions.operator(), name=None, scopes=["read"])
    assert other.find_key(text) is not None
    organisation.keys.revoke(organisation.account.id, permissions.operator(), key.id)
    clock.pass_s(-3600)
    assert other.find_key(text) is None


def test_settings_and_the_plan_apply_in_another_process_within_five_seconds(
    organisation: Organisation, other: Accounts, clock: Clock
) -> None:
    text = organisation.accounts.add_key(organisation.account.id)
    assert other.find_by_key(text) == organisation.account
    by = permissions.operator()
    organisation.settings.change(organisation.account.id, by, usage_detail=True, time_zone="Europe/Berlin")
    organisation.settings.set_plan(organisation.account.id, by, "enterprise", requests_per_minute=7)
    clock.pass_s(EFFECTIVE_S)
    found = other.find_by_key(text)
    assert found is not None
    assert (found.usage_detail, found.time_zone, found.limits) == (True, "Europe/Berlin", (7, None))


def test_a_rotated_key_is_valid_until_the_end_of_the_overlap(
    organisation: Organisation, other: Accounts, clock: Clock
) -> None:
    account, by = organisation.account.id, permissions.operator()
    old, key = organisation.keys.create(account, by, name="app", scopes=["ingest"])
    new, replaced = organisation.keys.rotate(account, by, key.id, overlap_s=3600)
    assert (replaced.name, replaced.scope_names) == ("app", ["ingest"])
    clock.pass_s(3599)
    assert other.find_key(old) is not None
    clock.pass_s(1)
    assert [other.find_key(text) is not None for text in (old, new)] == [False, True]
    assert organisation.accounts.find_key(old) is None


def test_a_key_rotated_without_overlap_is_revoked(organisation: Organisation, other: Accounts, clock: Clock) -> None:
    account, by = organisation.account.id, permissions.operator()
    old, key = organisation.keys.create(account, by, name=None, scopes=["ingest"])
    assert other.find_key(old) is not None
    organisation.keys.rotate(account, by, key.id)
    assert organisation.accounts.find_key(old) is None
    clock.pass_s(EFFECTIVE_S)
    assert other.find_key(old) is None


def test_a_key_is_rotated_once_and_revoked_once(organisation: Organisation) -> None:
    account, by = organisation.account.id, permissions.operator()
    _, key = organisation.keys.create(account, by, name=None, scopes=["read"])
    _, second = organisation.keys.rotate(account, by, key.id, overlap_s=60)
    assert refused(lambda: organisation.keys.rotate(account, by, key.id)) == "conflict"
    organisation.keys.revoke(account, by, key.id)  # before the overlap ends
    assert refused(lambda: organisation.keys.revoke(account, by, key.id)) == "conflict"
    organisation.keys.revoke(account, by, second.id)
    assert refused(lambda: organisation.keys.rotate(account, by, second.id)) == "conflict"
    for overlap_s in (-1, MAX_OVERLAP_S + 1):
        assert refused(lambda o=overlap_s: organisation.keys.rotate(account, by, second.id, overlap_s=o)) == "invalid"


def test_two_rotations_at_the_same_time_make_one_new_key(organisation: Organisation, location: Path | str) -> None:
    account, by = organisation.account.id, permissions.operator()
    _, key = organisation.keys.create(account, by, name=None, scopes=["read"])
    barrier, outcomes = threading.Barrier(2), list[str]()

    def rotate() -> None:
        with closing(Accounts(location, organisation.accounts.clock)) as accounts:
            keys = type(organisation.keys)(accounts, organisation.audit)
            barrier.wait(30)
            try:
                keys.rotate(account, by, key.id)
                outcomes.append("rotated")
            except RefusedError as error:
                outcomes.append(error.reason)

    threads = [threading.Thread(target=rotate) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(outcomes) == ["conflict", "rotated"]
    assert len(organisation.keys.all(account)) == 2


def test_the_day_of_last_use_is_written_once_a_day_and_not_by_the_request(
    organisation: Organisation, other: Accounts, clock: Clock
) -> None:
    accounts, account = organisation.accounts, organisation.account.id
    text = accounts.add_key(account)

    def day() -> str | None:
        return organisation.keys.all(account)[0].last_used_on

    assert accounts.find_key(text) is not None
    assert day() is None
    accounts.uses.write()
    assert day() == "2026-09-21"
    clock.pass_s(DAY_S)
    assert other.find_key(text) is not None
    other.uses.write()
    assert day() == "2026-09-22"
    clock.pass_s(-DAY_S)
    assert accounts.find_key(text) is not None
    accounts.uses.write()
    assert day() == "2026-09-22"  # the latest day stays


def test_a_used_key_is_written_once_a_day_however_often_it_is_used() -> None:
    written: list[list[tuple[bytes, str]]] = []
    uses = KeyUses(lambda days: written.append(list(days)))
    for _ in range(5):
        for _ in range(100):
            uses.record(b"key", 0, 1_790_000_000.0)
        uses.write()
    uses.record(b"read as used today", 1_790_000_000 // DAY_S, 1_790_000_000.0)
    uses.close()
    assert written == [[(b"key", "2026-09-21")]]


def test_uses_are_kept_while_the_database_is_unavailable() -> None:
    written: list[list[tuple[bytes, str]]] = []

    def write(days: Iterable[tuple[bytes, str]]) -> None:
        if not is_available:
            raise DatabaseUnavailableError("the server does not answer")
        written.append(list(days))

    uses, is_available = KeyUses(write), False
    uses.record(b"key", 0, 1_790_000_000.0)
    uses.write()
    is_available = True
    uses.write()
    assert written == [[(b"key", "2026-09-21")]]


def test_a_key_of_another_account_is_not_found(organisation: Organisation) -> None:
    by, foreign = permissions.operator(), organisation.accounts.add().id
    _, key = organisation.keys.create(foreign, by, name=None, scopes=["read"])
    account = organisation.account.id
    for id_ in (key.id, "", "key_", "\0", "' OR 1=1 --", "x" * 10_000):
        assert refused(lambda i=id_: organisation.keys.find(account, i)) == "not_found"
        assert refused(lambda i=id_: organisation.keys.rotate(account, by, i)) == "not_found"
        assert refused(lambda i=id_: organisation.keys.revoke(account, by, i)) == "not_found"


def test_every_change_of_a_key_has_its_audit_entries(organisation: Organisation) -> None:
    account, by = organisation.account.id, organisation.by(organisation.admin)
    before = len(organisation.actions())
    _, key = organisation.keys.create(account, by, name=None, scopes=["read"])
    organisation.keys.rename(account, by, key.id, "renamed")
    _, new = organisation.keys.rotate(account, by, key.id)
    organisation.keys.revoke(account, by, new.id)
    assert organisation.actions()[before:] == [
        (organisation.admin.id, "key.created", key.id),
        (organisation.admin.id, "setting.changed", key.id),
        (organisation.admin.id, "key.rotated", key.id),
        (organisation.admin.id, "key.created", new.id),
        (organisation.admin.id, "key.revoked", new.id),
    ]
