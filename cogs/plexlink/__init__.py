"""PlexLink: connect Plex accounts to Discord members.

Load it into a discord.py bot with ``await bot.load_extension("plexlink")``. A host that wants to give the settings
itself, instead of environment variables, sets ``bot.plexlink_settings`` to `PlexLinkSettings` before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord

from .errors import PlexLinkError, SettingError
from .events import Linked, TokenDead, Unlinked
from .settings import PlexLinkSettings, open_environment
from .surface.cog import PlexLink
from .tokens import Grant
from .wiring import build

if TYPE_CHECKING:
    from discord.ext import commands

__all__ = [
    "Grant",
    "Linked",
    "PlexLink",
    "PlexLinkError",
    "PlexLinkSettings",
    "TokenDead",
    "Unlinked",
    "setup",
]


async def setup(bot: commands.Bot) -> None:
    """Add the cogs; discord.py calls this when the extension is loaded."""
    # No isinstance: after a reload the host still holds an instance of the former class.
    settings: PlexLinkSettings | None = getattr(bot, "plexlink_settings", None)
    if settings is None:
        settings = PlexLinkSettings.load(open_environment())
    elif not hasattr(settings, "data_dir"):
        raise SettingError("bot.plexlink_settings must be a plexlink.PlexLinkSettings.")
    guilds = [discord.Object(guild_id) for guild_id in settings.guilds]
    added: list[commands.Cog] = []
    cog: commands.Cog
    try:
        for cog in build(bot, settings):
            added.append(cog)
            await bot.add_cog(cog, guilds=guilds or discord.utils.MISSING)
    except BaseException:
        for cog in reversed(added):
            if bot.get_cog(cog.qualified_name) is cog:
                await bot.remove_cog(cog.qualified_name)
            else:
                # discord.py loads a cog before it adds its commands, and unloads none when the host has one like it.
                await cog.cog_unload()
        raise
