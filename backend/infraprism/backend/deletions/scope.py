"""What is deleted: the conditions that select events, and the keyed hash that stands for the scope afterwards."""

from __future__ import annotations

import hmac
import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, Final, Literal, Self, get_args

from infraprism.backend.store.quoting import literal

Kind = Literal["everything", "date_range", "entity", "session", "tag"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
_BLOCK_BYTES: Final = 64
_SEPARATOR: Final = "\0"
"""Between the parts of what is hashed. No value of an event contains it."""


@dataclass(frozen=True, kw_only=True)
class Scope:
    """A scope of one account. `first_ms` (inclusive) and `end_ms` (exclusive) bound the start times of its events.

    `values` are the type and id of an entity, the id of a session, or the key and value of a tag.
    """

    kind: Kind
    values: tuple[str, ...] = ()
    first_ms: int | None = None
    end_ms: int | None = None

    @property
    def conditions(self) -> tuple[str, ...]:
        """The SQL conditions on events, without those of the times."""
        match self.kind:
            case "entity":
                return "entity_type = {scope_0:String}", "entity_id = {scope_1:String}"
            case "session":
                return ("session_id = {scope_0:String}",)
            case "tag":
                return ("mapContains(tags, {scope_0:String})", "tags[{scope_0:String}] = {scope_1:String}")
        return ()

    @property
    def parameters(self) -> dict[str, str]:
        """The bound values of the conditions."""
        return {f"scope_{place}": value for place, value in enumerate(self.values)}

    def hash(self, key: bytes, account_id: str) -> bytes:
        """The keyed hash (HMAC-SHA-256) of the account, the kind and the values. It does not depend on the times."""
        return hmac.digest(key, _SEPARATOR.join((account_id, self.kind, *self.values)).encode(), sha256)

    def as_text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Self:
        """From JSON."""
        found: dict[str, Any] = json.loads(text)
        return cls(**{**found, "values": tuple(found["values"])})


def sql_hash(key: bytes, account_id: str, kind: Kind, *values: str) -> str:
    """The SQL expression of `Scope.hash`; `values` are SQL expressions."""
    inner, outer = (bytes(byte ^ pad for byte in key.ljust(_BLOCK_BYTES, b"\0")).hex() for pad in (0x36, 0x5C))
    parts = ", char(0), ".join((literal(account_id), literal(kind), *values))
    return f"SHA256(concat(unhex('{outer}'), SHA256(concat(unhex('{inner}'), {parts}))))"
