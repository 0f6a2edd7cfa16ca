"""The channels in which the owners of servers read their audit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import ui

from . import audit_lines, views
from .calls import in_time, is_final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..audit import AuditLine
    from .guilds import Guilds


class DiscordAudits:
    """Post what happens; see `work.audits.AuditChannel`."""

    def __init__(self, *, guilds: Guilds) -> None:
        self._guilds = guilds

    async def tell(self, *, guild_id: int, channel_id: int, lines: Sequence[AuditLine], nonce: str) -> bool:
        """Post lines as one message; see `work.audits.AuditChannel`."""
        view = views.CardView(None, ui.TextDisplay(audit_lines.text(lines)))
        async with in_time():
            try:
                channel = await self._guilds.find_channel(guild_id, channel_id)
                if channel is None:
                    return False
                await channel.send(view=view, nonce=nonce, allowed_mentions=discord.AllowedMentions.none())
            except discord.HTTPException as error:
                if not is_final(error):
                    raise
                return False
        return True
