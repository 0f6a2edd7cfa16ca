"""The Discord client of the process."""

from __future__ import annotations

import hashlib
import json
import logging
from typing import TYPE_CHECKING, Any

import discord
from discord.ext import commands

if TYPE_CHECKING:
    from pathlib import Path

    import yarl

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

    def __init__(self, settings: BotSettings, *, shard_count: int | None = None) -> None:
        intents = discord.Intents.none()
        intents.guilds = True  # the names of servers; nothing here is privileged
        super().__init__(
            command_prefix=commands.when_mentioned,
            help_command=None,
            intents=intents,
            shard_count=shard_count,
            max_messages=None,
            member_cache_flags=discord.MemberCacheFlags.none(),
            allowed_mentions=discord.AllowedMentions.none(),
            max_ratelimit_timeout=60.0,
            guild_ready_timeout=0.5,
        )
        self.plexlink_settings = settings.plexlink

    async def setup_hook(self) -> None:
        """Load the plugin and tell Discord its commands, if they have changed."""
        if _PLUGIN not in self.extensions:  # it is there already where only the telling failed
            await self.load_extension(_PLUGIN)
        await self._synchronise(self.plexlink_settings.data_dir / _COMMANDS_FILE)

    async def launch_shard(self, gateway: yarl.URL, shard_id: int, *, initial: bool = False) -> None:
        """Connect a shard that comes back soon after the gateway does, however long it was gone."""
        await super().launch_shard(gateway, shard_id, initial=initial)
        shard = self.get_shard(shard_id)
        if shard is not None:
            # After an hour without a gateway, discord.py would wait up to 17 minutes between two tries.
            shard._parent._backoff._max = _LONGEST_BACKOFF_EXPONENT  # noqa: SLF001

    async def on_ready(self) -> None:
        """Say that we are there, and how to invite us."""
        _log.info("bot.ready user=%s servers=%d", self.user, len(self.guilds))
        _log.info("bot.invite %s", self.invite_url())

    def invite_url(self) -> str:
        """Return a link that adds the bot to a server with exactly what it needs: commands, and no permission."""
        return discord.utils.oauth_url(
            self.application_id or 0,
            permissions=discord.Permissions.none(),
            scopes=("bot", "applications.commands"),
        )

    async def _synchronise(self, record: Path) -> None:
        """Replace the commands at Discord when ours differ from those that we sent last.

        Raises what says that Discord is away; a refusal is logged, because the commands of before still work.
        """
        known = _read(record)
        current = {"guilds": list(self.plexlink_settings.guilds), "fingerprint": self._fingerprint()}
        if known == current:
            return
        try:
            await self.tree.sync()
            for guild_id in {*self.plexlink_settings.guilds, *known.get("guilds", [])}:
                await self.tree.sync(guild=discord.Object(guild_id))
        except discord.DiscordServerError:
            raise
        except discord.HTTPException as error:
            code = error.code if type(error.code) is int else 0  # what answers instead of Discord may write anything
            _log.warning("bot.commands_not_synchronised: HTTP %s, code %s", error.status, code)
            return
        try:
            _write(record, current)
        except OSError as error:
            _log.warning("bot.commands_not_noted, they are sent again at the next start: %s", type(error).__name__)
        _log.info("bot.commands_synchronised")

    def _fingerprint(self) -> str:
        scopes = [None, *(discord.Object(guild_id) for guild_id in self.plexlink_settings.guilds)]
        payload = [[command.to_dict(self.tree) for command in self.tree.get_commands(guild=scope)] for scope in scopes]
        text = json.dumps([self.application_id, payload], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()


def _write(record: Path, synchronised: dict[str, Any]) -> None:
    record.touch(mode=0o600)
    record.chmod(0o600)
    record.write_text(json.dumps(synchronised))


def _read(record: Path) -> dict[str, Any]:
    try:
        known = json.loads(record.read_text())
    except (OSError, ValueError):
        return {}
    guilds = known.get("guilds") if isinstance(known, dict) else None
    is_ours = isinstance(guilds, list) and all(type(guild_id) is int for guild_id in guilds)
    return known if is_ours else {}
