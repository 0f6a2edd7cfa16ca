"""What a restart must not lose, beside what `tests/e2e/test_process.py` shows on the real process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import Card
from plexlink_bot.sandbox.plex_tv import Hang, Operation, ServerError

if TYPE_CHECKING:
    from harness import World


async def test_a_restarted_bot_knows_the_deadline_from_plex(world: World) -> None:
    await world.plexlink()
    await world.advance(400)
    await world.restart()
    await world.advance(480)
    assert "ends <t:" in world.card().text
    await world.advance(30)
    assert "The code ran out" in world.card().text


async def test_a_code_that_was_asked_for_before_a_restart_still_comes(world: World) -> None:
    world.plex.fail(ServerError(503), calls=Operation.CREATE_PIN, times=1)
    result = await world.plexlink()
    await world.restart()
    await world.advance(4)
    assert f"`{world.pin().code}`" in world.card().text
    assert "I sent you a direct message" in Card(result.response).text


async def test_an_answer_that_was_not_given_before_a_restart_is_given_after_it(world: World) -> None:
    world.env.inject_error("PATCH", "/webhooks/*", status=500, times=None)
    result = await world.plexlink()
    world.open_dms()
    await world.restart()
    await world.advance(2)
    assert "I sent you a direct message" in Card(result.response).text
    assert len(world.messages()) == 1


async def test_an_approved_attempt_is_finished_after_a_restart(world: World) -> None:
    await world.plexlink()
    token = world.approve()
    world.plex.fail(ServerError(503), calls=Operation.USER, times=None)
    await world.advance(4)
    assert [row["state"] for row in world.rows("attempts")] == ["approved"]
    world.plex.token_reads = 1
    world.plex.heal()
    await world.restart()
    await world.advance(2)
    assert "Linked as alice" in world.card().text
    assert await world.stored_token() == token


async def test_a_card_that_was_not_edited_before_a_restart_is_edited_after_it(world: World) -> None:
    await world.plexlink()
    world.env.inject_error("PATCH", "/channels/*/messages/*", status=500, times=None)
    world.approve()
    await world.advance(4)
    assert "ends <t:" in world.card().text
    world.open_dms()
    await world.restart()
    await world.advance(2)
    assert "Linked as alice" in world.card().text


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
