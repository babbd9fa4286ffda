"""Sessions end after a time, are replaced at a login, and are revoked."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.kit.accounts import PASSWORD, Organisation
from tests.kit.timed_backend import Clock

from infraprism.backend.accounts import Accounts, RefusedError
from infraprism.backend.accounts.sessions import IDLE_S, LIFETIME_S, Sessions
from infraprism.backend.accounts.tables import SESSIONS

EMAIL = "viewer@acme.example"


def login(organisation: Organisation, replaces: str | None = None) -> str:
    return organisation.logins.login(email=EMAIL, password=PASSWORD, replaces=replaces).token


def is_valid(organisation: Organisation, token: str) -> bool:
    return organisation.logins.sessions.find(token) is not None


def test_a_session_belongs_to_the_member_and_only_its_hash_is_stored(organisation: Organisation) -> None:
    token = login(organisation)
    found = organisation.logins.sessions.find(token)
    assert found is not None
    assert found[1] == organisation.viewer
    rows = organisation.accounts.database.rows(select(SESSIONS))
    assert set(SESSIONS.c.keys()) == {"hash", "member_id", "created_at", "last_used_at"}
    assert all(token not in repr(row) for row in rows)
    assert token not in repr(found)


def test_a_session_ends_if_it_is_not_used(organisation: Organisation, clock: Clock) -> None:
    used, unused = login(organisation), login(organisation)
    clock.pass_s(IDLE_S - 60)
    assert is_valid(organisation, used)
    clock.pass_s(60)
    assert [is_valid(organisation, token) for token in (used, unused)] == [True, False]


def test_a_session_ends_at_last_also_if_it_is_used(organisation: Organisation, clock: Clock) -> None:
    token = login(organisation)
    end = clock() + LIFETIME_S
    while clock() + IDLE_S // 2 < end:
        clock.pass_s(IDLE_S // 2)
        assert is_valid(organisation, token)
    clock.now_s = end
    assert not is_valid(organisation, token)


def test_a_login_replaces_the_session_of_the_browser(organisation: Organisation) -> None:
    first, other = login(organisation), login(organisation)
    second = login(organisation, replaces=first)
    assert second != first
    assert [is_valid(organisation, token) for token in (first, second, other)] == [False, True, True]


def test_a_member_lists_and_revokes_own_sessions_only(organisation: Organisation) -> None:
    sessions = organisation.logins.sessions
    tokens = [login(organisation) for _ in range(2)]
    listed = sessions.all(organisation.viewer.id)
    assert len(listed) == 3  # with the one of the invitation
    foreign = sessions.all(organisation.owner.id)[0]
    with pytest.raises(RefusedError):
        organisation.logins.revoke_session(organisation.viewer, foreign.id)
    current = sessions.find(tokens[0])
    assert current is not None
    organisation.logins.revoke_session(organisation.viewer, current[0].id)
    assert [is_valid(organisation, token) for token in tokens] == [False, True]
    organisation.logins.revoke_session(organisation.viewer)
    assert sessions.all(organisation.viewer.id) == []
    assert len(sessions.all(organisation.owner.id)) == 1
    assert [action for _, action, _ in organisation.actions()][-2:] == ["session.revoked", "session.revoked"]


def test_another_process_refuses_a_revoked_session_at_once(organisation: Organisation, location: Path | str) -> None:
    token = login(organisation)
    with closing(Accounts(location, organisation.accounts.clock)) as other:
        sessions = Sessions(other.database, other.clock)
        assert sessions.find(token) is not None
        organisation.logins.logout(token)
        assert sessions.find(token) is None


def test_sessions_end_with_their_member_and_have_the_role_of_now(organisation: Organisation) -> None:
    token = login(organisation)
    owner, account = organisation.by(organisation.owner), organisation.account.id
    organisation.members.change(account, owner, organisation.viewer.id, role="admin")
    found = organisation.logins.sessions.find(token)
    assert found is not None
    assert found[1].role == "admin"
    organisation.members.remove(account, owner, organisation.viewer.id)
    assert not is_valid(organisation, token)


def test_the_use_of_a_session_is_written_once_a_minute(organisation: Organisation, clock: Clock) -> None:
    token = login(organisation)

    def last_used() -> str:
        return max(session.last_used_at for session in organisation.logins.sessions.all(organisation.viewer.id))

    for passed, written in ((59, False), (1, True)):
        before = last_used()
        clock.pass_s(passed)
        assert is_valid(organisation, token)
        assert (last_used() != before) is written


@pytest.mark.parametrize("token", ["", "x", "\0", "\ud800", "x" * 100_000])
def test_a_text_that_is_no_token_has_no_session(organisation: Organisation, token: str) -> None:
    assert not is_valid(organisation, token)
