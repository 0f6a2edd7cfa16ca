"""What the owner of a simulated server does, and what Discord has by then."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import discord
from simcord.actors import MemberActor
from simcord.backend.models import Overwrite
from simcord.backend.serializers import guild_create_payload
from simcord.enums import OverwriteType

from accounts import account_of
from harness import EPHEMERAL, Card
from plexlink_bot.sandbox.plex_tv import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness import World
    from plexlink_bot.sandbox.plex_tv import Account


def make_role(world: World, name: str = "Plex", **permissions: bool) -> Any:
    """Create a role; like Discord's, it comes below all others, and so below the bot's own."""
    return world.guild.create_role(name, permissions=discord.Permissions(**permissions))


def raise_role(world: World, role: Any) -> None:
    """Move a role above the bot's own, or back below it."""
    backend = world.env.backend
    top = max(each.position for each in backend.get_guild(world.guild.id).roles.values())
    is_raised = backend.get_role(world.guild.id, role.id).position == top
    backend.reorder_roles(world.guild.id, [{"id": str(role.id), "position": 1 if is_raised else top + 1}])


def stack_roles(world: World, *roles: Any) -> None:
    """Put roles in order, the lowest first, below the bot's own."""
    backend = world.env.backend
    (own,) = (each for each in backend.get_guild(world.guild.id).roles.values() if each.managed)
    order = enumerate((*roles, own), start=1)
    backend.reorder_roles(world.guild.id, [{"id": str(role.id), "position": place} for place, role in order])


def let_bot(world: World, **permissions: bool) -> None:
    """Change what the bot may do in the server."""
    backend = world.env.backend
    (role,) = (each for each in backend.get_guild(world.guild.id).roles.values() if each.managed)
    changed = discord.Permissions(role.permissions)
    changed.update(**permissions)
    backend.edit_role(world.guild.id, role.id, {"permissions": changed.value})


async def throw_out(world: World) -> None:
    """Let the bot be removed from the server, which keeps everything else."""
    world.env.backend.emit("GUILD_DELETE", {"id": str(world.guild.id)})
    await world.env.settle()


async def invite_again(world: World) -> None:
    backend = world.env.backend
    payload = dict(guild_create_payload(backend, backend.get_guild(world.guild.id)))
    del payload["unavailable"]  # which tells a server that is joined from one that is there again
    backend.emit("GUILD_CREATE", payload)
    await world.env.settle()


def roles_of(world: World, member: Any) -> list[int]:
    return list(world.env.backend.get_member(world.guild.id, member.id).role_ids)


def part(message: Any, action: str) -> str:
    """Return the custom id of a part of an owner's card."""
    return next(each["custom_id"] for each in Card(message).parts if f":{action}:" in each.get("custom_id", ""))


async def press_forged(world: World, response: Any, custom_id: str, owner: Any = None) -> Card:
    """Press a button of an owner's card whose custom id says what we like."""
    stored = world.env.backend.get_message(response.channel_id, response.id)
    button = next(part for part in Card(stored).parts if part.get("type") == 2)
    button["custom_id"], button["disabled"] = custom_id, False
    return Card((await (owner or world.owner).click(response, label=button["label"])).response)


async def show_setup(world: World, owner: Any = None) -> Any:
    return (await (owner or world.owner).slash(world.channel, "plexadmin setup")).response


async def choose(world: World, response: Any, action: str, *picked: Any, owner: Any = None) -> Any:
    """Use a select of the card; return the card as it is then."""
    return (await (owner or world.owner).select(response, picked, custom_id=part(response, action))).response


async def set_up(world: World, role: Any = None, channel: Any = None, *, owner: Any = None) -> Any:
    """Choose and apply; return the card as it is then."""
    response = await show_setup(world, owner)
    response = await choose(world, response, "role", *filter(None, [role]), owner=owner)
    if channel is not None:
        response = await choose(world, response, "channel", channel, owner=owner)
    return (await (owner or world.owner).click(response, label="Apply")).response


def memberships(world: World) -> list[tuple[Any, ...]]:
    return [(row["user_id"], row["role_id"], row["is_wanted"], row["standing"]) for row in world.rows("members")]


def deeds(world: World, guild_id: int | None = None) -> list[str]:
    """What stands in a server's audit."""
    return [row["deed"] for row in world.rows("audit") if row["guild_id"] == (guild_id or world.guild.id)]


def shut_out(world: World, channel: Any, **permissions: bool) -> None:
    """Let the bot not see a channel, or not send messages there; without a permission it may again."""
    backend = world.env.backend
    (role,) = (each for each in backend.get_guild(world.guild.id).roles.values() if each.managed)
    denied = discord.Permissions(**permissions).value
    backend.set_overwrite(channel.id, Overwrite(role.id, OverwriteType.ROLE, deny=denied))


def written_in(world: World, channel: Any) -> list[Any]:
    """What everybody can read in a channel."""
    stored = world.env.backend.messages.get(channel.id, {})
    return [message for message in stored.values() if not message.flags & EPHEMERAL]


def audited_in(world: World, channel: Any) -> list[str]:
    """The lines of the audit that stand in a channel."""
    return [line for message in written_in(world, channel) for line in Card(message).text.splitlines()]


async def write_lines(world: World, deed: str, count: int) -> None:
    """Let something happen to so many members at once, and the bot hear of it."""
    await world.env.settle()  # nobody else writes just now
    at, guild_id = world.env.now().isoformat(timespec="microseconds"), world.guild.id
    with closing(sqlite3.connect(world.data_dir / "plexlink.sqlite3")) as connection, connection:
        connection.executemany(
            "INSERT INTO plexlink_audit (at, deed, user_id, guild_id) VALUES (?, ?, ?, ?)",
            [(at, deed, user_id, guild_id) for user_id in range(1, count + 1)],
        )
    let_bot(world)  # tells of a role, and with that the bot looks
    await world.env.settle()


async def unlink(world: World, member: Any = None) -> Any:
    member = member or world.alice
    response = (await member.slash(world.channel, "plexunlink")).response
    await member.click(response, label="Unlink")
    await world.advance(10)
    return response


async def withdraw(world: World, member: Any = None) -> Any:
    """Let the owner take the role from a member; return the card as it is then."""
    question = await world.owner.slash(world.channel, "plexadmin unlink", member=member or world.alice)
    return (await world.owner.click(question.response, label="Take the role away")).response


async def let_die(world: World, token: str) -> None:
    """Let a token die and be found out, an hour before its member is told."""
    world.plex.revoke(token)
    response = (await world.alice.slash(world.channel, "plexstatus")).response
    await world.alice.click(response, label="Check now")
    await world.advance(301)


async def backdate(world: World, table: str, column: str, *, hours: float) -> None:
    """Let something have happened so long ago, and be looked at: days pass in a moment here, but not in an instant."""
    at = (world.env.now() - timedelta(hours=hours)).isoformat(timespec="microseconds")
    world.write(f"UPDATE plexlink_{table} SET {column} = ?", at)  # noqa: S608 - a test's own names
    await world.advance(301)


@contextmanager
def in_another_server(world: World) -> Iterator[None]:
    """Do everything in another server, with an owner of its own."""
    here = world.guild, world.channel, world.owner
    world.guild = world.env.create_guild("Other place")
    world.channel = world.guild.create_text_channel("general")
    world.owner = MemberActor(world.env, world.guild, world.guild.owner)
    try:
        yield
    finally:
        world.guild, world.channel, world.owner = here


HOST = account_of("host")
"""Whoever owns the Plex servers that others reach."""


def share(
    world: World, account: Account, name: str = "Basement", *, owned: bool = False, owner: Account = HOST
) -> None:
    """Let an account reach a Plex server of another one, or own it."""
    server = Server(
        name=name,
        client_identifier=machine_of(name),
        access_token=f"of-{name}",
        connections=(),
        owner_id=None if owned else owner.id,
    )
    world.plex.share(server, account)


def machine_of(name: str) -> str:
    return "machine-of-" + re.sub(r"[^a-z0-9]+", "-", name.lower())


def options(message: Any) -> dict[str, str]:
    """What the string select of a card offers: values by label."""
    (select,) = (each for each in Card(message).parts if each.get("type") == 3)
    return {each["label"]: each["value"] for each in select["options"]}


async def ask_for_plex_servers(world: World, owner: Any = None) -> Any:
    """Press the button with which an owner chooses among their Plex servers; return the card as it is then."""
    response = await show_setup(world, owner)
    return (await (owner or world.owner).click(response, label=label_of(response, "plex"))).response


def label_of(message: Any, action: str) -> str:
    parts = (each for each in Card(message).parts if f":{action}:" in each.get("custom_id", ""))
    return str(next(parts)["label"])


async def pick(world: World, response: Any, handle: str, *, owner: Any = None) -> Any:
    """Pick a Plex server on the card that offers some; return the card that says what that will mean."""
    return (await (owner or world.owner).select(response, [handle], custom_id=part(response, "plex-server"))).response


async def press(world: World, response: Any, label: str, *, owner: Any = None) -> Any:
    """Press a button of an owner's card; return the card as it is then."""
    pressed = await (owner or world.owner).click(response, label=label)
    await world.env.settle()
    return pressed.response


async def reserve(world: World, name: str = "Basement", *, owner: Any = None) -> Any:
    """Let the role be for members of a Plex server that is the owner's own; return the card as it is then."""
    response = await ask_for_plex_servers(world, owner)
    preview = await pick(world, response, options(response)[name], owner=owner)
    return await press(world, preview, "Apply", owner=owner)


async def open_to_all(world: World, *, owner: Any = None) -> Any:
    """Let the role be for everybody who has linked again; return the card as it is then."""
    preview = await press(world, await show_setup(world, owner), "Everybody who has linked", owner=owner)
    return await press(world, preview, "Apply", owner=owner)
