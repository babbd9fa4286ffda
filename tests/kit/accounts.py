"""An account with members, in a database without a server."""

from __future__ import annotations

from typing import Final

from fastapi import FastAPI
from starlette.types import ASGIApp

from infraprism.backend.accounts import Accounts, Member
from infraprism.backend.accounts.keys import Keys
from infraprism.backend.accounts.logins import Logins
from infraprism.backend.accounts.organisations import Organisations
from infraprism.backend.accounts.passwords import Passwords
from infraprism.backend.accounts.permissions import Principal, Role, of_member
from infraprism.backend.api import errors
from infraprism.backend.api.account_routes import add_account_routes
from infraprism.backend.api.auth_routes import AuthRoutes, add_auth_routes
from infraprism.backend.api.authentication import AuthenticationMiddleware
from infraprism.backend.api.client_address import ClientAddresses
from infraprism.backend.api.login_pool import LoginPool
from infraprism.backend.api.session_cookie import SessionCookie
from infraprism.backend.audit.audit_log import AuditLog
from infraprism.backend.mail.mailer import Template
from infraprism.backend.request_framing import BodyLimitMiddleware

PASSWORD: Final = "a password of the tests"
FEW_ROUNDS: Final = 4
"""Of bcrypt: what is tested does not depend on their number."""
BASE_URL: Final = "https://infraprism.example"


class Mailbox:
    """A mailer that keeps what it is given. Without `is_configured` it gets nothing."""

    def __init__(self, *, is_configured: bool = True) -> None:
        self._is_configured = is_configured
        self.mails: list[tuple[str, Template, str]] = []

    @property
    def is_configured(self) -> bool:
        """See Mailer."""
        return self._is_configured

    def send(self, to: str, template: Template, link: str) -> None:
        """See Mailer."""
        assert self._is_configured
        self.mails.append((to, template, link))

    def token(self, template: Template) -> str:
        """The token of the last mail of a template."""
        return next(link for _, sent, link in reversed(self.mails) if sent == template).partition("token=")[2]


class Organisation:
    """An account with an owner, an admin and a viewer, who have the password of the tests."""

    def __init__(self, accounts: Accounts, mailbox: Mailbox, name: str = "acme") -> None:
        self.accounts = accounts
        self.audit = AuditLog(accounts.database, accounts.clock)
        self.logins = Logins(accounts, base_url=BASE_URL, mailer=mailbox, hashing=Passwords(FEW_ROUNDS))
        self.members = self.logins.members
        self.keys = Keys(accounts, self.audit)
        self.settings = Organisations(accounts, self.audit)
        self.account = accounts.add(company=name)
        token = self.logins.setup_link(self.account.id)
        self.owner = self.logins.setup(token, email=f"owner@{name}.example", name="Olga", password=PASSWORD).member
        self.admin = self._invited(f"admin@{name}.example", "admin")
        self.viewer = self._invited(f"viewer@{name}.example", "viewer")

    def _invited(self, email: str, role: Role) -> Member:
        _, token = self.logins.invite(self.account.id, self.by(self.owner), email=email, name=None, role=role)
        return self.logins.accept_invitation(token, password=PASSWORD).member

    @staticmethod
    def by(member: Member) -> Principal:
        """The member as the principal of a change."""
        return of_member(member.id, member.role)

    def actions(self) -> list[tuple[str, str, str]]:
        """The actor, the action and the object of each audit entry."""
        return [(entry.actor, entry.action, entry.object) for entry in self.audit.all(self.account.id)]


def application(organisation: Organisation, base_url: str = "") -> ASGIApp:
    """The routes of accounts without the store. What is done after a response is done before it."""
    accounts, logins = organisation.accounts, organisation.logins
    app = FastAPI()
    errors.install(app)
    app.add_middleware(BodyLimitMiddleware)
    app.add_middleware(AuthenticationMiddleware, accounts=accounts, clock=accounts.clock)
    add_account_routes(app, accounts, logins)
    add_auth_routes(app, AuthRoutes(logins, LoginPool(), SessionCookie(base_url), ClientAddresses()))

    @app.get("/v1/failing")
    def fail() -> None:
        raise RuntimeError("a value that must not be in a response")

    return app
