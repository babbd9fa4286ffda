"""The texts that are stored of a person and of a company: emails and names."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from infraprism.backend.accounts.errors import RefusedError
from infraprism.backend.analytics import time_zones

MAX_EMAIL: Final = 254
MAX_NAME: Final = 200
_LOCAL: Final = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_EMAIL: Final = re.compile(rf"(?=.{{1,64}}@){_LOCAL}@{_LABEL}(?:\.{_LABEL})*")


def email(text: str) -> str:
    """The address as it is stored and compared: in lower case. Raises RefusedError."""
    found = text.strip().lower() if text.isascii() else ""
    if len(found) > MAX_EMAIL or not _EMAIL.fullmatch(found):
        raise RefusedError("invalid", "email: an address such as ada@example.com, in ASCII (a domain as xn--...)")
    return found


def name(text: str, field: str = "name") -> str:
    """A name without surrounding spaces. Raises RefusedError."""
    found = unicodedata.normalize("NFC", text).strip()
    if not 1 <= len(found) <= MAX_NAME or not found.isprintable():
        raise RefusedError("invalid", f"{field}: 1 to {MAX_NAME} printable characters")
    return found


def time_zone(text: str) -> str:
    """The name of a time zone. Raises RefusedError."""
    try:
        time_zones.zone(text)
    except ValueError as error:
        raise RefusedError("invalid", f"time_zone: {error}") from None
    return text
