"""A key that is easy to guess cannot be added."""

from __future__ import annotations

import random
import string
from pathlib import Path

import pytest
from tests.kit.backend import KEY, Backend, start

from infraprism.backend.accounts import Accounts, InvalidKeyError
from infraprism.backend.accounts.key_strength import is_guessable

GUESSABLE = [
    "ip-aaaaaaaaaaaaa",
    "ip-1234567890123",
    "ip-0000000000001",
    "ip-1212121212121",
    "ip-abcabcabcabcabc",
    "ip-abcdefghijklmnopqrstuvwxyz",
    "ip-zyxwvutsrqponmlkj",
    "ip-AbCdEfGhIjKlMnOp",
    "ip-qwertyuiopasdfgh",
    "ip-aaaabbbbccccdddd",
    "ip-a1b2c3d4e5f6g7h8",
    "ip-changemechangeme",
    "ip-2026-11-30-2026-11-30",
    "ip-" + "-" * 31,
    "ip-" + "ab" * 15,
]


@pytest.mark.parametrize("key", GUESSABLE)
def test_a_guessable_key_is_refused_and_creates_nothing(tmp_path: Path, key: str) -> None:
    accounts = Accounts(tmp_path / "accounts.sqlite")
    with pytest.raises(InvalidKeyError, match="easy to guess"):
        accounts.add_with_key(key)
    assert accounts.is_empty()
    account = accounts.add()
    with pytest.raises(InvalidKeyError, match="easy to guess"):
        accounts.add_key(account.id, key)
    assert accounts.keys(account.id) == []
    accounts.close()


def test_a_guessable_key_in_the_environment_is_a_startup_error_of_one_line(tmp_path: Path) -> None:
    process = start(tmp_path / "data", key="ip-1234567890123")
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, output) == (1, "")
    assert errors == (
        "infraprism: INFRAPRISM_API_KEY cannot be the first key: the key is easy to guess: use a random one;"
        " unset it to generate one\n"
    )
    assert not (tmp_path / "data").exists()


def test_a_long_key_that_is_easy_to_guess_is_accepted_with_a_warning(tmp_path: Path) -> None:
    with Backend(tmp_path / "data", key="ip-" + "k" * 40) as backend:
        assert backend.get("/v1/me").status == 200
        _, errors = backend.stop()
    assert errors == "warning: the INFRAPRISM_API_KEY in the environment is easy to guess: use a random key\n"


def test_random_keys_are_accepted(tmp_path: Path) -> None:
    generator = random.Random(1)
    characters = string.ascii_letters + string.digits
    for length in (24, 32, 64, 197):
        for _ in range(300):
            assert not is_guessable("ip-" + "".join(generator.choices(characters, k=length)))
    for _ in range(300):
        assert not is_guessable(f"ip-{generator.randbytes(16).hex()}")
    assert not is_guessable(KEY)
    accounts = Accounts(tmp_path / "accounts.sqlite")
    for _ in range(20):
        accounts.add_with_key()
    accounts.close()
