"""What a restart must not lose, beside what `tests/e2e/test_process.py` shows on the real process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness import Card
from plexlink.work.order import People
from plexlink_bot.sandbox.plex_tv import Hang, Operation, ServerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness import World


TROUBLES: dict[str, Callable[[World], None]] = {
    "plex.tv makes no code": lambda world: world.plex.fail(ServerError(503), calls=Operation.CREATE_PIN, times=None),
    "plex.tv names nobody": lambda world: world.plex.fail(ServerError(503), calls=Operation.USER, times=None),
    "Discord takes no answer": lambda world: world.env.inject_error("PATCH", "/webhooks/*", status=500, times=None),
    "Discord takes no edit": lambda world: world.env.inject_error("PATCH", "/channels/*", status=500, times=None),
}


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_what_could_not_be_done_before_a_restart_is_done_after_it(world: World, trouble: str) -> None:
    def is_done() -> bool:
        told = [Card(message).text for message in (*world.messages(), result.response) if message is not None]
        return len(told) == 2 and "Linked as alice" in told[0] and "I sent you a direct message" in told[1]

    TROUBLES[trouble](world)
    world.plex.token_reads = 1
    result = await world.plexlink()
    token = world.approve() if world.plex.pins else ""
    await world.advance(4)
    assert not is_done()
    await world.stop()
    world.plex.heal()
    world.open_dms()
    await world.start()
    await world.advance(4)
    token = token or world.approve()
    await world.advance(4)
    assert is_done()
    assert await world.stored_token() == token


async def test_what_was_learned_of_how_long_people_take_outlives_a_restart(world: World) -> None:
    await world.link()
    assert not world.rows("numbers")
    await world.stop()
    learned = {row["name"]: row["value"] for row in world.rows("numbers")}
    assert learned["people_never"] == People().never
    assert sum(learned.values()) == pytest.approx(sum(People().numbers().values()) + 1)
    for name in learned:
        world.write(
            "UPDATE plexlink_numbers SET value = ? WHERE name = ?", 190.0 if name == "people_step_60" else 0.1, name
        )
    await world.start()
    slow = await questions_in_a_minute(world, "bob")
    await world.stop()
    world.write("DELETE FROM plexlink_numbers")
    await world.start()
    assert slow < await questions_in_a_minute(world, "carol") / 2


async def questions_in_a_minute(world: World, name: str) -> int:
    """Count what a new member is asked about who does not approve."""
    member = world.join(name)
    asked = world.asked()
    await world.plexlink(member)
    await world.advance(60)
    await world.press("Cancel", member)
    return world.asked() - asked


async def test_what_was_learned_is_kept_while_the_bot_runs(world: World) -> None:
    await world.link()
    await world.advance(301)
    assert world.rows("numbers")


async def test_a_settled_attempt_is_left_alone_after_a_restart(world: World) -> None:
    await world.plexlink()
    world.approve()
    await world.advance(6)
    edits = len(world.env.http_requests)
    asked = len(world.plex.requests)
    await world.restart()
    await world.advance(20)
    assert len(world.plex.requests) == asked
    assert not [call for call in world.env.http_requests[edits:] if call.method in {"PATCH", "POST"}]


async def test_a_stop_waits_for_the_answer_that_brings_the_token(world: World) -> None:
    await world.plexlink()
    world.plex.token_reads = 1
    token = world.approve()
    world.plex.fail(Hang(), calls=Operation.GET_PIN)
    world.env._loop.call_soon(world.plex.heal)
    await world.advance(4)
    await world.restart()
    await world.advance(4)
    assert await world.stored_token() == token
