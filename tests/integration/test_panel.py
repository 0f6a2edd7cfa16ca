"""The panel: a button in a channel that is /plexlink for whoever presses it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from simcord.results import to_discord_message

from harness import EPHEMERAL, Card
from plexlink.surface.views import AMBER
from plexlink_bot.sandbox.plex_tv import ALICE
from servers import backdate, deeds, in_another_server, make_role, set_up, show_setup, shut_out, written_in

if TYPE_CHECKING:
    from harness import World


async def post(world: World, channel: Any = None, *, typed_in: Any = None) -> Any:
    """Post the panel; return the answer."""
    options = {} if channel is None else {"channel": channel}
    return (await world.owner.slash(typed_in or world.channel, "plexadmin panel", **options)).response


def panel(world: World, channel: Any = None) -> Any:
    (message,) = written_in(world, channel or world.channel)
    return message


def where(world: World) -> tuple[int | None, int | None]:
    (row,) = world.rows("guilds")
    return row["panel_channel_id"], row["panel_message_id"]


def owners_messages(world: World) -> list[str]:
    return [Card(message).text for message in world.messages(world.owner)]


async def press(world: World, member: Any, channel: Any = None) -> Any:
    return await member.click(to_discord_message(world.env, panel(world, channel)), label="Link Plex")


async def test_the_panel_stands_where_it_was_asked_for_and_its_owner_is_told_where(world: World) -> None:
    response = await post(world)
    message = panel(world)
    card = Card(message)
    assert card.text == (
        "## Link your Plex account\n"
        "Press the button: you get a private message with a code. Nothing is posted here.\n"
        "-# You only ever approve on plex.tv; nobody here asks for your password."
    )
    assert card.colour == AMBER.value
    assert card.buttons == {"Link Plex": f"plexlink:panel:{world.guild.id}"}
    url = f"https://discord.com/channels/{world.guild.id}/{world.channel.id}/{message.id}"
    assert response.ephemeral
    assert Card(response).buttons == {"Go to the message": url}
    assert where(world) == (world.channel.id, message.id)
    assert [(row["deed"], row["actor_id"]) for row in world.rows("audit")] == [("panel_posted", world.owner.id)]
    assert url in Card(await show_setup(world)).text


async def test_who_presses_gets_a_card_of_their_own_and_the_panel_stays_as_it_is(world: World) -> None:
    await post(world)
    before = panel(world).components
    bob = world.join("bob")
    for member in (world.alice, bob):
        result = await press(world, member)
        assert result.response.ephemeral
        assert "I sent you a direct message" in Card(result.response).text
        assert "Your code" in world.card(member).text
    assert "Home" in world.card().text, "the card says where it was asked for"
    world.approve(ALICE, number=0)
    await world.advance(6)
    assert "Linked as alice" in world.card().text
    assert panel(world).components == before
    assert not any(call.method in {"PATCH", "DELETE"} for call in calls_on(world, panel(world)))


def calls_on(world: World, message: Any) -> list[Any]:
    return [call for call in world.env.http_requests if call.path.endswith(f"/messages/{message.id}")]


async def test_who_takes_no_direct_messages_reads_the_code_alone(world: World) -> None:
    await post(world)
    world.env.inject_error(
        "POST", f"/channels/{world.alice.user.dm_channel.id}/messages", status=403, code=50007, times=None
    )
    result = await press(world, world.alice)
    assert result.response.ephemeral
    assert f"`{world.pin().code}`" in Card(result.response).text
    assert len(written_in(world, world.channel)) == 1


async def test_who_has_linked_reads_how_the_link_is_and_who_has_a_code_is_shown_it_again(world: World) -> None:
    await post(world)
    await press(world, world.alice)
    assert "I sent you a direct message" in Card((await press(world, world.alice)).response).text
    assert len(world.plex.pins) == 1
    world.approve()
    await world.advance(6)
    result = await press(world, world.alice)
    assert result.response.ephemeral
    assert list(Card(result.response).buttons) == ["Check now", "Link another account", "Unlink", "Privacy"]
    assert len(world.plex.pins) == 1


async def test_the_button_outlives_a_restart(world: World) -> None:
    await post(world)
    await world.restart()
    await press(world, world.alice)
    assert "Your code" in world.card().text


async def test_posting_it_again_moves_it(world: World) -> None:
    another = world.guild.create_text_channel("welcome")
    await post(world)
    await post(world, another)
    assert written_in(world, world.channel) == []
    assert where(world) == (another.id, panel(world, another).id)
    await post(world, typed_in=another)
    assert where(world) == (another.id, panel(world, another).id)
    assert deeds(world) == ["panel_posted"] * 3


@pytest.mark.parametrize("trouble", ["gone already", "forbidden", "failing"])
async def test_a_former_panel_that_cannot_be_deleted_hinders_nothing(world: World, trouble: str) -> None:
    another = world.guild.create_text_channel("welcome")
    await post(world)
    former = panel(world)
    if trouble == "gone already":
        world.env.backend.delete_message(world.channel.id, former.id)
    else:
        status, code = (403, 50013) if trouble == "forbidden" else (503, 0)
        world.env.inject_error("DELETE", f"/channels/*/messages/{former.id}", status=status, code=code, times=None)
    assert "The panel is in" in Card(await post(world, another)).text
    assert where(world) == (another.id, panel(world, another).id)


@pytest.mark.parametrize("permission", ["view_channel", "send_messages"])
async def test_where_the_bot_may_not_write_it_says_so_and_keeps_the_former_panel(world: World, permission: str) -> None:
    await post(world)
    closed = world.guild.create_text_channel("closed")
    shut_out(world, closed, **{permission: True})
    await world.env.settle()
    response = await post(world, closed)
    assert response.ephemeral
    assert f"Let me see <#{closed.id}> and send messages in it" in Card(response).text
    assert where(world) == (world.channel.id, panel(world).id)
    assert not any(call.path == f"/channels/{closed.id}/messages" for call in world.env.http_requests)
    shut_out(world, closed)
    await world.env.settle()
    assert "The panel is in" in Card(await post(world, closed)).text


@pytest.mark.parametrize(("status", "code"), [(403, 50013), (403, 50001), (404, 10003)])
async def test_where_discord_refuses_the_panel_that_is_said(world: World, status: int, code: int) -> None:
    world.env.inject_error("POST", f"/channels/{world.channel.id}/messages", status=status, code=code)
    assert "I may not write there" in Card(await post(world)).text
    assert world.rows("guilds") == []
    world.env.inject_error("POST", f"/channels/{world.channel.id}/messages", status=503)
    assert "did not take the panel" in Card(await post(world)).text
    assert world.rows("guilds") == []


async def test_only_a_text_channel_takes_a_panel(world: World) -> None:
    voice = world.guild.create_voice_channel("voice")
    assert "needs a text channel" in Card(await post(world, typed_in=voice)).text


async def test_a_panel_whose_channel_is_deleted_is_told_once(world: World) -> None:
    channel = world.guild.create_text_channel("welcome")
    await post(world, channel)
    world.env.backend.delete_channel(channel.id)
    await world.env.settle()
    assert where(world) == (channel.id, None)
    await backdate(world, "guilds", "reconciled_at", hours=24)
    assert deeds(world) == ["panel_posted", "panel_gone"]
    (told,) = owners_messages(world)
    assert "needs a look" in told
    assert f"It was in <#{channel.id}>, and is gone" in Card(await show_setup(world)).text
    await post(world)
    assert f"In <#{world.channel.id}>" in Card(await show_setup(world)).text


async def test_a_panel_that_was_deleted_is_noticed_within_a_day(world: World) -> None:
    await post(world)
    await backdate(world, "guilds", "reconciled_at", hours=24)
    assert deeds(world) == ["panel_posted"]
    world.env.backend.delete_message(world.channel.id, panel(world).id)
    for _ in range(2):
        await backdate(world, "guilds", "reconciled_at", hours=24)
    assert deeds(world) == ["panel_posted", "panel_gone"]
    assert len(owners_messages(world)) == 1


async def test_a_panel_that_was_deleted_is_noticed_by_whoever_opens_the_setup(world: World) -> None:
    await post(world)
    world.env.backend.delete_message(world.channel.id, panel(world).id)
    assert "and is gone" in Card(await show_setup(world)).text
    assert "and is gone" in Card(await show_setup(world)).text
    assert deeds(world) == ["panel_posted", "panel_gone"]


@pytest.mark.parametrize(("status", "code"), [(403, 50001), (403, 50013), (503, 0), (404, 0)])
async def test_a_panel_that_cannot_be_seen_is_not_taken_for_gone(world: World, status: int, code: int) -> None:
    await post(world)
    world.env.inject_error("GET", f"/channels/*/messages/{panel(world).id}", status=status, code=code, times=None)
    await backdate(world, "guilds", "reconciled_at", hours=24)
    assert "is gone" not in Card(await show_setup(world)).text
    assert where(world) == (world.channel.id, panel(world).id)
    assert deeds(world) == ["panel_posted"]


async def test_servers_have_panels_of_their_own(world: World) -> None:
    await post(world)
    with in_another_server(world):
        await post(world)
        theirs, channel = panel(world), world.channel
        await post(world)
        world.env.backend.delete_channel(channel.id)
        await world.env.settle()
    assert theirs.id != panel(world).id
    mine, others = world.rows("guilds")
    assert (mine["panel_message_id"], others["panel_message_id"]) == (panel(world).id, None)
    await backdate(world, "guilds", "reconciled_at", hours=24)
    assert deeds(world) == ["panel_posted"]


async def test_a_panel_does_not_disturb_the_setup_and_the_setup_not_the_panel(world: World) -> None:
    role = make_role(world)
    await set_up(world, role)
    await post(world)
    response = await set_up(world, role)
    assert f"In <#{world.channel.id}>" in Card(response).text
    assert world.rows("guilds")[0]["role_id"] == role.id
    await press(world, world.alice)
    world.approve()
    await world.advance(6)
    assert not any(message.flags & EPHEMERAL for message in written_in(world, world.channel))
    assert "Role *Plex* added" in world.card().text
