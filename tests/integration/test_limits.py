from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from harness import Card, a_world
from plexlink_bot.sandbox.plex_tv import Operation, RateLimited, ServerError

if TYPE_CHECKING:
    from pathlib import Path

    from harness import World


async def test_the_sixth_code_in_ten_minutes_is_refused_with_a_time(world: World) -> None:
    await world.plexlink()
    first = world.env.now()
    for _ in range(4):
        await world.advance(5)
        await world.press("New code")
    result = await world.press("New code")
    (reply,) = result.followups
    assert "Too many tries" in Card(reply).text
    (told,) = re.findall(r"<t:(\d+):R>", Card(reply).text)
    assert abs(int(told) - first.timestamp() - 600) < 4, "when the oldest of the five no longer counts"
    assert f"`{world.pin().code}`" in world.card().text
    assert len(world.plex.pins) == 5
    await world.advance(602)
    await world.press("New code")
    assert len(world.plex.pins) == 6


async def test_starts_are_counted_across_a_restart(world: World) -> None:
    for _ in range(5):
        await world.plexlink()
        await world.alice.user.click(world.alice.user.dm_channel.last_message, label="Cancel")
    await world.restart()
    result = await world.plexlink()
    assert "Too many tries" in Card(result.response).text


async def test_more_pending_members_than_allowed_are_told_when_to_come_back(tmp_path: Path) -> None:
    async with a_world(tmp_path, max_pending=2) as world:
        await world.plexlink()
        await world.plexlink(world.join("bob"))
        result = await world.plexlink(world.join("carol"))
        card = Card(result.response)
        deadline = min(int(pin.expires_at.timestamp()) for pin in world.plex.pins.values())
        assert "Many people are linking right now" in card.text
        assert f"<t:{deadline}:R>" in card.text
        assert len(world.rows("attempts")) == 2


async def test_who_renews_again_and_again_gives_the_place_to_others_when_all_are_taken(tmp_path: Path) -> None:
    async with a_world(tmp_path, max_pending=1) as world:
        await world.plexlink()
        for _ in range(2):
            await world.advance(700)
            await world.press("New code")
        assert len(world.plex.pins) == 3
        await world.advance(700)
        result = await world.press("New code")
        assert "Many people are linking right now" in Card(result.followups[0]).text
        assert "Cancelled" in world.card().text
        bob = world.join("bob")
        await world.plexlink(bob)
        assert f"`{world.pin().code}`" in world.card(bob).text


async def test_who_cancels_and_begins_again_and_again_leaves_the_last_place_to_others(tmp_path: Path) -> None:
    async with a_world(tmp_path, max_pending=2) as world:
        bob, carol = world.join("bob"), world.join("carol")
        await world.plexlink(bob)
        for _ in range(3):
            await world.plexlink()
            await world.advance(210)
            await world.press("Cancel")
        assert "Many people are linking right now" in Card((await world.plexlink()).response).text
        await world.plexlink(carol)
        assert f"`{world.pin().code}`" in world.card(carol).text


async def test_one_server_never_takes_all_places_where_others_use_the_bot_too(tmp_path: Path) -> None:
    async with a_world(tmp_path, max_pending=4) as world:
        elsewhere = world.env.create_guild("elsewhere")
        there = elsewhere.create_text_channel("general")
        stranger, other = (elsewhere.add_member(world.env.create_user(name)) for name in ("stranger", "other"))
        await stranger.slash(there, "plexlink")
        await stranger.user.click(stranger.user.dm_channel.last_message, label="Cancel")
        for name in ("bob", "carol", "dora"):
            await world.plexlink(world.join(name))
        assert "Many people are linking right now" in Card((await world.plexlink()).response).text
        await other.slash(there, "plexlink")
        assert len(world.plex.pins) == 5, "a place was left for other servers"


async def test_each_of_fifty_who_start_at_once_is_told_when_the_code_comes(tmp_path: Path) -> None:
    async with a_world(tmp_path, plex_rate=0.2, settle=0.8) as world:
        members = [world.join(f"member{number}") for number in range(50)]
        results = [await world.plexlink(member) for member in members]
        await world.advance(3)
        told = [re.search(r"I expect it <t:(\d+):R>", Card(result.response).text) for result in results]
        await world.advance(400)
        created = [call.at.timestamp() for call in world.plex.requests if call.method == "POST"]
        order = [call.headers["X-Plex-Device-Name"] for call in world.plex.requests if call.method == "POST"]
        assert order == [f"Discord: member{number} via TestBot" for number in range(50)]
        assert all(told[5:])
        assert all(abs(int(one[1]) - at) <= 2 for one, at in zip(told, created, strict=True) if one is not None)
        assert all("I sent you a direct message" in Card(result.response).text for result in results)


async def test_one_member_who_waits_in_line_can_cancel(tmp_path: Path) -> None:
    async with a_world(tmp_path, plex_rate=0.1, settle=1.5) as world:
        await world.plexlink(world.join("bob"))
        result = await world.plexlink()
        await world.advance(4)
        await world.alice.click(result.response, label="Cancel")
        assert "Cancelled" in Card(result.response).text
        await world.advance(30)
        assert len(world.plex.pins) == 1


async def test_a_code_that_plex_never_gives_ends_with_a_way_on(world: World) -> None:
    world.plex.fail(ServerError(503), calls=Operation.CREATE_PIN, times=None)
    result = await world.plexlink()
    await world.advance(892)
    card = Card(result.response)
    assert "Plex does not answer" in card.text
    assert list(card.buttons) == ["Try again"]
    (row,) = world.rows("attempts")
    assert (row["state"], row["reason"]) == ("failed", "plex_silent")
    world.plex.heal()
    await world.alice.click(result.response, label="Try again")
    assert f"`{world.pin().code}`" in world.card().text


async def test_all_calls_share_one_pace_and_slow_down_together(tmp_path: Path) -> None:
    async with a_world(tmp_path, plex_rate=0.6, settle=1.5) as world:
        for number in range(4):
            await world.plexlink(world.join(f"member{number}"))
        await world.advance(30)
        instants = [call.at.timestamp() for call in world.plex.requests]
        gaps = [later - earlier for earlier, later in pairwise(instants)]
        assert min(gaps) > 1.6
        world.plex.fail(RateLimited(retry_after=20), times=1)
        await world.advance(6)
        before = len(world.plex.requests)
        await world.advance(12)
        assert len(world.plex.requests) == before
        await world.advance(30)
        assert 0 < len(world.plex.requests) - before < 30


@pytest.mark.parametrize("is_pressed", [False, True])
async def test_a_restart_in_an_hour_of_silence_costs_nobody_an_approval(world: World, *, is_pressed: bool) -> None:
    await world.plexlink()
    world.plex.fail(RateLimited(retry_after=3600), times=1)
    await world.advance(4)
    await world.restart()
    token = world.approve()
    if is_pressed:
        await world.press("I've approved it")
    asked = world.asked()
    await world.advance(900)
    assert world.asked() == asked + 1, "once, when it just helps"
    await world.advance(2800)
    assert await world.stored_token() == token


async def test_an_hour_of_silence_that_plex_asks_for_costs_nobody_an_approval(world: World) -> None:
    bob = world.join("bob")
    await world.plexlink()
    world.plex.fail(RateLimited(retry_after=3600), times=1)
    await world.advance(4)
    asked = world.asked()
    world.approve()
    waiting = await world.plexlink(bob)
    await world.advance(898)
    assert world.asked() == asked + 1, "once, when it just helps"
    assert sorted(row["state"] for row in world.rows("attempts")) == ["approved", "failed"]
    card = Card(waiting.response)
    assert "Plex does not answer" in card.text, "by the clock: there is no request for it"
    assert len(world.plex.pins) == 1
    await world.advance(2800)
    assert "Linked as alice" in world.card().text


async def test_a_restart_does_not_forget_that_plex_wants_to_be_left_alone(world: World) -> None:
    await world.plexlink()
    world.plex.fail(RateLimited(retry_after=300), calls=Operation.GET_PIN, times=1)
    await world.advance(10)
    await world.restart()
    asked = len(world.plex.requests)
    await world.advance(250)
    assert len(world.plex.requests) == asked, "not before the time that was named"
    world.approve()
    await world.advance(60)
    assert "Linked as alice" in world.card().text
