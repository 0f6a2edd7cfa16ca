"""/plexstatus, and the same card where a linked member types /plexlink."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from harness import Card
from plexlink_bot.sandbox.plex_tv import ALICE, Html, JsonError, Operation, RateLimited

if TYPE_CHECKING:
    from harness import World


async def status(world: World) -> Any:
    return (await world.alice.slash(world.channel, "plexstatus")).response


async def test_a_member_without_a_link_is_offered_one(world: World) -> None:
    response = await status(world)
    assert "Not linked" in Card(response).text
    await world.alice.click(response, label="Link your Plex account")
    assert "Your code:" in world.card().text


@pytest.mark.parametrize("command", ["plexstatus", "plexlink"])
async def test_the_status_tells_whose_since_when_and_how_it_is(world: World, command: str) -> None:
    await world.link()
    card = Card((await world.alice.slash(world.channel, command)).response)
    assert "Linked as alice ✓" in card.text
    assert "Since <t:" in card.text
    assert "Not checked yet" in card.text
    assert "No feature of this bot has used it yet" in card.text
    assert list(card.buttons) == ["Check now", "Link another account", "Unlink", "Privacy"]


async def test_the_status_tells_which_feature_used_the_token_last(world: World) -> None:
    await world.link()
    plexlink = world.env.bot.get_cog("PlexLink")
    for purpose in ("watchlist", "on-deck"):
        await plexlink.token_for(world.alice.id, purpose=purpose)
    text = Card(await status(world)).text
    assert r"for *on\-deck*" in text
    assert "watchlist" not in text


async def test_check_now_changes_the_card_in_place(world: World) -> None:
    await world.link()
    response = await status(world)
    result = await world.alice.click(response, label="Check now")
    assert "it works" in Card(result.response).text
    assert result.response.id == response.id


@pytest.mark.parametrize("fault", [Html(403), JsonError(403, 1041), RateLimited(60)], ids=["page", "refusal", "pace"])
async def test_a_check_that_says_nothing_is_told_as_such(world: World, fault: Any) -> None:
    await world.link()
    response = await status(world)
    world.plex.fail(fault, calls=Operation.USER)
    result = await world.alice.click(response, label="Check now")
    assert "Plex did not answer just now" in Card(result.response).text
    assert "Linked as alice ✓" in Card(result.response).text


async def test_a_first_refusal_is_told_as_not_yet_sure_and_the_second_as_the_end(world: World) -> None:
    token = await world.link()
    world.plex.revoke(token)
    response = await status(world)
    result = await world.alice.click(response, label="Check now")
    assert "I ask again to be sure" in Card(result.response).text
    await world.advance(300)
    result = await world.alice.click(response, label="Check now")
    card = Card(result.response)
    assert "Plex ended our sign-in" in card.text
    assert list(card.buttons) == ["Link again", "Unlink", "Privacy"]


async def test_a_dead_link_is_made_anew_by_the_command_itself(world: World) -> None:
    world.plex.revoke(await world.link())
    response = await status(world)
    for _ in range(2):
        await world.alice.click(response, label="Check now")
        await world.advance(301)
    await world.plexlink()
    token = world.approve(ALICE)
    await world.advance(6)
    assert await world.stored_token() == token
    assert "Checked" not in Card(await status(world)).text


async def test_nobody_reads_another_members_status(world: World) -> None:
    await world.link()
    bob = world.join("bob")
    card = Card((await bob.slash(world.channel, "plexstatus")).response)
    assert "alice" not in card.text


async def test_a_linked_card_leads_to_status_and_privacy(world: World) -> None:
    await world.link()
    assert list(world.card().buttons) == ["Not me: undo", "Status", "Privacy"]
    result = await world.press("Status")
    assert "Not checked yet" in Card(result.followups[0]).text
    assert result.followups[0].ephemeral
    result = await world.press("Privacy")
    assert "What is stored about you" in Card(result.followups[0]).text
    assert "Linked as alice" in world.card().text


async def test_who_presses_again_and_again_costs_plex_one_question(world: World) -> None:
    await world.link()
    response = await status(world)
    asked = len(world.plex.requests)
    for _ in range(5):
        result = await world.alice.click(response, label="Check now")
        assert "it works" in Card(result.response).text
    assert len(world.plex.requests) == asked + 1
