"""Panels: once a day it is looked whether they are still there.

That a channel was deleted Discord tells; of a message it would only if the bot heard of all messages.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from ..errors import NotifyError
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


class PanelKeeper(Protocol):
    """The way to panels; handed in, so that nothing here knows Discord."""

    async def is_gone(self, *, guild_id: int, channel_id: int, message_id: int) -> bool:
        """Tell whether Discord says that there is no such message.

        Raises:
            NotifyError: Discord does not say; try again.

        """
        ...


class Panels:
    """Notice panels that were deleted."""

    def __init__(self, *, ledger: Ledger, agenda: Agenda, keeper: PanelKeeper, clock: Clock) -> None:
        self._ledger = ledger
        self._agenda = agenda
        self._keeper = keeper
        self._clock = clock

    async def find(self, change: Change) -> None:
        """Plan to look at the panels of servers that are looked at again just now; afterwards they are not any more."""
        for server in await change.tx.servers.unreconciled(self._clock.now() - DAY):
            if server.panel_message_id is not None:
                self._agenda.put_sooner(_key(server.id), Purpose.FREE)

    async def look(self, guild_id: int) -> None:
        """Look whether the panel of a server is there."""
        async with self._ledger.change() as change:
            server = await change.tx.servers.get(guild_id)
        if server is None or server.left_at is not None or server.panel_message_id is None:
            return
        channel_id, message_id = server.panel_channel_id or 0, server.panel_message_id
        try:
            is_gone = await self._keeper.is_gone(guild_id=guild_id, channel_id=channel_id, message_id=message_id)
        except NotifyError as error:
            delay = self._agenda.retry(_key(guild_id), Purpose.FREE, longest_seconds=_LONGEST_RETRY_SECONDS)
            _log.warning("panel.not_seen server=%d, trying again in %.0f s: %s", guild_id, delay, error)
            return
        self._agenda.succeeded(_key(guild_id))
        if not is_gone:
            return
        async with self._ledger.change() as change:
            server = await change.tx.servers.get(guild_id)
            if server is not None and server.panel_message_id == message_id:
                await change.lose_panel(server)


def _key(guild_id: int) -> Key:
    return Key(Kind.PANEL, str(guild_id))
