"""The actions that the audit log records. Each is a constant; an entry has no value of the data."""

from __future__ import annotations

from typing import Final, Literal, get_args

Action = Literal[
    "login.succeeded",
    "login.failed",
    "session.revoked",
    "password.changed",
    "password.reset",
    "email.verified",
    "member.added",
    "member.role_changed",
    "member.removed",
    "key.created",
    "key.rotated",
    "key.revoked",
    "setting.changed",
    "plan.changed",
    "export.created",
    "export.downloaded",
    "deletion.requested",
    "deletion.completed",
    "account.created",
    "account.deleted",
    "account.moved",
    "backup.created",
    "backup.restored",
]
ACTIONS: Final[frozenset[str]] = frozenset(get_args(Action))
