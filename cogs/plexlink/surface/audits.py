"""The channels in which the owners of servers read their audit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import ui

from ..errors import NotifyError
from . import audit_lines, views
from .notifier import in_time, is_final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from discord.ext import commands

    from ..models import AuditLine


class DiscordAudits:
    """Post what happens; see `work.audits.AuditChannel`."""

    def __init__(self, *, bot: commands.Bot) -> None:
        self._bot = bot

    async def tell(self, *, guild_id: int, channel_id: int, lines: Sequence[AuditLine], nonce: str) -> bool:
        """Post lines as one message; see `work.audits.AuditChannel`."""
        guild = self._bot.get_guild(guild_id)
        if guild is None or guild.unavailable:
            raise NotifyError("Discord does not show the server at present")
        channel = guild.get_channel(channel_id)
        if not isinstance(channel, discord.TextChannel):
            return False
        view = views.CardView(None, ui.TextDisplay(audit_lines.text(lines)))
        async with in_time():
            try:
                await channel.send(view=view, nonce=nonce, allowed_mentions=discord.AllowedMentions.none())
            except discord.HTTPException as error:
                if not is_final(error):
                    raise
                return False
        return True
