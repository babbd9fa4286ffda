"""The command: runs all checks and prints their findings."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from infraprism.cli.command import Subparsers, new_parser
from infraprism.cli.doctor import backend, client_packages, distributions, tracing, variables
from infraprism.cli.doctor.finding import Finding
from infraprism.schema import exact_json

_EXAMPLES: Final = """\
Run it with the Python and the environment variables of the app. It sends no event and never prints the key.
Exit status 1 if there is a problem.

examples:
  infraprism doctor
  infraprism doctor --json"""

CHECKS: Final[tuple[Callable[[], Iterable[Finding]], ...]] = (
    distributions.installed,
    variables.unknown,
    variables.booleans,
    variables.disabled,
    variables.price_file,
    variables.resource_attributes,
    client_packages.instrumented,
    client_packages.versions,
    client_packages.unobserved,
    client_packages.gateways,
    client_packages.stream_usage,
    client_packages.unobserved_requests,
    tracing.sampler,
    tracing.configured,
    tracing.exporters,
    backend.settings_and_server,
)
"""Every check, in the order of its findings."""


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the command to the parser."""
    parser = new_parser(subparsers, "doctor", "check the setup and advise what to change", _EXAMPLES)
    parser.add_argument("--json", action="store_true", help="one line of JSON per finding")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the findings. Returns 1 if one is a problem, else 0."""
    logging.getLogger("infraprism").addHandler(logging.NullHandler())  # what would be logged is a finding
    found = list(findings())
    for finding in found:
        if args.json:
            line = exact_json.dumps(finding._asdict())
        else:
            advice = f"\n{'':9}{finding.advice}" if finding.advice else ""
            line = f"{finding.level:8} {finding.subject}: {finding.finding}{advice}"
        sys.stdout.write(line + "\n")
    return 1 if any(finding.level == "problem" for finding in found) else 0


def findings() -> Iterator[Finding]:
    """The findings of all checks."""
    for check in CHECKS:
        yield from check()
