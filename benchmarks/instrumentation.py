"""Instructions that each instrumentation adds to a call: a chat call, and a stream of 101 chunks.

    python benchmarks/instrumentation.py [VARIANT ...]

Counts instructions with valgrind's callgrind, which does not depend on the load of the machine. Each count is the slope
between two numbers of calls, over all threads, with a transport in the process (benchmarks/calls.py). The interpreter
adds noise: the addresses of objects determine which attribute look-ups evict each other from its type cache, also those
of the client. So each variant is compared with the client before the variant was enabled, in the same process. Variants
that add little are counted with several seeds of Python's hashes, and the median is printed with minimum and maximum;
the others are counted with one. `span` is one span of twelve attributes with the stock batch processor. The others are
installed into their own environments, at the versions below, with default settings. Needs valgrind; takes twenty
minutes on two cores.
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
    """The interpreter of a variant. Its environment is created on first use."""
    if variant not in OTHERS:
        return sys.executable
    requirements = [
        OTHERS[variant],
        f"openai=={version('openai')}",
        f"opentelemetry-sdk=={version('opentelemetry-sdk')}",
    ]
    folder = ROOT / "build" / "benchmarks" / f"{variant}-{hashlib.sha256(repr(requirements).encode()).hexdigest()[:12]}"
    python = folder / "bin" / "python"
    if not (folder / ".made").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *requirements], check=True)
        (folder / ".made").touch()
    return str(python)


Counts = dict[tuple[str, str], float]
"""Millions of instructions of one call, by kind of call and state of the variant (`on` or `off`)."""


def count_instructions(variant: str, seed: int) -> Counts:
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


def _total(output: Path) -> int:
    found = re.search(r"^(?:summary|totals): (\d+)", output.read_text(), re.MULTILINE)
    total = 0 if found is None else int(found[1])
    assert total, "callgrind counted nothing"
    return total


def formatted(values: list[float], sign: str) -> str:
    return f"{median(values):{sign}.2f} M ({min(values):{sign}.2f} to {max(values):{sign}.2f})"


def main(variants: list[str]) -> None:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for variant in variants or VARIANTS:
            python_of(variant)
            counts = list(pool.map(partial(count_instructions, variant), SEEDS[:1] if variant in OTHERS else SEEDS))
            for kind in dict.fromkeys(kind for kind, _ in counts[0]):
                added = formatted([count[kind, "on"] - count[kind, "off"] for count in counts], "+")
                print(
                    f"{variant:14} {kind:14} {added:34} to {formatted([count[kind, 'off'] for count in counts], '')}",
                    flush=True,
                )


if __name__ == "__main__":
    main(sys.argv[1:])
