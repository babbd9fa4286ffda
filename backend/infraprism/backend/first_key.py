"""The key of the first account, so that a server killed at any step of its first start never loses it.

Order: the generated key is written to a file, the account is committed, the key is shown, the file is removed. A start
that finds the file shows the key of the file again: a shown key is valid, and the key of every account was shown.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from infraprism.backend.accounts import ACCOUNTS_FILE, Accounts, InvalidKeyError
from infraprism.backend.accounts.accounts import new_key
from infraprism.backend.accounts.key_strength import is_guessable
from infraprism.backend.preflight import StartupError
from infraprism.schema.settings import KEY_PREFIX

FIRST_KEY_FILE: Final = "first-key"
"""The name of the file in the data directory."""
_VARIABLE: Final = "INFRAPRISM_API_KEY"


class FirstKey:
    """Creates the first account. `from_environment` is its key, or empty. `to_show` is the key to show, or None."""

    def __init__(self, data_dir: Path, from_environment: str) -> None:
        self._file = data_dir / FIRST_KEY_FILE
        self._from_environment = from_environment
        self._is_new = False
        self.to_show: str | None = None

    def prepare(self, accounts: Accounts) -> None:
        """Create the account in a transaction that is not committed.

        Raises StartupError, DatabaseUnavailableError, OSError.
        """
        pending = self._file.read_text("ascii", errors="replace").strip() if self._file.exists() else ""
        if accounts.is_empty():
            accounts.begin()
            self._is_new = accounts.is_empty()  # another node may have created an account since
            if not self._is_new:
                accounts.commit()
        if not self._is_new:
            if pending and accounts.find_by_key(pending) is not None:
                self.to_show = pending
            if self._from_environment and accounts.find_by_key(self._from_environment) is None:
                print(  # noqa: T201  # the user's terminal
                    f"note: the {_VARIABLE} in the environment is no key of this data directory", flush=True
                )
            return
        if next((self._file.parent / "store").glob("store/*/*/*/checksums.txt"), None) is not None:
            raise StartupError(
                f"{self._file.parent / ACCOUNTS_FILE} has no account, but events are stored: restore it from a backup,"
                " or choose another --data-dir"
            )
        if self._from_environment:
            try:
                accounts.add_with_key(self._from_environment)
            except InvalidKeyError as error:
                raise StartupError(f"{_VARIABLE} cannot be the first key: {error}; unset it to generate one") from None
            if is_guessable(self._from_environment):
                print(  # noqa: T201  # as above
                    f"warning: the {_VARIABLE} in the environment is easy to guess: use a random key", file=sys.stderr
                )
        else:
            self.to_show = accounts.add_with_key(pending if pending.startswith(KEY_PREFIX) else new_key())

    def commit(self, accounts: Accounts) -> None:
        """Keep the account. Raises DatabaseUnavailableError, OSError."""
        if not self._is_new:
            return
        if self.to_show:
            _write(self._file, self.to_show)
        accounts.commit()

    def was_shown(self) -> None:
        """The key was shown. Raises OSError."""
        self._file.unlink(missing_ok=True)


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
