"""A small world for tests: the real bot, simcord's Discord, and the plex.tv stand-in on a real socket."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import simcord
from simcord.components import walk_components

from plexlink.models import Secret
from plexlink.settings import PlexLinkSettings
from plexlink_bot.client import PlexLinkBot
from plexlink_bot.sandbox.plex_tv import PlexTV
from plexlink_bot.settings import BotSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SETTLE_SECONDS = 2.5
"""Just below the first poll interval of 3 s, so that waiting for an answer never runs into the next question."""

STEP_SECONDS = 2.0


def bot_settings(data_dir: Path, plex_url: str, **others: Any) -> BotSettings:
    plexlink = PlexLinkSettings.in_folder(data_dir, **{"plex_url": plex_url, "plex_rate": 200.0, **others})
    return BotSettings(discord_token=Secret("simcord"), plexlink=plexlink)


@dataclass
class World:
    env: simcord.Env
    plex: PlexTV
    data_dir: Path
    options: dict[str, Any]

    def __post_init__(self) -> None:
        self.guild = self.env.create_guild("Home *Cinema*")
        self.channel = self.guild.create_text_channel("general")
        self.alice = self.join("alice")

    def join(self, name: str) -> Any:
        return self.guild.add_member(self.env.create_user(name))

    async def plexlink(self, member: Any = None) -> Any:
        return await (member or self.alice).slash(self.channel, "plexlink")

    async def advance(self, seconds: float) -> None:
        while seconds > 0:
            await self.env.advance_time(min(seconds, STEP_SECONDS))
            seconds -= STEP_SECONDS

    async def restart(self) -> None:
        await self.env.bot.unload_extension("plexlink")
        await self.env.restart_bot(PlexLinkBot(bot_settings(self.data_dir, self.plex.url, **self.options)))

    def messages(self, member: Any = None) -> list[Any]:
        channel = (member or self.alice).user.dm_channel
        stored = self.env.backend.messages.get(channel.id, {})
        return list(stored.values() if isinstance(stored, dict) else stored)

    def card(self, member: Any = None) -> Card:
        (message,) = self.messages(member)
        return Card(message)

    async def press(self, label: str, member: Any = None) -> Any:
        member = member or self.alice
        return await member.user.click(member.user.dm_channel.last_message, label=label)


class Card:
    """What a member sees of one message."""

    def __init__(self, message: Any) -> None:
        self.id = message.id
        self.message = message
        self.parts = list(walk_components(message.components))

    @property
    def text(self) -> str:
        return "\n".join(part["content"] for part in self.parts if part.get("type") == 10)

    @property
    def buttons(self) -> dict[str, str]:
        return {part["label"]: part.get("url") or part["custom_id"] for part in self.parts if part.get("type") == 2}

    @property
    def colour(self) -> int:
        return next(part["accent_color"] for part in self.parts if part.get("type") == 17)


@asynccontextmanager
async def a_world(data_dir: Path, **options: Any) -> AsyncIterator[World]:
    clock: dict[str, simcord.Env] = {}
    async with PlexTV(now=lambda: clock["env"].now()) as plex:
        bot = PlexLinkBot(bot_settings(data_dir, plex.url, **options))
        async with simcord.run(bot, shard_count=1, settle_timeout=SETTLE_SECONDS) as env:
            clock["env"] = env
            try:
                yield World(env, plex, data_dir, options)
            finally:
                await env.bot.unload_extension("plexlink")
