"""What the owners of a server ask for about its linked members: decide and commit, nothing else.

Every question is about one server, and finds only who is known to be there. Owners decide about their server's role;
a link is its member's. Whether somebody is an owner is for whoever asks Discord.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from . import entitlements
from .audit import Deed
from .community import Server, Standing
from .links import Status
from .models import Topic, Trouble

if TYPE_CHECKING:
    from datetime import datetime

    from .audit import AuditEntry
    from .change import Change
    from .clock import Clock
    from .community import Access
    from .ledger import Ledger
    from .links import Links
    from .models import Entry, Finding
    from .store.roster import Counts

ON_A_PAGE = 10
_LAST_PAGE = 100_000
"""Nobody turns so far; what a custom id says may be any number."""

MOST_CHECKS = 5
CHECK_WINDOW = timedelta(minutes=1)
_DAY = timedelta(days=1)
_MOST_MESSAGES_A_DAY = 3
_WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class NotKnown:
    """No link is known of the member here; there may be one of somebody who is elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A linked member, and the server's role; `is_losing` it tells that Discord is still to be told.

    `access` is what is known where the role is for members of a Plex server.
    """

    entry: Entry
    server: Server
    is_losing: bool = False
    access: Access | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What plex.tv said about a member's link; nothing where it takes long, or the link cannot be read."""

    found: Found
    finding: Finding | None
    trouble: Trouble | None = None


@dataclass(frozen=True, slots=True)
class TooManyChecks:
    """The owners of a server asked plex.tv often."""

    retry_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A part of a server's linked members, or of its audit, and how many there are of them."""

    number: int
    total: int

    @property
    def pages(self) -> int:
        """How many pages there are; an empty list has one."""
        return max(1, -(-self.total // ON_A_PAGE))


@dataclass(frozen=True, slots=True, kw_only=True)
class Roster(Page):
    """Linked members of a server; whether it is set up, for until then nobody is looked for there."""

    entries: list[Entry]
    is_set_up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Record(Page):
    """What happened in a server."""

    entries: list[AuditEntry]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """A server in numbers."""

    server: Server
    counts: Counts


class Members:
    """List, find and check the linked members of a server, and take its role from them or give it back."""

    def __init__(self, *, ledger: Ledger, links: Links, clock: Clock) -> None:
        self._ledger = ledger
        self._links = links
        self._clock = clock
        self._checks: defaultdict[int, deque[datetime]] = defaultdict(lambda: deque(maxlen=MOST_CHECKS))

    async def page(self, guild_id: int, number: int) -> Roster:
        """Return a page of who is linked and known to be in a server; of what is behind the last page, the first."""
        number = min(number, _LAST_PAGE)
        async with self._ledger.change() as change:
            is_set_up = await change.tx.servers.get(guild_id) is not None
            entries, total = await change.tx.roster.page(guild_id, after=number * ON_A_PAGE, most=ON_A_PAGE)
        if number and not total:
            return await self.page(guild_id, 0)
        return Roster(number=number, total=total, entries=entries, is_set_up=is_set_up)

    async def audit(self, guild_id: int, number: int) -> Record:
        """Return a page of what happened in a server, the newest first; of what is behind the last page, the first."""
        number = min(number, _LAST_PAGE)
        async with self._ledger.change() as change:
            entries, total = await change.tx.audit.in_server(guild_id, after=number * ON_A_PAGE, most=ON_A_PAGE)
        if number and not total:
            return await self.audit(guild_id, 0)
        return Record(number=number, total=total, entries=entries)

    async def stats(self, guild_id: int) -> Stats:
        """Return a server in numbers."""
        async with self._ledger.change() as change:
            counts = await change.tx.roster.counts(guild_id, new_since=self._clock.now() - _WEEK)
            return Stats(server=await change.tx.servers.get(guild_id) or Server(id=guild_id), counts=counts)

    async def find(self, guild_id: int, user_id: int) -> Found | NotKnown:
        """Return a member as the owners of a server may know them."""
        async with self._ledger.change() as change:
            return await _found(change, guild_id, user_id)

    async def withdraw(self, guild_id: int, user_id: int, *, actor_id: int) -> Found | NotKnown:
        """Take the server's role from a member, until it is given back, and let them know; the link stays.

        Where no role is chosen there is none to take.
        """
        async with self._ledger.change() as change:
            found = await _found(change, guild_id, user_id)
            if isinstance(found, NotKnown) or found.server.setup.role_id is None:
                return found
            now = self._clock.now()
            if await entitlements.withdraw(change.tx, found.server, user_id, now):
                times = await change.tx.audit.count(guild_id, Deed.ROLE_WITHDRAWN, user_id, since=now - _DAY)
                await change.note_for(guild_id, Deed.ROLE_WITHDRAWN, actor_id, user_id=user_id)
                if times < _MOST_MESSAGES_A_DAY:  # back and forth is no reason to write again and again
                    await change.notify(user_id, Topic.ROLE_WITHDRAWN, guild_id=guild_id)
            return await _found(change, guild_id, user_id)

    async def give_back(self, guild_id: int, user_id: int, *, actor_id: int) -> Found | NotKnown:
        """Let a member have the server's role again; what of its end was not told yet is not told any more."""
        async with self._ledger.change() as change:
            found = await _found(change, guild_id, user_id)
            if isinstance(found, NotKnown):
                return found
            now, is_dead = self._clock.now(), found.entry.is_dead
            if await entitlements.give_back(change.tx, found.server, user_id, now, is_dead=is_dead):
                await change.note_for(guild_id, Deed.ROLE_GIVEN_BACK, actor_id, user_id=user_id)
                await change.tx.notices.remove(
                    [
                        each.id
                        for each in await change.tx.notices.of(user_id)
                        if each.topic is Topic.ROLE_WITHDRAWN and each.guild_id == guild_id
                    ]
                )
            return await _found(change, guild_id, user_id)

    async def check(self, guild_id: int, user_id: int, *, actor_id: int) -> Examined | NotKnown | TooManyChecks:
        """Let plex.tv be asked about a member's link now, as the member's own *Check now* does."""
        async with self._ledger.change() as change:
            if isinstance(await _found(change, guild_id, user_id), NotKnown):
                return NotKnown()
            retry_at = self._checked(guild_id)
            if retry_at is not None:
                return TooManyChecks(retry_at)
            await change.note_for(guild_id, Deed.CHECKED, actor_id, user_id=user_id)
        status = await self._links.check(user_id)
        found = await self.find(guild_id, user_id)
        if isinstance(found, NotKnown) or not isinstance(status, Status):
            return NotKnown()
        return Examined(found=found, finding=status.finding, trouble=status.link.trouble)

    def _checked(self, guild_id: int) -> datetime | None:
        """Count a check, or return when the next one may be."""
        now, checks = self._clock.now(), self._checks[guild_id]
        if len(checks) == MOST_CHECKS and now < checks[0] + CHECK_WINDOW:
            return checks[0] + CHECK_WINDOW
        checks.append(now)
        return None


async def _found(change: Change, guild_id: int, user_id: int) -> Found | NotKnown:
    entry = await change.tx.roster.one(guild_id, user_id)
    server = await change.tx.servers.get(guild_id)
    if entry is None or server is None:
        return NotKnown()
    roles = await change.tx.memberships.of_in(user_id, guild_id)
    is_losing = any(not each.is_wanted and each.standing is Standing.OWED for each in roles)
    access = await change.tx.access.get(guild_id, user_id)
    return Found(entry=entry, server=server, is_losing=is_losing, access=access)
