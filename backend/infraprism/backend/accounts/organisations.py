"""Changes of the settings of an account, each with its entry in the audit log."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import select, update

from infraprism.backend.accounts import people
from infraprism.backend.accounts.accounts import Accounts
from infraprism.backend.accounts.errors import RefusedError
from infraprism.backend.accounts.permissions import Principal
from infraprism.backend.accounts.plans import ENTERPRISE, PLANS
from infraprism.backend.accounts.records import Account
from infraprism.backend.accounts.stored_accounts import account_of
from infraprism.backend.accounts.tables import ACCOUNTS
from infraprism.backend.audit.audit_log import AuditLog

SETTINGS: Final = ("company", "time_zone", "usage_detail")
"""What an admin of the account may change."""
MAX_LIMIT: Final = 1_000_000
"""Of the own limits of an enterprise account."""


class Organisations:
    """The settings of accounts. Every method raises DatabaseUnavailableError, and every change RefusedError."""

    def __init__(self, accounts: Accounts, audit: AuditLog) -> None:
        self._accounts = accounts
        self._database = accounts.database
        self._audit = audit

    def find(self, account_id: str) -> Account:
        """An account as it is stored now."""
        rows = self._database.rows(select(ACCOUNTS).where(ACCOUNTS.c.id == account_id))
        if not rows:
            raise RefusedError("not_found", "no such account")
        return account_of(rows[0])

    def change(self, account_id: str, principal: Principal, **settings: Any) -> Account:
        """Change settings of `SETTINGS`. A company of None removes it."""
        principal.require_admin()
        values: dict[str, Any] = {}
        if settings.get("company") is not None:
            values["company"] = people.name(settings["company"], "company")
        elif "company" in settings:
            values["company"] = None
        if "time_zone" in settings:
            values["time_zone"] = people.time_zone(settings["time_zone"])
        if "usage_detail" in settings:
            values["usage_detail"] = int(settings["usage_detail"])
        assert values.keys() == settings.keys()
        return self._write(account_id, principal, values)

    def set_plan(
        self,
        account_id: str,
        principal: Principal,
        plan: str,
        *,
        requests_per_minute: int | None = None,
        retention_days: int | None = None,
    ) -> Account:
        """Change the plan, by the operator of the server. Only an enterprise account has own limits."""
        own = {"requests_per_minute": requests_per_minute, "retention_days": retention_days}
        if plan not in PLANS:
            raise RefusedError("invalid", f"plan: one of {', '.join(PLANS)}")
        for name, limit in own.items():
            if limit is not None and plan != ENTERPRISE:
                raise RefusedError("invalid", f"{name}: only an {ENTERPRISE} account has own limits")
            if limit is not None and not 1 <= limit <= MAX_LIMIT:
                raise RefusedError("invalid", f"{name}: 1 to {MAX_LIMIT}")
        return self._write(account_id, principal, {"plan": plan, **own})

    def _write(self, account_id: str, principal: Principal, values: dict[str, Any]) -> Account:
        with self._database.transaction() as connection:
            row = connection.execute(select(ACCOUNTS).where(ACCOUNTS.c.id == account_id)).first()
            if row is None:
                raise RefusedError("not_found", "no such account")
            changed = {name: value for name, value in values.items() if getattr(row, name) != value}
            if changed:
                connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.id == account_id).values(**changed))
            if "plan" in values and changed:
                self._audit.append(account_id, principal.id, "plan.changed", connection=connection)
            elif changed:
                for name in changed:
                    self._audit.append(account_id, principal.id, "setting.changed", name, connection=connection)
        self._accounts.forget()
        return self.find(account_id)
