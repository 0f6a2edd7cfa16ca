"""/plexadmin setup: what an owner chooses, sees, applies and undoes, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import discord
import pytest

from harness import Card
from servers import (
    backdate,
    choose,
    deeds,
    let_bot,
    make_role,
    memberships,
    part,
    press_forged,
    raise_role,
    roles_of,
    set_up,
    show_setup,
    stack_roles,
    throw_out,
)

if TYPE_CHECKING:
    from harness import World

AMBER, GREEN, RED = 0xE5A00D, 0x2E9E5B, 0xD83C3E


def helper_with(world: World, name: str, role: Any) -> Any:
    """A member who is not the owner, with a role."""
    member = world.join(name)
    world.env.backend.add_member_role(world.guild.id, member.id, role.id)
    return member


async def set_up_by(world: World, name: str) -> tuple[Any, Any]:
    """Let a member who may manage the server choose a role; return both."""
    role, helpers = make_role(world), make_role(world, "Helpers", manage_guild=True)
    stack_roles(world, role, helpers)
    await world.env.settle()
    helper = helper_with(world, name, helpers)
    await set_up(world, role, owner=helper)
    return helper, role


async def delete(world: World, role: Any) -> None:
    """Delete a role, of which an owner is to be told."""
    world.env.backend.delete_role(world.guild.id, role.id)
    await world.advance(5)


def told(world: World, member: Any) -> int:
    """How often somebody was told by direct message that something of the setup does not work any more."""
    return sum("needs a look" in Card(message).text for message in world.messages(member))


async def have_all_deleted(world: World, member: Any) -> None:
    response = (await member.slash(world.channel, "plexprivacy")).response
    question = (await member.click(response, label="Delete everything")).response
    await member.click(question, label="Delete everything")


async def stop_managing(world: World, member: Any, how: str) -> None:
    """Let somebody who has chosen be no owner any more."""
    if how == "has left":
        world.guild.remove_member(member)
    elif how == "may not manage it":
        for role_id in roles_of(world, member):
            world.env.backend.remove_member_role(world.guild.id, member.id, role_id)
    else:
        await have_all_deleted(world, member)


async def test_the_card_tells_what_will_happen_before_anything_does(world: World) -> None:
    role, channel = make_role(world), world.guild.create_text_channel("plex-log")
    response = await show_setup(world)
    assert response.ephemeral
    assert "Nobody gets a role" in Card(response).text
    response = await choose(world, response, "role", role)
    response = await choose(world, response, "channel", channel)
    text = Card(response).text
    assert f"Every member here who has linked a Plex account gets <@&{role.id}>" in text
    assert f"written into <#{channel.id}>" in text
    assert Card(response).colour == AMBER
    assert world.rows("guilds") == []


async def test_what_is_applied_is_kept_shown_and_undone(world: World) -> None:
    first, second = make_role(world), make_role(world, "Movie night")
    await set_up(world, first)
    await world.link()
    response = await set_up(world, second)
    assert "saved ✓" in Card(response).text
    assert Card(response).colour == GREEN
    assert roles_of(world, world.alice) == [second.id]
    response = (await world.owner.click(response, label="Undo")).response
    assert f"gets <@&{first.id}>" in Card(response).text
    assert roles_of(world, world.alice) == [first.id]
    assert f"gets <@&{first.id}>" in Card(await show_setup(world)).text
    assert deeds(world).count("role_chosen") == 3


async def test_a_card_works_after_a_restart(world: World) -> None:
    role = make_role(world)
    response = await choose(world, await show_setup(world), "role", role)
    await world.restart()
    await world.owner.click(response, label="Apply")
    assert world.rows("guilds")[0]["role_id"] == role.id


async def test_a_role_is_refused_with_the_reason_and_the_cure(world: World) -> None:
    ordinary, high = make_role(world), make_role(world, "High")
    raise_role(world, high)
    everyone = world.guild.default_role
    managed = next(role for role in world.guild.roles.values() if role.name == world.env.backend.bot_user.name)
    refused = {high: "Drag my role above it", everyone: "Everybody has", managed: "nobody give it. Choose another"}
    for name in ("administrator", "manage_messages", "ban_members", "kick_members", "mention_everyone"):
        refused[make_role(world, name, **{name: True})] = "manage or moderate"
    refused[make_role(world, "webhooks", manage_webhooks=True)] = "manage or moderate"
    response = await show_setup(world)
    for role, why in refused.items():
        response = await choose(world, response, "role", role)
        assert why in Card(response).text, role.name
        assert Card(response).colour == RED
        with pytest.raises(Exception, match="disabled"):
            await world.owner.click(response, label="Apply")
    let_bot(world, manage_roles=False)
    await world.env.settle()
    response = await choose(world, response, "role", ordinary)
    assert "Manage Roles" in Card(response).text
    let_bot(world, manage_roles=True)
    await world.env.settle()
    response = await choose(world, response, "role", ordinary)
    await world.owner.click(response, label="Apply")
    assert world.rows("guilds")[0]["role_id"] == ordinary.id


async def test_nobody_makes_the_bot_give_a_role_above_their_own(world: World) -> None:
    low, high = make_role(world, "Low"), make_role(world, "High")
    helpers = make_role(world, "Helpers", manage_guild=True)
    stack_roles(world, low, helpers, high)
    await world.env.settle()
    helper = helper_with(world, "helper", helpers)
    response = await choose(world, await show_setup(world, helper), "role", high, owner=helper)
    assert "not below your own highest role. Choose a lower one" in Card(response).text
    for action in ("apply", "undo"):
        forged = await press_forged(world, await show_setup(world, helper), f"plexadmin:{action}:{high.id}:0", helper)
        assert "not below your own highest role" in forged.text
    assert world.rows("guilds") == []
    await set_up(world, low, owner=helper)
    assert world.rows("guilds")[0]["role_id"] == low.id
    await set_up(world, high)
    channel = world.guild.create_text_channel("plex-log")
    response = await choose(world, await show_setup(world, helper), "channel", channel, owner=helper)
    await helper.click(response, label="Apply")
    row = world.rows("guilds")[0]
    assert (row["role_id"], row["audit_channel_id"]) == (high.id, channel.id), "what the owner chose may stay"


async def test_it_is_checked_again_when_it_is_applied(world: World) -> None:
    role = make_role(world)
    response = await choose(world, await show_setup(world), "role", role)
    world.env.backend.edit_role(world.guild.id, role.id, {"permissions": discord.Permissions(ban_members=True).value})
    await world.env.settle()
    response = (await world.owner.click(response, label="Apply")).response
    assert "manage or moderate" in Card(response).text
    assert world.rows("guilds") == []


async def test_a_channel_where_the_bot_may_not_write_is_refused(world: World) -> None:
    closed = world.guild.create_text_channel(
        "closed", overwrites={world.guild.default_role: discord.PermissionOverwrite(view_channel=False)}
    )
    response = await choose(world, await show_setup(world), "channel", closed)
    assert f"Let me see <#{closed.id}>" in Card(response).text
    with pytest.raises(Exception, match="disabled"):
        await world.owner.click(response, label="Apply")


@pytest.mark.parametrize("label", ["Apply", "role"])
async def test_whoever_may_not_manage_the_server_any_more_changes_nothing(world: World, label: str) -> None:
    role, helpers = make_role(world), make_role(world, "Helpers", manage_guild=True)
    stack_roles(world, role, helpers)
    await world.env.settle()
    helper = helper_with(world, "helper", helpers)
    response = await choose(world, await show_setup(world, helper), "role", role, owner=helper)
    world.env.backend.remove_member_role(world.guild.id, helper.id, helpers.id)
    if label == "Apply":
        result = await helper.click(response, label=label)
    else:
        result = await helper.select(response, [], custom_id=part(response, "role"))
    assert "who may manage this server" in Card(result.response).text
    assert world.rows("guilds") == []


async def test_members_are_refused_also_where_a_server_shows_them_the_command(world: World) -> None:
    (command,) = (each for each in await world.env.bot.tree.fetch_commands() if each.name == "plexadmin")
    world.guild.set_command_permissions(command, {world.alice: True})
    assert "who may manage this server" in Card(await show_setup(world, world.alice)).text


async def test_a_role_without_anybody_linked_owes_nothing(world: World) -> None:
    await set_up(world, make_role(world))
    assert memberships(world) == []


async def test_a_choice_is_refused_that_was_made_on_a_card_that_is_no_longer_true(world: World) -> None:
    role, another = make_role(world), make_role(world, "Another")
    helpers = make_role(world, "Helpers", manage_guild=True)
    stack_roles(world, another, helpers, role)
    await world.env.settle()
    helper = helper_with(world, "helper", helpers)
    await set_up(world, role)
    stale = await choose(world, await show_setup(world, helper), "channel", world.channel, owner=helper)
    await set_up(world, another)
    response = (await helper.click(stale, label="Apply")).response
    assert "not below your own highest role" in Card(response).text
    assert world.rows("guilds")[0]["role_id"] == another.id


async def test_what_is_refused_already_keeps_nothing_else_from_being_chosen(world: World) -> None:
    role, channel = make_role(world), world.guild.create_text_channel("plex-log")
    await set_up(world, role)
    raise_role(world, role)
    await world.env.settle()
    response = await choose(world, await show_setup(world), "channel", channel)
    assert "Drag my role above it" in Card(response).text
    await world.owner.click(response, label="Apply")
    assert world.rows("guilds")[0]["audit_channel_id"] == channel.id


async def test_what_a_newer_release_has_chosen_is_not_written_over(world: World) -> None:
    role = make_role(world)
    await set_up(world, role)
    world.write("UPDATE plexlink_guilds SET objection = 'of a newer release'")
    answer = Card((await world.owner.slash(world.channel, "plexadmin panel")).response)
    assert "newer version" in answer.text
    assert world.rows("guilds")[0]["role_id"] == role.id


# --- who is told ---


async def test_whoever_chose_last_is_told_what_does_not_work_any_more(world: World) -> None:
    helper, role = await set_up_by(world, "helper")
    await delete(world, role)
    assert (told(world, helper), told(world, world.owner)) == (1, 0)


@pytest.mark.parametrize("how", ["has left", "may not manage it", "had everything deleted"])
async def test_the_servers_owner_is_told_where_whoever_chose_last_answers_for_it_no_more(
    world: World, how: str
) -> None:
    helper, role = await set_up_by(world, "helper")
    await stop_managing(world, helper, how)
    await delete(world, role)
    assert (told(world, helper), told(world, world.owner)) == (0, 1)
    assert world.rows("notices") == []


async def test_while_discord_does_not_say_who_may_manage_the_server_nobody_is_told(world: World) -> None:
    helper, role = await set_up_by(world, "helper")
    await stop_managing(world, helper, "has left")
    world.env.inject_error("GET", f"/guilds/*/members/{helper.id}", status=503, code=0, times=None)
    await delete(world, role)
    await world.restart()
    await world.advance(60)
    assert (told(world, helper), told(world, world.owner)) == (0, 0)
    world.env.backend.faults.clear()
    await world.advance(600)
    assert (told(world, helper), told(world, world.owner)) == (0, 1)


async def test_a_server_that_the_bot_has_left_is_nobodys_concern(world: World) -> None:
    helper, role = await set_up_by(world, "helper")
    world.env.inject_error("GET", f"/guilds/*/members/{helper.id}", status=503, code=0, times=None)
    await delete(world, role)
    await throw_out(world)
    await world.advance(600)
    assert world.rows("notices") == []
    assert (told(world, helper), told(world, world.owner)) == (0, 0)


async def test_what_waits_for_the_answer_to_somebody_who_has_left_is_told_to_the_owner_next_time(world: World) -> None:
    helper, role = await set_up_by(world, "helper")
    world.close_dms()
    await delete(world, role)
    assert [row["user_id"] for row in world.rows("notices")] == [helper.id]
    world.open_dms()
    await stop_managing(world, helper, "has left")
    world.write("UPDATE plexlink_guilds SET panel_channel_id = 1, panel_message_id = 2")
    await backdate(world, "guilds", "reconciled_at", hours=24)
    assert (told(world, helper), told(world, world.owner)) == (0, 1)


async def test_what_was_to_be_told_to_somebody_who_has_everything_deleted_is_told_to_the_owner(world: World) -> None:
    helper, role = await set_up_by(world, "helper")
    world.env.inject_error("GET", f"/guilds/*/members/{helper.id}", status=503, code=0, times=None)
    await delete(world, role)
    assert [row["user_id"] for row in world.rows("notices")] == [helper.id]
    await have_all_deleted(world, helper)
    await world.advance(5)
    assert (told(world, helper), told(world, world.owner)) == (0, 1)
    assert world.rows("notices") == []


async def test_an_owner_who_is_to_be_told_already_is_not_told_twice(world: World) -> None:
    helper, role = await set_up_by(world, "helper")
    world.close_dms()
    await stop_managing(world, helper, "has left")
    await delete(world, role)
    world.write("UPDATE plexlink_guilds SET panel_channel_id = 1, panel_message_id = 2")
    await backdate(world, "guilds", "reconciled_at", hours=24)
    assert [(row["user_id"], row["is_held"]) for row in world.rows("notices")] == [(world.owner.id, 1)]
    world.open_dms()
    assert Card(await show_setup(world)).text.count("needs a look") == 1
