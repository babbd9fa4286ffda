"""The ownership protocol in a world of late and lost messages, paused and stopped nodes and resent events."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.kit.cluster_model import Facts, FaultError, World

RUNS = 2000
STEPS = 400


def _first_fault(facts: Facts, runs: int) -> str | None:
    for seed in range(runs):
        world = World(seed, facts)
        try:
            world.run(STEPS)
            world.finish()
        except FaultError as fault:
            return f"seed {seed}: {fault}"
    return None


@pytest.mark.parametrize("restores", [False, True], ids=["", "leases-restored"])
def test_every_acknowledged_event_is_stored_and_no_event_is_stored_twice(restores: bool) -> None:
    assert _first_fault(Facts(restores=restores), RUNS) is None


def test_the_runs_reach_fences_that_stop_a_late_insert_and_numbers_that_were_used_before() -> None:
    worlds = [World(seed, Facts(restores=True)) for seed in range(200)]
    for world in worlds:
        world.run(STEPS)
    assert sum(world.fenced for world in worlds) > 100
    assert sum(world.numbers_used_before for world in worlds) > 10


@pytest.mark.parametrize("removed", ["tokens", "fences", "read_back", "compare_and_set", "deadlines"])
def test_without_one_of_its_guarantees_the_model_finds_a_fault(removed: str) -> None:
    facts = replace(Facts(restores=removed == "read_back"), **{removed: False})
    assert _first_fault(facts, RUNS) is not None
