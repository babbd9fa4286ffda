"""The key and the setup link of the first account. A server killed at any step of its first start loses neither.

Order: the generated key and the token of the link are written to a file, the account is committed, both are shown, the
file is removed. A start that finds the file shows what it has again: a shown key is valid, and the key of every account
was shown. The same holds for the link, until it is used or expires.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from infraprism.backend.accounts import ACCOUNTS_FILE, Accounts, InvalidKeyError
from infraprism.backend.accounts.accounts import new_key
from infraprism.backend.accounts.key_strength import is_guessable
from infraprism.backend.accounts.records import Key
from infraprism.backend.preflight import StartupError
from infraprism.schema.settings import KEY_PREFIX

if TYPE_CHECKING:
    from infraprism.backend.accounts.links import Links

FIRST_KEY_FILE: Final = "first-key"
"""The name of the file in the data directory."""
_VARIABLE: Final = "INFRAPRISM_API_KEY"


class FirstKey:
    """Creates the first account. `from_environment` is its key, or empty.

    `to_show` is the key to show, and `link_to_show` the token of the setup link to show, or None.
    """

    def __init__(self, data_dir: Path, from_environment: str) -> None:
        self._file = data_dir / FIRST_KEY_FILE
        self._from_environment = from_environment
        self._is_new = False
        self.to_show: str | None = None
        self.link_to_show: str | None = None

    def prepare(self, accounts: Accounts) -> None:
        """Create the account in a transaction that is not committed.

        Raises StartupError, DatabaseUnavailableError, OSError.
        """
        key, token = self._pending()
        if accounts.is_empty():
            accounts.begin()
            self._is_new = accounts.is_empty()  # another node may have created an account since
            if not self._is_new:
                accounts.commit()
        if not self._is_new:
            self._show_pending(accounts, key, token)
            return
        if next((self._file.parent / "store").glob("store/*/*/*/checksums.txt"), None) is not None:
            raise StartupError(
                f"{self._file.parent / ACCOUNTS_FILE} has no account, but events are stored: restore it from a backup,"
                " or choose another --data-dir"
            )
        if self._from_environment:
            try:
                key = accounts.add_with_key(self._from_environment)
            except InvalidKeyError as error:
                raise StartupError(f"{_VARIABLE} cannot be the first key: {error}; unset it to generate one") from None
            if is_guessable(self._from_environment):
                print(  # noqa: T201  # as above
                    f"warning: the {_VARIABLE} in the environment is easy to guess: use a random key", file=sys.stderr
                )
        else:
            key = self.to_show = accounts.add_with_key(key if key.startswith(KEY_PREFIX) else new_key())
        self.link_to_show = _complete(accounts, key, token)

    def _show_pending(self, accounts: Accounts, key: str, token: str) -> None:
        if key and accounts.find_by_key(key) is not None:
            self.to_show = key
        if token and _links(accounts).is_valid("setup", token):
            self.link_to_show = token
        if self._from_environment and accounts.find_by_key(self._from_environment) is None:
            print(  # noqa: T201  # the user's terminal
                f"note: the {_VARIABLE} in the environment is no key of this data directory", flush=True
            )

    def commit(self, accounts: Accounts) -> None:
        """Keep the account. Raises DatabaseUnavailableError, OSError."""
        if not self._is_new:
            return
        _write(self._file, f"{self.to_show or ''}\n{self.link_to_show or ''}\n")
        accounts.commit()

    def was_shown(self) -> None:
        """The key and the link were shown. Raises OSError."""
        self._file.unlink(missing_ok=True)

    def _pending(self) -> tuple[str, str]:
        """The key and the token of a start that was killed. A version without links wrote the key alone."""
        text = self._file.read_text("ascii", errors="replace") if self._file.exists() else ""
        key, _, token = text.partition("\n")
        return key.strip(), token.strip()


def _complete(accounts: Accounts, key: str, token: str) -> str:
    """Add the setup link and the audit entries of the first account. Returns the token of the link."""
    # Imported here: without the packages of the server this module can still be imported.
    from infraprism.backend.audit.audit_log import SYSTEM, AuditLog  # noqa: PLC0415

    (account,) = accounts.all()
    audit = AuditLog(accounts.database, accounts.clock)
    with accounts.database.transaction() as connection:
        audit.append(account.id, SYSTEM, "account.created", account.id, connection=connection)
        audit.append(account.id, SYSTEM, "key.created", Key.id_of(key), connection=connection)
        return _links(accounts).create(connection, "setup", account.id, token=token or None)


def _links(accounts: Accounts) -> Links:
    from infraprism.backend.accounts.links import Links  # noqa: PLC0415  # as above

    return Links(accounts.database, accounts.clock)


def _write(file: Path, text: str) -> None:
    """Write a file so that it is complete on the disk or does not exist."""
    temporary = file.with_suffix(".tmp")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as writing:
        writing.write(text)
        writing.flush()
        os.fsync(writing.fileno())
    temporary.replace(file)
    directory = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
