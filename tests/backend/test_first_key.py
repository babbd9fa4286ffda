"""A first start that is killed at any step leaves no key that was shown and is invalid, and no account without one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from infraprism.backend.accounts import Accounts
from infraprism.backend.first_key import FirstKey

STEPS = 4


def steps_of_a_start(accounts: Accounts, data: Path, show: Callable[[str], None]) -> Iterator[None]:
    """The steps of a start, in the order of the server."""
    first = FirstKey(data, "")
    first.prepare(accounts)
    yield
    first.commit(accounts)
    yield
    if first.to_show:
        show(first.to_show)
    yield
    first.was_shown()
    yield


@pytest.mark.parametrize("cut", range(STEPS + 1))
def test_a_start_that_is_cut_at_any_step_is_completed_by_the_next_one(tmp_path: Path, cut: int) -> None:
    shown: list[str] = []
    with closing(Accounts(tmp_path / "accounts.sqlite")) as accounts:
        start = steps_of_a_start(accounts, tmp_path, shown.append)
        for _ in range(cut):
            next(start)
    with closing(Accounts(tmp_path / "accounts.sqlite")) as accounts:
        assert all(accounts.find_by_key(key) for key in shown)
        for _ in steps_of_a_start(accounts, tmp_path, shown.append):
            pass
        assert len(accounts.all()) == 1
        assert len(set(shown)) == 1
        assert accounts.find_by_key(shown[-1]) is not None
    assert not (tmp_path / "first-key").exists()
