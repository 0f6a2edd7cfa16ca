"""Roles follow links: what servers are owed is done at Discord, one member of a server after the other.

What is owed stands in the rows until it is true, so that nothing is lost by a crash, and nothing done twice does harm:
before a role is given or taken, it is looked at who has it. Once a day everything is looked at again.
"""

from __future__ import annotations

import logging
import random
from collections import defaultdict
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from .. import entitlements
from ..audit import Deed
from ..community import Cause, Kept, Membership, Objection, Standing
from ..errors import NotifyError
from .agenda import Key, Kind
from .shares import Purpose

if TYPE_CHECKING:
    from ..change import Change
    from ..clock import Clock
    from ..ledger import Ledger
    from .agenda import Agenda

_log = logging.getLogger(__name__)

DAY = timedelta(days=1)
SETTINGS_KEPT = timedelta(days=30)
"""For so long a server that has removed the bot may take it back as it was."""

_RECEIPT_KEPT = timedelta(hours=1)
"""For so long a card may tell that a role was taken away."""

_OWED_FOR_LONG = timedelta(hours=1)
"""After so long it is looked whether somebody is still there whose role must not be given."""

_LOOKS_APART_SECONDS = 0.1
"""Between two members, of whatever server, who are only looked for: cards need Discord's limit of 50 a second too."""

_MOST_TRIES = 5
"""So often what fails is tried before others are."""

_OBJECTED_SECONDS = 60.0
_LONGEST_OBJECTED_SECONDS = 3600.0
_LONGEST_RETRY_SECONDS = 600.0


class RoleKeeper(Protocol):
    """The way to the members of servers; handed in, so that nothing here knows Discord."""

    async def see_to(self, *, guild_id: int, user_id: int, role_id: int | None, has: bool) -> Kept | Objection:
        """See to it that a member has a role, or has it not, and return what came of it, or why it must not be.

        Without a role it is only looked whether the member is there.

        Raises:
            NotifyError: Discord does not say; try again.

        """
        ...


class Roles:
    """Give and take what is owed."""

    def __init__(self, *, ledger: Ledger, agenda: Agenda, keeper: RoleKeeper, clock: Clock, grace: timedelta) -> None:
        self._ledger = ledger
        self._agenda = agenda
        self._keeper = keeper
        self._clock = clock
        self._grace = grace
        self._objected: defaultdict[int, set[int]] = defaultdict(set)
        self._looks_at: dict[int, float] = {}
        self._next_look_at = 0.0

    def hear(self, guild_id: int) -> None:
        """Plan what a server is owed."""
        self._objected.pop(guild_id, None)
        self._agenda.put_sooner(_key(guild_id), Purpose.FREE)

    async def find(self, change: Change) -> None:
        """Plan what all servers are owed, and let go what is too old."""
        now, tx = self._clock.now(), change.tx
        for user_id in await tx.memberships.dead_since(now - self._grace):
            await change.disentitle(user_id, Cause.DEAD)
        for server in await tx.servers.left(now - SETTINGS_KEPT):
            await tx.memberships.forget_server(server.id)
            await tx.withdrawals.forget_server(server.id)
            await tx.access.forget_server(server.id)
            await tx.servers.remove(server.id)
        await tx.memberships.prune(now - _RECEIPT_KEPT)
        for guild_id in await tx.memberships.servers_due():
            if not self._agenda.is_planned(_key(guild_id)):
                self._agenda.put(_key(guild_id), Purpose.FREE)

    async def reconcile(self) -> None:
        """Let the members of each server be looked at for which that is due.

        The first look at a server concerns all who have linked, so each has a transaction of its own, between which
        others get their turn.
        """
        async with self._ledger.change() as change:
            due = await change.tx.servers.unreconciled(self._clock.now() - DAY)
        for server in due:
            async with self._ledger.change() as change:
                await self._doubt(change, server.id)
            if not self._agenda.is_planned(_key(server.id)):
                self._agenda.put(_key(server.id), Purpose.FREE)

    async def _doubt(self, change: Change, guild_id: int) -> None:
        """Let everybody who is known to be in a server be looked at again, and at first all who have linked.

        `random` spreads the servers over the day.
        """
        now, server = self._clock.now(), await change.tx.servers.get(guild_id)
        if server is None or server.left_at is not None:
            return
        is_first = server.reconciled_at is None
        at = now - DAY * random.random() if is_first else now  # noqa: S311 - a spread, no secret
        await change.tx.servers.keep(replace(server, reconciled_at=at))
        if is_first:
            entitled = await change.tx.memberships.entitled(rejected_after=now - self._grace)
            await entitlements.entitle_all(change.tx, server, entitled, now)
        else:
            await change.tx.memberships.doubt(server.id, owed_before=now - _OWED_FOR_LONG)

    async def work_off(self, guild_id: int) -> None:
        """Do one thing that a server is owed, and plan the next."""
        objected = self._objected[guild_id]
        async with self._ledger.change() as change:
            server = await change.tx.servers.get(guild_id)
            membership = await change.tx.memberships.next_due(guild_id, but_not=objected)
        if server is None or server.left_at is not None:
            return
        if membership is None:
            self._wait_for_owner(guild_id)
            return
        wait = self._turn(membership)
        if wait > 0:
            self._agenda.put(_key(guild_id), Purpose.FREE, wait)
            return
        try:
            kept = await self._keeper.see_to(
                guild_id=guild_id,
                user_id=membership.user_id,
                role_id=membership.role_id,
                has=membership.is_wanted,
            )
        except NotifyError as error:
            await self._failed(membership, error)
            return
        async with self._ledger.change() as change:
            if isinstance(kept, Objection):
                await self._object(change, membership, kept)
            else:
                await self._settle(change, membership, kept)
        self._agenda.put(_key(guild_id), Purpose.FREE)

    def _turn(self, membership: Membership) -> float:
        """Return in how many seconds a member's turn comes, who is not known to be there or only looked at again."""
        guild_id, now = membership.guild_id, self._clock.monotonic()
        if membership.is_seen and membership.standing is Standing.OWED:
            return 0.0
        if guild_id not in self._looks_at:
            self._looks_at[guild_id] = self._next_look_at = max(now, self._next_look_at + _LOOKS_APART_SECONDS)
        wait = self._looks_at[guild_id] - now
        if wait <= 0:
            del self._looks_at[guild_id]
        return wait

    async def _failed(self, membership: Membership, error: NotifyError) -> None:
        """Try again later; what fails for long lets others go first."""
        key = _key(membership.guild_id)
        if self._agenda.failures(key) >= _MOST_TRIES:
            async with self._ledger.change() as change:
                await change.tx.memberships.put_off(membership, self._clock.now())
        delay = self._agenda.retry(key, Purpose.FREE, longest_seconds=_LONGEST_RETRY_SECONDS)
        _log.warning("role.failed server=%d, trying again in %.0f s: %s", membership.guild_id, delay, error)

    def _wait_for_owner(self, guild_id: int) -> None:
        """Try by and by what Discord or a rule forbids; a change of the server's roles brings it up sooner."""
        if self._objected.pop(guild_id, None):
            self._agenda.retry(
                _key(guild_id),
                Purpose.FREE,
                first_seconds=_OBJECTED_SECONDS,
                longest_seconds=_LONGEST_OBJECTED_SECONDS,
            )
        else:
            self._agenda.succeeded(_key(guild_id))

    async def _object(self, change: Change, membership: Membership, objection: Objection) -> None:
        """Leave what cannot be done, and let the owners know once."""
        guild_id, role_id = membership.guild_id, membership.role_id or 0
        server = await change.tx.servers.get(guild_id)
        is_its_role = server is not None and server.setup.role_id == role_id
        if objection is Objection.GONE and not (is_its_role and membership.is_wanted):
            await change.tx.memberships.forget_role(guild_id, role_id)
            return
        self._objected[guild_id].add(role_id)
        if membership.standing is Standing.DOUBTED:
            await change.tx.memberships.owe_again(membership)
        if objection is not Objection.GONE:  # of what is not there, Discord says so before it looks for the member
            await change.tx.memberships.see(guild_id, membership.user_id)
        if server is not None and is_its_role and server.objection is not objection:
            await change.object(server, objection, user_id=membership.user_id)
            _log.warning("role.refused server=%d why=%s", guild_id, objection)

    async def _settle(self, change: Change, membership: Membership, kept: Kept) -> None:
        self._agenda.succeeded(_key(membership.guild_id))
        if kept is Kept.ABSENT:
            await change.tx.memberships.remove(membership)
            await change.tx.access.forget_in(membership.guild_id, membership.user_id)
            return
        if not await change.tx.memberships.settle(membership, Standing.SETTLED, self._clock.now()):
            return  # it is to be otherwise by now, and comes up again
        server = await change.tx.servers.get(membership.guild_id)
        if server is not None and server.objection is not None and server.setup.role_id == membership.role_id:
            await change.tx.servers.keep(replace(server, objection=None))
        if membership.is_wanted:
            await change.ask_for_access(membership)
        await self._tell(change, membership, kept)

    async def _tell(self, change: Change, membership: Membership, kept: Kept) -> None:
        """Write what was done into the server's audit, and let the card of a new link tell it."""
        is_first = membership.standing is Standing.OWED
        guild_id, user_id = membership.guild_id, membership.user_id
        if is_first and membership.is_wanted and membership.cause is Cause.LINKED:
            await change.note_for(guild_id, Deed.LINKED, None, user_id=user_id)
        if membership.role_id is None or not (is_first or kept is Kept.CHANGED):
            return
        if not membership.is_wanted and kept is Kept.AS_IT_WAS:
            return  # it was never given, or other hands have taken it
        deed = Deed.ROLE_GIVEN if membership.is_wanted else Deed.ROLE_TAKEN
        about = None if membership.cause is Cause.FORGOTTEN else user_id
        await change.note_for(guild_id, deed, None, user_id=about, detail=membership.cause)
        _log.info("%s server=%d user=%d", str(deed).replace("_", "."), guild_id, user_id)
        if membership.is_wanted and is_first:
            await change.redraw_news(user_id)


def _key(guild_id: int) -> Key:
    return Key(Kind.ROLES, str(guild_id))
