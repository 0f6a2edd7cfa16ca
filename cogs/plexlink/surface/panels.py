"""Panels: a card in a channel of a server, with a button that begins to link whoever presses it."""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

import discord

from ..errors import NotifyError
from . import views
from .calls import code_of, in_time, is_final

if TYPE_CHECKING:
    from discord.ext import commands

    from .guilds import Guilds

_GONE = {
    10003,  # unknown channel
    10008,  # unknown message
}


def can_write_in(channel: discord.abc.GuildChannel) -> bool:
    """Tell whether the bot may see a channel and send messages in it."""
    may = channel.permissions_for(channel.guild.me)
    return may.view_channel and may.send_messages


class DiscordPanels:
    """Post panels, delete them, and look whether they are there; see `work.panels.PanelKeeper`."""

    def __init__(self, *, bot: commands.Bot, guilds: Guilds) -> None:
        self._bot = bot
        self._guilds = guilds

    async def post(self, channel: discord.TextChannel) -> int | None:
        """Post a panel; return its id, or nothing where Discord does not let us.

        Raises:
            NotifyError: Discord does not say whether it is there.

        """
        view, nonce = views.panel(channel.guild.id), secrets.token_urlsafe(16)
        async with in_time():
            try:
                return (await channel.send(view=view, nonce=nonce)).id
            except discord.HTTPException as error:
                if not is_final(error):
                    raise
                return None

    async def remove(self, *, channel_id: int, message_id: int) -> None:
        """Delete a panel, if Discord lets us; one that stays still works."""
        with suppress(NotifyError):
            async with in_time():
                await self._message(channel_id, message_id).delete()

    async def is_gone(self, *, guild_id: int, channel_id: int, message_id: int) -> bool:
        """Tell whether a panel is gone; see `work.panels.PanelKeeper`. One that we may not see may still be there."""
        async with in_time():
            await self._guilds.find(guild_id)
            try:
                await self._bot.get_partial_messageable(channel_id).fetch_message(message_id)
            except discord.HTTPException as error:
                if not is_final(error):
                    raise
                return code_of(error) in _GONE
        return False

    def _message(self, channel_id: int, message_id: int) -> discord.PartialMessage:
        return self._bot.get_partial_messageable(channel_id).get_partial_message(message_id)
