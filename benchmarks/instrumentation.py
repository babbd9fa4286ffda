"""Instructions that measuring a call adds to it, beside other instrumentations: a chat call, a stream of 101 chunks.

    python benchmarks/instrumentation.py [VARIANT ...]

Counts with valgrind's callgrind, which knows no noise of the machine: each count is the slope between two numbers of
calls, over all threads, with a transport that answers within the process (benchmarks/calls.py). The interpreter has a
noise of its own: where its objects lie decides which of the names that it looks up push each other out of its memory
of classes, the client's own names too. So each variant is compared with the client before the variant was put on, in
the same process; and what adds little is counted with several seeds of Python's hashes, and the median
printed, with the least and the most; the others, which add much more, with one. `span` is one bare span of twelve
attributes with the stock batch processor. The others are installed into environments of their own, at the versions
below, and run as they come. Needs valgrind; takes twenty minutes on two cores.
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
VARIANTS: Final = ("span", "ours", *OTHERS)
SEEDS: Final = range(1, 8)


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


Counts = dict[tuple[str, str], float]
"""By kind of call, with the variant "on" and "off": millions of instructions of one call."""


def counted(variant: str, seed: int) -> Counts:
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
        totals: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for line in ran.stdout.splitlines():
            state, kind, calls, process = line.split()
            totals.setdefault((kind, state), []).append((int(calls), _total(Path(folder) / process)))
    return {key: (more - fewer) / (many - few) / 1e6 for key, ((few, fewer), (many, more)) in totals.items()}


def _total(written: Path) -> int:
    found = re.search(r"^(?:summary|totals): (\d+)", written.read_text(), re.MULTILINE)
    total = 0 if found is None else int(found[1])
    assert total, "callgrind counted nothing"
    return total


def said(found: list[float], sign: str) -> str:
    return f"{median(found):{sign}.2f} M ({min(found):{sign}.2f} to {max(found):{sign}.2f})"


def main(variants: list[str]) -> None:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for variant in variants or VARIANTS:
            python_of(variant)
            counts = list(pool.map(partial(counted, variant), SEEDS[:1] if variant in OTHERS else SEEDS))
            for kind in dict.fromkeys(kind for kind, _ in counts[0]):
                added = said([count[kind, "on"] - count[kind, "off"] for count in counts], "+")
                print(
                    f"{variant:14} {kind:14} {added:34} to {said([count[kind, 'off'] for count in counts], '')}",
                    flush=True,
                )


if __name__ == "__main__":
    main(sys.argv[1:])
