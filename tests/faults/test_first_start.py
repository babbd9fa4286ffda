"""A first start that is killed at any time can be repeated."""

from __future__ import annotations

import os
import random
import re
import subprocess
from pathlib import Path
from typing import Final

import pytest
from tests.kit.backend import Backend, start
from tests.kit.command import infraprism
from tests.kit.full_disk import Filler, available, tmpfs

from infraprism.backend.accounts import Accounts

SEEDS: Final = int(os.environ.get("FAULT_SEEDS", "2"))
_SHOWN: Final = re.compile(r"INFRAPRISM_API_KEY=(ip-\S+)")


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_killed_first_start_leaves_no_key_that_was_not_shown_and_none_that_is_invalid(
    tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    output = ""
    for _ in range(4):
        process = start(tmp_path / "data", key=None)
        try:
            output += process.communicate(timeout=chance.uniform(0.2, 2.5))[0]
        except subprocess.TimeoutExpired:
            process.kill()
            output += process.communicate()[0]
    with Backend(tmp_path / "data", key=None) as backend:
        shown = set(_SHOWN.findall(output + "".join(backend.lines)))
        assert shown
        assert {backend.get("/v1/me", key).status for key in shown} == {200}
    accounts = Accounts(tmp_path / "data" / "accounts.sqlite")
    keys = [key for account in accounts.all() for key in accounts.keys(account.id)]
    accounts.close()
    assert len(keys) == len(shown)


@pytest.mark.parametrize("left_bytes", [0, 30_000])
def test_a_first_start_on_a_full_disk_says_so_and_can_be_repeated(tmp_path: Path, left_bytes: int) -> None:
    with available(tmpfs(tmp_path / "disk")) as disk:
        filler = Filler(disk, random.Random(0))
        filler.fill(left_bytes)
        ran = infraprism("serve", "--data-dir", str(disk / "data"), "--port", "0", "--grpc-port", "0")
        assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)
        assert "the disk is full, free some space" in ran.stderr
        filler.free()
        with Backend(disk / "data") as backend:
            assert backend.get("/v1/me").status == 200
