"""Roles follow links, through the real bot and a Discord with roles and permissions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import discord

from harness import Card

if TYPE_CHECKING:
    from harness import World


def make_role(world: World, name: str = "Plex", **permissions: bool) -> Any:
    return world.guild.create_role(name, permissions=discord.Permissions(**permissions))


def bot_role(world: World, **permissions: bool) -> Any:
    """The bot's own role, above all that were made before."""
    role = make_role(world, "PlexLink", **(permissions or {"manage_roles": True}))
    world.env.backend.add_member_role(world.guild.id, world.env.backend.bot_user.id, role.id)
    return role


def roles_of(world: World, member: Any) -> set[int]:
    return set(world.env.backend.get_member(world.guild.id, member.id).role_ids)


async def set_up(world: World, role: Any, channel: Any = None, *, owner: Any = None) -> Card:
    """Choose as an owner does."""
    owner = owner or world.owner
    response = (await owner.slash(world.channel, "plexadmin setup")).response
    result = await owner.select(response, [role] if role else [], custom_id=part(response, "role"))
    if channel is not None:
        result = await owner.select(result.response, [channel], custom_id=part(result.response, "channel"))
    result = await owner.click(result.response, label="Apply")
    return Card(result.response)


def part(message: Any, action: str) -> str:
    return next(each["custom_id"] for each in Card(message).parts if f":{action}:" in each.get("custom_id", ""))


async def test_who_links_gets_the_role_and_who_unlinks_loses_it(world: World) -> None:
    role = make_role(world)
    bot_role(world)
    assert "saved ✓" in (await set_up(world, role)).text
    await world.link()
    assert roles_of(world, world.alice) == {role.id}
    assert "Role *Plex* added ✓" in world.card().text
    response = (await world.alice.slash(world.channel, "plexunlink")).response
    await world.alice.click(response, label="Unlink")
    await world.advance(10)
    assert roles_of(world, world.alice) == set()
    assert "Role *Plex* removed in *Home \\*Cinema\\** ✓" in Card(response).text
