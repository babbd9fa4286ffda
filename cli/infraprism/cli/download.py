"""Downloads the file of an export, continues an interrupted download, and verifies the file."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any, Final

import requests

from infraprism.cli.failure import Failure
from infraprism.cli.rest import Api

_ATTEMPTS: Final = 5
"""Downloads in sequence that get no byte."""
_PAUSE_S: Final = 1.0
_BLOCK_BYTES: Final = 2**18
_PARTIAL: Final = 206
_OK: Final = 200


class Download:
    """The download to a file. Until it is complete, `FILE.part` has its bytes and `FILE.export` the export.

    Methods raise Failure.
    """

    def __init__(self, api: Api, output: Path) -> None:
        self._api = api
        self._output = output
        self._part = output.with_name(f"{output.name}.part")
        self.state: Final = output.with_name(f"{output.name}.export")
        self._new_state = output.with_name(f"{output.name}.export.new")

    def check(self) -> None:
        """Raises Failure if the file exists, or cannot be created."""
        if self._output.exists():
            raise Failure(f"{self._output} exists: choose another --output")
        if not self._output.parent.is_dir():
            raise Failure(f"{self._output.parent} is not a directory: create it, or choose another --output")
        if not os.access(self._output.parent, os.W_OK):
            raise Failure(f"{self._output.parent} cannot be written: choose another --output")

    def begun(self, request: dict[str, Any]) -> str | None:
        """The id of the export that an earlier command with the same request began."""
        try:
            found = json.loads(self.state.read_text("utf-8"))
            endpoint, export_id, earlier = found["endpoint"], str(found["id"]), found["request"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            raise Failure(f"{self.state} cannot be read: delete it") from None
        if (endpoint, earlier) != (self._api.endpoint, request):
            raise Failure(f"{self.state} is of another export: run that command again, or delete the file")
        self.check()
        return export_id

    def begin(self, export_id: str, request: dict[str, Any]) -> None:
        """Note the export, so that the same command continues it."""
        self._write_state({"endpoint": self._api.endpoint, "id": export_id, "request": request})
        self._part.unlink(missing_ok=True)

    def forget(self) -> None:
        """Remove what an earlier command has left."""
        self._part.unlink(missing_ok=True)
        self.state.unlink(missing_ok=True)
        self._new_state.unlink(missing_ok=True)

    def _write_state(self, state: dict[str, Any]) -> None:
        try:
            self._new_state.write_text(json.dumps(state), "utf-8")
            self._new_state.replace(self.state)  # an interruption leaves the whole file, or none
        except OSError as error:
            raise Failure(f"{self.state} cannot be written: {error.strerror}") from None

    def run(self, export: dict[str, Any]) -> None:
        """Download the file of an export that has succeeded, or the rest of it, and verify it."""
        failures = 0
        while (had := self._length()) < export["bytes"] or not self._part.exists():
            try:
                self._continue(export)
            except (requests.RequestException, requests.exceptions.ChunkedEncodingError):
                pass  # continued below
            except OSError as error:
                raise Failure(
                    f"{self._part} cannot be written ({error.strerror}): free space, then run it again"
                ) from None
            failures = 0 if self._length() > had else failures + 1
            if self._length() >= export["bytes"] and self._part.exists():
                break
            if failures >= _ATTEMPTS:
                raise Failure("the download ends early: run the same command again to continue")
            time.sleep(_PAUSE_S)
            export = self._api.get(f"/v1/exports/{export['id']}")
        if self._length() != export["bytes"] or self._sha256() != export["sha256"]:
            self._part.unlink()
            raise Failure("the downloaded file differs from the export: run the same command again")
        self._part.replace(self._output)
        self.state.unlink()

    def _continue(self, export: dict[str, Any]) -> None:
        length = self._length()
        headers = {"Range": f"bytes={length}-", "If-Range": f'"{export["sha256"]}"'} if length else {}
        with self._api.download(export["link"], headers) as response:
            if response.status_code not in (_OK, _PARTIAL):
                return
            with self._part.open("ab" if response.status_code == _PARTIAL else "wb") as file:
                for block in response.iter_content(_BLOCK_BYTES):
                    file.write(block)

    def _length(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0

    def _sha256(self) -> str:
        with self._part.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
