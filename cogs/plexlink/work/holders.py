"""Who has a server's role from other hands: once a day, and when a role is chosen, Discord is asked who has it.

It tells that only to a bot with the members intent. Without it, somebody is noticed when they next use the bot.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from .. import entitlements
from ..community import ServerTouched
from ..errors import DiscordRefusedError, NotifyError
from .agenda import Key, Kind
from .roles import DAY
from .shares import Purpose

if TYPE_CHECKING:
    from ..change import Change
    from ..clock import Clock
    from ..ledger import Ledger
    from .agenda import Agenda

_log = logging.getLogger(__name__)

_LONGEST_RETRY_SECONDS = 600.0

_MET_AT_ONCE = 100
"""So many members are compared in one transaction; others get their turn in between."""


class HolderLister(Protocol):
    """The way to the members of servers; handed in, so that nothing here knows Discord."""

    async def holders(self, *, guild_id: int, role_id: int) -> set[int] | None:
        """Return which people have a role; nothing where Discord does not tell this bot.

        Raises:
            DiscordRefusedError: Discord says that it will not tell.
            NotifyError: Discord does not say; try again.

        """
        ...


class Holders:
    """Notice who has a server's role without a link."""

    def __init__(self, *, ledger: Ledger, agenda: Agenda, lister: HolderLister, clock: Clock) -> None:
        self._ledger = ledger
        self._agenda = agenda
        self._lister = lister
        self._clock = clock

    async def find(self, change: Change) -> None:
        """Plan to look at the servers that are looked at again just now; afterwards they are not any more."""
        for server in await change.tx.servers.unreconciled(self._clock.now() - DAY):
            if server.setup.role_id is not None:
                self._agenda.put_sooner(_key(server.id), Purpose.FREE)

    async def look(self, guild_id: int) -> None:
        """Compare who has the role of a server with who is to have it."""
        async with self._ledger.change() as change:
            server = await change.tx.servers.get(guild_id)
        if server is None or server.left_at is not None or server.setup.role_id is None:
            return
        role_id = server.setup.role_id
        try:
            holders = await self._lister.holders(guild_id=guild_id, role_id=role_id)
        except DiscordRefusedError as error:
            _log.warning("role.holders_not_told server=%d, asking again tomorrow: %s", guild_id, error)
            holders = None
        except NotifyError as error:
            delay = self._agenda.retry(_key(guild_id), Purpose.FREE, longest_seconds=_LONGEST_RETRY_SECONDS)
            _log.warning("role.holders_not_seen server=%d, trying again in %.0f s: %s", guild_id, delay, error)
            return
        self._agenda.succeeded(_key(guild_id))
        if holders is not None:
            await self._compare(guild_id, role_id, holders)

    async def _compare(self, guild_id: int, role_id: int, holders: set[int]) -> None:
        async with self._ledger.change(must_last=False) as change:
            strangers = sorted(await entitlements.strangers(change.tx, guild_id, role_id, holders))
        for start in range(0, len(strangers), _MET_AT_ONCE):
            async with self._ledger.change(must_last=False) as change:
                server = await change.tx.servers.get(guild_id)
                if server is None or server.setup.role_id != role_id:
                    return
                now = self._clock.now()
                for user_id in strangers[start : start + _MET_AT_ONCE]:
                    await entitlements.meet(change.tx, server, user_id, {role_id}, now)
                change.tell(ServerTouched(guild_id))


def _key(guild_id: int) -> Key:
    return Key(Kind.HOLDERS, str(guild_id))
