"""Encryption in the age format."""

from __future__ import annotations

import io

import pyrage  # type: ignore[import-untyped]  # the package has no types
import pytest
from tests.kit.backups import IDENTITY, RECIPIENT

from infraprism.backend.backups.encryption import Identities, Measured, Recipients, new_identity
from infraprism.backend.backups.errors import BackupError

CONTENT = bytes(range(256)) * 1024


def encrypted(content: bytes = CONTENT) -> bytes:
    sink = io.BytesIO()
    Recipients([RECIPIENT]).encrypt([content[:1000], b"", content[1000:]], sink)
    return sink.getvalue()


def test_a_backup_can_be_decrypted_by_any_implementation_of_age() -> None:
    data = encrypted()
    assert data.startswith(b"age-encryption.org/v1\n")
    key = next(line for line in IDENTITY.splitlines() if line.startswith("AGE-SECRET-KEY-1"))
    assert pyrage.decrypt(data, [pyrage.x25519.Identity.from_str(key)]) == CONTENT


def test_what_was_encrypted_is_decrypted() -> None:
    sink = io.BytesIO()
    measured = Measured(sink)
    Identities(IDENTITY).decrypted([encrypted()], measured)
    assert sink.getvalue() == CONTENT
    assert measured.size_bytes == len(CONTENT)


@pytest.mark.parametrize("place", [0, 30, 150, 1000, -1])
def test_a_changed_byte_is_found(place: int) -> None:
    data = bytearray(encrypted())
    data[place] ^= 1
    with pytest.raises(BackupError):
        Identities(IDENTITY).decrypted([bytes(data)], io.BytesIO())


def test_a_missing_end_is_found() -> None:
    with pytest.raises(BackupError):
        Identities(IDENTITY).decrypted([encrypted()[:-70_000]], io.BytesIO())


def test_another_identity_cannot_decrypt() -> None:
    with pytest.raises(BackupError, match="check the identity"):
        Identities(new_identity()[0]).decrypted([encrypted()], io.BytesIO())


def test_an_error_of_the_sink_is_raised_as_it_is() -> None:
    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        Recipients([RECIPIENT]).encrypt([CONTENT], Full())


@pytest.mark.parametrize("text", ["age1", "no-key-at-all", IDENTITY])
def test_what_is_no_recipient_is_refused_without_its_text(text: str) -> None:
    with pytest.raises(BackupError) as raised:
        Recipients([text])
    assert text[8:] not in str(raised.value) or len(text) < 9


@pytest.mark.parametrize("text", ["", "no-key-at-all", IDENTITY.replace("KEY-1", "KEY-1Q")])
def test_what_is_no_identity_is_refused_without_its_text(text: str) -> None:
    with pytest.raises(BackupError) as raised:
        Identities(text)
    assert not text or text[-20:] not in str(raised.value)


def test_a_backup_needs_a_recipient() -> None:
    with pytest.raises(BackupError, match="needs a recipient"):
        Recipients([])
