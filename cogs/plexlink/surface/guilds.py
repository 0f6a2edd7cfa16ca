"""Servers as Discord shows them: this process's own through the gateway, those of other processes through the REST API.

Discord sends the events of a server to one shard; the process that works has to do with all of them.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import discord

from ..errors import NotifyError
from ..shards import ALL_SHARDS, Shards

if TYPE_CHECKING:
    from discord.ext import commands

_REMEMBERED_SECONDS = 60.0
"""Names and roles that another process hears of are looked up again after so long."""

NO_MEMBER = (10007, 10013)  # unknown member, unknown user


def shards_of(bot: commands.Bot) -> Shards:
    """Return which shards a bot runs; a host's bot that says nothing runs them all."""
    chosen = getattr(bot, "plexlink_shards", None)
    if isinstance(chosen, Shards):
        return chosen
    one, count = getattr(bot, "shard_id", None), getattr(bot, "shard_count", None)
    ids = getattr(bot, "shard_ids", None) or ([] if one is None else [one])
    return Shards(tuple(sorted(ids)), count) if ids and count else ALL_SHARDS


async def member_of(guild: discord.Guild, user_id: int) -> discord.Member | None:
    """Return a member of a server; nothing where they are not there, or not any more.

    Discord is asked each time: without the members intent it does not tell who has left, or lost a role.

    Raises:
        discord.HTTPException: as Discord answers.

    """
    try:
        return await guild.fetch_member(user_id)
    except discord.NotFound as error:
        if error.code in NO_MEMBER:
            return None
        raise


class Guilds:
    """Look servers up, wherever their events go."""

    def __init__(self, *, bot: commands.Bot) -> None:
        self._bot = bot
        self._remembered: dict[int, tuple[float, discord.Guild]] = {}
        self._me: dict[int, tuple[discord.Guild, discord.Member]] = {}

    def shown(self, guild_id: int) -> discord.Guild | None:
        """Return a server as far as it is known without asking."""
        guild = self._bot.get_guild(guild_id)
        if guild is None and guild_id in self._remembered:
            return self._remembered[guild_id][1]
        return guild

    @property
    def tell_members(self) -> bool:
        """Whether Discord tells this bot who the members of servers are."""
        return self._bot.intents.members

    async def recall(self, *guild_ids: int | None) -> None:
        """Look up what other processes hear of, so that it is known; what Discord does not show stays unknown."""
        for guild_id in guild_ids:
            if guild_id is not None and self._is_elsewhere(guild_id):
                with suppress(discord.HTTPException):
                    await self._fetch(guild_id)

    async def find(self, guild_id: int) -> discord.Guild:
        """Return a server.

        Raises:
            NotifyError: Discord does not show it at present.
            discord.HTTPException: as Discord answers.

        """
        if self._is_elsewhere(guild_id):
            return await self._fetch(guild_id)
        guild = self._bot.get_guild(guild_id)
        if guild is None or guild.unavailable:
            raise NotifyError("Discord does not show the server at present")
        return guild

    async def find_channel(self, guild_id: int, channel_id: int) -> discord.TextChannel | None:
        """Return a text channel of a server; nothing where there is none with this id. Raise as `find` does."""
        guild = await self.find(guild_id)
        channel = (
            await guild.fetch_channel(channel_id) if self._is_elsewhere(guild_id) else guild.get_channel(channel_id)
        )
        return channel if isinstance(channel, discord.TextChannel) else None

    async def find_me(self, guild: discord.Guild) -> discord.Member:
        """Return the bot as a member of a server. Raise as `find` does."""
        if not self._is_elsewhere(guild.id):
            if guild.me is None:
                raise NotifyError("Discord does not show the server at present")
            return guild.me
        return await self._fetch_me(guild)

    def _is_elsewhere(self, guild_id: int) -> bool:
        return self._bot.get_guild(guild_id) is None and not shards_of(self._bot).have(guild_id)

    async def _fetch_me(self, guild: discord.Guild) -> discord.Member:
        """Return the bot as a member, asked for once for each time that the server was."""
        known = self._me.get(guild.id)
        if known is not None and known[0] is guild:
            return known[1]
        me = await guild.fetch_member(self._bot.user.id if self._bot.user else 0)
        self._me = {key: kept for key, kept in self._me.items() if key in self._remembered}
        self._me[guild.id] = guild, me
        return me

    async def _fetch(self, guild_id: int) -> discord.Guild:
        now = time.monotonic()
        self._remembered = {key: kept for key, kept in self._remembered.items() if kept[0] > now - _REMEMBERED_SECONDS}
        if guild_id not in self._remembered:
            self._remembered[guild_id] = now, await self._bot.fetch_guild(guild_id, with_counts=False)
        return self._remembered[guild_id][1]
