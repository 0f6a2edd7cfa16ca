from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import discord
import pytest

from harness import Card
from plexlink import whereabouts
from plexlink.models import Lane, Place
from plexlink_bot.sandbox.plex_tv import Operation, ServerError

if TYPE_CHECKING:
    from harness import World


@pytest.mark.parametrize("code", [50007, 50278, 40003, 20026, 240000, 50033])
async def test_direct_messages_that_discord_refuses_bring_the_card_as_the_answer(world: World, code: int) -> None:
    world.close_dms(code)
    result = await world.plexlink()
    card = Card(result.response)
    assert result.response.ephemeral
    assert f"`{world.pin().code}`" in card.text
    assert "Discord did not let me send you a direct message" in card.text
    assert card.attachments
    world.approve()
    await world.advance(4)
    linked = Card(result.response)
    assert "Linked as alice" in linked.text
    assert linked.attachments == []
    assert world.messages() == []
    (row,) = world.rows("attempts")
    assert row["answer_token_envelope"] is None


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_whoever_waits_for_a_message_that_does_not_come_soon_has_the_card_as_the_answer(
    world: World, status: int
) -> None:
    world.env.inject_error("POST", "/channels/*/messages", status=status, times=None)
    result = await world.plexlink()
    await world.advance(8)
    assert f"`{world.pin().code}`" in Card(result.response).text
    world.open_dms()
    world.approve()
    await world.advance(6)
    assert "Linked as alice" in Card(result.response).text
    assert world.messages() == []


@pytest.mark.parametrize(("status", "code"), [(403, 20026), (400, 240000), (429, 0), (503, 0)])
async def test_a_message_that_cannot_be_edited_leaves_the_card_to_the_next_answer(
    world: World, status: int, code: int
) -> None:
    await world.plexlink()
    world.env.inject_error("PATCH", "/channels/*/messages/*", status=status, code=code, times=None)
    result = await world.plexlink()
    await world.advance(9)
    assert f"`{world.pin().code}`" in Card(result.response).text
    world.approve()
    await world.advance(10)
    assert "Linked as alice" in Card(result.response).text
    assert world.messages() == [], "what would go on showing the code is taken away"


@pytest.mark.parametrize(("status", "code"), [(403, 20026), (400, 240000)])
async def test_a_press_on_a_message_that_cannot_be_edited_is_answered_there(
    world: World, status: int, code: int
) -> None:
    await world.plexlink()
    former = world.pin().code
    world.env.inject_error("PATCH", "/channels/*/messages/*", status=status, code=code, times=None)
    await world.press("New code")
    await world.advance(4)
    assert world.pin().code != former
    assert f"`{world.pin().code}`" in world.card().text
    world.approve()
    await world.press("I've approved it")
    await world.advance(4)
    assert "Linked as alice" in world.card().text


@pytest.mark.parametrize("until", ["a while", "the end", "a restart"])
async def test_a_message_that_came_after_all_is_taken_away(world: World, until: str) -> None:
    """Discord was slow to store it: nobody could know of it when the card went into the answer."""
    world.env.inject_error("POST", "/channels/*/messages", status=503, times=None)
    result = await world.plexlink()
    await world.advance(8)
    world.open_dms()
    await send_card(world, world.rows("attempts")[0]["id"])
    if until == "the end":
        world.approve()
    if until == "a restart":
        await world.restart()
    await world.advance(30 if until == "a while" else 6)
    assert ("Linked as alice" if until == "the end" else f"`{world.pin().code}`") in Card(result.response).text
    assert world.messages() == []


async def test_a_second_message_that_an_overtaken_process_has_sent_leads_to_the_first(world: World) -> None:
    await world.plexlink()
    (row,) = world.rows("attempts")
    second = await send_card(world, row["id"])
    ledger = world.env.bot.get_cog("PlexLink").desk.links._ledger  # type: ignore[attr-defined] # the plugin's
    with world.env._bot_scope():
        async with ledger.change() as change:
            attempt = await change.newest(row["id"])
            place = Place(lane=Lane.DM, channel_id=second.channel.id, message_id=second.id)
            await whereabouts.undo_drawing(change, replace(attempt, place=Place()), place)
    await world.advance(2)
    first, second = world.messages()
    assert f"`{world.pin().code}`" in Card(first).text
    assert "This card has moved to another message" in Card(second).text
    assert Card(second).buttons == {}


async def send_card(world: World, attempt_id: str) -> Any:
    """Send a message as if an earlier try had, and return it."""
    view = discord.ui.LayoutView()
    button = discord.ui.Button(label="Cancel", custom_id=f"plexlink:cancel:{attempt_id}")
    view.add_item(discord.ui.ActionRow(button))
    channel = await world.env.bot.create_dm(discord.Object(world.alice.id))
    return await channel.send(view=view)


async def test_in_the_bots_own_conversation_the_answer_makes_way_for_the_card(world: World) -> None:
    result = await world.alice.user.slash("plexlink")
    card = world.card()
    assert f"`{world.pin().code}`" in card.text
    assert [message.id for message in world.messages()] == [card.id]
    assert result.response is None
    again = await world.alice.user.slash("plexlink")
    assert Card(again.response).buttons["Go to the message"].endswith(str(card.id)), "the card is far above by now"


async def test_the_answers_card_closes_itself_before_discord_does(world: World) -> None:
    world.close_dms()
    result = await world.plexlink()
    await world.advance(858)
    assert "ends <t:" in Card(result.response).text
    await world.advance(4)
    card = Card(result.response)
    assert "The code ran out" in card.text
    assert card.attachments == []
    assert world.pin().code not in str(card.parts)


async def test_a_press_keeps_the_answers_card_alive(world: World) -> None:
    world.close_dms()
    result = await world.plexlink()
    await world.advance(600)
    await world.alice.click(result.response, label="I've approved it")
    await world.advance(262)
    assert "ends <t:" in Card(result.response).text
    await world.advance(40)
    assert "The code ran out" in Card(result.response).text


async def test_an_approval_after_the_card_closed_is_stored_and_told(world: World) -> None:
    world.close_dms()
    result = await world.plexlink()
    await world.advance(880)
    assert "The code ran out" in Card(result.response).text
    world.approve()
    await world.advance(19.5)
    assert "Linked as alice" in Card(result.response).text
    assert await world.stored_token()


async def test_an_approval_after_the_answer_died_is_told_by_message_where_that_is_possible(world: World) -> None:
    world.close_dms()
    await world.plexlink()
    world.open_dms()
    world.env.inject_error("PATCH", "/webhooks/*", status=401, code=50027, times=None)
    world.approve()
    await world.advance(6)
    (message,) = world.messages()
    assert "Linked as alice" in Card(message).text


async def test_an_approval_that_cannot_be_told_is_told_by_the_next_answer(world: World) -> None:
    world.close_dms()
    await world.plexlink()
    world.env.inject_error("PATCH", "/webhooks/*", status=401, code=50027, times=None)
    world.approve()
    await world.advance(6)
    assert await world.stored_token()
    world.open_dms()
    result = await world.plexlink()
    assert "Linked as alice" in Card(result.response).text


async def test_a_second_command_shows_the_same_code_again(world: World) -> None:
    await world.plexlink()
    code = world.pin().code
    result = await world.plexlink()
    (message,) = world.messages()
    assert len(world.plex.pins) == 1
    assert f"`{code}`" in Card(message).text
    assert Card(result.response).buttons["Go to the message"].endswith(str(message.id))


async def test_a_second_command_brings_the_card_back_where_the_message_was_deleted(world: World) -> None:
    await world.plexlink()
    (message,) = world.messages()
    world.env.backend.delete_message(message.channel_id, message.id)
    result = await world.plexlink()
    (again,) = world.messages()
    assert f"`{world.pin().code}`" in Card(again).text
    assert Card(result.response).buttons["Go to the message"].endswith(str(again.id))
    assert len(world.plex.pins) == 1


async def test_a_second_command_moves_the_ephemeral_card_to_the_newer_answer(world: World) -> None:
    world.close_dms()
    first = await world.plexlink()
    second = await world.plexlink()
    assert "has moved" in Card(first.response).text
    assert Card(first.response).attachments == []
    assert f"`{world.pin().code}`" in Card(second.response).text
    world.approve()
    await world.advance(4)
    assert "Linked as alice" in Card(second.response).text


async def test_an_answer_that_discord_does_not_take_still_hears_after_a_restart_that_its_card_has_moved(
    world: World,
) -> None:
    world.close_dms()
    first = await world.plexlink()
    world.env.inject_error("PATCH", f"/webhooks/*/*/messages/{first.response.id}", status=503, times=None)
    second = await world.plexlink()
    assert f"`{world.pin().code}`" in Card(second.response).text, "the newer one does not wait for it"
    await world.stop()
    world.open_dms()
    await world.start()
    await world.advance(10)
    assert "has moved" in Card(first.response).text
    assert not world.rows("notices")


@pytest.mark.parametrize(
    ("dms", "is_another"),
    [("open", False), ("closed", False), ("open", True), ("closed", True)],
)
async def test_a_card_that_comes_back_to_an_answer_is_not_told_to_have_moved(
    world: World, dms: str, *, is_another: bool
) -> None:
    if dms == "closed":
        world.close_dms()
    first = await world.alice.slash(world.channel, "plexstatus")
    path = f"/webhooks/*/*/messages/{first.response.id}"
    world.env.inject_error("PATCH", path, status=503, times=None)
    await world.alice.click(first.response, label="Link your Plex account")
    second = await world.plexlink()
    if is_another and dms == "open":
        await world.press("Cancel")
    elif is_another:
        await world.alice.click(second.response, label="Cancel")
    world.env.backend.faults[:] = [fault for fault in world.env.backend.faults if fault["path"] != path]
    await world.alice.click(first.response, label="Link your Plex account")
    await world.advance(60)
    if dms == "open":
        assert "Go to the message" in Card(first.response).buttons
    else:
        assert f"`{world.pin().code}`" in Card(first.response).text
        assert ("Cancelled" if is_another else "has moved") in Card(second.response).text


async def test_a_newer_answer_that_is_still_owed_is_given_though_the_next_code_is_asked_for_in_the_older(
    world: World,
) -> None:
    world.close_dms()
    first = await world.plexlink()
    world.env.inject_error("PATCH", "/webhooks/*", status=503, times=None)
    second = await world.plexlink()
    for label in ("Cancel", "New code"):
        await world.alice.click(first.response, label=label)
    world.open_dms()
    world.close_dms()
    await world.advance(60)
    assert f"`{world.pin().code}`" in Card(second.response).text
    assert "has moved" in Card(first.response).text


async def test_an_end_that_was_not_shown_yet_does_not_draw_over_a_later_code_in_the_same_answer(world: World) -> None:
    world.close_dms()
    result = await world.plexlink()
    world.env.inject_error("PATCH", "/webhooks/*", status=503, times=None)
    for label in ("New code", "Cancel"):
        await world.alice.click(result.response, label=label)
    await world.advance(20)
    world.open_dms()
    world.close_dms()
    await world.alice.click(result.response, label="New code")
    world.approve()
    await world.advance(4)
    assert "Linked as alice" in Card(result.response).text
    await world.advance(60)
    assert "Linked as alice" in Card(result.response).text


async def test_an_answer_shows_a_card_until_the_newer_answer_does(world: World) -> None:
    world.close_dms()
    first = await world.plexlink()
    second = await world.alice.slash(world.channel, "plexstatus")
    world.env.inject_error("PATCH", f"/webhooks/*/*/messages/{second.response.id}", status=503, times=None)
    await world.alice.click(second.response, label="Link your Plex account")
    await world.advance(10)
    assert f"`{world.pin().code}`" in Card(first.response).text


async def test_a_code_that_came_into_an_answer_is_not_drawn_over_by_what_was_told_there(world: World) -> None:
    world.close_dms()
    await world.link()
    world.plex.fail(ServerError(503), calls=Operation.SIGN_OUT, times=None)
    question = await world.alice.slash(world.channel, "plexunlink")
    world.env.inject_error("PATCH", "/webhooks/*", status=503, times=None)
    await world.alice.click(question.response, label="Unlink")
    first_press = world.env.http_requests[-1].path
    world.env.backend.faults[:] = [fault for fault in world.env.backend.faults if fault["path"] != "/webhooks/*"]
    world.env.inject_error("PATCH", first_press, status=503, times=None)
    await world.alice.click(question.response, label="Keep it")
    world.env.backend.faults[:] = [fault for fault in world.env.backend.faults if fault["path"] != first_press]
    await world.alice.click(question.response, label="Link your Plex account")
    await world.advance(60)
    assert f"`{world.pin().code}`" in Card(question.response).text
