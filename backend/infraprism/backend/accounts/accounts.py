"""Accounts and API keys in one SQLite file, or in PostgreSQL."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from infraprism.backend.accounts import times
from infraprism.backend.accounts.key_strength import is_refused
from infraprism.backend.accounts.key_uses import KeyUses
from infraprism.backend.accounts.permissions import SCOPES, Scope
from infraprism.backend.accounts.plans import PLANS, SELF_HOSTED
from infraprism.backend.accounts.records import AcceptedKey, Account, Key, hash_of
from infraprism.backend.relational import DatabaseUnavailableError
from infraprism.backend.sqlite_file import FileState

if TYPE_CHECKING:
    from infraprism.backend.relational.database import RelationalDatabase

ACCOUNTS_FILE: Final = "accounts.sqlite"
"""The name of the file in the data directory."""
KEY_PREFIX: Final = "ip-"
_KEY: Final = re.compile(r"ip-[A-Za-z0-9_-]{13,197}")
_PREFIX_LENGTH: Final = 8
_CACHE_S: Final = 2.0
_CACHE_SIZE: Final = 4096


class InvalidKeyError(ValueError):
    """The text is not a valid API key."""

    def __init__(self, message: str = "a key is `ip-` and 13 to 197 letters, digits, - or _") -> None:
        super().__init__(message)


class Accounts:
    """The accounts in a file with mode 0600, or in PostgreSQL. Thread-safe, and usable by several processes at once.

    `location` is the path of the file, or a URL `postgresql://user:password@host:port/database`. `clock` returns Unix
    seconds. `region` is that of new accounts. Every method raises DatabaseUnavailableError; the constructor also
    OSError and, without the packages of the server, ModuleNotFoundError.
    """

    def __init__(
        self, location: Path | str, clock: Callable[[], float] = time.time, *, region: str | None = None
    ) -> None:
        # Imported here: without the packages of the server this module can still be imported.
        from infraprism.backend.accounts.stored_accounts import StoredAccounts  # noqa: PLC0415

        self._stored = StoredAccounts(location)
        self._state = (
            FileState(ACCOUNTS_FILE, "restore it from a backup")
            if isinstance(location, Path)
            else FileState("PostgreSQL", "check the server of the accounts")
        )
        self._clock = clock
        self._region = region
        self._cache: dict[bytes, tuple[float, AcceptedKey]] = {}
        self.uses: Final = KeyUses(self._stored.write_uses)

    @property
    def database(self) -> RelationalDatabase:
        """The database of the accounts, which other tables share."""
        return self._stored

    @property
    def clock(self) -> Callable[[], float]:
        """Returns Unix seconds."""
        return self._clock

    def now(self) -> str:
        """The time as stored."""
        return times.text(self._clock())

    def secret(self, name: str) -> bytes:
        """A random key of this installation, 32 bytes, created at first use."""
        return self._stored.secret(name, secrets.token_bytes(32))

    def begin(self) -> None:
        """Start a transaction. Until `commit` its changes are visible to this object only; `close` discards them."""
        self._stored.begin()

    def commit(self) -> None:
        """End the transaction of `begin` and keep its changes."""
        self._stored.commit()

    def is_empty(self) -> bool:
        """Whether there is no account."""
        return self._stored.is_empty()

    def add(
        self,
        *,
        company: str | None = None,
        plan: str = SELF_HOSTED,
        usage_detail: bool = False,
        time_zone: str = "UTC",
        requests_per_minute: int | None = None,
        retention_days: int | None = None,
        region: str | None = None,
    ) -> Account:
        """Create an account without members and keys, by default in the region of the server.

        Raises ValueError for an unknown plan.
        """
        if plan not in PLANS:
            raise ValueError(f"the plan is none of {', '.join(PLANS)}")
        account_id = f"acc_{secrets.token_hex(8)}"
        account = Account(
            account_id,
            company,
            plan,
            usage_detail,
            self.now(),
            time_zone,
            requests_per_minute,
            retention_days,
            region or self._region,
        )
        self._stored.add(account)
        return account

    def add_key(
        self, account_id: str, key: str | None = None, *, name: str | None = None, scopes: Iterable[Scope] = SCOPES
    ) -> str:
        """Add a key to an account and return it. Without `key` a new one is generated. Only its hash is stored.

        Not recorded in the audit log: see Keys.create. Raises InvalidKeyError.
        """
        key = key or new_key()
        _check(key)
        self._stored.add_key(hash_of(key), prefix_of(key), account_id, self.now(), name=name, scopes=scopes)
        self.forget()
        return key

    def add_with_key(self, key: str | None = None) -> str:
        """Create an account of the plan `self_hosted` with a key, and return the key. An invalid key creates nothing.

        Raises InvalidKeyError.
        """
        if key is not None:
            _check(key)
        if self._stored.in_transaction:
            return self.add_key(self.add().id, key)
        self.begin()
        try:
            key = self.add_key(self.add().id, key)
        except BaseException:
            self._stored.roll_back()
            raise
        self.commit()
        return key

    def all(self) -> list[Account]:
        """All accounts, oldest first."""
        return self._stored.all()

    def keys(self, account_id: str) -> list[Key]:
        """The keys of an account, oldest first, with the revoked ones."""
        return self._stored.keys(account_id)

    def revoke_key(self, revoked: Key) -> None:
        """Revoke a key. Processes that have cached it accept it for two more seconds."""
        self._stored.revoke(revoked, self.now())
        self.forget()

    def set_usage_detail(self, account_id: str, *, enabled: bool) -> None:
        """Set whether the opt-in fields are stored. Processes that have cached the account apply it in two seconds."""
        self._stored.set_usage_detail(account_id, enabled=enabled)
        self.forget()

    def forget(self) -> None:
        """Read accounts and keys again: they were changed in the database. Other processes do in two seconds."""
        self._cache.clear()

    def find_by_key(self, key: str) -> Account | None:
        """The account of a valid key, or None. See `find_key`."""
        found = self.find_key(key)
        return None if found is None else found.account

    def find_key(self, key: str) -> AcceptedKey | None:
        """A key that is neither revoked nor expired, or None. Results are cached for two seconds.

        The day of its use is written later, by another thread. Raises DatabaseUnavailableError.
        """
        if not _KEY.fullmatch(key):
            return None
        hashed, now = hash_of(key), self._clock()
        at, found = self._cache.get(hashed, (0.0, None))
        # Also if the clock went back: a revoked key must not stay valid until the clock reaches that time again.
        if found is None or not 0 <= now - at <= _CACHE_S:
            found = self._read_key(hashed, now)
        if found is None or (found.expires_at is not None and found.expires_at <= times.text(now)):
            return None
        self.uses.record(hashed, found.last_used_day, now)
        return found

    def _read_key(self, hashed: bytes, now: float) -> AcceptedKey | None:
        try:
            found = self._stored.find(hashed)
        except DatabaseUnavailableError as error:
            self._state.failed(error)
            raise
        if found is None:
            self._cache.pop(hashed, None)
            return None
        if len(self._cache) >= _CACHE_SIZE:
            self._cache.clear()
        self._cache[hashed] = (now, found)
        return found

    def fault(self) -> str | None:
        """Why keys cannot be read now, or None."""
        try:
            self._stored.check(verify_file=self._state.reason is not None)
        except DatabaseUnavailableError as error:
            self._state.failed(error)
        else:
            self._state.works()
        return self._state.reason

    def close(self) -> None:
        """Write the days on which keys were used, and close the database."""
        self.uses.close()
        self._stored.close()


def _check(key: str) -> None:
    """Raises InvalidKeyError for a key that must not be added."""
    if not _KEY.fullmatch(key):
        raise InvalidKeyError
    if is_refused(key):
        raise InvalidKeyError("the key is easy to guess: use a random one")


def new_key() -> str:
    """A new key, with 256 random bits."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def only_header(values: Sequence[str]) -> str | None:
    """The value of a header that a request may contain once, or None: with several it is unclear which one counts."""
    return values[0] if len(values) == 1 else None


def bearer_token(header: str | None) -> str:
    """The bearer token of an Authorization header, or an empty string."""
    scheme, _, key = (header or "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def prefix_of(key: str) -> str:
    """The first characters of a key, which identify it to its owner."""
    return key[:_PREFIX_LENGTH]
