"""What Discord tells of servers, their roles and their members, and what happened there while nobody listened."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from discord.ext import commands

from ..errors import StoreError, StoreUnavailableError
from .guilds import shards_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import discord

    from ..community import Server
    from ..servers import Servers
    from .cog import PlexLink

_log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 60.0
"""Between two looks which servers there are, while that cannot be kept."""


class ServerEvents(commands.Cog, name="PlexLinkServers"):
    """Take note of what happens to servers."""

    def __init__(self, *, bot: commands.Bot, plexlink: PlexLink) -> None:
        self._bot = bot
        self._plexlink = plexlink
        self._catching_up: asyncio.Task[None] | None = None

    async def cog_load(self) -> None:
        """Look which servers there are, if Discord has told already."""
        if self._bot.is_ready():
            await self._note(self._compare_servers)

    async def cog_unload(self) -> None:
        """Look no more."""
        if self._catching_up is not None:
            self._catching_up.cancel()
            await asyncio.gather(self._catching_up, return_exceptions=True)

    @commands.Cog.listener()
    async def on_ready(self) -> None:
        """Take note of servers that were left or joined again, and of roles that went, while nobody looked."""
        await self._note(self._compare_servers)

    async def _compare_servers(self, servers: Servers) -> None:
        for server in await servers.known():
            guild = self._bot.get_guild(server.id)
            if guild is not None:
                await _compare(servers, server, guild)
            elif server.left_at is None and self._is_ours(server.id):
                await servers.left(server.id)

    def _is_ours(self, guild_id: int) -> bool:
        """Tell whether this process would see a server; others may run other shards."""
        return shards_of(self._bot).have(guild_id)

    @commands.Cog.listener()
    async def on_guild_join(self, guild: discord.Guild) -> None:
        """Go on with a server that was left."""
        await self._note(lambda servers: _go_on(servers, guild))

    @commands.Cog.listener()
    async def on_guild_remove(self, guild: discord.Guild) -> None:
        """Take note that the bot was removed."""
        await self._note(lambda servers: servers.left(guild.id))

    @commands.Cog.listener()
    async def on_guild_channel_delete(self, channel: discord.abc.GuildChannel) -> None:
        """Take note that a channel is gone."""
        await self._note(lambda servers: servers.channel_gone(channel.guild.id, channel.id))

    @commands.Cog.listener()
    async def on_guild_role_delete(self, role: discord.Role) -> None:
        """Take note that a role is gone."""
        await self._note(lambda servers: servers.role_gone(role.guild.id, role.id))

    @commands.Cog.listener()
    async def on_guild_role_update(self, _: discord.Role, role: discord.Role) -> None:
        """Let what was refused be tried again."""
        await self._note(lambda servers: servers.roles_changed(role.guild.id))

    @commands.Cog.listener()
    async def on_member_update(self, before: discord.Member, member: discord.Member) -> None:
        """Take note of roles that other hands gave or took; where the bot has got another, try again what was refused.

        discord.py tells it of the bot itself always, and of members whom it has in its cache: where the host has turned
        that on, and the members intent.
        """
        if self._bot.user is not None and member.id == self._bot.user.id:
            await self._note(lambda servers: servers.roles_changed(member.guild.id))
        elif set(before.roles) != set(member.roles):
            await self._note(lambda servers: _meet(servers, member))

    @commands.Cog.listener()
    async def on_member_join(self, member: discord.Member) -> None:
        """Greet a linked member with the role; Discord tells it where the host has turned the members intent on."""
        await self._note(lambda servers: _meet(servers, member))

    @commands.Cog.listener()
    async def on_raw_member_remove(self, payload: discord.RawMemberRemoveEvent) -> None:
        """Take note that a member has left; told as `on_member_join` is."""
        await self._note(lambda servers: servers.member_left(payload.guild_id, payload.user.id))

    async def _note(self, tell: Callable[[Servers], Awaitable[object]]) -> None:
        """Tell what has happened; where that cannot be kept, it is looked which servers there are until it can."""
        if not await self._has_noted(tell) and (self._catching_up is None or self._catching_up.done()):
            self._catching_up = asyncio.create_task(self._catch_up(), name="plexlink-servers")

    async def _has_noted(self, tell: Callable[[Servers], Awaitable[object]]) -> bool:
        """Tell what has happened; return whether that was kept, or there is nobody to keep it."""
        desk = self._plexlink.desk
        try:
            if desk is not None:
                await tell(desk.servers)
        except StoreError as error:
            if not isinstance(error, StoreUnavailableError):  # of that the store has said so, once for all
                _log.warning("server.not_noted: %s", error)
            return False
        return True

    async def _catch_up(self) -> None:
        """Look which servers there are until that is kept: Discord does not say it again.

        It is no job of the agenda's, which knows nothing of what Discord's client has seen.
        """
        pause = _FIRST_PAUSE_SECONDS
        while True:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            # Before Discord has told which servers there are, all of them seem to be gone; `on_ready` looks then.
            if not self._bot.is_ready() or await self._has_noted(self._compare_servers):
                return


async def _meet(servers: Servers, member: discord.Member) -> None:
    await servers.met(member.guild.id, member.id, [role.id for role in member.roles])


async def _go_on(servers: Servers, guild: discord.Guild) -> None:
    await _compare(servers, await servers.of(guild.id), guild)


async def _compare(servers: Servers, server: Server, guild: discord.Guild) -> None:
    """Take note that a server has the bot back, or not any more the role that was chosen.

    Of a server that is unavailable, Discord shows no roles.
    """
    if server.left_at is not None:
        await servers.joined(server.id)
    role_id = server.setup.role_id
    if role_id is not None and not guild.unavailable and guild.get_role(role_id) is None:
        await servers.role_gone(server.id, role_id)
