"""Stored tokens are kept alive, and dead ones noticed: each is checked once a day, behind all that members wait for.

Plex's legacy tokens die when nobody uses them for weeks (overseerr issue 3861), so a check pings first and then reads
the account. Only two refusals by plex.tv itself, five minutes apart, make a token dead; everything else says nothing.
Its member is told an hour later, so that a wave of refusals can be noticed, and held back, before anybody is.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from ..errors import PlexError, TokenRejectedError
from ..models import AuditEntry, Deed, Finding, Health, TokenDead, Topic, Verdict
from .agenda import Key, Kind, Urgency

if TYPE_CHECKING:
    from datetime import datetime

    from ..clock import Clock
    from ..ledger import Change
    from ..models import Link
    from ..plex import PlexClient
    from ..store import Store, Transaction
    from .agenda import Agenda

_log = logging.getLogger(__name__)

DAY = timedelta(days=1)
REJECTED_TWICE = timedelta(minutes=5)
WAVE = timedelta(hours=1)
LEAST_IN_A_WAVE = 5
SHARE_OF_A_WAVE = 5
"""One in so many."""

_MOST_AT_ONCE = 300
"""Checks planned by one sweep: what one request a second can do until the next one, five minutes later."""

_FRESH = timedelta(seconds=10)

_PATIENCE_SECONDS = 8.0
"""How long a member who presses *Check now* waits for plex.tv."""


def diagnosed(health: Health, finding: Finding, now: datetime, jitter: float) -> Health:
    """Return what is known of a token after a check; `jitter` from 0 to 1 spreads the next ones."""
    checked = replace(health, finding=finding, checked_at=now)
    if finding is Finding.ALIVE:
        return Health(finding=finding, checked_at=now, next_check_at=now + DAY * (1 - jitter / 8))
    if finding is Finding.SILENT:
        due = None if health.verdict is Verdict.DEAD and not health.is_held else now + WAVE * (1 + jitter)
        return replace(checked, next_check_at=due)
    first = health.rejected_at or now
    is_dead = health.verdict is Verdict.DEAD or now >= first + REJECTED_TWICE
    rejected = replace(checked, rejected_at=first, verdict=Verdict.DEAD if is_dead else Verdict.SUSPECT)
    if health.is_held:
        return replace(rejected, next_check_at=now + WAVE * (1 + jitter))
    return replace(rejected, next_check_at=None if is_dead else first + REJECTED_TWICE)


def is_wave(*, rejected: int, checked: int) -> bool:
    """Tell whether too many links were refused within an hour to believe it."""
    return rejected >= LEAST_IN_A_WAVE and rejected * SHARE_OF_A_WAVE > checked


class HealthCheck:
    """Check links."""

    def __init__(
        self,
        *,
        store: Store,
        plex: PlexClient,
        agenda: Agenda,
        clock: Clock,
    ) -> None:
        self._store = store
        self._plex = plex
        self._agenda = agenda
        self._clock = clock
        self._pinged: set[str] = set()
        self._waiting: dict[str, asyncio.Future[Finding]] = {}

    async def find(self, change: Change) -> None:
        """Plan the checks that are due, and let the members be told whose token is dead."""
        now, tx = self._clock.now(), change.tx
        for link_id in await tx.links.unplanned():
            await tx.links.plan(link_id, now + DAY * random.random())  # noqa: S311 - a spread, no secret
        for link_id in await tx.links.due(now, most=_MOST_AT_ONCE):
            key = Key(Kind.HEALTH, link_id)
            if not self._agenda.is_planned(key):
                self._agenda.put(key, Urgency.BACKGROUND)
        for link in await self._tell_of_the_dead(tx, now):
            _log.info("health.token_dead link=%s user=%s", link.id, link.user_id)
            change.events.append(TokenDead(user_id=link.user_id, link_id=link.id, at=now))

    async def check_now(self, link: Link) -> Finding:
        """Check a link for a member who waits, and return what came of it within a few seconds.

        Who presses again and again is told what the last check brought: others wait too.
        """
        health = link.health
        if health.finding and health.checked_at and self._clock.now() < health.checked_at + _FRESH:
            return health.finding
        if self._agenda.pace.paused_until() > self._clock.monotonic():
            return Finding.SILENT
        waiting = self._waiting.setdefault(link.id, asyncio.get_running_loop().create_future())
        self._pinged.add(link.id)  # the ping keeps a token alive, and nobody waits for that
        self._agenda.put(Key(Kind.HEALTH, link.id), Urgency.ACCOUNT)
        await asyncio.wait({waiting}, timeout=_PATIENCE_SECONDS)
        return waiting.result() if waiting.done() else Finding.SILENT

    async def check(self, link_id: str) -> None:
        """Make one request about a link; the second one tells how it is."""
        async with self._store.transaction() as tx:
            link = await tx.links.get(link_id)
        is_readable = link is not None and link.trouble is None
        finding = await self._ask(link) if link is not None and is_readable else Finding.SILENT
        if finding is None:
            return
        self._pinged.discard(link_id)
        await self._conclude(link_id, finding)
        if (waiting := self._waiting.pop(link_id, None)) is not None:
            waiting.set_result(finding)

    async def _ask(self, link: Link) -> Finding | None:
        """Ping, or read the account; return what it brought, or nothing if more is to be asked."""
        is_ping = link.id not in self._pinged
        try:
            if is_ping:
                await self._plex.ping(link.token, link.client_identifier)
            else:
                await self._plex.account(link.token, link.client_identifier)
        except TokenRejectedError:
            return Finding.REJECTED
        except PlexError as error:
            _log.info("health.no_answer link=%s: %s", link.id, error)
            return Finding.SILENT
        if not is_ping:
            return Finding.ALIVE
        self._pinged.add(link.id)
        self._agenda.put(Key(Kind.HEALTH, link.id), Urgency.ACCOUNT if link.id in self._waiting else Urgency.BACKGROUND)
        return None

    async def _conclude(self, link_id: str, finding: Finding) -> None:
        now = self._clock.now()
        async with self._store.transaction() as tx:
            link = await tx.links.get(link_id)
            if link is None:
                return
            await tx.links.diagnose(link_id, diagnosed(link.health, finding, now, random.random()))  # noqa: S311
            if finding is Finding.REJECTED:
                await self._hold_a_wave(tx, now)
            elif finding is Finding.ALIVE and link.health.is_held:
                released = await tx.links.release(next_check_at=now)
                _log.warning("health.released links=%d: plex.tv accepts tokens again that it refused", released)
        _log.debug("health.checked link=%s finding=%s", link_id, finding)

    async def _hold_a_wave(self, tx: Transaction, now: datetime) -> None:
        """Hold what was refused within an hour, if it is too much, or if a wave goes on."""
        rejected = await tx.links.rejected_since(now - WAVE)
        checked = await tx.links.checked_since(now - WAVE)
        goes_on = await tx.links.held()
        if not (goes_on or is_wave(rejected=rejected, checked=checked)):
            return
        await tx.links.hold(now - WAVE, next_check_at=now + WAVE)
        if not goes_on:
            _log.warning(
                "health.held: plex.tv refused %d of the %d tokens checked within an hour. Nobody is told unless it "
                "accepts one of them again, or you believe it: plexlink confirm-dead",
                rejected,
                checked,
            )

    async def _tell_of_the_dead(self, tx: Transaction, now: datetime) -> list[Link]:
        dead = await tx.links.untold(rejected_before=now - WAVE)
        for link in dead:
            await tx.links.diagnose(link.id, replace(link.health, told_at=now))
            await tx.news.add(link.user_id, Topic.LINK_DEAD, now)
            await tx.audit.add(AuditEntry(at=now, actor_id=None, deed=Deed.DIED, user_id=link.user_id))
        return dead
