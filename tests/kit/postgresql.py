"""A real PostgreSQL server in a temporary directory."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.kit.ports import free_port

USER = "infraprism"
PASSWORD = "the-password-of-the-tests"


class PostgreSQL:
    """A running server. It listens on a port of 127.0.0.1 and requires the password."""

    def __init__(self, programs: Path, directory: Path, port: int) -> None:
        self._programs = programs
        self._data = directory / "data"
        self.port = port

    def url(self, database: str = "postgres", password: str = PASSWORD) -> str:
        """The URL of a database."""
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/{database}"

    def new_database(self, name: str) -> str:
        """Create a database and return its URL."""
        import psycopg  # noqa: PLC0415  # not installed in every environment of the tests

        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return self.url(name)

    def start(self) -> None:
        """Start, and wait until connections are accepted."""
        self._control("start", "-w", "-l", str(self._data.parent / "log"), "-o", f"-p {self.port} -k {self._data}")

    def stop(self, mode: str = "immediate") -> None:
        """Stop as after a crash, or with another mode of pg_ctl."""
        self._control("stop", "-w", "-m", mode)

    def _control(self, *arguments: str) -> None:
        _run(self._programs / "pg_ctl", "-D", str(self._data), *arguments)


@contextmanager
def postgresql() -> Iterator[PostgreSQL]:
    """A new server. Without PostgreSQL the test is skipped with a message; in CI it fails."""
    programs = _programs()
    if programs is None:
        message = "NOT TESTED: needs the programs of PostgreSQL (apt-get install postgresql)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    directory = Path(tempfile.mkdtemp(prefix="infraprism-postgresql-"))
    try:
        if user := _user():
            os.chown(directory, user.pw_uid, user.pw_gid)
        password = directory / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        _run(
            programs / "initdb", "-D", str(directory / "data"), "-U", USER, "-A", "scram-sha-256",
            "--pwfile", str(password), "-E", "UTF8", "--no-sync",
        )  # fmt: skip
        server = PostgreSQL(programs, directory, free_port())
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    installed = shutil.which("initdb")
    return Path(installed).resolve().parent if installed else None


def _user() -> pwd.struct_passwd | None:
    """The user that the server runs as, if this is root: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return None


def _run(program: Path, *arguments: str) -> None:
    user = _user()
    subprocess.run(
        [str(program), *arguments],
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # a started server keeps a pipe open
        stderr=subprocess.DEVNULL,
        timeout=60,
        cwd="/",
        user=user and user.pw_uid,
        group=user and user.pw_gid,
        extra_groups=[] if user else None,
    )
