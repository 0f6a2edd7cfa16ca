"""Things that happen while other things are under way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from harness import Card, a_world
from plexlink import models
from plexlink.errors import StoreUnavailableError
from plexlink.ledger import Ledger
from plexlink.surface.notifier import DiscordNotifier
from plexlink.work.hand import Hand
from plexlink_bot.sandbox.plex_tv import BOB

if TYPE_CHECKING:
    from pathlib import Path

    from harness import World


def desk(world: World) -> Any:
    return world.env.bot.get_cog("PlexLink")._desk


async def test_who_presses_again_and_again_is_not_heard_more_often_than_others(tmp_path: Path) -> None:
    async with a_world(tmp_path, settle=1.5) as world:
        await world.plexlink()
        before = world.asked()
        for _ in range(8):
            await world.press("I've approved it")
            await world.advance(0.5)
        assert world.asked() - before <= 4


async def test_presses_in_the_last_seconds_do_not_cost_the_last_question(world: World) -> None:
    await world.plexlink()
    ends_at = world.pin().expires_at
    await world.advance(868)
    while (ends_at - world.env.now()).total_seconds() > 6:
        await world.press("I've approved it")
        await world.advance(1)
    assert "ends <t:" in world.card().text
    world.approve()
    await world.advance(30)
    assert "Linked as alice" in world.card().text


async def test_an_end_that_was_not_shown_yet_does_not_draw_over_its_successor(world: World) -> None:
    await world.plexlink()
    world.env.inject_error("PATCH", "/channels/*/messages/*", status=503, times=3)
    world.plex.expire(world.pin().code)
    await world.advance(4)
    assert "ends <t:" in world.card().text
    world.open_dms()
    await world.press("New code")
    code = world.pin().code
    await world.advance(30)
    assert f"`{code}`" in world.card().text
    world.approve()
    await world.advance(4)
    assert "Linked as alice" in world.card().text


@pytest.mark.parametrize("then", ["replaced", "deleted"])
async def test_what_becomes_of_a_link_later_does_not_draw_over_the_code_that_has_its_card(
    world: World, then: str
) -> None:
    await world.plexlink()
    world.env.inject_error("PATCH", "/channels/*/messages/*", status=503, times=None)
    world.approve()
    await world.advance(4)
    assert "ends <t:" in world.card().text, "the end is not shown yet"
    world.open_dms()
    await world.press("New code")
    if then == "replaced":
        world.approve(BOB)
        await world.advance(30)
        assert "Linked as bob" in world.card().text
    else:
        await world.press("Cancel")
        privacy = await world.alice.slash(world.channel, "plexprivacy")
        question = await world.alice.click(privacy.response, label="Delete everything")
        await world.alice.click(question.response, label="Delete everything")
        await world.advance(30)
        assert "Cancelled" in world.card().text
        assert not world.rows("attempts")


@pytest.mark.parametrize("lane", ["dm", "answer"])
async def test_a_press_before_the_new_code_is_drawn_means_the_new_code(tmp_path: Path, lane: str) -> None:
    async with a_world(tmp_path, plex_rate=0.5, settle=1.5) as world:
        if lane == "answer":
            world.close_dms()
        command = await world.plexlink()
        card = world.alice.user.dm_channel.last_message if lane == "dm" else command.response
        actor = world.alice.user if lane == "dm" else world.alice
        await actor.click(card, label="New code")
        await actor.click(card, label="I've approved it")
        assert len(world.plex.pins) == 1, "the second code is still to come"
        await actor.click(card, label="Cancel")
        await world.advance(30)
        shown = world.card() if lane == "dm" else Card(command.response)
        assert "Cancelled" in shown.text
        assert [row["state"] for row in world.rows("attempts")] == ["cancelled", "cancelled"]


async def test_many_members_at_once_end_linked_each_to_their_own_account(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        members = [world.join(f"member{number}") for number in range(12)]
        for member in members:
            await world.plexlink(member)
        tokens = {}
        for number, pin in enumerate(list(world.plex.pins.values())):
            account = type(BOB)(id=1000 + number, uuid=f"{number:016x}", username=f"plex{number}", email="x@y.z")
            tokens[members[number].id] = world.plex.approve(pin.code, account)
        await world.advance(8)
        for number, member in enumerate(members):
            assert f"Linked as plex{number} " in world.card(member).text
            assert await world.stored_token(member) == tokens[member.id]


async def test_a_code_that_is_cancelled_while_plex_is_asked_is_not_asked_about_again(world: World) -> None:
    await world.plexlink()
    asker = desk(world).resume.__self__._asker
    ask, is_asked = asker._plex.ask, asyncio.Event()

    async def ask_slowly(*secrets: Any) -> Any:
        answer = await ask(*secrets)
        is_asked.set()
        await asyncio.sleep(4)
        return answer

    asker._plex.ask = ask_slowly
    while not is_asked.is_set():
        await world.advance(0.3)
    asker._plex.ask = ask
    await world.press("Cancel")
    asked = world.asked()
    await world.advance(50)  # a given-up code is looked at after a minute
    assert world.asked() == asked


@pytest.mark.parametrize("lane", ["a message", "an answer"])
@pytest.mark.parametrize("end", ["approved", "forgotten", "Cancel", "New code"])
async def test_nothing_is_kept_in_mind_of_an_attempt_that_has_ended(world: World, lane: str, end: str) -> None:
    if lane == "an answer":
        world.env.inject_error("POST", "/channels/*/messages", status=503, times=None)
    result = await world.plexlink()
    await world.advance(8)
    (row,) = world.rows("attempts")
    if end == "approved":
        world.approve()
    elif end != "forgotten" and lane == "a message":
        await world.press(end)
    elif end != "forgotten":
        await world.alice.click(result.response, label=end)
    await world.advance(17 * 60)
    worker = desk(world).resume.__self__
    asker = worker._asker
    minds = (worker._agenda, worker._presenter, worker._given_up, asker, asker._inquiries, asker._accounts)
    kept = {name: value for mind in minds for name, value in vars(mind).items() if row["id"] in repr(value)}
    assert (kept, worker._hand) == ({}, Hand())


async def test_a_card_whose_commit_failed_is_not_drawn_again_over_its_successor(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, failed = Ledger.shown, []

    async def fail_once(ledger: Ledger, drawn: models.Attempt, card: models.Card, place: models.Place) -> Any:
        if card is models.Card.WAITING and not failed:
            failed.append(drawn)
            raise StoreUnavailableError("The disk is full.")
        return await shown(ledger, drawn, card, place)

    monkeypatch.setattr(Ledger, "shown", fail_once)
    await world.plexlink()
    await world.press("New code")
    code = world.pin().code
    drawn = []
    show = DiscordNotifier.show

    async def note(notifier: DiscordNotifier, showing: models.Showing) -> models.Place | None:
        drawn.append(showing)
        return await show(notifier, showing)

    monkeypatch.setattr(DiscordNotifier, "show", note)
    await world.advance(30)
    assert f"`{code}`" in world.card().text
    worker = desk(world).resume.__self__
    assert failed[0].id not in repr((worker._presenter._drawn, worker._hand, drawn))
