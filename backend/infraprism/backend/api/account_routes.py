"""The routes of the account, its members and its keys."""

from __future__ import annotations

from fastapi import FastAPI

from infraprism.backend.accounts import Accounts
from infraprism.backend.accounts.members import Members
from infraprism.backend.accounts.permissions import OWNER
from infraprism.backend.api.authentication import Caller
from infraprism.backend.audit.audit_log import AuditLog


def add_account_routes(app: FastAPI, accounts: Accounts) -> None:
    """Add the routes."""
    members = Members(accounts.database, AuditLog(accounts.database, accounts.clock))

    @app.get("/v1/me")
    def me(account: Caller) -> dict[str, str | bool | None]:
        """The account of the key, with the email and name of its first owner. Values that are not set are null."""
        owner = next((member for member in members.all(account.id) if member.role == OWNER), None)
        return {
            "id": account.id,
            "email": None if owner is None else owner.email,
            "name": None if owner is None else owner.name,
            "company": account.company,
            "plan": account.plan,
            "usage_detail": account.usage_detail,
            "created_at": account.created_at,
        }
