"""A small world for tests: the real bot, simcord's Discord, and the plex.tv stand-in on a real socket."""

from __future__ import annotations

import sqlite3
import time
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import pytest
import simcord
from simcord.actors import MemberActor
from simcord.components import walk_components

from plexlink.secret import Cell, Secret
from plexlink.settings import PlexLinkSettings
from plexlink.vault import KeyRecords, Vault, read_key_file
from plexlink_bot.client import PlexLinkBot
from plexlink_bot.sandbox.plex_tv import ALICE, Account, Pin, PlexTV
from plexlink_bot.settings import BotSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import discord

SETTLE_SECONDS = 1.8
"""Just below the 2 s between two questions, so that waiting for an answer never runs into the next one."""

PATIENCE_SECONDS = 180.0
EPHEMERAL = 1 << 6


OF_THE_BOT = {field.name for field in fields(BotSettings) if field.init}


def bot_settings(data_dir: Path, plex_url: str, **options: Any) -> BotSettings:
    of_bot = {name: value for name, value in options.items() if name in OF_THE_BOT}
    of_plugin = {name: value for name, value in options.items() if name not in OF_THE_BOT}
    plexlink = PlexLinkSettings(data_dir=data_dir, **{"plex_url": plex_url, "plex_rate": 200.0, **of_plugin})
    return BotSettings(discord_token=Secret("simcord"), plexlink=plexlink, **of_bot)


class PatientEnv(simcord.Env):
    """A simulated Discord that gives a busy machine time.

    `settle_timeout` is two things at once: how near a timer must be to be waited for, and how long the bot may take
    for all that it does before. The first must be short, and the second is the machine's affair.
    """

    async def advance_time(self, seconds: float) -> None:
        """Let virtual time pass; while it does, no timer costs real time, so a busy machine is given enough of it."""
        settle, self.settle_timeout = self.settle_timeout, PATIENCE_SECONDS
        try:
            await super().advance_time(seconds)
        finally:
            self.settle_timeout = settle

    async def _settle_internal(self, **options: Any) -> None:
        deadline = time.time() + PATIENCE_SECONDS
        while True:
            try:
                return await super()._settle_internal(**options)
            except TimeoutError:
                if time.time() > deadline:
                    raise
                options["_deadline"] = None


class PatientRun(simcord.run):
    """Run a bot of somebody else's as `simcord.run` does, on a `PatientEnv`."""

    def __init__(self, bot: discord.Client, **options: Any) -> None:
        self._env = PatientEnv(bot, **options)


@dataclass
class World:
    env: simcord.Env
    plex: PlexTV
    data_dir: Path
    options: dict[str, Any]
    guild: Any

    def __post_init__(self) -> None:
        self.channel = self.guild.create_text_channel("general")
        self.alice = self.join("alice")
        self.owner = MemberActor(self.env, self.guild, self.guild.owner)

    def join(self, name: str) -> Any:
        return self.guild.add_member(self.env.create_user(name))

    async def plexlink(self, member: Any = None) -> Any:
        return await (member or self.alice).slash(self.channel, "plexlink")

    def close_dms(self, code: int = 50007) -> None:
        self.env.inject_error("POST", "/channels/*/messages", status=403, code=code, times=None)

    def open_dms(self) -> None:
        self.env.backend.faults.clear()

    def pin(self, number: int = -1) -> Pin:
        return list(self.plex.pins.values())[number]

    def approve(self, account: Account = ALICE, number: int = -1) -> str:
        return self.plex.approve(self.pin(number).code, account)

    async def link(self, member: Any = None, account: Account = ALICE) -> str:
        """Link a member; return the token."""
        await self.plexlink(member)
        token = self.approve(account)
        await self.advance(6)
        return token

    def asked(self) -> int:
        """How often plex.tv was asked about a PIN."""
        return sum(call.method == "GET" and "/pins/" in call.path for call in self.plex.requests)

    def rows(self, table: str) -> list[dict[str, Any]]:
        """What lies in the database, read as any other program would."""
        with closing(sqlite3.connect(self.data_dir / "plexlink.sqlite3")) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(f"SELECT * FROM plexlink_{table} ORDER BY rowid")]  # noqa: S608 - a test's own table names

    def write(self, statement: str, *values: Any) -> None:
        """Change what lies in the database behind the bot's back."""
        with closing(sqlite3.connect(self.data_dir / "plexlink.sqlite3", isolation_level=None)) as connection:
            connection.execute(statement, values)

    async def stored_token(self, member: Any = None) -> str:
        """The member's token, decrypted through a vault of our own."""
        member = member or self.alice
        settings = bot_settings(self.data_dir, self.plex.url).plexlink
        records = {row["name"]: row["value"] for row in self.rows("keys")}
        ring = read_key_file(settings.key_file)
        vault = Vault(ring=ring, records=KeyRecords(**records), reload=lambda: ring)
        (row,) = (row for row in self.rows("links") if row["user_id"] == member.id)
        return vault.decrypt(
            row["token_envelope"], Cell("plexlink_links", "token_envelope", row["id"], member.id)
        ).reveal()

    async def advance(self, seconds: float) -> None:
        """Let virtual time pass."""
        await self.env.advance_time(seconds)

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def stop(self) -> None:
        await self.env.bot.unload_extension("plexlink")

    async def start(self) -> None:
        await self.env.restart_bot(PlexLinkBot(bot_settings(self.data_dir, self.plex.url, **self.options)))

    def messages(self, member: Any = None) -> list[Any]:
        member = member or self.alice
        channel = getattr(member, "user", member).dm_channel
        stored = self.env.backend.messages.get(channel.id, {})
        messages = stored.values() if isinstance(stored, dict) else stored
        return [message for message in messages if not message.flags & EPHEMERAL]

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
        self.attachments = message.attachments

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
async def a_world(
    data_dir: Path, *, settle: float = SETTLE_SECONDS, guild_id: int | None = None, **options: Any
) -> AsyncIterator[World]:
    clock: dict[str, simcord.Env] = {}
    # An idle connection would be looked at every 15 s of a day that passes in a moment.
    now = lambda: clock["env"].now()  # noqa: E731, PLW0108 - the environment comes later
    plex_tv = PlexTV(now=now, keeps_connections=False)
    # What is done daily begins at a random hour, and a test that counts questions must not meet it by chance.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("random.random", lambda: 0.5)
        async with plex_tv as plex:
            bot = PlexLinkBot(bot_settings(data_dir, plex.url, **options))
            # simcord.run() sets context variables that a fixture's teardown cannot reset.
            env = clock["env"] = PatientEnv(bot, shard_count=1, settle_timeout=settle)
            guild = env.create_guild("Home *Cinema*", id=guild_id)
            await env.start()
            try:
                yield World(env, plex, data_dir, options, guild)
                env.raise_errors()
            finally:
                await env.bot.unload_extension("plexlink")
                await env.shutdown()
