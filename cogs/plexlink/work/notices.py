"""What members are told besides the cards of their attempts: how an unlinking goes, and what nobody asked for.

An unlinking is told on the card on which it was asked for, until its end. Everything else is a direct message, or waits
for the member's next answer where those are closed.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from .. import cards
from ..community import Cause, Standing
from ..errors import NotifyError
from ..models import FOR_OWNERS, Phase, Showing, Topic
from .agenda import Key, Kind
from .shares import Purpose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..change import Change
    from ..clock import Clock
    from ..community import Membership
    from ..ledger import Ledger
    from ..models import Notice
    from .agenda import Agenda
    from .showing import Notifier, Turns

_log = logging.getLogger(__name__)

TAKES_LONG_SECONDS = 15.0
"""After so long, "signing out" is not the whole truth any more."""

NONCE_KNOWN = timedelta(minutes=1)
"""For so long at least Discord drops what it is sent a second time; what is older is looked for first."""

_APART_SECONDS = 1.0
"""Between two messages: a bad day of plex.tv must not look like spam to Discord."""

_LONGEST_RETRY_SECONDS = 600.0
_LONGEST_RETRY_ON_CARDS_SECONDS = 30.0
_MOST_TRIES = 40
_LATER = {Phase.SIGNING_OUT: Phase.DELAYED, Phase.CHECKING: Phase.UNCHECKED}
"""What is said when what should take a moment takes long."""

_UNDER_WAY = {*_LATER, *_LATER.values()}
_BAD_ENDS = {Phase.GIVEN_UP, Phase.UNREADABLE}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Current:
    """A notice to be told, whether an attempt has its message by now, and the roles that go with an unlinking."""

    notice: Notice
    is_covered: bool
    roles: tuple[Membership, ...]


class Notices:
    """Bring notices to their members."""

    def __init__(self, *, ledger: Ledger, agenda: Agenda, notifier: Notifier, turns: Turns, clock: Clock) -> None:
        self._ledger = ledger
        self._agenda = agenda
        self._notifier = notifier
        self._turns = turns
        self._clock = clock
        self._next_at = 0.0

    def hear(self, notice: Notice) -> None:
        """Plan to tell what the member does not know yet, or to say later that it takes long."""
        key = Key(Kind.NOTICE, notice.id)
        if notice.place.lane is None:
            if not (notice.is_held or self._agenda.is_planned(key)):
                self._agenda.put(key, Purpose.FREE, self.turn())
        elif notice.shown is None or notice.shown is not notice.phase:
            self._agenda.put(key, Purpose.FREE)
        elif notice.phase in _LATER:
            self._agenda.put(key, Purpose.FREE, TAKES_LONG_SECONDS)

    async def find(self, change: Change) -> None:
        """Plan to tell all that their members do not know."""
        for notice in await change.tx.notices.untold():
            if not self._agenda.is_planned(Key(Kind.NOTICE, notice.id)):
                self.hear(notice)

    def turn(self) -> float:
        """Return in how many seconds the next message may go."""
        now = self._clock.monotonic()
        turn = max(now, self._next_at)
        self._next_at = turn + _APART_SECONDS
        return turn - now

    async def tell(self, notice_id: str) -> None:
        """Bring one notice; try again later if Discord does not take it."""
        current = await self._current(notice_id)
        if current is None:
            return
        async with self._turns.at(current.notice.place, current.notice.answer, otherwise=notice_id):
            current = await self._current(notice_id)
            if current is None:
                return
            notice = current.notice
            if notice.topic is Topic.RETIRED and not await self._has_moved(notice):
                self._agenda.retry(Key(Kind.NOTICE, notice_id), Purpose.FREE, first_seconds=0.5)
                return
            try:
                if notice.topic in FOR_OWNERS and not await self._is_for(notice):
                    return
                place = None if current.is_covered else await self._notifier.show(self._showing(current))
            except NotifyError as error:
                if self._tries_again(notice, error):
                    return
                place = None
            self._agenda.succeeded(Key(Kind.NOTICE, notice_id))
            async with self._ledger.change() as change:
                await self._told(change, notice, has_arrived=place is not None)

    async def _current(self, notice_id: str) -> _Current | None:
        """Return a notice if it is to be told; an unlinking that has been under way for long says so."""
        async with self._ledger.change() as change:
            notice = await change.tx.notices.get(notice_id)
            if notice is None or notice.is_held:
                return None
            message_id = cards.message_at(notice.place, notice.answer)
            is_covered = message_id is not None and await change.tx.attempts.shown_in(message_id) is not None
            is_unlinking = notice.topic is Topic.UNLINKING
            roles = _gone_with(await change.tx.memberships.of(notice.user_id), notice) if is_unlinking else ()
        if notice.phase is notice.shown and notice.phase in _LATER:
            notice = replace(notice, phase=_LATER[notice.phase])
        elif notice.shown is not None and notice.shown is notice.phase:
            return None
        return _Current(notice=notice, is_covered=is_covered, roles=roles)

    async def _is_for(self, notice: Notice) -> bool:
        """Tell whether a notice goes to the right owner of its server; if not, let that one be told instead.

        Whoever was to be told may have left, or manage the server no longer. Where the bot has left, nobody is told.
        Raise as `Notifier.find_owner` does.
        """
        guild_id = notice.guild_id or 0
        async with self._ledger.change() as change:
            server = await change.tx.servers.get(guild_id)
        is_there = server is not None and server.left_at is None
        owner_id = await self._notifier.find_owner(guild_id, rather=notice.user_id) if is_there else None
        if owner_id == notice.user_id:
            return True
        self._agenda.succeeded(Key(Kind.NOTICE, notice.id))
        async with self._ledger.change() as change:
            if owner_id is None:
                await change.tx.notices.remove([notice.id])
            elif await change.tx.notices.get(notice.id) is not None:  # it may be over by now
                await change.hand_on(notice, owner_id)
        return False

    async def _has_moved(self, notice: Notice) -> bool:
        """Tell whether the newer answer has got the card, or had time enough: the older one shows it until then."""
        async with self._ledger.change() as change:
            attempt = await change.tx.attempts.open_of(notice.user_id)
        is_out = attempt is None or attempt.shown_state is not None
        return is_out or self._agenda.failures(Key(Kind.NOTICE, notice.id)) >= _MOST_TRIES

    def _tries_again(self, notice: Notice, error: NotifyError) -> bool:
        """Plan another try; a card that Discord does not take for twenty minutes is given up, a message is not."""
        key, is_message = Key(Kind.NOTICE, notice.id), notice.place.lane is None
        if not is_message and self._agenda.failures(key) >= _MOST_TRIES:
            _log.error("notice.given_up id=%s: %s", notice.id, error)
            return False
        longest = _LONGEST_RETRY_SECONDS if is_message else _LONGEST_RETRY_ON_CARDS_SECONDS
        turn = self.turn() if is_message else 0.0
        delay = self._agenda.retry(
            key, Purpose.FREE, first_seconds=1.0, longest_seconds=longest, not_before_seconds=turn
        )
        _log.warning("notice.failed id=%s, trying again in %.0f s: %s", notice.id, delay, error)
        return True

    def _showing(self, current: _Current) -> Showing:
        notice = current.notice
        is_message = notice.place.lane is None
        return Showing(
            user_id=notice.user_id,
            content=notice,
            place=notice.place,
            answer=notice.answer,
            nonce=notice.id if is_message else None,
            is_perhaps_out=is_message and self._clock.now() > notice.at + NONCE_KNOWN,
            roles=current.roles,
        )

    async def _told(self, change: Change, notice: Notice, *, has_arrived: bool) -> None:
        """Keep what the member knows; forget what is told to its end."""
        newest = await change.tx.notices.get(notice.id)
        if newest is None:
            return
        if notice.phase in _UNDER_WAY:
            # Once the card promises a message, it goes on to: plex.tv may have answered while it was drawn.
            has_promised = notice.phase in _LATER.values()
            phase = _LATER[newest.phase] if has_promised and newest.phase in _LATER else newest.phase
            await change.keep(replace(newest, phase=phase, shown=notice.phase))
        elif notice.place.lane is None and not has_arrived:
            await change.keep(replace(newest, is_held=True))
        else:
            await change.tx.notices.remove([notice.id])
            if notice.topic is Topic.UNLINKING and _wants_message(notice, has_arrived=has_arrived):
                await change.notify(notice.user_id, Topic.SIGNED_OUT)


def _gone_with(memberships: Sequence[Membership], notice: Notice) -> tuple[Membership, ...]:
    """Return the roles that a member loses, or has lost, with the link whose end is told."""
    return tuple(
        each
        for each in memberships
        if each.role_id is not None
        and not each.is_wanted
        and each.cause in {Cause.UNLINKED, Cause.FORGOTTEN}
        and each.standing in {Standing.OWED, Standing.SETTLED, Standing.DOUBTED}
        and each.at >= notice.at
    )


def _wants_message(notice: Notice, *, has_arrived: bool) -> bool:
    """Tell whether the good end of an unlinking is a message too: it was promised, or the card could not tell it."""
    return notice.phase not in _BAD_ENDS and (notice.shown in _LATER.values() or not has_arrived)
