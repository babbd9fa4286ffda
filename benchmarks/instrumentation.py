"""Instructions that measuring a call adds to it, beside other instrumentations: a chat call, a stream of 101 chunks.

    python benchmarks/instrumentation.py [VARIANT ...]

Counts with valgrind's callgrind, which knows no noise of the machine: each count is the slope between two numbers of
calls, over all threads, with a transport that answers within the process (benchmarks/calls.py). The interpreter has a
noise of its own: where its objects lie decides which of the names that it looks up push each other out of its memory
of classes. So what adds little is counted with five seeds of its hashes, and the median printed, with the least and
the most; the others, which add much more, with one. `span` is one bare span of twelve attributes with the stock batch
processor. The others are installed into environments of their own, at the versions below, and run as they come. Needs
valgrind; takes a quarter of an hour on two cores.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Final

ROOT: Final = Path(__file__).parents[1]
OTHERS: Final = {
    "official": "opentelemetry-instrumentation-genai-openai==1.3b0",
    "openinference": "openinference-instrumentation-openai",
    "openllmetry": "opentelemetry-instrumentation-openai",
}
VARIANTS: Final = ("bare", "span", "ours", *OTHERS)
SEEDS: Final = range(1, 6)


def python_of(variant: str) -> str:
    """The interpreter that a variant runs in; the environment is made if it is not there yet."""
    if variant not in OTHERS:
        return sys.executable
    wanted = [OTHERS[variant], f"openai=={version('openai')}", f"opentelemetry-sdk=={version('opentelemetry-sdk')}"]
    folder = ROOT / "build" / "benchmarks" / f"{variant}-{hashlib.sha256(repr(wanted).encode()).hexdigest()[:12]}"
    python = folder / "bin" / "python"
    if not (folder / ".made").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *wanted], check=True)
        (folder / ".made").touch()
    return str(python)


def counted(variant: str, seed: int) -> dict[str, float]:
    """Millions of instructions of one call of each kind."""
    with tempfile.TemporaryDirectory() as folder:
        ran = subprocess.run(
            [
                *("valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder}/%p"),
                *(python_of(variant), str(Path(__file__).with_name("calls.py")), variant),
            ],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
        )
        if ran.returncode:
            raise SystemExit(ran.stderr[-4000:])
        totals: dict[str, list[tuple[int, int]]] = {}
        for line in ran.stdout.splitlines():
            kind, calls, process = line.split()
            totals.setdefault(kind, []).append((int(calls), _total(Path(folder) / process)))
    return {kind: (more - fewer) / (many - few) / 1e6 for kind, ((few, fewer), (many, more)) in totals.items()}


def _total(written: Path) -> int:
    found = re.search(r"^(?:summary|totals): (\d+)", written.read_text(), re.MULTILINE)
    total = 0 if found is None else int(found[1])
    assert total, "callgrind counted nothing"
    return total


def main(variants: list[str]) -> None:
    bare: dict[str, float] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for variant in ("bare", *(variants or VARIANTS[1:])):
            python_of(variant)
            counts = list(pool.map(partial(counted, variant), SEEDS[:1] if variant in OTHERS else SEEDS))
            said = [f"{variant:14}"]
            for kind in counts[0]:
                found = sorted(count[kind] - bare.get(kind, 0) for count in counts)
                bare.setdefault(kind, median(found))
                said.append(f"{kind} {median(found):+7.2f} M ({found[0]:+.2f} to {found[-1]:+.2f})")
            print("   ".join(said), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
