"""Setup, invitations, logins and passwords."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import select
from tests.kit.accounts import BASE_URL, FEW_ROUNDS, PASSWORD, Mailbox, Organisation
from tests.kit.timed_backend import Clock

from infraprism.backend.accounts import Accounts, RefusedError
from infraprism.backend.accounts.login_limits import PER_ADDRESS, PER_EMAIL, WINDOW_S, LoginLimits
from infraprism.backend.accounts.logins import Logins
from infraprism.backend.accounts.passwords import Passwords
from infraprism.backend.accounts.tables import LINKS, MEMBERS

EMAIL = "viewer@acme.example"
NEW = "another password of the tests"


def refused(call: Callable[[], object]) -> RefusedError:
    with pytest.raises(RefusedError) as found:
        call()
    return found.value


def attempt(organisation: Organisation, password: str, email: str = EMAIL, address: str | None = None) -> str:
    """`in` for a login that succeeds, or the reason of the refusal."""
    try:
        organisation.logins.login(email=email, password=password, client_address=address)
    except RefusedError as error:
        return error.reason
    return "in"


def test_a_setup_link_creates_an_owner_who_is_logged_in(accounts: Accounts, mailbox: Mailbox) -> None:
    logins = Logins(accounts, base_url=BASE_URL, mailer=mailbox, hashing=Passwords(FEW_ROUNDS))
    account = accounts.add()
    token = logins.setup_link(account.id)
    opened = logins.setup(token, email="Ada@Acme.example", name=" Ada ", password=PASSWORD, company="Acme")
    member = opened.member
    assert (member.account_id, member.email, member.name, member.role) == (
        account.id,
        "ada@acme.example",
        "Ada",
        "owner",
    )
    assert member.email_verified_at is None
    assert logins.sessions.find(opened.token) is not None
    assert [one.company for one in accounts.all()] == ["Acme"]
    assert mailbox.mails[0][:2] == ("ada@acme.example", "verify_email")
    assert mailbox.mails[0][2].startswith(f"{BASE_URL}/auth/verify-email?token=")
    logins.verify_email(mailbox.token("verify_email"))
    verified = logins.members.by_id(member.id)
    assert verified is not None
    assert verified.email_verified_at is not None


def test_a_login_needs_the_password_and_the_email_in_any_case(organisation: Organisation) -> None:
    assert attempt(organisation, PASSWORD) == "in"
    assert attempt(organisation, PASSWORD, " VIEWER@acme.EXAMPLE ") == "in"
    for password in ("", PASSWORD + " ", PASSWORD.upper(), "\0", "x" * 1000):
        assert attempt(organisation, password) == "invalid_login"


def test_an_unknown_email_is_refused_as_a_wrong_password_is(organisation: Organisation) -> None:
    known = refused(lambda: organisation.logins.login(email=EMAIL, password="wrong"))
    for email in ("unknown@acme.example", "no address", "", "\0", "\ud800"):
        unknown = refused(lambda email=email: organisation.logins.login(email=email, password="wrong"))
        assert (unknown.reason, unknown.message) == (known.reason, known.message)


def test_an_unknown_email_costs_as_many_rounds_as_a_known_one(
    organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[bytes] = []

    def checkpw(_: bytes, hashed: bytes) -> bool:
        compared.append(hashed[:7])
        return False

    monkeypatch.setattr("infraprism.backend.accounts.passwords.bcrypt.checkpw", checkpw)
    invited, _ = organisation.logins.invite(
        organisation.account.id, organisation.by(organisation.owner), email="i@acme.example", name=None, role="viewer"
    )
    for email in (EMAIL, "unknown@acme.example", "no address", invited.email):
        assert attempt(organisation, "wrong", email) == "invalid_login"
    assert compared == [b"$2b$04$"] * 4


@pytest.mark.parametrize("email", [EMAIL, "unknown@acme.example"])
def test_attempts_are_limited_for_each_email_whether_it_exists_or_not(
    organisation: Organisation, clock: Clock, email: str
) -> None:
    outcomes = [attempt(organisation, "wrong", email, f"192.0.2.{number}") for number in range(PER_EMAIL + 1)]
    assert outcomes == ["invalid_login"] * PER_EMAIL + ["too_many_attempts"]
    error = refused(lambda: organisation.logins.login(email=email.upper(), password=PASSWORD))
    assert error.reason == "too_many_attempts"
    assert error.retry_after_s == WINDOW_S + 1
    assert attempt(organisation, PASSWORD, "owner@acme.example") == "in"
    clock.pass_s(WINDOW_S)
    assert attempt(organisation, PASSWORD, email) == ("in" if email == EMAIL else "invalid_login")


def test_attempts_are_limited_for_each_address(organisation: Organisation, clock: Clock) -> None:
    for number in range(PER_ADDRESS):
        assert attempt(organisation, "wrong", f"u{number}@acme.example", "192.0.2.1") == "invalid_login"
    assert attempt(organisation, PASSWORD, EMAIL, "192.0.2.1") == "too_many_attempts"
    assert attempt(organisation, PASSWORD, EMAIL, "192.0.2.2") == "in"
    clock.pass_s(WINDOW_S)
    assert attempt(organisation, PASSWORD, EMAIL, "192.0.2.1") == "in"


def test_successful_logins_are_not_limited(organisation: Organisation) -> None:
    for _ in range(PER_ADDRESS + PER_EMAIL):
        assert attempt(organisation, PASSWORD, EMAIL, "192.0.2.1") == "in"


def test_the_memory_of_limits_is_bounded_and_contains_no_email_and_no_address(clock: Clock) -> None:
    limits = LoginLimits(clock, per_email=1, per_address=10**6)
    for number in range(30_000):
        limits.begin(f"u{number}@x.example", "192.0.2.1")
    assert refused(lambda: limits.begin("u29999@x.example", None)).reason == "too_many_attempts"
    limits.begin("u0@x.example", None)  # forgotten
    state = repr(vars(limits))
    assert "192.0.2.1" not in state
    assert "x.example" not in state


def test_a_clock_that_goes_back_ends_the_window(clock: Clock) -> None:
    limits = LoginLimits(clock, per_email=1)
    limits.begin(EMAIL, None)
    clock.pass_s(-3600)
    limits.begin(EMAIL, None)


def test_a_reset_is_mailed_to_a_member_only(organisation: Organisation, mailbox: Mailbox) -> None:
    mailbox.mails.clear()
    for email in ("unknown@acme.example", "no address", EMAIL.upper()):
        organisation.logins.request_password_reset(email)
    assert [(to, template) for to, template, _ in mailbox.mails] == [(EMAIL, "reset_password")]


def test_without_mail_a_request_keeps_the_link_of_the_operator(accounts: Accounts) -> None:
    organisation = Organisation(accounts, Mailbox(is_configured=False))
    _, token = organisation.logins.operator_link(organisation.viewer)
    organisation.logins.request_password_reset(EMAIL)
    organisation.logins.reset_password(token, NEW)
    assert attempt(organisation, NEW) == "in"
    found = organisation.members.by_id(organisation.viewer.id)
    assert found is not None
    assert found.email_verified_at is None  # the operator's link does not show that the mail is read


def test_a_reset_ends_all_sessions_and_other_links_and_verifies_the_email(
    organisation: Organisation, mailbox: Mailbox
) -> None:
    session = organisation.logins.login(email=EMAIL, password=PASSWORD).token
    organisation.logins.request_password_reset(EMAIL)
    token = mailbox.token("reset_password")
    organisation.logins.reset_password(token, NEW)
    assert organisation.logins.sessions.find(session) is None
    assert [attempt(organisation, password) for password in (PASSWORD, NEW)] == ["invalid_login", "in"]
    assert refused(lambda: organisation.logins.reset_password(token, PASSWORD)).reason == "invalid_link"
    assert organisation.accounts.database.rows(select(LINKS).where(LINKS.c.member_id == organisation.viewer.id)) == []
    found = organisation.members.by_id(organisation.viewer.id)
    assert found is not None
    assert found.email_verified_at is not None
    assert (organisation.viewer.id, "password.reset", organisation.viewer.id) in organisation.actions()


def test_a_changed_password_ends_all_sessions_but_the_new_one(organisation: Organisation) -> None:
    old = organisation.logins.login(email=EMAIL, password=PASSWORD).token
    changing = lambda password: organisation.logins.change_password(  # noqa: E731
        organisation.viewer, password=password, new_password=NEW
    )
    assert refused(lambda: changing("wrong")).reason == "forbidden"
    new = changing(PASSWORD).token
    assert organisation.logins.sessions.find(old) is None
    assert organisation.logins.sessions.find(new) is not None
    assert attempt(organisation, NEW) == "in"


def test_a_password_that_changes_during_a_login_opens_no_session(organisation: Organisation) -> None:
    found = organisation.members.with_hash(EMAIL)
    assert found is not None
    member, verified = found
    _, token = organisation.logins.operator_link(member)
    organisation.logins.reset_password(token, NEW)
    error = refused(lambda: organisation.logins.open_session(member, verified_hash=verified))
    assert error.reason == "invalid_login"


def test_an_invitation_proves_the_mail_only_if_it_was_mailed(accounts: Accounts) -> None:
    for is_mailed in (True, False):
        name = "mailed" if is_mailed else "printed"
        organisation = Organisation(accounts, Mailbox(is_configured=is_mailed), name)
        found = organisation.members.by_id(organisation.viewer.id)
        assert found is not None
        assert (found.email_verified_at is not None) is is_mailed


def test_no_password_is_set_that_is_weak(organisation: Organisation) -> None:
    _, token = organisation.logins.operator_link(organisation.viewer)
    assert refused(lambda: organisation.logins.reset_password(token, "short")).reason == "invalid"
    assert refused(lambda: organisation.logins.reset_password(token, EMAIL)).reason == "invalid"
    assert attempt(organisation, PASSWORD) == "in"


def test_logins_are_audited_and_an_unknown_email_is_not(organisation: Organisation) -> None:
    before = len(organisation.actions())
    for password, email in ((PASSWORD, EMAIL), ("wrong", EMAIL), ("wrong", "unknown@acme.example")):
        attempt(organisation, password, email)
    entries = organisation.actions()[before:]
    assert [(actor, action) for actor, action, _ in entries] == [
        (organisation.viewer.id, "login.succeeded"),
        ("system", "login.failed"),
    ]
    assert entries[0][2].startswith("ses_")
    assert entries[1][2] == organisation.viewer.id


def test_no_password_is_stored_anywhere(organisation: Organisation) -> None:
    for row in organisation.accounts.database.rows(select(MEMBERS)):
        assert PASSWORD not in repr(row)


def test_a_new_password_by_a_link_ends_the_limit_that_others_have_used_up(organisation: Organisation) -> None:
    for _ in range(PER_EMAIL + 1):
        attempt(organisation, "wrong")
    assert attempt(organisation, PASSWORD) == "too_many_attempts"
    _, token = organisation.logins.operator_link(organisation.viewer)
    organisation.logins.reset_password(token, NEW)
    assert attempt(organisation, NEW) == "in"


def test_requests_for_a_new_password_are_limited_for_each_email(organisation: Organisation, mailbox: Mailbox) -> None:
    mailbox.mails.clear()
    for email in (EMAIL, "unknown@acme.example"):
        for _ in range(3):
            organisation.logins.request_password_reset(email)
        error = refused(lambda email=email: organisation.logins.request_password_reset(email))
        assert error.reason == "too_many_attempts"
    assert len(mailbox.mails) == 3
