"""PlexLink: connect Plex accounts to Discord members.

Load it into a discord.py bot with ``await bot.load_extension("plexlink")``. A host that wants to give the settings
itself, instead of environment variables, sets ``bot.plexlink_settings`` to `PlexLinkSettings` before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord

from .errors import PlexLinkError
from .settings import PlexLinkSettings, open_environment
from .wiring import build

if TYPE_CHECKING:
    from discord.ext import commands

__all__ = ["PlexLinkError", "PlexLinkSettings", "setup"]


async def setup(bot: commands.Bot) -> None:
    """Add the cog; discord.py calls this when the extension is loaded."""
    # No isinstance: after a reload the host still holds an instance of the former class.
    settings: PlexLinkSettings | None = getattr(bot, "plexlink_settings", None)
    if settings is None:
        settings = PlexLinkSettings.load(open_environment())
    cog = build(bot, settings)
    guilds = [discord.Object(guild_id) for guild_id in settings.guilds]
    try:
        await bot.add_cog(cog, guilds=guilds or discord.utils.MISSING)
    except BaseException:
        # discord.py loads a cog before it adds its commands, and does not unload it when the host has such a one.
        await cog.cog_unload()
        raise
