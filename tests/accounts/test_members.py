"""Members: what is stored of a person, and what each role may change."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from tests.kit.accounts import PASSWORD, Mailbox, Organisation

from infraprism.backend.accounts import Accounts, RefusedError, people, permissions
from infraprism.backend.accounts.members import Members
from infraprism.backend.accounts.permissions import ROLES, Principal, Role, of_key
from infraprism.backend.accounts.tables import ACCOUNTS, KEYS, LINKS, MEMBERS, SECRETS, SESSIONS
from infraprism.backend.audit.audit_log import AuditLog


def refused(call: Callable[[], object]) -> str:
    """The reason for which a call is refused."""
    with pytest.raises(RefusedError) as found:
        call()
    return found.value.reason


def test_nothing_is_stored_of_a_person_but_email_name_role_and_hash(organisation: Organisation) -> None:
    assert {table.name: " ".join(table.c.keys()) for table in (ACCOUNTS, KEYS, MEMBERS, LINKS, SESSIONS, SECRETS)} == {
        "accounts": "id company plan usage_detail created_at time_zone requests_per_minute retention_days region",
        "keys": "hash prefix account_id created_at revoked_at name scopes last_used_on expires_at",
        "members": "id account_id email name role password_hash email_verified_at",
        "links": "hash kind account_id member_id expires_at is_mailed",
        "sessions": "hash member_id created_at last_used_at",
        "secrets": "name value",
    }
    rows = organisation.accounts.database.rows(select(MEMBERS))
    assert all(PASSWORD not in repr(row) for row in rows)
    assert all(row.password_hash.startswith("$2b$") for row in rows)


def test_an_email_is_unique_in_any_case_and_in_all_accounts(organisation: Organisation, mailbox: Mailbox) -> None:
    other = organisation.accounts.add()
    owner = organisation.by(organisation.owner)
    for account_id in (organisation.account.id, other.id):
        adding = lambda account_id=account_id: organisation.members.add(  # noqa: E731
            account_id, owner, email=" Owner@ACME.example ", name=None, role="viewer"
        )
        assert refused(adding) == "conflict"


@pytest.mark.parametrize(
    "email",
    [
        "", "a", "@", "a@", "@b", "a@b@c", "a b@c.example", "a@b..example", "a@-b.example", ".a@b.example",
        "a\n@b.example", "a@b.example\nBcc: c@d.example", "a\0@b.example", "ä@b.example", "a@bücher.example",
        "<a@b.example>", "a" * 65 + "@b.example", "a@" + "b" * 260, "a@b.example,c@d.example", "\ud800@b.example",
    ],
)  # fmt: skip
def test_a_text_that_is_no_address_is_refused(email: str) -> None:
    assert refused(lambda: people.email(email)) == "invalid"


@given(st.text(max_size=80))
def test_an_accepted_email_is_one_line_of_ascii_and_stays_the_same(text: str) -> None:
    try:
        found = people.email(text)
    except RefusedError:
        return
    assert found.isascii()
    assert found.isprintable()
    assert " " not in found
    assert people.email(found.upper()) == found


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\0", "\u202eabc", "x" * 201, "\ud800"])
def test_a_name_is_one_printable_line(name: str) -> None:
    assert refused(lambda: people.name(name)) == "invalid"


def test_a_viewer_changes_nothing_but_the_own_name(organisation: Organisation) -> None:
    by, account = organisation.by(organisation.viewer), organisation.account.id
    for member in (organisation.owner, organisation.admin, organisation.viewer):
        assert refused(lambda member=member: organisation.members.remove(account, by, member.id)) == "forbidden"
        changing = lambda member=member: organisation.members.change(account, by, member.id, role="admin")  # noqa: E731
        assert refused(changing) == "forbidden"
    assert refused(lambda: organisation.members.change(account, by, organisation.admin.id, name="X")) == "forbidden"
    for role in ROLES:
        adding = lambda role=role: organisation.members.add(account, by, email="n@x.example", name=None, role=role)  # noqa: E731
        assert refused(adding) == "forbidden"
    assert refused(lambda: organisation.settings.change(account, by, company="X")) == "forbidden"
    assert refused(lambda: organisation.keys.create(account, by, name=None, scopes=["read"])) == "forbidden"
    assert organisation.members.change(account, by, organisation.viewer.id, name="Vera").name == "Vera"


@pytest.mark.parametrize("who", ["admin", "key"])
def test_an_admin_and_a_key_can_neither_make_nor_change_an_owner(organisation: Organisation, who: str) -> None:
    account = organisation.account.id
    by = organisation.by(organisation.admin) if who == "admin" else of_key("key_0", permissions.SCOPES)
    adding = lambda: organisation.members.add(account, by, email="n@x.example", name=None, role="owner")  # noqa: E731
    assert refused(adding) == "forbidden"
    assert refused(lambda: organisation.members.change(account, by, organisation.admin.id, role="owner")) == "forbidden"
    assert (
        refused(lambda: organisation.members.change(account, by, organisation.owner.id, role="viewer")) == "forbidden"
    )
    assert refused(lambda: organisation.members.remove(account, by, organisation.owner.id)) == "forbidden"
    inviting = lambda: organisation.logins.invite(account, by, email="n@x.example", name=None, role="owner")  # noqa: E731
    assert refused(inviting) == "forbidden"
    added = organisation.members.add(account, by, email="n@x.example", name=None, role="admin")
    assert organisation.members.change(account, by, added.id, role="viewer").role == "viewer"
    organisation.members.remove(account, by, added.id)


@pytest.mark.parametrize("role", ["admin", "viewer"])
def test_the_last_owner_can_be_neither_removed_nor_changed(organisation: Organisation, role: Role) -> None:
    account, owner = organisation.account.id, organisation.owner
    for by in (organisation.by(owner), permissions.operator()):
        assert refused(lambda by=by: organisation.members.remove(account, by, owner.id)) == "conflict"
        assert refused(lambda by=by: organisation.members.change(account, by, owner.id, role=role)) == "conflict"
    organisation.members.change(account, organisation.by(owner), organisation.admin.id, role="owner")
    assert organisation.members.change(account, organisation.by(owner), owner.id, role=role).role == role


def test_two_owners_cannot_remove_each_other_at_the_same_time(organisation: Organisation, location: Path | str) -> None:
    account, owner = organisation.account.id, organisation.owner
    organisation.members.change(account, organisation.by(owner), organisation.admin.id, role="owner")
    ids = [owner.id, organisation.admin.id]
    barrier, outcomes = threading.Barrier(2), list[str]()

    def remove(by: str, removed: str) -> None:
        with closing(Accounts(location, organisation.accounts.clock)) as accounts:
            members = Members(accounts.database, AuditLog(accounts.database))
            principal = Principal(by, "owner", frozenset(permissions.SCOPES))
            barrier.wait(30)
            try:
                members.remove(account, principal, removed)
                outcomes.append("removed")
            except RefusedError as error:
                outcomes.append(error.reason)

    threads = [threading.Thread(target=remove, args=pair) for pair in itertools.permutations(ids)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(outcomes) == ["conflict", "removed"]


def test_a_member_of_another_account_is_not_found(organisation: Organisation) -> None:
    other, by = organisation.accounts.add().id, permissions.operator()
    for member_id in (organisation.owner.id, "mem_0", "", "\0", "' OR 1=1 --", "mem_" + "0" * 16):
        account = other if member_id == organisation.owner.id else organisation.account.id
        assert refused(lambda a=account, m=member_id: organisation.members.find(a, m)) == "not_found"
        assert (
            refused(lambda a=account, m=member_id: organisation.members.change(a, by, m, role="viewer")) == "not_found"
        )
        assert refused(lambda a=account, m=member_id: organisation.members.remove(a, by, m)) == "not_found"


def test_every_change_of_a_member_has_an_audit_entry_without_a_value(organisation: Organisation) -> None:
    by, account, viewer = organisation.by(organisation.owner), organisation.account.id, organisation.viewer
    before = len(organisation.actions())
    organisation.members.change(account, by, viewer.id, name="Vera", role="admin")
    organisation.members.change(account, by, viewer.id, role="admin")
    organisation.members.remove(account, by, viewer.id)
    assert organisation.actions()[before:] == [
        (organisation.owner.id, "setting.changed", viewer.id),
        (organisation.owner.id, "member.role_changed", viewer.id),
        (organisation.owner.id, "member.removed", viewer.id),
    ]


def test_a_change_that_is_refused_has_no_audit_entry(organisation: Organisation) -> None:
    by, account = organisation.by(organisation.owner), organisation.account.id
    before = organisation.actions()
    assert refused(lambda: organisation.members.change(account, by, organisation.owner.id, name="X", role="viewer"))
    assert organisation.actions() == before
    assert organisation.members.find(account, organisation.owner.id).name == "Olga"
