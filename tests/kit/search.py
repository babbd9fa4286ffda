"""Searches bytes for texts in every encoding that occurs in requests and files."""

from __future__ import annotations

import zlib
from base64 import b64encode
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, quote_plus


def forms(text: str) -> dict[str, bytes]:
    """The text in lower case in each encoding, with base64 at each of its three alignments."""
    raw = text.encode()
    found = {
        "plain": raw,
        "utf-16": text.encode("utf-16-le"),
        "hex": raw.hex().encode(),
        "url": quote(text).encode(),
        "form": quote_plus(text).encode(),
    }
    for shift in range(3):
        # The first and last characters also encode bits of the adjacent bytes.
        encoded = b64encode(b"\0" * shift + raw)
        found[f"base64+{shift}"] = encoded[4 if shift else 0 : len(encoded) - 4]
    return {name: form.lower() for name, form in found.items()}


def find_canaries(texts: Iterable[str], data: bytes) -> list[str]:
    """The texts that the data contains, with their encoding: `["CANARY as plain"]`."""
    lowered = [layer.lower() for layer in layers(data)]
    return [
        f"{text} as {name}"
        for text in texts
        for name, form in forms(text).items()
        if any(form in layer for layer in lowered)
    ]


def layers(data: bytes) -> Iterator[bytes]:
    """The data as it is, and every gzip or zlib stream in it decompressed."""
    yield data
    for magic, window in ((b"\x1f\x8b\x08", 31), (b"\x78\x9c", 15), (b"\x78\xda", 15)):
        at = data.find(magic)
        while at >= 0:
            with suppress(zlib.error):  # the magic bytes can occur by chance
                yield zlib.decompressobj(window).decompress(data[at:], 64 << 20)
            at = data.find(magic, at + 1)


def files(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file below a folder with its bytes."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path, path.read_bytes()
