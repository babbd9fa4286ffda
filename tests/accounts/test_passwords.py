"""Which passwords are accepted, and what is stored of them."""

from __future__ import annotations

import pytest
from tests.kit.accounts import FEW_ROUNDS, PASSWORD

from infraprism.backend.accounts import RefusedError, passwords
from infraprism.backend.accounts.passwords import MAX_BYTES, Passwords

EMAIL = "ada@example.com"


@pytest.mark.parametrize(
    "password",
    [
        "",
        "eleven char",
        "aaaaaaaaaaaaaaaa",
        "abababababab",
        "a" * 60 + "é" * 10,
        "long enough " * 7,
        "with a null\0character",
        "with a surrogate \ud800",
    ],
)
def test_a_password_that_is_short_or_simple_or_that_bcrypt_would_cut_is_refused(password: str) -> None:
    with pytest.raises(RefusedError) as refused:
        passwords.check(password, EMAIL)
    assert refused.value.reason == "invalid"
    assert not password or password not in refused.value.message


def test_the_email_is_no_password() -> None:
    with pytest.raises(RefusedError):
        passwords.check("ADA.of.London@example.com", "ada.of.london@example.com")


@pytest.mark.parametrize("password", [PASSWORD, "пароль на русском", "x1y2z" * 14 + "ab", "éàü 漢字 かな abc"])
def test_a_password_of_any_script_is_stored_as_bcrypt_hash_and_verified(password: str) -> None:
    passwords.check(password, EMAIL)
    hashing = Passwords(FEW_ROUNDS)
    stored = hashing.hashed(password)
    assert stored.startswith("$2b$04$")
    assert password not in stored
    assert hashing.is_correct(password, stored)
    assert not hashing.is_correct(password + "x", stored)
    assert not hashing.is_correct("", stored)


def test_the_last_byte_that_bcrypt_reads_counts_and_a_longer_text_is_never_correct() -> None:
    hashing = Passwords(FEW_ROUNDS)
    longest = ("abcdefgh" * 9)[:MAX_BYTES]
    stored = hashing.hashed(longest)
    assert hashing.is_correct(longest, stored)
    assert not hashing.is_correct(longest[:-1] + "X", stored)
    assert not hashing.is_correct(longest + "X", stored)


def test_two_spellings_of_one_letter_are_the_same_password() -> None:
    hashing = Passwords(FEW_ROUNDS)
    assert hashing.is_correct("cafe\u0301 noir 123", hashing.hashed("caf\u00e9 noir 123"))


def test_nothing_is_correct_without_a_hash() -> None:
    hashing = Passwords(FEW_ROUNDS)
    for password in ("", PASSWORD, "\0", "\ud800", "x" * 1000):
        assert not hashing.is_correct(password, None)


def test_the_server_uses_twelve_rounds() -> None:
    assert Passwords().hashed(PASSWORD).startswith("$2b$12$")
