"""`python -m infraprism.local_provider --port 4010`: the provider alone, a line of JSON per request on stdout."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from infraprism.local_provider.behaviour import MARKERS
from infraprism.local_provider.server import LocalProvider, truth_line


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted."""
    markers = "\n".join(f"  {marker:16}{meaning}" for marker, meaning in MARKERS.items())
    parser = argparse.ArgumentParser(
        prog="python -m infraprism.local_provider",
        description="OpenAI, Azure OpenAI and Anthropic on loopback, in their true wire formats.",
        epilog=f"Markers in a model's name, such as gpt-4o-err429:\n{markers}\n  chunksN         a stream of N pieces",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=4010, help="0 takes a free one (default: 4010)")
    parser.add_argument("--canary", help="a text that every answer shall hold")
    parser.add_argument("--gzip", action="store_true", help="compress answers for clients that accept it")
    args = parser.parse_args(arguments)
    try:
        provider = LocalProvider(
            args.port,
            args.canary,
            gzip=args.gzip,
            keep=1000,
            on_call=lambda truth: print(truth_line(truth), flush=True),  # noqa: T201  # its output
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
