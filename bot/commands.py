"""The slash commands at Discord are compared with ours, in each server by itself, and mended where they differ."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import aiohttp
import discord

from plexlink.files import OWNER_ONLY

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from discord.ext import commands

_log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 60.0
_LONGEST_PAUSE_SECONDS = 3600.0
_LONGEST_REASON = 200

_NO_ACCESS = 50001
"""The bot is not in the server, or was invited without commands."""

Json = dict[str, Any]
Place = int | None
"""A server, or everywhere."""

Key = tuple[str, int]
"""A command's name and type: one that is typed and one of a menu may have the same name."""


class CommandList:
    """Keep what Discord offers the same as what the bot has.

    What other programs have added to the same application stays. What an earlier start has noted is only a hint: the
    servers that are not chosen any more are looked at once more.
    """

    def __init__(self, bot: commands.AutoShardedBot, *, guilds: Sequence[int], record: Path, invite: str) -> None:
        self._bot = bot
        self._guilds = guilds
        self._record = record
        self._invite = invite
        self._missing: dict[Place, str] = {}
        self._away: dict[Place, Exception] = {}
        self._trying: asyncio.Task[None] | None = None

    @property
    def missing(self) -> list[str]:
        """Say for each place where commands are missing why that is so."""
        return list(self._missing.values())

    @property
    def is_nowhere(self) -> bool:
        """Whether no place that should have the commands has them."""
        return self._missing.keys() >= self._homes()

    def _homes(self) -> set[Place]:
        return {*self._guilds} or {None}

    async def compare(self) -> None:
        """Compare and mend all places; what Discord refuses is logged, and tried again by and by.

        Raises what says that Discord is away: it cannot be reached, or fails wherever there should be commands.
        """
        await self._mend_all([None, *dict.fromkeys([*self._guilds, *_read(self._record)])])
        if self._away.keys() >= self._homes():
            raise next(iter(self._away.values()))
        self._plan_again()
        try:
            _write(self._record, [*dict.fromkeys([*self._guilds, *filter(None, self._away)])])
        except OSError as error:
            _log.warning("bot.commands_not_noted: %s", type(error).__name__)

    async def joined(self, guild_id: int) -> None:
        """Compare and mend what a server has that the bot has come to; what fails is tried again by and by."""
        await self._try([None, *(each for each in self._guilds if each == guild_id)])

    async def stop(self) -> None:
        """Try no more."""
        if self._trying is not None:
            self._trying.cancel()
            with suppress(asyncio.CancelledError):
                await self._trying

    async def _mend_all(self, places: Iterable[Place]) -> None:
        mended = [place for place in places if await self._mend(place)]
        if mended:
            _log.info("bot.commands_synchronised %s", ", ".join(map(_name, mended)))

    def _plan_again(self) -> None:
        if self._unfinished() and (self._trying is None or self._trying.done()):
            self._trying = asyncio.create_task(self._try_again(), name="plexlink-commands")

    def _unfinished(self) -> list[Place]:
        return list(self._missing | self._away)

    async def _try_again(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while self._unfinished():
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            await self._try(self._unfinished())

    async def _try(self, places: Sequence[Place]) -> None:
        try:
            await self._mend_all(places)
        except (aiohttp.ClientError, OSError) as error:
            for place in places:
                self._put_off(place, error)
        self._plan_again()

    async def _mend(self, place: Place) -> bool:
        """Make one place as it should be; tell whether it was not. At this place alone Discord may fail."""
        wanted = self._wanted(place)
        self._away.pop(place, None)
        try:
            has_changed, refused = await self._replace(place, wanted)
        except discord.DiscordServerError as error:
            self._put_off(place, error)
            return False
        except (discord.HTTPException, discord.RateLimited) as error:
            if wanted:
                self._complain(place, self._reason(error))
            return False
        if refused:
            self._complain(place, "; ".join(f"{', '.join(names)}: {reason}" for reason, names in refused.items()))
        else:
            self._missing.pop(place, None)
        return has_changed

    def _put_off(self, place: Place, error: Exception) -> None:
        """Leave a place where Discord fails for later."""
        self._away[place] = error
        if self._wanted(place):
            self._complain(place, f"Discord cannot be reached: {type(error).__name__}; the bot tries again")

    def _wanted(self, place: Place) -> dict[Key, Json]:
        scope = None if place is None else discord.Object(place)
        return _by_key(command.to_dict(self._bot.tree) for command in self._bot.tree.get_commands(guild=scope))

    async def _replace(self, place: Place, wanted: dict[Key, Json]) -> tuple[bool, dict[str, list[str]]]:
        """Ask for the difference only, so that nothing of somebody else's can be lost or refused.

        Tell whether anything has changed, and for which reasons which commands were refused.
        """
        found = _by_key(await self._call("get", place))
        ours = set().union(*(self._wanted(each) for each in (None, *self._guilds)))
        outdated = [command for key, command in wanted.items() if not _is_as(command, found.get(key))]
        leftover = [command for key, command in found.items() if key in ours - wanted.keys()]
        if not outdated and not leftover:
            return False, {}
        if found.keys() <= ours:
            await self._call("bulk_upsert", place, list(wanted.values()))
            return True, {}
        refused: dict[str, list[str]] = {}
        for command in outdated:
            try:
                await self._call("upsert", place, command)
            except discord.DiscordServerError:
                raise
            except discord.HTTPException as error:  # where somebody else's fill the place, some of ours have room
                refused.setdefault(self._reason(error), []).append(command["name"])
        for command in leftover:
            await self._call("delete", place, command["id"])
        return len(leftover) + len(outdated) > sum(map(len, refused.values())), refused

    async def _call(self, verb: str, place: Place, *body: object) -> Any:  # noqa: ANN401 - Discord's JSON
        kind = "global" if place is None else "guild"
        many = "s" if verb in {"get", "bulk_upsert"} else ""
        call = getattr(self._bot.http, f"{verb}_{kind}_command{many}")
        return await call(self._bot.application_id, *(() if place is None else (place,)), *body)

    def _complain(self, place: Place, reason: str) -> None:
        """Log what is wrong and what mends it, once for as long as it is the same."""
        sentence = f"{_name(place)}: {reason}"
        if self._missing.get(place) != sentence:
            _log.warning("bot.commands_missing %s", sentence)
        self._missing[place] = sentence

    def _reason(self, error: discord.HTTPException | discord.RateLimited) -> str:
        if isinstance(error, discord.RateLimited):
            return f"Discord takes no more commands for {error.retry_after:.0f} s; the bot tries again"
        code = error.code if type(error.code) is int else 0  # what answers instead of Discord may write anything
        if code == _NO_ACCESS:
            return f"the bot is not there, or may not have commands; invite it with {self._invite}"
        said = "".join(filter(str.isprintable, str(error.text)))[:_LONGEST_REASON]
        return f"Discord said {said!r} (HTTP {error.status}, code {code}); the bot tries again"


def _name(place: Place) -> str:
    return "everywhere" if place is None else f"server {place}"


def _by_key(commands: Iterable[Json]) -> dict[Key, Json]:
    return {(command["name"], command.get("type", 1)): command for command in commands}


def _is_as(wanted: Json, found: Json | None) -> bool:
    """Tell whether a command at Discord is what we would send; what it does not mention is what it was not told."""
    return found is not None and all(_plain(found.get(name)) == _plain(value) for name, value in wanted.items())


def _plain(value: object) -> object:
    if isinstance(value, list) and all(isinstance(each, int) for each in value):
        return sorted(value) or None
    return str(value) if type(value) is int else value or None


def _write(record: Path, guilds: Sequence[int]) -> None:
    record.touch(mode=OWNER_ONLY)
    record.chmod(OWNER_ONLY)
    record.write_text(json.dumps({"guilds": list(guilds)}))


def _read(record: Path) -> list[int]:
    try:
        known = json.loads(record.read_text())
    except (OSError, ValueError, RecursionError):  # the last of brackets in brackets
        return []
    guilds = known.get("guilds") if isinstance(known, dict) else None
    return [each for each in guilds if type(each) is int] if isinstance(guilds, list) else []
