"""Build the collector of manifest.yaml with the OpenTelemetry Collector Builder, once per manifest.

    python collector/build.py            prints the path of the binary; the first run takes a minute or two

The binary is kept under build/collector/, in a folder named after the manifest's hash: a changed manifest is a new
build, and an unchanged one costs nothing. Needs Go (https://go.dev/dl) and a module proxy; exits with 3 and a
message where Go is absent. Plain Python, so that it runs before anything is installed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
MANIFEST: Final = ROOT / "collector" / "manifest.yaml"
CACHE: Final = ROOT / "build" / "collector"
NO_GO: Final = 3
"""Exit status where there is no Go to build with."""


def binary() -> Path:
    """Where the binary of today's manifest is, or will be once built."""
    return CACHE / sha256(MANIFEST.read_bytes()).hexdigest()[:16] / "infraprism-otelcol"


def go() -> str | None:
    """The go command: the one on PATH, else where Go's own installer puts it."""
    installed = Path("/usr/local/go/bin/go")
    return shutil.which("go") or (str(installed) if installed.exists() else None)


def build(go_command: str) -> Path:
    """Build the manifest's collector; raises CalledProcessError if a step fails, after its output was shown."""
    target = binary()
    work = target.parent / "source"
    work.mkdir(parents=True, exist_ok=True)
    tools = CACHE / "tools"
    env = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOBIN": str(tools),
        "PATH": f"{Path(go_command).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    version = re.search(r"^  version: (\S+)", MANIFEST.read_text(encoding="utf-8"), re.MULTILINE)
    assert version, "manifest.yaml names no version"
    builder = f"go.opentelemetry.io/collector/cmd/builder@v{version[1]}"
    _run([go_command, "install", builder], env)
    manifest = work / "manifest.yaml"
    text = MANIFEST.read_text(encoding="utf-8")
    manifest.write_text(text.replace("\ndist:\n", f"\ndist:\n  output_path: {work}\n"), encoding="utf-8")
    _run([str(tools / "builder"), f"--config={manifest}"], env)
    # Moved into place when whole: a build that was killed is never taken for a binary.
    (work / target.name).replace(target)
    return target


def _run(command: list[str], env: dict[str, str]) -> None:
    subprocess.run(command, env=env, check=True, stdout=sys.stderr)  # noqa: S603  # our own fixed commands


def main() -> int:
    """Build if needed and print where the binary is."""
    target = binary()
    if not target.exists():
        go_command = go()
        if go_command is None:
            print(  # noqa: T201
                "The collector cannot be built: no `go` command found. Install Go 1.26 or newer (https://go.dev/dl), "
                "or run the stock otelcol-contrib with collector-config.yaml.",
                file=sys.stderr,
            )
            return NO_GO
        print("Building the collector (a minute or two, once) ...", file=sys.stderr)  # noqa: T201
        build(go_command)
    print(target)  # noqa: T201  # the answer
    return 0


if __name__ == "__main__":
    sys.exit(main())
