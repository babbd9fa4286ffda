"""An event counts once, however often and in whatever batches it is sent; acknowledged events are durable."""

from __future__ import annotations

import random
import signal
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.error import URLError

from tests.kit.backend import Backend, span
from tests.kit.events import event

from infraprism.schema import Event

NewEvent = Callable[..., Event]


def _ids(backend: Backend, key: str | None = None) -> Counter[str]:
    return Counter(found["id"] for found in backend.events(key))


def test_a_resent_batch_counts_once(backend: Backend, new_event: NewEvent, account: str) -> None:
    made = [new_event() for _ in range(20)]
    for _ in range(3):
        assert backend.export(*map(span, made), key=account).rejected == 0
    assert _ids(backend, account) == Counter(one.id for one in made)


def test_an_event_twice_in_one_request_counts_once(backend: Backend, new_event: NewEvent, account: str) -> None:
    one = span(new_event())
    assert backend.export(one, one, one, key=account).rejected == 0
    assert len(backend.events(account)) == 1


def test_an_event_with_another_start_time_counts_once_and_the_first_one_stays(
    backend: Backend, new_event: NewEvent, account: str
) -> None:
    made = [new_event() for _ in range(30)]
    moved = [
        one._replace(timestamp_ns=one.timestamp_ns - number * 86_400 * 10**9) for number, one in enumerate(made, 1)
    ]
    assert backend.export(*map(span, made), key=account).rejected == 0
    before = backend.events(account)
    assert backend.export(*map(span, moved[:10]), key=account).rejected == 0
    assert backend.export(*map(span, [*moved[5:], *made]), key=account).rejected == 0
    assert backend.events(account) == before
    one = new_event()
    both = one, one._replace(timestamp_ns=one.timestamp_ns - 10**9)
    assert backend.export(*map(span, both), key=account).rejected == 0
    assert len(backend.events(account)) == len(before) + 1


def test_rejected_spans_with_the_same_ids_are_counted_individually(backend: Backend, new_event: NewEvent) -> None:
    invalid = span(new_event(), **{"infraprism.prompt": "x"})
    assert backend.export(invalid, invalid, invalid).rejected == 3


def test_events_sent_concurrently_in_different_batches_count_once(
    backend: Backend, new_event: NewEvent, account: str
) -> None:
    hours = [0, 1, 2, 30, 700, 24 * 365]
    made = [new_event() for _ in range(120)]
    made = [one._replace(timestamp_ns=one.timestamp_ns - hours[n % 6] * 3600 * 10**9) for n, one in enumerate(made)]

    def send(seed: int) -> None:
        order = random.Random(seed)
        mixed = order.sample(made, len(made))
        while mixed:
            size = order.randint(1, 50)
            assert backend.export(*map(span, mixed[:size]), key=account).rejected == 0
            mixed = mixed[size:]

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(send, range(6)))
    assert _ids(backend, account) == Counter(one.id for one in made)


def test_accounts_are_isolated_and_do_not_deduplicate_each_other(backend: Backend, new_event: NewEvent) -> None:
    mine, theirs = backend.add_account(), backend.add_account()
    shared, own = new_event(), new_event()
    backend.export(span(shared), key=mine)
    backend.export(span(shared), span(own), key=theirs)
    assert _ids(backend, mine) == Counter([shared.id])
    assert _ids(backend, theirs) == Counter([shared.id, own.id])
    assert backend.get(f"/v1/events/{own.id}", mine).status == 404
    assert backend.get(f"/v1/events/{own.id}", theirs).status == 200
    assert backend.get("/v1/analytics/costs", mine, start_date="2026-01-01", end_date="2027-01-01").json["summary"][
        "total_events"
    ] == len([shared])


def damage_the_index(directory: Path, files: int) -> None:
    """Damage or remove files of the index of stored ids, which is derived from the events."""
    for path in sorted(directory.glob("*"))[:files]:
        if files == 2:
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:-9])


def test_acknowledged_events_survive_sigkill_under_load_and_a_full_resend_counts_once(tmp_path: Path) -> None:
    acknowledged: set[int] = set()
    sent: set[int] = set()
    lock = threading.Lock()

    def load(backend: Backend, first: int) -> None:
        for batch in range(first, first + 10**6, 40):
            numbers = range(batch, batch + 40)
            with lock:
                sent.update(numbers)
            try:
                rejected = backend.export(*(span(event(number)) for number in numbers)).rejected
            except (URLError, OSError):
                return
            assert rejected == 0
            with lock:
                acknowledged.update(numbers)

    for round_number in range(1, 4):
        damage_the_index(tmp_path / "data" / "store" / "stored_ids", round_number)
        with Backend(tmp_path / "data") as backend, ThreadPoolExecutor(4) as pool:
            senders = [pool.submit(load, backend, round_number * 10**8 + sender * 10**7 + 1) for sender in range(4)]
            before = len(acknowledged)
            while len(acknowledged) < before + 200:
                assert not any(sender.done() and sender.exception() for sender in senders)
                threading.Event().wait(0.02)
            backend.process.send_signal(signal.SIGKILL)
            for sender in senders:
                sender.result(timeout=60)

    with Backend(tmp_path / "data") as backend:
        stored = Counter[str]()
        cursor: dict[str, str] = {}
        while True:
            page = backend.get("/v1/events", limit=1000, **cursor).json
            stored.update(found["id"] for found in page["data"])
            if not page["pagination"]["has_more"]:
                break
            cursor = {"cursor": page["pagination"]["next_cursor"]}
        assert set(stored.values()) == {1}
        assert {event(number).id for number in acknowledged} <= set(stored)
        # All again in other batches, half of them with another start time.
        order = random.Random(1).sample(sorted(sent), len(sent))
        for start in range(0, len(order), 500):
            chosen = [event(number) for number in order[start : start + 500]]
            moved = [one._replace(timestamp_ns=one.timestamp_ns - 3600 * 10**9) for one in chosen[::2]]
            backend.export(*map(span, [*moved, *chosen[1::2]]))
        total = backend.get("/v1/events", limit=1).json["pagination"]["total"]
        assert total == len(sent)
