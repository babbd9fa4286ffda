"""`python -m infraprism.local_provider --port 4010`: run the test server, and print one line of JSON per request."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from infraprism.local_provider.model_markers import MARKERS
from infraprism.local_provider.server import LocalProvider, json_line


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted."""
    markers = "\n".join(f"  {marker:16}{meaning}" for marker, meaning in MARKERS.items())
    parser = argparse.ArgumentParser(
        prog="python -m infraprism.local_provider",
        description="A test server with the wire formats of OpenAI, Azure OpenAI and Anthropic, on loopback.",
        epilog=f"Markers in a model's name, such as gpt-4o-err429:\n{markers}\n  chunksN         a stream of N chunks",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=4010, help="0 selects a free port (default: 4010)")
    parser.add_argument("--canary", help="a text that every response contains")
    parser.add_argument("--gzip", action="store_true", help="compress responses for clients that accept it")
    args = parser.parse_args(arguments)
    try:
        provider = LocalProvider(
            args.port,
            args.canary,
            gzip=args.gzip,
            keep=1000,
            on_request=lambda record: print(json_line(record), flush=True),  # noqa: T201  # its output
        )
    except OSError as error:
        sys.stderr.write(f"port {args.port}: {error.strerror}\n")
        return 1
    with provider:
        sys.stderr.write(
            f"export OPENAI_BASE_URL={provider.openai_base_url} OPENAI_API_KEY=sk-local\n"
            f"export ANTHROPIC_BASE_URL={provider.anthropic_base_url} ANTHROPIC_API_KEY=sk-ant-local\n"
            f"export AZURE_OPENAI_ENDPOINT={provider.azure_endpoint} AZURE_OPENAI_API_KEY=local\n"
        )
        try:
            provider.stopping.wait()
        except KeyboardInterrupt:
            return 0
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
