"""Compiles the price table from the pinned package and our overlay, into one file per provider.

    python scripts/prices/compile.py          write processor/infraprism/pricing/data, print the differences
    python scripts/prices/compile.py --check  write nothing; exit 1 if the committed table differs

The output is deterministic: it does not contain the date of the run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, Final

import changes
import overlay
import source

ROOT: Final = Path(__file__).parents[2]
DATA: Final = ROOT / "processor" / "infraprism" / "pricing" / "data"
OVERLAY: Final = Path(__file__).parent / "overlay.yaml"
LICENCE: Final = f"LICENSE.{source.PACKAGE}"


def compiled() -> dict[str, str]:
    """Every file of the table by its name."""
    providers = {provider.id: source.models(provider) for provider in source.all_providers()}
    for provider in source.all_providers():
        for other in provider.fallback_model_providers or ():
            providers[provider.id] += overlay.copied(source.models(_named(other)), other)
    tables = overlay.applied(OVERLAY, providers)
    files = {f"{name}.json": _text(table) for name, table in tables.items()}
    digest = hashlib.sha256("".join(files[name] for name in sorted(files)).encode()).hexdigest()
    about = {
        "version": f"{source.PACKAGE} {source.VERSION} + overlay, {digest[:12]}",
        "package": source.PACKAGE,
        "package_version": source.VERSION,
        "licence": f"MIT, see {LICENCE}",
        "overlay_sha256": hashlib.sha256(OVERLAY.read_bytes()).hexdigest(),
        "sha256": digest,
        "providers": sorted(tables),
    }
    files["about.json"] = json.dumps(about, indent=1) + "\n"
    files[LICENCE] = _licence()
    return files


def _named(provider_id: str) -> Any:
    return next(provider for provider in source.all_providers() if provider.id == provider_id)


def _text(table: dict[str, Any]) -> str:
    """One model per line, so that the change of a price is a change of one line."""
    head = {key: value for key, value in table.items() if key != "models"}
    models = ",\n".join(json.dumps(model, separators=(",", ":"), ensure_ascii=False) for model in table["models"])
    return json.dumps(head, separators=(",", ":"), ensure_ascii=False)[:-1] + ',"models":[\n' + models + "\n]}\n"


def _licence() -> str:
    files = distribution(source.PACKAGE).files or []
    text = next(file for file in files if file.name == "LICENSE").read_text("utf-8")
    return f"The prices in this folder are compiled from {source.PACKAGE} {source.VERSION}, whose licence is:\n\n{text}"


def main() -> int:
    """Compile, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the committed table and write nothing")
    arguments = parser.parse_args()
    files = compiled()
    before = {path.name: path.read_text("utf-8") for path in DATA.iterdir()} if DATA.exists() else {}
    for line in changes.between(before, files):
        print(line)
    if files == before:
        print(f"The table is up to date: {json.loads(files['about.json'])['version']}")
        return 0
    if arguments.check:
        print("The committed table differs from the package and the overlay; run `make prices`.")
        return 1
    DATA.mkdir(parents=True, exist_ok=True)
    for name in before.keys() - files.keys():
        (DATA / name).unlink()
    for name, text in files.items():
        (DATA / name).write_text(text, "utf-8")
    print(f"Written: {json.loads(files['about.json'])['version']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
