"""Measures the CPU time of importing InfraPrism after the parts of OpenTelemetry that it needs.

    python benchmarks/importing.py [PROCESSES]

Prints the median and minimum of new processes in milliseconds. Run it in an environment with a regular installation:
an editable one searches more directories. The first process compiles bytecode, and is not counted.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from typing import Final

PROCESSES: Final = 21
OPENTELEMETRY: Final = (
    *("opentelemetry.sdk.trace", "opentelemetry.sdk.trace.export", "opentelemetry.sdk.resources"),
    *("opentelemetry.instrumentation.instrumentor", "opentelemetry.instrumentation.utils"),
)
OURS: Final = ("infraprism.instrumentation", "infraprism.processor")
EXPORTER: Final = ("infraprism.exporter",)
CODE: Final = """
from time import process_time
times = [process_time()]
{imports}
print(*((after - before) * 1e3 for before, after in zip(times, times[1:])))
"""


def sample(*steps: tuple[str, ...]) -> list[float]:
    """CPU time of each step in one new process, in milliseconds."""
    imports = "\n".join(f"import {', '.join(step)}; times.append(process_time())" for step in steps)
    ran = subprocess.run(
        [sys.executable, "-c", CODE.format(imports=imports)], capture_output=True, text=True, check=True
    )
    return [float(figure) for figure in ran.stdout.split()]


def main() -> None:
    processes = int(sys.argv[1]) if len(sys.argv) > 1 else PROCESSES
    steps = {"OpenTelemetry": OPENTELEMETRY, "instrumentation and processor": OURS, "exporter": EXPORTER}
    sample(*steps.values())
    samples = [sample(*steps.values()) for _ in range(processes)]
    print("ms of CPU, median (min)")
    for name, figures in zip(steps, zip(*samples, strict=True), strict=True):
        print(f"{name:32} {statistics.median(figures):7.1f} ({min(figures):.1f})")


if __name__ == "__main__":
    main()
