"""A first start that is killed at any step loses neither the key nor the setup link, and shows nothing invalid."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.kit.timed_backend import Clock

from infraprism.backend.accounts import Accounts
from infraprism.backend.accounts.links import LIFETIME_S, Links
from infraprism.backend.audit.audit_log import AuditLog
from infraprism.backend.first_key import FirstKey

STEPS = 4
KEY = "ip-the-key-in-the-environment-8Zq2"


def steps_of_a_start(
    accounts: Accounts, data: Path, show: Callable[[tuple[str, str]], None], key: str = ""
) -> Iterator[None]:
    """The steps of a start, in the order of the server."""
    first = FirstKey(data, key)
    first.prepare(accounts)
    yield
    first.commit(accounts)
    yield
    if first.to_show or first.link_to_show:
        show((first.to_show or "", first.link_to_show or ""))
    yield
    first.was_shown()
    yield


@pytest.mark.parametrize("key", ["", KEY])
@pytest.mark.parametrize("cut", range(STEPS + 1))
def test_a_start_that_is_cut_at_any_step_is_completed_by_the_next_one(tmp_path: Path, cut: int, key: str) -> None:
    shown: list[tuple[str, str]] = []
    with closing(Accounts(tmp_path / "accounts.sqlite")) as accounts:
        start = steps_of_a_start(accounts, tmp_path, shown.append, key)
        for _ in range(cut):
            next(start)
    with closing(Accounts(tmp_path / "accounts.sqlite")) as accounts:
        links = Links(accounts.database, accounts.clock)
        assert all(accounts.find_by_key(key or one) and links.is_valid("setup", token) for one, token in shown)
        for _ in steps_of_a_start(accounts, tmp_path, shown.append, key):
            pass
        (account,) = accounts.all()
        ((shown_key, token),) = set(shown)
        assert accounts.find_by_key(key or shown_key) == account
        assert (shown_key == "") is (key != "")
        assert links.find("setup", token).account_id == account.id
        assert [entry.action for entry in AuditLog(accounts.database).all(account.id)] == [
            "account.created",
            "key.created",
        ]
        assert list(steps_of_a_start(accounts, tmp_path, shown.append, key))
    assert len(set(shown)) == 1
    assert not (tmp_path / "first-key").exists()


def test_a_link_that_was_used_or_has_expired_is_not_shown_again(tmp_path: Path) -> None:
    clock, shown = Clock(), list[tuple[str, str]]()
    with closing(Accounts(tmp_path / "accounts.sqlite", clock)) as accounts:
        start = steps_of_a_start(accounts, tmp_path, shown.append)
        for _ in range(3):
            next(start)
        clock.pass_s(LIFETIME_S["setup"])
        for _ in steps_of_a_start(accounts, tmp_path, shown.append):
            pass
    assert [bool(token) for _, token in shown] == [True, False]
    assert shown[0][0] == shown[1][0]


def test_a_pending_key_of_a_version_without_links_is_shown(tmp_path: Path) -> None:
    shown: list[tuple[str, str]] = []
    with closing(Accounts(tmp_path / "accounts.sqlite")) as accounts:
        (tmp_path / "first-key").write_text(accounts.add_with_key(KEY))
        for _ in steps_of_a_start(accounts, tmp_path, shown.append):
            pass
    assert shown == [(KEY, "")]
