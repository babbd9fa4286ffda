"""Moves an account to another region, by a job of the server that has its data."""

from __future__ import annotations

import time
from typing import Any, Final

from infraprism.backend.accounts import Account, Accounts
from infraprism.backend.audit.audit_log import OPERATOR
from infraprism.backend.jobs import Jobs
from infraprism.backend.moves.moving import KIND
from infraprism.backend.regions.regions import SEPARATOR
from infraprism.cli.failure import Failure

_POLL_S: Final = 0.5
_BEGIN_S: Final = 60.0


def give_up(accounts: Accounts, account: Account) -> None:
    """End a move before the switch: the account is served in its region again. Raises Failure."""
    jobs = Jobs(accounts.database)
    running = [job for job in jobs.list(account.id, KIND) if not job.is_final]
    if not running or SEPARATOR not in (account.region or ""):
        raise Failure(f"{account.id} is not being moved")
    jobs.cancel(account.id, running[0].id)


def move(accounts: Accounts, account: Account, region: str, target: str) -> dict[str, Any]:
    """Wait until the account is moved, and return the result of the job. Raises Failure."""
    if account.region is None or account.region == region:
        raise Failure(f"{account.id} is in the region {account.region or 'of no server'}: nothing to move")
    jobs = Jobs(accounts.database)
    parameters = {"to": region, "url": target}
    waiting = [job for job in jobs.list(account.id, KIND) if not job.is_final and dict(job.parameters) == parameters]
    added = waiting[0] if waiting else jobs.add(account.id, KIND, parameters, actor=OPERATOR)
    ends_s = time.monotonic() + _BEGIN_S
    while True:
        job = jobs.find(account.id, added.id)
        if job is None:
            raise Failure("the job of the move was removed: run the command again")
        if job.state == "succeeded":
            return dict(job.result or {})
        if job.is_final:
            raise Failure(job.error_message or f"the move was {job.state}")
        if job.started_ms is None and time.monotonic() > ends_s:
            jobs.cancel(account.id, added.id)
            raise Failure(f"no server of the region {account.region} begins the move: start it with --region")
        time.sleep(_POLL_S)
