"""What a backup is asked for: the parameters of its job. This module needs no package of backups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from infraprism.backend.backups.errors import BackupError

INSTALLATION: Final = ""
"""The account id of jobs and audit entries of the installation."""
_KIND: Final = "backup"


def kind_name(region: str | None) -> str:
    """The kind of the jobs that the server of a region runs: several may share the database of jobs."""
    return f"{_KIND}:{region}" if region else _KIND


@dataclass(frozen=True, slots=True)
class BackupRequest:
    """Where to (a URL), encrypted to which recipients, and how long it is kept. None of it is secret."""

    to: str
    recipients: tuple[str, ...]
    keep_days: int

    def parameters(self) -> dict[str, Any]:
        """The parameters of the job."""
        return {**asdict(self), "recipients": list(self.recipients)}

    @classmethod
    def parsed(cls, parameters: Mapping[str, Any]) -> BackupRequest:
        """The request of a job. Raises BackupError."""
        try:
            to, recipients, keep_days = (parameters[name] for name in ("to", "recipients", "keep_days"))
        except KeyError:
            raise BackupError("the job is of another version of InfraPrism") from None
        return cls(str(to), tuple(map(str, recipients)), int(keep_days))
