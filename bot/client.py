"""The Discord client of the process."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import discord
from discord.ext import commands

from plexlink.observations import unobserved
from plexlink.surface.cog import PlexLink

from .commands import CommandList

if TYPE_CHECKING:
    import yarl

    from plexlink.errors import DatabaseInUseError
    from plexlink.observations import Observe
    from plexlink.vitals import Vitals

    from .settings import BotSettings

_log = logging.getLogger(__name__)

_PLUGIN = "plexlink"
_COMMANDS_FILE = "commands.json"
_LONGEST_BACKOFF_EXPONENT = 6
"""Two to this power is the longest pause between two tries to reach a lost gateway, in seconds."""


# A bot without voice need not hear at every start that voice is not supported.
discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False


class PlexLinkBot(commands.AutoShardedBot):
    """A bot with the PlexLink plugin and nothing else."""

    def __init__(self, settings: BotSettings, *, shard_count: int | None = None, observe: Observe = unobserved) -> None:
        intents = discord.Intents.none()
        intents.guilds = True  # the names of servers and roles; nothing here is privileged
        intents.members = settings.members_intent
        super().__init__(
            command_prefix=commands.when_mentioned,
            help_command=None,
            intents=intents,
            shard_count=settings.shards.count or shard_count,
            shard_ids=list(settings.shards.ids) or None,  # type: ignore[arg-type] # nothing: all of them
            proxy=None if settings.discord_proxy is None else settings.discord_proxy.reveal(),
            max_messages=None,
            member_cache_flags=discord.MemberCacheFlags.none(),
            allowed_mentions=discord.AllowedMentions.none(),
            max_ratelimit_timeout=60.0,
            guild_ready_timeout=0.5,
            chunk_guilds_at_startup=False,
        )
        self.plexlink_settings = settings.plexlink
        self.plexlink_shards = settings.shards
        self.plexlink_observe = observe
        self.is_replaced = asyncio.Event()
        self.replacement: DatabaseInUseError | None = None
        """The sentence about another process that runs this one's shards by now."""
        self._gives_roles = settings.roles
        self._command_list: CommandList | None = None

    @property
    def is_connected(self) -> bool:
        """Whether the connection to Discord stands, on every shard; without shards, whether the plugin is loaded."""
        if self.plexlink_shards.are_none:
            return self.vitals is not None and not self.is_closed()
        return self.is_ready() and not self.is_closed() and not any(shard.is_closed() for shard in self.shards.values())

    @property
    def lacks_commands(self) -> bool:
        """Whether Discord has our commands nowhere."""
        if not self.plexlink_shards.have_first:
            return False  # that is another process's to know
        return self._command_list is None or self._command_list.is_nowhere

    @property
    def commands_missing(self) -> int:
        """In how many places Discord does not have our commands."""
        return 0 if self._command_list is None else len(self._command_list.missing)

    @property
    def vitals(self) -> Vitals | None:
        """How the plugin is, once it is loaded."""
        cog = self.get_cog("PlexLink")
        return cog.vitals if isinstance(cog, PlexLink) else None

    async def setup_hook(self) -> None:
        """Load the plugin, and see that Discord has its commands."""
        if _PLUGIN not in self.extensions:  # it is there already where only the telling failed
            await self.load_extension(_PLUGIN)
        if self._command_list is None:
            settings = self.plexlink_settings
            self._command_list = CommandList(
                self, guilds=settings.guilds, record=settings.data_dir / _COMMANDS_FILE, invite=self.invite_url()
            )
        if self.plexlink_shards.have_first:  # of several processes, one is enough
            await self._command_list.compare()

    async def close(self) -> None:
        """Stop."""
        if self._command_list is not None:
            await self._command_list.stop()
        await super().close()

    async def on_plexlink_replaced(self, error: DatabaseInUseError) -> None:
        """Let whoever runs the bot end it: two that run the same shards would answer every member twice."""
        self.replacement = error
        self.is_replaced.set()

    def stand_by(self) -> None:
        """Go on with the work without a gateway: no shard is this process's, and Discord's API is all that it needs."""
        cog = self.get_cog("PlexLink")
        if isinstance(cog, PlexLink) and cog.desk is not None:
            cog.desk.resume()
        _log.info("bot.standing_by: no shard is this process's, but the work may be")

    async def launch_shard(self, gateway: yarl.URL, shard_id: int, *, initial: bool = False) -> None:
        """Connect a shard that comes back soon after the gateway does, however long it was gone."""
        await super().launch_shard(gateway, shard_id, initial=initial)
        shard = self.get_shard(shard_id)
        if shard is not None:
            # After an hour without a gateway, discord.py would wait up to 17 minutes between two tries.
            shard._parent._backoff._max = _LONGEST_BACKOFF_EXPONENT  # noqa: SLF001

    async def on_ready(self) -> None:
        """Say that we are there, and how to invite us."""
        _log.info("bot.ready user=%s servers=%d invite=%s", self.user, len(self.guilds), self.invite_url())
        for missing in self._command_list.missing if self._command_list else ():
            _log.warning("bot.ready_without_commands %s", missing)

    async def on_shard_resumed(self, shard_id: int) -> None:
        """Say that a connection which broke is there again."""
        _log.info("bot.resumed shard=%d", shard_id)

    async def on_guild_join(self, guild: discord.Guild) -> None:
        """See that a server has the commands, whenever it was joined."""
        if self._command_list is not None:
            await self._command_list.joined(guild.id)

    def invite_url(self) -> str:
        """Return a link that adds the bot to a server with exactly what it needs.

        That is commands and no permission; that to manage roles where the host wants roles given.
        """
        return discord.utils.oauth_url(
            self.application_id or 0,
            permissions=discord.Permissions(manage_roles=self._gives_roles),
            scopes=("bot", "applications.commands"),
        )
