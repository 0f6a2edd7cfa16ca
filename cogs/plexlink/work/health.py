"""Stored tokens are kept alive, and dead ones noticed: each is checked once a day, behind all that members wait for.

Plex's legacy tokens die when nobody uses them for weeks (overseerr issue 3861), so a check pings first and then reads
the account. Only two refusals by plex.tv itself, five minutes apart, make a token dead; everything else says nothing.
Its member is told an hour later, so that a wave of refusals can be noticed, and held back, before anybody is.
"""

from __future__ import annotations

import logging
import random
from dataclasses import replace
from datetime import timedelta
from math import inf
from typing import TYPE_CHECKING

from .. import flow
from ..audit import AuditEntry, Deed
from ..community import Cause
from ..errors import PlexError, TokenRejectedError
from ..events import AccessWanted, Checked, TokenDead
from ..models import Finding, Health, Topic, Verdict
from .agenda import Key, Kind
from .shares import Purpose

if TYPE_CHECKING:
    from datetime import datetime

    from ..bell import Bell
    from ..change import Change
    from ..clock import Clock
    from ..ledger import Ledger
    from ..models import Link
    from ..plex import PlexClient
    from ..store import Transaction
    from .agenda import Agenda

_log = logging.getLogger(__name__)

DAY = timedelta(days=1)
REJECTED_TWICE = timedelta(minutes=5)
WAVE = timedelta(hours=1)
LEAST_IN_A_WAVE = 5
SHARE_OF_A_WAVE = 5
"""One in so many."""

BELIEVED_FOR = DAY
"""For so long after its host's word every refusal is believed: by then each link has been checked."""

_BELIEVED_AT = "refusals_believed_at"
_JUST_NOW = 0.0
"""When the host gave it, in seconds since 1970 by the bot's clock, which the command line's need not agree with."""

_MOST_AT_ONCE = 300
"""Checks planned by one sweep: twice what one request a second can do until the next one, five minutes later."""


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

    def __init__(self, *, ledger: Ledger, plex: PlexClient, agenda: Agenda, bell: Bell, clock: Clock) -> None:
        self._ledger = ledger
        self._plex = plex
        self._agenda = agenda
        self._bell = bell
        self._clock = clock
        self._pinged: set[str] = set()
        self._waited_for: set[str] = set()

    async def find(self, change: Change) -> None:
        """Plan the checks that are due, and let the members be told whose token is dead."""
        now, tx = self._clock.now(), change.tx
        for link_id in await tx.links.unplanned():
            await tx.links.plan(link_id, now + DAY * random.random())  # noqa: S311 - a spread, no secret
        for link_id in await tx.links.due(now, most=_MOST_AT_ONCE):
            key = Key(Kind.HEALTH, link_id)
            if not self._agenda.is_planned(key):
                self._agenda.put(key, Purpose.BACKGROUND)
        await _tell_of_the_dead(change, now)

    def hear(self, link_id: str) -> None:
        """Check a link for a member who waits; while plex.tv wants to be left alone, say at once that it is silent."""
        if self._agenda.pace.paused_until() > self._clock.monotonic():
            self._bell.ring(Checked(link_id, Finding.SILENT))
            return
        self._waited_for.add(link_id)
        self._pinged.add(link_id)  # the ping keeps a token alive, and nobody waits for that
        self._agenda.put_in_line(Key(Kind.HEALTH, link_id), Purpose.PRESSED)

    async def check(self, link_id: str) -> None:
        """Make one request about a link; the second one tells how it is."""
        async with self._ledger.change() as change:
            link = await change.tx.links.get(link_id)
        is_readable = link is not None and link.trouble is None
        finding = await self._ask(link) if link is not None and is_readable else Finding.SILENT
        if finding is None:
            return
        self._pinged.discard(link_id)
        await self._conclude(link_id, finding)
        self._waited_for.discard(link_id)

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
        self._agenda.put(
            Key(Kind.HEALTH, link.id), Purpose.PRESSED if link.id in self._waited_for else Purpose.BACKGROUND
        )
        return None

    async def _conclude(self, link_id: str, finding: Finding) -> None:
        now = self._clock.now()
        async with self._ledger.change() as change:
            tx = change.tx
            change.tell(Checked(link_id, finding))
            link = await tx.links.get(link_id)
            if link is None:
                return
            health = diagnosed(link.health, finding, now, random.random())  # noqa: S311 - a spread, no secret
            await tx.links.diagnose(link_id, health)
            if finding is Finding.REJECTED:
                await self._hold_a_wave(tx, now)
                await self._confirm_or_conclude(change, before=link)
            elif finding is Finding.ALIVE and link.health.told_at is not None:
                await tx.notices.remove_about(link.user_id, Topic.LINK_DEAD)
                await change.entitle(link.user_id, cause=Cause.SEEN)
            if finding is Finding.ALIVE and link_id not in self._waited_for and await tx.access.of(link.user_id):
                change.tell(AccessWanted(link_id))
            if finding is Finding.ALIVE and link.health.is_held:
                released = await tx.links.release(next_check_at=now)
                _log.warning("health.released links=%d: plex.tv accepts tokens again that it refused", released)
        _log.debug("health.checked link=%s finding=%s", link_id, finding)

    async def _confirm_or_conclude(self, change: Change, *, before: Link) -> None:
        """Let a refusal be confirmed in time; once it is, let those have the account who were told it is taken."""
        link = await change.tx.links.get(before.id)
        if link is None or link.health.is_held:
            return
        if link.health.verdict is Verdict.SUSPECT:
            self._agenda.put(Key(Kind.HEALTH, link.id), Purpose.BACKGROUND, REJECTED_TWICE.total_seconds())
        elif link.is_dead and not before.is_dead:
            for attempt in await change.tx.attempts.contested():
                if attempt.trouble is None:
                    await change.move(attempt, flow.Reconsidered())

    async def _hold_a_wave(self, tx: Transaction, now: datetime) -> None:
        """Hold what nobody was told of, if too much was refused within an hour, or if a wave goes on."""
        if await _is_believed(tx, now):
            return
        rejected = await tx.links.rejected_since(now - WAVE)
        checked = await tx.links.checked_since(now - WAVE)
        goes_on = await tx.links.held()
        if not (goes_on or is_wave(rejected=rejected, checked=checked)):
            return
        await tx.links.hold(next_check_at=now + WAVE)
        if not goes_on:
            _log.warning(
                "health.held: plex.tv refused %d of the %d tokens checked within an hour. Nobody is told unless it "
                "accepts one of them again, or you believe it: plexlink confirm-dead",
                rejected,
                checked,
            )


async def believe(tx: Transaction, now: datetime) -> int:
    """Take the host's word that refusals which are held, and those of the next day, are true; return how many are."""
    user_ids = await tx.links.believe()
    if user_ids:
        await tx.numbers.keep({_BELIEVED_AT: _JUST_NOW})
        await tx.audit.add(*(AuditEntry(at=now, actor_id=None, deed=Deed.BELIEVED, user_id=each) for each in user_ids))
    return len(user_ids)


async def _is_believed(tx: Transaction, now: datetime) -> bool:
    at = (await tx.numbers.all()).get(_BELIEVED_AT, -inf)
    if at == _JUST_NOW:
        at = now.timestamp()
        await tx.numbers.keep({_BELIEVED_AT: at})
    return 0 <= now.timestamp() - at <= BELIEVED_FOR.total_seconds()


async def _tell_of_the_dead(change: Change, now: datetime) -> None:
    """Let members be told whose token has been dead for an hour; nobody while a wave is held."""
    is_believed = await _is_believed(change.tx, now)
    if not is_believed and await change.tx.links.held():
        return
    for link in await change.tx.links.untold(rejected_before=now if is_believed else now - WAVE):
        await change.tx.links.diagnose(link.id, replace(link.health, told_at=now))
        await change.notify(link.user_id, Topic.LINK_DEAD)
        await change.note(Deed.DIED, link.user_id)
        await change.note_where_known(Deed.DIED, link.user_id)
        change.tell(TokenDead(user_id=link.user_id, link_id=link.id, at=now))
