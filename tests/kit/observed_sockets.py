"""Observes the connections of a process: those of Python by an audit hook, those of native code by strace."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

_HOOK = """
import os, sys
_file = os.open(os.environ["OBSERVED_SOCKETS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def _observe(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname"):
        with_address = event in ("socket.connect", "socket.sendto", "socket.sendmsg")  # after the socket
        os.write(_file, f"{event} {arguments[1:] if with_address else arguments}\\n".encode())
sys.addaudithook(_observe)
"""
_IP = re.compile(r"sin6?_port=htons\((\d+)\).*?(?:inet_addr\(\"([^\"]+)\"|inet_pton\(AF_INET6, \"([^\"]+)\")")
_LOCAL = ("AF_UNIX", "AF_NETLINK", "AF_UNSPEC")


class Observed(NamedTuple):
    """The interpreter to start the process with, and the files of what it has done."""

    python: str
    audited: Path
    traced: Path

    def lines_of_python(self) -> list[str]:
        """The events of Python: connections and look-ups of names."""
        return self.audited.read_text().splitlines()

    def addresses(self) -> set[tuple[str, int]]:
        """The hosts and ports of all connections and messages of the process, by the kernel's own record."""
        found = set()
        for line in self.traced.read_text().splitlines():
            if "sa_family=" not in line or any(f"sa_family={family}" in line for family in _LOCAL):
                continue
            address = _IP.search(line)
            assert address, line
            found.add((address[2] or address[3], int(address[1])))
        return found


def observed(directory: Path) -> Observed:
    """Without strace the test is skipped with a message; in CI it fails."""
    strace = shutil.which("strace")
    if strace is None:
        message = "NOT TESTED: connections of native code need strace (apt-get install strace)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    (directory / "hook").mkdir()
    (directory / "hook" / "sitecustomize.py").write_text(_HOOK)
    made = Observed(str(directory / "python"), directory / "audited", directory / "traced")
    made.audited.touch()
    calls = "connect,sendto,sendmsg,sendmmsg"
    Path(made.python).write_text(
        "#!/bin/sh\n"
        f"export PYTHONPATH='{directory / 'hook'}' OBSERVED_SOCKETS='{made.audited}'\n"
        # -D: the process that the test stops is the server.
        f"exec '{strace}' -D -f -qq -e trace={calls} -o '{made.traced}' '{sys.executable}' \"$@\"\n"
    )
    Path(made.python).chmod(0o755)
    return made
