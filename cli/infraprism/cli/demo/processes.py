"""The child processes of the demo, the backend and the app. They end with it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from infraprism.cli.failure import Failure

_START_S: Final = 90.0
_STOP_S: Final = 15.0
_POLL_S: Final = 0.1
T = TypeVar("T")


@contextlib.contextmanager
def child(
    command: Sequence[str | Path], environment: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process in its own process group, with its output in `log`, and stop it at the end of the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603  # our own commands
            [str(part) for part in command],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop a process and its child processes: SIGTERM, and SIGKILL after _STOP_S."""
    for force in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, force)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_S)


def wait_for(look: Callable[[], T | None], process: subprocess.Popen[bytes], log: Path, what: str) -> T:
    """Call `look` until its result is not None. Raises Failure if the process ends first or after _START_S."""
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        if (found := look()) is not None:
            return found
        if process.poll() is not None:
            raise Failure(f"{what} ended with status {process.returncode}: {last_line(log)}")
        time.sleep(_POLL_S)
    raise Failure(f"{what} did not start in {_START_S:.0f} seconds: {last_line(log)}")


def last_line(log: Path) -> str:
    """The last line of output of a process."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it printed nothing"


def run_app(command: Sequence[str | Path], environment: Mapping[str, str], log: Path, timeout_s: float) -> str:
    """Run the app and return its output. Raises Failure if it fails or does not end within `timeout_s`."""
    with child(command, environment, log) as process:
        try:
            status = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise Failure(f"the app did not end in {timeout_s:.0f} seconds: {last_line(log)}") from None
    if status != 0:
        raise Failure(f"the app ended with status {status}: {last_line(log)}")
    return log.read_text(errors="replace")


def exit_on_sigterm() -> None:
    """Exit on SIGTERM as on Ctrl-C, so that the child processes are stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
