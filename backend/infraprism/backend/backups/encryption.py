"""Encryption in the age format (age-encryption.org/v1), so that the standard `age` tool can decrypt a backup.

A server has only recipients, which are public: it can make backups and cannot read them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, Final

import pyrage  # type: ignore[import-untyped]  # the package has no types

from infraprism.backend.backups.errors import BackupError
from infraprism.backend.backups.storage import Sink

_SSH: Final = "ssh-"
_COMMENT: Final = "#"
_IDENTITY: Final = "AGE-SECRET-KEY-1"


class Recipients:
    """Who can decrypt. `texts` are `age1...`, or public keys of SSH. Raises BackupError."""

    def __init__(self, texts: Sequence[str]) -> None:
        if not texts:
            raise BackupError("a backup needs a recipient, age1...: `infraprism backup new-key FILE` makes one")
        self.id: Final = sha256("\n".join(sorted(texts)).encode()).hexdigest()
        """The same for the same recipients only."""
        self._keys: list[Any] = []
        for text in texts:
            parse: Callable[[str], Any] = (
                pyrage.ssh.Recipient.from_str if text.startswith(_SSH) else pyrage.x25519.Recipient.from_str
            )
            try:
                self._keys.append(parse(text))
            except pyrage.RecipientError:
                raise BackupError("a recipient is age1..., or a public key of SSH; never the secret key") from None

    def encrypt(self, content: Iterable[bytes], sink: Sink) -> None:
        """Write the encrypted content. Errors of both sides are raised."""
        source, target = _Source(content), _Target(sink)
        with _original_errors(source, target):
            pyrage.encrypt_io(source, target, self._keys)


class Identities:
    """The secret keys of an identity file, as `age-keygen` writes it. Raises BackupError, without a key."""

    def __init__(self, text: str) -> None:
        lines = [line.strip() for line in text.splitlines()]
        keys = [line for line in lines if line and not line.startswith(_COMMENT)]
        try:
            if text.lstrip().startswith("-----BEGIN"):
                self._keys: list[Any] = [pyrage.ssh.Identity.from_buffer(text.encode())]
            else:
                self._keys = [pyrage.x25519.Identity.from_str(key) for key in keys]
        except pyrage.IdentityError:
            self._keys = []
        if not self._keys:
            raise BackupError(f"the identity is not a key of age: a line with {_IDENTITY}...")

    def decrypted(self, content: Iterable[bytes], sink: Sink) -> None:
        """Write the decrypted content. Raises BackupError if no key fits, or a byte is not as it was written."""
        source, target = _Source(content), _Target(sink)
        try:
            with _original_errors(source, target):
                pyrage.decrypt_io(source, target, self._keys)
        except pyrage.DecryptError as error:
            raise BackupError(f"it cannot be decrypted ({error}): check the identity, or it is damaged") from None


def new_identity() -> tuple[str, str]:
    """The text of a new identity file, and its recipient."""
    identity = pyrage.x25519.Identity.generate()
    recipient = str(identity.to_public())
    return f"# public key: {recipient}\n{identity}\n", recipient


class Measured:
    """A sink that counts and hashes what is written to another one."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._hash = sha256()
        self.size_bytes = 0

    def write(self, data: bytes) -> int:
        """Write all of `data`."""
        self._sink.write(data)
        self._hash.update(data)
        self.size_bytes += len(data)
        return len(data)

    def flush(self) -> None:
        """Write what is buffered."""
        self._sink.flush()

    @property
    def sha256(self) -> str:
        """The hash of what was written, in hexadecimal digits."""
        return self._hash.hexdigest()


class _Source:
    """Pieces as a file. Keeps the error that the other library replaces."""

    def __init__(self, content: Iterable[bytes]) -> None:
        self._content = iter(content)
        self._rest = memoryview(b"")
        self.error: BaseException | None = None

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes; none at the end."""
        try:
            while not self._rest:
                piece = next(self._content, None)
                if piece is None:
                    return b""
                self._rest = memoryview(piece)
        except BaseException as error:
            self.error = error
            raise
        end = len(self._rest) if size < 0 else size
        found, self._rest = bytes(self._rest[:end]), self._rest[end:]
        return found


class _Target:
    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.error: BaseException | None = None

    def write(self, data: bytes) -> int:
        """Write all of `data`."""
        try:
            self._sink.write(data)
        except BaseException as error:
            self.error = error
            raise
        return len(data)

    def flush(self) -> None:
        """Write what is buffered."""
        self._sink.flush()


@contextmanager
def _original_errors(source: _Source, target: _Target) -> Iterator[None]:
    try:
        yield
    except (pyrage.EncryptError, pyrage.DecryptError, OSError, ValueError) as error:
        original = source.error or target.error
        if original is not None:
            raise original from None
        if isinstance(error, OSError):
            raise BackupError(
                "it cannot be decrypted: a byte is not as it was written, or its end is missing"
            ) from None
        raise
