"""Accounts and API keys in one SQLite file."""

from __future__ import annotations

import hmac
import re
import secrets
import sqlite3
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Any, Final

from infraprism.backend.accounts.key_strength import is_refused
from infraprism.backend.accounts.plans import SELF_HOSTED
from infraprism.backend.sqlite_file import FileState, check_file

ACCOUNTS_FILE: Final = "accounts.sqlite"
"""The name of the file in the data directory."""
KEY_PREFIX: Final = "ip-"
_KEY: Final = re.compile(r"ip-[A-Za-z0-9_-]{13,197}")
_PREFIX_LENGTH: Final = 8
_CACHE_S: Final = 2.0
_CACHE_SIZE: Final = 4096


_FIND_SECRET: Final = "SELECT value FROM secrets WHERE name = ?"  # noqa: S105  # a statement
_ID_PREFIX: Final = "key_"
_ID_DIGITS: Final = 12
_ACCOUNT: Final = "id, email, name, company, plan, usage_detail, accounts.created_at"


class AccountsUnavailableError(Exception):
    """The file of the accounts cannot be read."""


class InvalidKeyError(ValueError):
    """The text is not a valid API key."""

    def __init__(self, message: str = "a key is `ip-` and 13 to 197 letters, digits, - or _") -> None:
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Account:
    """The owner of events. Values that are not set are None. `usage_detail`: whether the opt-in fields are stored."""

    id: str
    email: str | None
    name: str | None
    company: str | None
    plan: str
    usage_detail: bool
    created_at: str


@dataclass(frozen=True, slots=True)
class Key:
    """A stored API key. `id` is derived from its hash; `prefix` is its first characters. A revoked key is kept."""

    id: str
    prefix: str
    account_id: str
    created_at: str
    revoked_at: str | None

    @staticmethod
    def id_of(key: str) -> str:
        """The id of an API key."""
        return _key_id(_hash(key))


class Accounts:
    """The accounts in a file with mode 0600. Thread-safe, and usable by several processes at the same time."""

    def __init__(self, path: Path) -> None:
        path.touch(mode=0o600)
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        check_file(self._db)
        self._lock = threading.Lock()
        self._state = FileState(ACCOUNTS_FILE, "restore it from a backup")
        self._cache: dict[bytes, tuple[float, Account | None]] = {}
        # Not WAL: it maps a file into memory, and on a full disk an access to it ends the process with SIGBUS.
        self._db.execute("PRAGMA journal_mode = DELETE")
        self._db.execute("PRAGMA foreign_keys = ON")
        self._db.executescript(resources.files(__package__).joinpath("accounts.sql").read_text(encoding="utf-8"))
        if not any(column[1] == "revoked_at" for column in self._db.execute("PRAGMA table_info(keys)")):
            self._db.execute("ALTER TABLE keys ADD COLUMN revoked_at TEXT")

    def secret(self, name: str) -> bytes:
        """A random key of this installation, 32 bytes, created at first use."""
        with self._lock:
            row = self._db.execute(_FIND_SECRET, (name,)).fetchone()
            if row is None:
                new = secrets.token_bytes(32)
                self._db.execute("INSERT OR IGNORE INTO secrets (name, value) VALUES (?, ?)", (name, new))
                row = self._db.execute(_FIND_SECRET, (name,)).fetchone()
        return bytes(row[0])

    def begin(self) -> None:
        """Start a transaction. Until `commit` its changes are visible to this object only; `close` discards them."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """End the transaction of `begin` and keep its changes."""
        with self._lock:
            self._db.execute("COMMIT")

    def is_empty(self) -> bool:
        """Whether there is no account."""
        with self._lock:
            return self._db.execute("SELECT 1 FROM accounts LIMIT 1").fetchone() is None

    def add(
        self,
        *,
        email: str | None = None,
        name: str | None = None,
        company: str | None = None,
        plan: str = SELF_HOSTED,
        usage_detail: bool = False,
    ) -> Account:
        """Create an account."""
        account = Account(f"acc_{secrets.token_hex(8)}", email, name, company, plan, usage_detail, _now())
        with self._lock:
            self._db.execute(
                "INSERT INTO accounts (id, email, name, company, plan, usage_detail, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (account.id, email, name, company, plan, int(usage_detail), account.created_at),
            )
        return account

    def add_key(self, account_id: str, key: str | None = None) -> str:
        """Add a key to an account and return it. Without `key` a new one is generated. Only its hash is stored.

        Raises InvalidKeyError.
        """
        key = key or new_key()
        _check(key)
        with self._lock:
            self._db.execute(
                "INSERT INTO keys (hash, prefix, account_id, created_at) VALUES (?, ?, ?, ?)",
                (_hash(key), key[:_PREFIX_LENGTH], account_id, _now()),
            )
        self._cache.clear()
        return key

    def add_with_key(self, key: str | None = None) -> str:
        """Create an account of the plan `self_hosted` with a key, and return the key. An invalid key creates nothing.

        Raises InvalidKeyError.
        """
        if key is not None:
            _check(key)
        if self._db.in_transaction:
            return self.add_key(self.add().id, key)
        self.begin()
        try:
            key = self.add_key(self.add().id, key)
        except BaseException:
            with self._lock:
                self._db.execute("ROLLBACK")
            raise
        self.commit()
        return key

    def all(self) -> list[Account]:
        """All accounts, oldest first."""
        with self._lock:
            rows = self._db.execute(f"SELECT {_ACCOUNT} FROM accounts ORDER BY created_at, accounts.id").fetchall()
        return [_account(row) for row in rows]

    def keys(self, account_id: str) -> list[Key]:
        """The keys of an account, oldest first, with the revoked ones."""
        with self._lock:
            rows = self._db.execute(
                "SELECT hash, prefix, account_id, created_at, revoked_at FROM keys WHERE account_id = ?"
                " ORDER BY created_at, hash",
                (account_id,),
            ).fetchall()
        return [Key(_key_id(row[0]), *row[1:]) for row in rows]

    def revoke_key(self, revoked: Key) -> None:
        """Revoke a key. Processes that have cached it accept it for two more seconds."""
        with self._lock:
            self._db.execute(
                "UPDATE keys SET revoked_at = ? WHERE account_id = ? AND revoked_at IS NULL"
                " AND substr(lower(hex(hash)), 1, ?) = ?",
                (_now(), revoked.account_id, _ID_DIGITS, revoked.id.removeprefix(_ID_PREFIX)),
            )
        self._cache.clear()

    def set_usage_detail(self, account_id: str, *, enabled: bool) -> None:
        """Set whether the opt-in fields are stored. Processes that have cached the account apply it in two seconds."""
        with self._lock:
            self._db.execute("UPDATE accounts SET usage_detail = ? WHERE id = ?", (int(enabled), account_id))
        self._cache.clear()

    def find_by_key(self, key: str) -> Account | None:
        """The account of a key that is not revoked, or None. Results are cached for two seconds.

        Raises AccountsUnavailableError.
        """
        if not _KEY.fullmatch(key):
            return None
        hashed = _hash(key)
        at, account = self._cache.get(hashed, (0.0, None))
        if account is None or time.monotonic() - at > _CACHE_S:
            try:
                account = self._find(hashed)
            except sqlite3.Error as error:
                self._state.failed(error)
                raise AccountsUnavailableError from None
            if account is not None:
                if len(self._cache) >= _CACHE_SIZE:
                    self._cache.clear()
                self._cache[hashed] = (time.monotonic(), account)
        return account

    def fault(self) -> str | None:
        """Why keys cannot be read from the file now, or None."""
        try:
            with self._lock:
                if self._state.reason is not None:
                    check_file(self._db)
                self._db.execute("SELECT 1 FROM keys JOIN accounts ON accounts.id = account_id LIMIT 1").fetchone()
        except sqlite3.Error as error:
            self._state.failed(error)
        else:
            self._state.works()
        return self._state.reason

    def _find(self, hashed: bytes) -> Account | None:
        with self._lock:
            row = self._db.execute(
                f"SELECT {_ACCOUNT}, hash FROM keys JOIN accounts ON accounts.id = account_id"
                " WHERE hash = ? AND revoked_at IS NULL",
                (hashed,),
            ).fetchone()
        if row is None or not hmac.compare_digest(row[-1], hashed):
            return None
        return _account(row)

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._db.close()


def _check(key: str) -> None:
    """Raises InvalidKeyError for a key that must not be added."""
    if not _KEY.fullmatch(key):
        raise InvalidKeyError
    if is_refused(key):
        raise InvalidKeyError("the key is easy to guess: use a random one")


def new_key() -> str:
    """A new key, with 256 random bits."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def _key_id(hashed: bytes) -> str:
    """The id of a key, from its hash."""
    return _ID_PREFIX + hashed.hex()[:_ID_DIGITS]


def _account(row: tuple[Any, ...]) -> Account:
    return Account(row[0], row[1], row[2], row[3], row[4], bool(row[5]), row[6])


def only_header(values: Sequence[str]) -> str | None:
    """The value of a header that a request may contain once, or None: with several it is unclear which one counts."""
    return values[0] if len(values) == 1 else None


def bearer_token(header: str | None) -> str:
    """The bearer token of an Authorization header, or an empty string."""
    scheme, _, key = (header or "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def _hash(key: str) -> bytes:
    return sha256(key.encode()).digest()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
