"""A clock that tests set, and a server with one."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from sqlalchemy import update
from tests.kit.backend import Backend

from infraprism.backend.accounts import Accounts
from infraprism.backend.accounts.tables import ACCOUNTS
from infraprism.backend.retention import Retention


class Clock:
    """Returns `now_s`, in Unix seconds."""

    def __init__(self, now_s: float = 1_790_000_000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        """The time."""
        return self.now_s

    def pass_s(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds


class TimedBackend(Backend):
    """A backend at a time in UTC, such as `2026-04-01T12:00`, which `set_time` changes."""

    def __init__(self, data_dir: Path, time: str, **options: Any) -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        self._clock_file = data_dir.parent / f"{data_dir.name}.clock"
        self.set_time(time)
        settings = {**options.pop("settings", {}), "clock_file": str(self._clock_file)}
        super().__init__(data_dir, settings=settings, **options)

    def __enter__(self) -> Self:
        return self

    def set_time(self, time: str) -> None:
        """Set the clock of the server."""
        new = self._clock_file.with_suffix(".new")
        new.write_text(str(datetime.fromisoformat(time).replace(tzinfo=UTC).timestamp()))
        new.replace(self._clock_file)

    def set_period(self, account_id: str, days: int | None) -> None:
        """Set how long the events of an account are kept. The server applies it within two seconds."""
        with closing(Accounts(self.data_dir / "accounts.sqlite")) as accounts:
            Retention(accounts.database).set_days(account_id, days)

    def set_plan(self, account_id: str, plan: str) -> None:
        """Change the plan of an account."""
        with closing(Accounts(self.data_dir / "accounts.sqlite")) as accounts:
            accounts.database.run(update(ACCOUNTS).where(ACCOUNTS.c.id == account_id).values(plan=plan))

    def account_id(self, key: str | None = None) -> str:
        """The id of an account."""
        found: str = self.get("/v1/me", key).json["id"]
        return found
