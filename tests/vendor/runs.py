"""One run of a vendor's tests, with or without our instrumentation."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.vendor.environment import Environment

PLUGIN: Final = Path(__file__).parent / "plugin"
_TIMEOUT_S: Final = 1200


@dataclass(frozen=True)
class Run:
    """The outcome of every test, the number of spans (`succeeded`, `failed`), and the internal errors by place."""

    outcomes: dict[str, str]
    spans: Counter[str]
    errors: Counter[str]

    @property
    def passed(self) -> set[str]:
        """The tests that passed."""
        return {test for test, outcome in self.outcomes.items() if outcome == "passed"}


def run(environment: Environment, tests: Sequence[str], *, instrument: bool, workers: int, ids: bool = False) -> Run:
    """Run these tests, or with `ids` these test ids in one process.

    Raises RuntimeError if no test ran, or if pytest timed out or failed itself.
    """
    with tempfile.TemporaryDirectory() as reports:
        output = _pytest(environment, [*tests], Path(reports), instrument=instrument, workers=0 if ids else workers)
        findings = [json.loads(path.read_text()) for path in sorted(Path(reports).iterdir())]
    if not any(found["outcomes"] for found in findings):
        raise RuntimeError(f"no test ran:\n{output[-4000:]}")
    outcomes: dict[str, str] = next(found["outcomes"] for found in findings if found["outcomes"])
    spans: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    for found in findings:
        outcomes = found["outcomes"] if len(found["outcomes"]) > len(outcomes) else outcomes
        spans.update(found["spans"])
        errors.update(found.get("errors", {}))
    return Run(outcomes, spans, errors)


def _pytest(environment: Environment, tests: list[str], reports: Path, *, instrument: bool, workers: int) -> str:
    home = reports.with_name(reports.name + "-home")
    home.mkdir()
    variables = {
        "PATH": f"{environment.python.parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(PLUGIN),
        "INFRAPRISM_VENDOR_REPORTS": str(reports),
        "INFRAPRISM_VENDOR_INSTRUMENT": "1" if instrument else "0",
        **environment.variables,
    }
    plugins = ("-p", "infraprism_vendor", "-p", "no:cacheprovider")
    command = [str(environment.python), "-m", "pytest", "-q", "-n", str(workers), *plugins, "--tb=line", *tests]
    with subprocess.Popen(
        command,
        cwd=environment.source,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            os.killpg(process.pid, signal.SIGKILL)
            raise RuntimeError(f"the tests took longer than {_TIMEOUT_S} s") from error
        finally:
            subprocess.run(["rm", "-rf", str(home)], check=False)
    if process.returncode not in (0, 1):  # all passed, or some failed
        raise RuntimeError(f"pytest ended with {process.returncode}:\n{output[-4000:]}")
    return output
