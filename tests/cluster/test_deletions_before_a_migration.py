"""What was deleted before the data moved to a cluster is refused there too."""

from __future__ import annotations

from pathlib import Path

from tests.kit.backend import Backend, span
from tests.kit.clickhouse_front import ClickHouseFront
from tests.kit.deletions import deleted
from tests.kit.events import event
from tests.kit.postgresql import postgresql

from infraprism.backend.cluster.migration import copy_accounts


def test_late_events_of_a_deleted_entity_are_refused_after_a_migration(tmp_path: Path) -> None:
    deleted_call, kept_call = event(1, entity_id="deleted-one"), event(2, entity_id="kept-one")
    with Backend(tmp_path / "data") as backend:
        assert backend.export(span(deleted_call), span(kept_call)).rejected == 0
        deleted(backend, entity_type=deleted_call.entity_type or "", entity_id="deleted-one")
    with postgresql() as server, ClickHouseFront(tmp_path / "server") as front:
        copy_accounts(tmp_path / "data" / "accounts.sqlite", server.url())
        settings = {"store": front.url(), "accounts": server.url()}
        with Backend(tmp_path / "node", settings=settings) as node:
            answer = node.export(span(deleted_call), span(kept_call))
            assert answer.error_message.startswith("spans refused: 1 deleted")
            assert [one["entity_id"] for one in node.events()] == ["kept-one"]
