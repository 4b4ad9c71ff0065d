"""Machines with networks and clocks of their own: cut off, and days apart."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from opsctl.adapters.scratch import ScratchServer
from team.machines import Machine, machine
from team.world import World, wait_for_effects


@pytest.fixture
def pair(postgres: ScratchServer) -> Iterator[tuple[Machine, Machine]]:
    """Two machines: the one three days ahead, the other two behind; booted at other times."""
    with ExitStack() as stack:
        url = postgres.url()
        yield (
            stack.enter_context(machine(1, url, boot_s=500_000, wall_s=259_200)),
            stack.enter_context(machine(2, url, boot_s=7, wall_s=-172_800)),
        )


def begin(world: World, verb: str, actor: str, at: Machine) -> subprocess.Popen[str]:
    database = world.url.rpartition("/")[2]
    return world.begin(verb, actor, prefix=at.prefix, url=at.url(database))


def finish(world: World, at: Machine) -> None:
    """Finish the run as the other machine does."""
    for verb in ("resume", "resolve", "resume"):
        running = begin(world, verb, "bob@desk", at)
        out, err = running.communicate(timeout=90)
        if verb == "resume" and running.returncode == 0:
            return
        assert out.strip() in ("", "step-unknown"), (out, err)
    raise AssertionError(f"it was not finished: {out} {err}")


def test_clocks_that_differ_by_days_do_not_matter(
    tmp_path: Path, team: Callable[[], str], pair: tuple[Machine, Machine]
) -> None:
    ann, bob = pair
    world = World(tmp_path / "run", team(), lease_s=2.0)
    first = begin(world, "start", "ann@laptop", ann)
    wait_for_effects(world, 1)

    second = begin(world, "resume", "bob@desk", bob)

    out, err = first.communicate(timeout=60)
    assert (first.returncode, out) == (0, ""), err
    out, err = second.communicate(timeout=60)
    # A slow second machine comes when nothing is left to do.
    assert (second.returncode, out.strip()) in ((0, ""), (2, "run-over")), err
    world.prove("two machines at once")
    print(f"\nnetwork and time namespaces: {ann.real}")


def test_a_machine_that_is_cut_off_is_taken_over_and_notices(
    tmp_path: Path, team: Callable[[], str], pair: tuple[Machine, Machine], soak: bool
) -> None:
    for after in (1, 2, 3, 4) if soak else (3,):
        cut_off(World(tmp_path / f"run{after}", team(), lease_s=1.0), pair, after)


def cut_off(world: World, pair: tuple[Machine, Machine], after: int) -> None:
    """Cut one machine off after so many effects, let the other finish, and mend the cable."""
    ann, bob = pair
    first = begin(world, "start", "ann@laptop", ann)
    wait_for_effects(world, after)
    ann.cut()

    finish(world, bob)

    before = world.effects
    ann.mend()
    out, err = first.communicate(timeout=90)
    assert out.strip() in ("lease-lost", "state-unreachable"), err
    assert first.returncode == 4
    assert before == world.effects
    world.prove("cut off and taken over")


def test_a_short_cut_is_waited_out(
    tmp_path: Path, team: Callable[[], str], pair: tuple[Machine, Machine]
) -> None:
    ann, _ = pair
    world = World(tmp_path / "run", team(), lease_s=8.0)
    first = begin(world, "start", "ann@laptop", ann)
    wait_for_effects(world, 2)
    ann.cut()
    with pytest.raises(subprocess.TimeoutExpired):
        first.wait(timeout=1.5)
    ann.mend()

    out, err = first.communicate(timeout=60)

    assert (first.returncode, out) == (0, ""), err
    world.prove("cut off for a moment")
