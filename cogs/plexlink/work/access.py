"""Who is a member of the Plex server that a server's role is for: plex.tv is asked, and of its answer a yes or no kept.

One question answers it for all servers in which a member is. A yes counts at once. Whoever had access keeps it for an
hour after the first no, until a second one, so that a wave of them can be noticed, and held back, as with dead tokens.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from .. import entitlements
from ..community import Access, ServerTouched
from ..errors import PlexError, TokenRejectedError
from ..events import AccessWanted, PlexServersTold
from .agenda import Key, Kind
from .health import BELIEVED_FOR, WAVE, is_wave
from .shares import Purpose

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from ..bell import Bell
    from ..change import Change
    from ..clock import Clock
    from ..community import Server
    from ..ledger import Ledger
    from ..models import Link, PlexServer
    from ..plex import PlexClient
    from .agenda import Agenda

_log = logging.getLogger(__name__)

KEPT = timedelta(hours=1)
"""For so long whoever had access keeps it after plex.tv first said no."""

_MOST_AT_ONCE = 300
"""Questions planned by one sweep: what one request a second can do until the next one, five minutes later."""

_LONGEST_RETRY_SECONDS = 3600.0
_REFUSED_SECONDS = 3600.0
_LONGEST_REFUSED_SECONDS = 86400.0
"""A token that is refused is for the health check to look at; until then there is no use in asking with it."""


def told(before: Access, now: datetime, *, has_access: bool) -> Access:
    """Return what is known of a member after an answer; whoever had access keeps it for a while."""
    if has_access or not before.has_access:
        return replace(before, has_access=has_access, checked_at=now, lost_at=None, is_held=False)
    is_over = before.lost_at is not None and not before.is_held and now >= before.lost_at + KEPT
    if is_over:
        return replace(before, has_access=False, checked_at=now, lost_at=None)
    return replace(before, checked_at=now, lost_at=before.lost_at or now)


class AccessCheck:
    """Ask which Plex servers links reach."""

    def __init__(self, *, ledger: Ledger, plex: PlexClient, agenda: Agenda, bell: Bell, clock: Clock) -> None:
        self._ledger = ledger
        self._plex = plex
        self._agenda = agenda
        self._bell = bell
        self._clock = clock
        self._owners: set[str] = set()

    async def find(self, change: Change) -> None:
        """Plan to ask about members of whom nothing is known, and whose losses are to be confirmed."""
        now = self._clock.now()
        for link_id in await change.tx.access.unasked(
            held_before=now - WAVE, lost_before=now - KEPT, most=_MOST_AT_ONCE
        ):
            self.hear(link_id)

    def hear(self, link_id: str, *, is_waited_for: bool = False) -> None:
        """Plan to ask about a link."""
        key = Key(Kind.ACCESS, link_id)
        if is_waited_for:
            self._agenda.put(key, Purpose.ACCOUNT)
        elif not self._agenda.is_planned(key):
            self._agenda.put(key, Purpose.BACKGROUND)

    def hear_owner(self, link_id: str) -> None:
        """Ask for an owner who waits; while plex.tv wants to be left alone, say at once that it is silent."""
        if self._agenda.pace.paused_until() > self._clock.monotonic():
            self._bell.ring(PlexServersTold(link_id, None))
            return
        self._owners.add(link_id)
        self._agenda.put_in_line(Key(Kind.ACCESS, link_id), Purpose.PRESSED)

    async def ask(self, link_id: str) -> None:
        """Ask which Plex servers a link reaches, and let its member have, or lose, the roles that are for theirs."""
        key, is_owner = Key(Kind.ACCESS, link_id), link_id in self._owners
        async with self._ledger.change() as change:
            link = await change.tx.links.get(link_id)
            is_to_be_asked = link is not None and (is_owner or bool(await _concerned(change, link)))
        if link is None or link.trouble is not None or link.is_dead or not is_to_be_asked:
            self._agenda.succeeded(key)
            servers = None
        else:
            servers = await self._servers(key, link)
        if is_owner:
            self._owners.discard(link_id)
            self._bell.ring(PlexServersTold(link_id, servers))
        if servers is not None:
            async with self._ledger.change() as change:
                await self._conclude(change, link_id, servers)
            self._agenda.succeeded(key)

    async def _servers(self, key: Key, link: Link) -> tuple[PlexServer, ...] | None:
        """Return what plex.tv says; where it does not, nothing changes, and it is asked again."""
        try:
            return tuple(await self._plex.servers(link.token, link.client_identifier))
        except TokenRejectedError:
            _log.info("access.refused link=%s: the next check of its token tells more", link.id)
            self._agenda.retry(
                key,
                Purpose.BACKGROUND,
                first_seconds=_REFUSED_SECONDS,
                longest_seconds=_LONGEST_REFUSED_SECONDS,
            )
        except PlexError as error:
            delay = self._agenda.retry(key, Purpose.BACKGROUND, longest_seconds=_LONGEST_RETRY_SECONDS)
            _log.info("access.no_answer link=%s, trying again in %.0f s: %s", link.id, delay, error)
        return None

    async def _conclude(self, change: Change, link_id: str, reached: Collection[PlexServer]) -> None:
        tx = change.tx
        link = await tx.links.get(link_id)
        if link is None or link.is_dead:
            return
        admitted = [
            await self._follow(change, server, link.user_id, has_access=has_access)
            for guild_id in await _concerned(change, link)
            if (server := await tx.servers.get(guild_id)) is not None
            and (has_access := await tx.servers.is_reached(guild_id, reached, link.account_id)) is not None
        ]
        if not all(admitted):  # a role that is given is told when it is
            await change.redraw_news(link.user_id)

    async def _follow(self, change: Change, server: Server, user_id: int, *, has_access: bool) -> bool:
        """Keep a yes or no for a server, and let its role follow; return what is believed."""
        tx, now = change.tx, self._clock.now()
        before = await tx.access.get(server.id, user_id)
        after = told(before or await self._presumed(change, server, user_id), now, has_access=has_access)
        await tx.access.keep(after)
        if after.lost_at is not None:
            await self._hold_a_wave(change, server)
        elif before is not None and before.is_held:
            await self._release(change, server)
        await entitlements.admit(tx, server, user_id, now, has_access=after.has_access)
        if before is None or before.has_access is not after.has_access:
            change.tell(ServerTouched(server.id))
        return after.has_access

    async def _presumed(self, change: Change, server: Server, user_id: int) -> Access:
        """Return what is taken for true of a member who was not asked about: whoever has the role had access."""
        roles = await change.tx.memberships.of_in(user_id, server.id)
        has_role = any(each.is_wanted and each.role_id is not None for each in roles)
        return Access(guild_id=server.id, user_id=user_id, has_access=has_role, checked_at=self._clock.now())

    async def _hold_a_wave(self, change: Change, server: Server) -> None:
        """Hold the losses of a server, if there are too many within an hour, or if a wave goes on."""
        tx, now = change.tx, self._clock.now()
        if server.losses_believed_at is not None and now <= server.losses_believed_at + BELIEVED_FOR:
            return
        lost = await tx.access.lost_since(server.id, now - WAVE)
        asked = await tx.access.checked_since(server.id, now - WAVE)
        goes_on = await tx.access.held(server.id)
        if not (goes_on or is_wave(rejected=lost, checked=asked)):
            return
        await tx.access.hold(server.id)
        if not goes_on:
            await change.hold_losses(server)
            _log.warning(
                "access.held server=%d: %d of the %d members asked about within an hour are not members of its Plex "
                "server any more. They keep the role unless an owner applies the setup again",
                server.id,
                lost,
                asked,
            )

    async def _release(self, change: Change, server: Server) -> None:
        """Forget the losses that were held, and ask anew: one of them was none."""
        user_ids = await change.tx.access.release(server.id)
        await change.settle_losses(server.id)
        links = await change.tx.links.of_many(user_ids)
        for link in links.values():
            if link is not None:
                change.tell(AccessWanted(link.id))
        _log.warning(
            "access.released server=%d members=%d: one who was held is a member after all", server.id, len(user_ids)
        )


async def _concerned(change: Change, link: Link) -> list[int]:
    """Return the servers in which a member is whose role is for members of a Plex server that can be read."""
    guild_ids = await change.tx.access.concerning(link.user_id)
    return [guild_id for guild_id in guild_ids if await change.tx.servers.plex_server(guild_id) is not None]
