from __future__ import annotations

from typing import TYPE_CHECKING

import discord
import pytest
from simcord.results import to_discord_message

from harness import Card
from plexlink_bot.sandbox.plex_tv import BOB, Operation, RateLimited, ServerError

if TYPE_CHECKING:
    from harness import World


async def test_i_have_approved_it_asks_now(world: World) -> None:
    await world.plexlink()
    world.approve()
    asked = world.asked()
    await world.press("I've approved it")
    assert world.asked() == asked + 1
    await world.advance(1)
    assert "Linked as alice" in world.card().text


async def test_who_pressed_in_vain_is_asked_about_often_for_the_next_minute(world: World) -> None:
    await world.plexlink()
    await world.advance(240)
    asked = world.asked()
    await world.advance(60)
    without = world.asked() - asked
    await world.press("I've approved it")
    asked = world.asked()
    await world.advance(60)
    assert world.asked() - asked > 2 * without


async def test_i_have_approved_it_says_when_plex_does_not_answer(world: World) -> None:
    await world.plexlink()
    world.plex.fail(ServerError(502), calls=Operation.GET_PIN)
    await world.press("I've approved it")
    assert "Plex did not answer" in world.card().text


async def test_i_have_approved_it_says_when_plex_wants_fewer_questions(world: World) -> None:
    await world.plexlink()
    world.plex.fail(RateLimited(retry_after=30), calls=Operation.GET_PIN)
    await world.press("I've approved it")
    assert "Plex wants fewer questions" in world.card().text
    asked = world.asked()
    await world.press("I've approved it")
    assert world.asked() == asked
    world.approve()
    await world.advance(34)
    assert "Linked as alice" in world.card().text


async def test_new_code_replaces_the_code_on_the_same_card(world: World) -> None:
    await world.plexlink()
    old = world.pin().code
    await world.press("New code")
    card = world.card()
    assert old not in str(card.parts)
    assert f"`{world.pin().code}`" in card.text
    assert [row["state"] for row in world.rows("attempts")] == ["cancelled", "pending"]
    world.approve()
    await world.advance(4)
    assert "Linked as alice" in world.card().text


async def test_cancel_ends_the_attempt_for_good(world: World) -> None:
    await world.plexlink()
    world.approve()
    await world.press("Cancel")
    card = world.card()
    assert "Cancelled" in card.text
    assert card.attachments == []
    await world.advance(1000)
    assert "Cancelled" in world.card().text
    assert world.rows("links") == []


@pytest.mark.parametrize("label", ["I've approved it", "New code", "Cancel"])
async def test_a_button_obeys_only_its_owner(world: World, label: str) -> None:
    world.close_dms()
    result = await world.plexlink()
    custom_id = Card(result.response).buttons[label]
    mallory = world.join("mallory")
    theirs = await world.plexlink(mallory)
    before = world.rows("attempts")
    forged = await _forge(world, mallory, theirs.response, label, custom_id)
    (reply,) = forged.followups
    assert "belongs to somebody else" in Card(reply).text
    assert reply.ephemeral
    assert [(row["id"], row["state"]) for row in world.rows("attempts")] == [
        (row["id"], row["state"]) for row in before
    ]


async def test_a_card_that_nobody_knows_says_so(world: World) -> None:
    world.close_dms()
    result = await world.plexlink()
    forged = await _forge(world, world.alice, result.response, "Cancel", "plexlink:cancel:AAAAAAAAAAAAAAAAAAAAAA")
    assert "too old" in Card(forged.followups[0]).text


async def test_an_old_card_points_to_the_newest_code(world: World) -> None:
    await world.plexlink()
    await world.press("Cancel")
    await world.plexlink()
    first, second = world.messages()
    result = await world.alice.user.click(to_discord_message(world.env, first), label="Start again")
    (reply,) = result.followups
    assert Card(reply).buttons["Go to the message"].endswith(str(second.id))
    assert len(world.plex.pins) == 2


async def test_pressing_everything_in_odd_orders_leaves_one_true_card(world: World) -> None:
    await world.plexlink()
    for label in ("I've approved it", "New code", "New code", "I've approved it", "Cancel", "Start again"):
        await world.press(label)
    world.approve(BOB)
    await world.press("I've approved it")
    await world.advance(4)
    assert "Linked as bob" in world.card().text
    assert len(world.rows("links")) == 1


async def _forge(world: World, member: object, message: object, label: str, custom_id: str) -> object:
    """Press a button whose custom id was copied from somebody else's card."""
    stored = world.env.backend.get_message(message.channel_id, message.id)
    _replace(stored.components, Card(message).buttons[label], custom_id)
    return await member.click(message, label=label)


def _replace(parts: object, old: str, new: str) -> None:
    if isinstance(parts, list):
        for part in parts:
            _replace(part, old, new)
    elif isinstance(parts, dict):
        if parts.get("custom_id") == old:
            parts["custom_id"] = new
        for part in parts.values():
            _replace(part, old, new)


async def test_presses_that_come_late_bring_no_card_back_into_an_answer_that_another_one_has(world: World) -> None:
    world.close_dms()
    card = (await world.plexlink()).response
    await world.alice.click(card, label="Cancel")
    await world.advance(1)
    await world.alice.click(card, label="Start again")
    await world.advance(4)
    world.approve()
    await world.advance(6)
    assert "Linked as alice" in Card(card).text
    first, second = (row["id"] for row in world.rows("attempts"))
    await _forge(world, world.alice, card, "Status", f"plexlink:new:{first}")
    await world.advance(4)
    assert f"`{world.pin().code}`" in Card(card).text
    await _forge(world, world.alice, card, "I've approved it", f"plexlink:check:{second}")
    await world.advance(4)
    assert f"`{world.pin().code}`" in Card(card).text, "the one that is linked does not come back"


@pytest.mark.parametrize("label", ["New code", "I've approved it"])
async def test_a_press_that_comes_after_the_approval_shows_what_is_true(world: World, label: str) -> None:
    await world.plexlink()
    token = world.approve()
    world.plex.fail(ServerError(503), calls=Operation.USER, times=None)
    await world.advance(3.5)
    assert [row["state"] for row in world.rows("attempts")] == ["approved"]
    assert "Cancel" in world.card().buttons
    await world.press(label)
    await world.advance(4)
    assert "Asking Plex who you are" in world.card().text
    world.plex.heal()
    await world.advance(40)
    assert "Linked as alice" in world.card().text
    assert await world.stored_token() == token


async def test_a_press_on_an_ended_card_shows_what_is_true(world: World) -> None:
    await world.plexlink()
    stale = world.messages()[0].id
    world.env.inject_error("PATCH", "/channels/*/messages/*", status=503, times=None)
    world.approve()
    await world.advance(6)
    world.open_dms()
    assert stale == world.messages()[0].id
    await world.press("Cancel")
    assert "Linked as alice" in world.card().text
    assert len(world.rows("links")) == 1


async def test_undo_of_a_link_that_was_replaced_changes_nothing(world: World) -> None:
    await world.plexlink()
    world.approve()
    await world.advance(6)
    world.env.inject_error("PATCH", "/channels/*/messages/*", status=503, times=None)
    result = await world.plexlink()
    await world.alice.click(result.response, label="Link another account")
    token = world.approve(BOB)
    await world.advance(6)
    world.open_dms()
    first = world.messages()[0]
    await world.alice.user.click(to_discord_message(world.env, first), label="Not me: undo")
    assert "You have linked a Plex account anew since" in Card(world.messages()[0]).text
    assert await world.stored_token() == token


async def test_a_button_on_any_other_message_is_answered_beside_it(world: World) -> None:
    from plexlink.surface import views  # noqa: PLC0415 - the classes that the loaded plugin uses

    token = await world.link()
    channel = world.env.bot.get_channel(world.channel.id)
    with world.env._bot_scope():
        panel = await channel.send(view=views.not_linked(world.alice.id))
    await world.env.settle()
    result = await world.alice.click(panel, label="Link your Plex account")
    assert "Linked as alice" in Card(result.response).text
    assert result.response.id != panel.id
    assert "Not linked" in Card(world.env.backend.messages[channel.id][panel.id]).text, "everybody may read that one"
    assert await world.stored_token() == token, "a card of ours would have begun anew"
    assert len(world.rows("attempts")) == 1


async def test_a_code_is_not_ended_from_a_message_that_everybody_may_read(world: World) -> None:
    await world.plexlink()
    (attempt,) = world.rows("attempts")
    copied: discord.ui.View = discord.ui.View(timeout=None)
    copied.add_item(discord.ui.Button(label="Cancel", custom_id=f"plexlink:cancel:{attempt['id']}"))
    with world.env._bot_scope():
        message = await world.env.bot.get_channel(world.channel.id).send(view=copied)
    await world.env.settle()
    result = await world.alice.click(message, label="Cancel")
    assert "This card is too old" in Card(result.response).text
    assert f"`{world.pin().code}`" in world.card().text
