"""Setup, invitations, logins and passwords: what a person does to get a session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, select, update

from infraprism.backend.accounts import links, passwords, people
from infraprism.backend.accounts.accounts import Accounts
from infraprism.backend.accounts.errors import RefusedError
from infraprism.backend.accounts.identity import EmailAndPassword, PasswordIdentity
from infraprism.backend.accounts.links import Kind, Link, Links
from infraprism.backend.accounts.login_limits import LoginLimits
from infraprism.backend.accounts.members import Members
from infraprism.backend.accounts.passwords import Passwords
from infraprism.backend.accounts.permissions import OWNER, Principal, Role
from infraprism.backend.accounts.records import Member
from infraprism.backend.accounts.sessions import Sessions
from infraprism.backend.accounts.tables import ACCOUNTS, MEMBERS
from infraprism.backend.audit.actions import Action
from infraprism.backend.audit.audit_log import OPERATOR, SYSTEM, AuditLog
from infraprism.backend.mail.mailer import Mailer, NoMailer, Template

_TEMPLATES: Final[dict[Kind, Template]] = {
    "accept-invitation": "invitation",
    "verify-email": "verify_email",
    "reset-password": "reset_password",
}
_RESETS_PER_EMAIL: Final = 3


class NewSession(NamedTuple):
    """A session that was opened: its token, and its member."""

    token: str
    member: Member


class Logins:
    """Opens sessions. Passwords are hashed in the calling thread, which must not be that of an event loop.

    `base_url` is where the server is reached; links in mails begin with it. `later` calls a function after the
    response, so that the time of a response does not show whether an email is known. Methods raise RefusedError, and
    DatabaseUnavailableError.
    """

    def __init__(
        self,
        accounts: Accounts,
        *,
        base_url: str = "",
        mailer: Mailer | None = None,
        hashing: Passwords | None = None,
        later: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        self._accounts = accounts
        self._database = accounts.database
        self._audit = AuditLog(accounts.database, accounts.clock)
        self._base_url = base_url
        self._mailer = mailer or NoMailer()
        self._passwords = hashing or Passwords()
        self._later = later or (lambda call: call())
        self.members: Final = Members(accounts.database, self._audit)
        self.links: Final = Links(accounts.database, accounts.clock)
        self.sessions: Final = Sessions(accounts.database, accounts.clock)
        self._identity = PasswordIdentity(self.members, self._passwords)
        self._limits = LoginLimits(accounts.clock)
        self._reset_limits = LoginLimits(accounts.clock, per_email=_RESETS_PER_EMAIL)

    def setup(
        self,
        token: str,
        *,
        email: str,
        name: str,
        password: str,
        company: str | None = None,
        replaces: str | None = None,
    ) -> NewSession:
        """Create an owner with a setup link."""
        self.links.find("setup", token)
        address = people.email(email)
        kept_company = None if company is None else people.name(company, "company")
        hashed = self._hashed(password, address)
        with self._database.transaction() as connection:
            account_id = self.links.use(connection, "setup", token).account_id
            if kept_company is not None:
                connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.id == account_id).values(company=kept_company))
            # The operator has made the link.
            added = self.members.add_in(connection, account_id, OPERATOR, email=address, name=name, role=OWNER)
            self._write(connection, added.id, password_hash=hashed)
            if kept_company is not None:
                self._record(connection, added, "setting.changed", "company")
            opened = self._open(connection, added, replaces)
            verification = self._verification(connection, added)
        self._accounts.forget()
        self._send(address, "verify-email", verification)
        return self._opened(opened, added.id)

    def invite(
        self, account_id: str, principal: Principal, *, email: str, name: str | None, role: Role
    ) -> tuple[Member, str]:
        """Add a member, and send the invitation if mail is configured. Returns the member and the token of the link."""
        principal.require_power_over(role)
        with self._database.transaction() as connection:
            member = self.members.add_in(connection, account_id, principal.id, email=email, name=name, role=role)
            token = self._new_link(connection, "accept-invitation", member, is_mailed=self._mailer.is_configured)
        self._send(member.email, "accept-invitation", token)
        return member, token

    def accept_invitation(
        self, token: str, *, password: str, name: str | None = None, replaces: str | None = None
    ) -> NewSession:
        """Set the first password of a member with an invitation."""
        member = self._member_of(self.links.find("accept-invitation", token))
        hashed = self._hashed(password, member.email)
        kept = {} if name is None else {"name": people.name(name)}
        with self._database.transaction() as connection:
            link = self.links.use(connection, "accept-invitation", token)
            self._set_password(connection, member, hashed, link, "password.changed", **kept)
            opened = self._open(connection, member, replaces)
        return self._opened(opened, member.id)

    def verify_email(self, token: str) -> None:
        """Record that a member reads the mail of the email."""
        with self._database.transaction() as connection:
            link = self.links.use(connection, "verify-email", token)
            member = self._member_of(link)
            self._write(connection, member.id, email_verified_at=self._accounts.now())
            self._record(connection, member, "email.verified")

    def login(
        self, *, email: str, password: str, client_address: str | None = None, replaces: str | None = None
    ) -> NewSession:
        """Open a session with an email and a password. `replaces` is the token of a session, which ends."""
        address = _email_or_none(email)
        self._limits.begin(address, client_address)
        _, verified = self.members.with_hash(address) or (None, None)
        member = self._identity.member_of(EmailAndPassword(address, password))
        if member is None:
            self._later(lambda: self._record_failure(address))
            raise RefusedError("invalid_login", "the email or the password is wrong")
        self._limits.succeeded(address, client_address)
        return self.open_session(member, replaces=replaces, verified_hash=verified)

    def open_session(
        self, member: Member, *, replaces: str | None = None, verified_hash: str | None = None
    ) -> NewSession:
        """Open a session of a member who has proved the identity.

        With `verified_hash` it is refused if the password was changed since: a change ends all sessions.
        """
        with self._database.transaction() as connection:
            row = connection.execute(
                select(MEMBERS.c.password_hash).where(MEMBERS.c.id == member.id).with_for_update()
            ).first()
            if row is None or (verified_hash is not None and row.password_hash != verified_hash):
                raise RefusedError("invalid_login", "the email or the password is wrong")
            opened = self._open(connection, member, replaces)
        return self._opened(opened, member.id)

    def logout(self, token: str) -> None:
        """End a session. Without one nothing is done."""
        if (found := self.sessions.find(token)) is not None:
            self.revoke_session(found[1], found[0].id)

    def revoke_session(self, member: Member, session_id: str | None = None) -> None:
        """End one session of a member, or all."""
        with self._database.transaction() as connection:
            if session_id is None:
                self.sessions.revoke_all(connection, member.id)
            elif not self.sessions.revoke(connection, member.id, session_id):
                raise RefusedError("not_found", "no such session")
            self._record(connection, member, "session.revoked", session_id or "")

    def change_password(self, member: Member, *, password: str, new_password: str) -> NewSession:
        """Change the password of a logged-in member. All sessions end, and a new one begins."""
        self._limits.begin(member.email, None)
        if self._identity.member_of(EmailAndPassword(member.email, password)) is None:
            raise RefusedError("forbidden", "the password is wrong")
        self._limits.succeeded(member.email, None)
        hashed = self._hashed(new_password, member.email)
        with self._database.transaction() as connection:
            self._set_password(connection, member, hashed, None, "password.changed")
            opened = self._open(connection, member, None)
        return self._opened(opened, member.id)

    def request_password_reset(self, email: str, client_address: str | None = None) -> None:
        """Send a link to a member. The caller gets the same response for every email; the work is done later."""
        address = _email_or_none(email)
        self._reset_limits.begin(address, client_address)
        self._later(lambda: self._send_reset(address))

    def reset_password(self, token: str, password: str) -> None:
        """Set a password with a link. All sessions of the member end."""
        member = self._member_of(self.links.find("reset-password", token))
        hashed = self._hashed(password, member.email)
        with self._database.transaction() as connection:
            link = self.links.use(connection, "reset-password", token)
            self._set_password(connection, member, hashed, link, "password.reset")
        self._limits.succeeded(member.email, None)  # attempts of others must not keep the member out

    def setup_link(self, account_id: str) -> str:
        """The token of a new setup link."""
        with self._database.transaction() as connection:
            return self.links.create(connection, "setup", account_id)

    def operator_link(self, member: Member) -> tuple[Kind, str]:
        """The token of a new link that sets the password of a member, for the operator, and its kind."""
        kind: Kind = "reset-password" if member.has_password else "accept-invitation"
        with self._database.transaction() as connection:
            return kind, self._new_link(connection, kind, member, is_mailed=False)

    def _send_reset(self, address: str) -> None:
        # Without mail a link would only make the operator's one invalid.
        if not self._mailer.is_configured or (found := self.members.with_hash(address)) is None:
            return
        member = found[0]
        kind: Kind = "reset-password" if member.has_password else "accept-invitation"
        with self._database.transaction() as connection:
            token = self._new_link(connection, kind, member, is_mailed=True)
        self._send(member.email, kind, token)

    def _record_failure(self, address: str) -> None:
        if (found := self.members.with_hash(address)) is not None:
            self._audit.append(found[0].account_id, SYSTEM, "login.failed", found[0].id)

    def _verification(self, connection: Connection, member: Member) -> str:
        if not self._mailer.is_configured:
            return ""
        return self._new_link(connection, "verify-email", member, is_mailed=True)

    def _new_link(self, connection: Connection, kind: Kind, member: Member, *, is_mailed: bool) -> str:
        return self.links.create(connection, kind, member.account_id, member.id, is_mailed=is_mailed)

    def _send(self, to: str, kind: Kind, token: str) -> None:
        if token and self._mailer.is_configured:
            self._mailer.send(to, _TEMPLATES[kind], links.address(self._base_url, kind, token))

    def _hashed(self, password: str, email: str) -> str:
        passwords.check(password, email)
        return self._passwords.hashed(password)

    def _set_password(
        self, connection: Connection, member: Member, hashed: str, link: Link | None, action: Action, **more: Any
    ) -> None:
        """Also ends all sessions, and makes links that set the password invalid."""
        is_verified_now = link is not None and link.is_mailed and member.email_verified_at is None
        if is_verified_now:
            more["email_verified_at"] = self._accounts.now()
        # The row first, then the audit log, as everywhere: two transactions must not wait for each other.
        self._write(connection, member.id, password_hash=hashed, **more)
        if is_verified_now:
            self._record(connection, member, "email.verified")
        self.sessions.revoke_all(connection, member.id)
        self.links.invalidate(connection, member.id, ("reset-password", "accept-invitation"))
        self._record(connection, member, action)

    def _open(self, connection: Connection, member: Member, replaces: str | None) -> str:
        token, session = self.sessions.create(connection, member.id, replaces=replaces)
        self._record(connection, member, "login.succeeded", session.id)
        return token

    def _opened(self, token: str, member_id: str) -> NewSession:
        member = self.members.by_id(member_id)
        if member is None:
            raise RefusedError("invalid_login", "the member was removed")
        return NewSession(token, member)

    def _member_of(self, link: Link) -> Member:
        member = self.members.by_id(link.member_id or "")
        if member is None:
            raise RefusedError("invalid_link", "the member of the link was removed")
        return member

    @staticmethod
    def _write(connection: Connection, member_id: str, **values: Any) -> None:
        connection.execute(update(MEMBERS).where(MEMBERS.c.id == member_id).values(**values))

    def _record(self, connection: Connection, member: Member, action: Action, object_id: str = "") -> None:
        self._audit.append(member.account_id, member.id, action, object_id or member.id, connection=connection)


def _email_or_none(text: str) -> str:
    """The normalised email, or a text that is no email of a member, so that an invalid one takes as long."""
    try:
        return people.email(text)
    except RefusedError:
        return "invalid"
