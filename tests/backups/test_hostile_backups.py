"""A backup that someone else has made, with the public recipient, writes nothing outside of the data directory."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from tests.kit.backups import IDENTITY, RECIPIENT

from infraprism.backend.backups import catalog, restoring
from infraprism.backend.backups.archive import File, Source, described, tar
from infraprism.backend.backups.catalog import Backup, Catalog, StoredObject
from infraprism.backend.backups.encryption import Identities, Measured, Recipients
from infraprism.backend.backups.errors import BackupError
from infraprism.backend.backups.open_storage import open_storage
from infraprism.backend.backups.storage import Sink, Storage

ID = "backup-20261130T030000Z-0a1b2c3d"


def put(storage: Storage, name: str, content: bytes) -> StoredObject:
    found: list[Measured] = []

    def produce(sink: Sink) -> None:
        found.append(Measured(sink))
        Recipients([RECIPIENT]).encrypt([content], found[0])

    storage.put(name, produce)
    return StoredObject(name, found[0].size_bytes, found[0].sha256)


def made(storage: Storage, files: list[File], content: bytes) -> Backup:
    """Store a backup with one object."""
    name = catalog.object_name("0" * 64)
    manifest = {"format": 1, "id": ID, "objects": [{"name": name, "files": [file._asdict() for file in files]}]}
    stored = put(storage, catalog.manifest_name(ID), json.dumps(manifest).encode())
    backup = Backup(ID, 1.0, 2.0, "0", "0", stored, (put(storage, name, content),), 0)
    Catalog(storage).add(backup)
    return Catalog(storage).find(ID)


def sources(tmp_path: Path, *names: str) -> tuple[list[Source], list[File]]:
    """Files of these names; `name -> target` is a link."""
    found = []
    for number, text in enumerate(names):
        name, _, target = text.partition(" -> ")
        path = tmp_path / "sources" / str(number)
        path.parent.mkdir(exist_ok=True)
        path.symlink_to(target) if target else path.write_text("content")
        found.append(Source(name, path))
    return found, [described(source) for source in found]


@pytest.mark.parametrize(
    "names",
    [
        ("../outside",),
        ("/tmp/outside-of-the-directory",),
        ("store/link -> /tmp",),
        ("store/link -> ../../..",),
        ("store/a -> ..", "store/a/b -> ../..", "store/a/b/outside"),
        ("store/a -> .", "store/a/a/a/b -> ../../../..", "store/b/outside"),
    ],
)
def test_no_file_and_no_link_leads_out_of_the_directory(tmp_path: Path, names: tuple[str, ...]) -> None:
    storage = open_storage(str(tmp_path / "storage"))
    found, files = sources(tmp_path, *names)
    backup = made(storage, files, b"".join(tar(found, files)))
    with pytest.raises(BackupError):
        restoring.Reading(storage, backup, Identities(IDENTITY)).restore(tmp_path / "inner" / "restored")
    assert not list(tmp_path.rglob("outside"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inner", "sources", "storage"]


def test_other_files_than_those_of_the_manifest_are_refused(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path / "storage"))
    found, files = sources(tmp_path, "one", "two")
    content = b"".join(tar(found, files))
    for number, listed in enumerate(
        (files[:1], files[::-1], [*files, files[0]], [files[0], files[1]._replace(size_bytes=6)])
    ):
        backup = made(storage, list(listed), content)
        with pytest.raises(BackupError):
            restoring.Reading(storage, backup, Identities(IDENTITY)).restore(tmp_path / f"restored-{number}")


@pytest.mark.parametrize("kind", [tarfile.DIRTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_only_files_and_symbolic_links_are_restored(tmp_path: Path, kind: bytes) -> None:
    storage, packed = open_storage(str(tmp_path / "storage")), io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("one")
        member.type, member.linkname = kind, "two"
        archive.addfile(member)
    backup = made(storage, [File("one", 0, "")], packed.getvalue())
    with pytest.raises(BackupError):
        restoring.Reading(storage, backup, Identities(IDENTITY)).restore(tmp_path / "restored")
