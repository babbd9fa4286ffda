"""Download links: a job and an expiry, signed with a secret of the installation."""

from __future__ import annotations

import base64
import hmac
import re
from typing import Final, NamedTuple

LIFETIME_S: Final = 3600
_TOKEN: Final = re.compile(
    r"(acc_[0-9a-zA-Z_-]{1,64}\.job_[0-9a-f]{1,64}\.[0-9a-zA-Z_]{1,64}\.([0-9]{1,12}))\.([A-Za-z0-9_-]{43})"
)


class Link(NamedTuple):
    """The account, the job, the actor that got the link, and when it ends in Unix seconds."""

    account_id: str
    job_id: str
    actor: str
    expires_s: int

    def token(self, key: bytes) -> str:
        """The signed text of a link."""
        content = ".".join(map(str, self))
        return f"{content}.{_signature(content, key)}"

    @classmethod
    def read(cls, token: str, key: bytes, now_s: float) -> Link | None:
        """The link of a token; None if it was not signed with `key` or has expired."""
        found = _TOKEN.fullmatch(token)
        if found is None or not hmac.compare_digest(found[3], _signature(found[1], key)):
            return None
        account_id, job_id, actor, expires_s = found[1].split(".")
        return cls(account_id, job_id, actor, int(expires_s)) if now_s < int(expires_s) else None


def _signature(content: str, key: bytes) -> str:
    return base64.urlsafe_b64encode(hmac.digest(key, content.encode(), "sha256")).decode().rstrip("=")
