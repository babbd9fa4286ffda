"""Ends an `infraprism` command with SIGKILL before one of its steps, so that a test can cut it at each of them.

A step is a statement of the engine or of SQLite that can write, or a change of a file: between two steps nothing on the
disk changes, except within a statement.

With the text `first` only the steps count from the first one that contains it, and not each file of a directory that is
copied or deleted.
"""

from __future__ import annotations

import io
import os
import re
import runpy
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, TextIO

from tests.kit.command import clean_environment

ROOT: Final = Path(__file__).parents[2]
_CHANGES: Final = frozenset({"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"})
_ONLY_READS: Final = ("SELECT", "EXISTS", "CHECK", "PRAGMA")
_IN_MEMORY: Final = re.compile(r"\s*(DROP TABLE IF EXISTS|CREATE TABLE|INSERT INTO) ingest\.")
"""Statements that change only a table in memory."""
_CUT: Final = "cut before: "
_MAX_STEPS: Final = 500


class Run(NamedTuple):
    """A command that was cut before a step, or that ended by itself: then `step` is None."""

    step: str | None
    status: int
    output: str


def cut(number: int, *arguments: str, first: str = "", **environment: str) -> Run:
    """Run a command until a step, counted from 1. `serve` ends by itself when it is ready."""
    ran = subprocess.run(
        [sys.executable, "-B", "-m", "tests.kit.cuts", str(number), first, *arguments],
        env=clean_environment(**environment),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    steps = [line.removeprefix(_CUT) for line in ran.stderr.splitlines() if line.startswith(_CUT)]
    if not steps:
        assert "Traceback" not in ran.stderr, ran.stderr
        return Run(None, ran.returncode, ran.stdout)
    assert ran.returncode == -signal.SIGKILL
    return Run(steps[0], ran.returncode, ran.stdout)


def each_cut(
    prepare: Callable[[], tuple[str, ...]], first: str = "", stride: int = 1, **environment: str
) -> Iterator[Run]:
    """Cut a command before each of its steps, or before each `stride`-th. `prepare` restores its data.

    It returns the arguments of the command.
    """
    for number in range(1, _MAX_STEPS, stride):
        ran = cut(number, *prepare(), first=first, **environment)
        if ran.step is None:
            return
        yield ran
    raise AssertionError(f"the command has more than {_MAX_STEPS} steps")


class _Steps:
    def __init__(self, last: int, first: str) -> None:
        self._left = last
        self._first = first
        self._counts = False

    def next(self, name: str) -> None:
        self._counts = self._counts or self._first in name
        self._left -= self._counts
        if self._left == 0:
            os.write(2, f"{_CUT}{' '.join(name.split())}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)

    def on_statement(self, sql: str) -> None:
        if not sql.lstrip().upper().startswith(_ONLY_READS) and not _IN_MEMORY.match(sql):
            self.next(sql)

    def on_audit_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        name = f"{event} {arguments[0] if arguments else ''}"
        # The files of a directory that is deleted have relative paths.
        is_step = event in _CHANGES and (not self._first or "/" in name)
        if not is_step and not self._first:
            is_step = event == "os.utime" or (event == "open" and _is_written(*arguments))
        if is_step:
            self.next(name)


def _is_written(path: object, _mode: object, flags: object) -> bool:
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR)) and not str(path).startswith("/dev/")


def _count_sqlite(steps: _Steps) -> None:
    class Connection(sqlite3.Connection):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self.set_trace_callback(steps.on_statement)

    connect = sqlite3.connect
    for module in (sqlite3, sqlite3.dbapi2):  # SQLAlchemy uses the second
        module.connect = lambda *arguments, **named: connect(*arguments, factory=Connection, **named)  # type: ignore[attr-defined]


def _count_engine(steps: _Steps) -> None:
    import clickhouse_connect  # noqa: PLC0415  # only commands that use the engine need it

    get_client = clickhouse_connect.get_client

    def counting(**named: Any) -> Any:
        client = get_client(**named)
        command = client.command

        def counted(sql: str, *arguments: Any, **more: Any) -> Any:
            steps.on_statement(sql)
            return command(sql, *arguments, **more)

        client.command = counted
        return client

    clickhouse_connect.get_client = counting


class _EndWhenReady(io.TextIOBase):
    """Sends SIGTERM to this process when it prints that it is ready."""

    def __init__(self, stdout: TextIO) -> None:
        self._stdout = stdout

    def write(self, text: str) -> int:
        written = self._stdout.write(text)
        self._stdout.flush()
        if "is ready" in text:
            os.kill(os.getpid(), signal.SIGTERM)
        return written


def _main() -> None:
    number, first, *command = sys.argv[1:]
    steps = _Steps(int(number), first)
    _count_sqlite(steps)
    if command[0] in {"store", "serve"}:  # importing the engine takes time
        _count_engine(steps)
    sys.addaudithook(steps.on_audit_event)
    sys.stdout = _EndWhenReady(sys.stdout)
    sys.argv = ["infraprism", *command]
    runpy.run_module("infraprism.cli", run_name="__main__")


if __name__ == "__main__":
    _main()
