"""What members are told besides the cards of their attempts: how an unlinking goes, and what nobody asked for.

An unlinking is told on the card on which it was asked for, until its end. Everything else is a direct message, or waits
for the member's next answer where those are closed.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import NotifyError
from ..models import Phase, Showing, Topic
from .agenda import Key, Kind, Urgency

if TYPE_CHECKING:
    from ..clock import Clock
    from ..ledger import Change, Ledger
    from ..models import Notice
    from .agenda import Agenda
    from .presenter import Notifier
    from .turns import Turns

_log = logging.getLogger(__name__)

TAKES_LONG_SECONDS = 15.0
"""After so long, "signing out" is not the whole truth any more."""

_APART_SECONDS = 1.0
"""Between two messages: a bad day of plex.tv must not look like spam to Discord."""

_LONGEST_RETRY_SECONDS = 600.0
_UNDER_WAY = {Phase.SIGNING_OUT, Phase.DELAYED}
_BAD_ENDS = {Phase.GIVEN_UP, Phase.UNREADABLE}


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
                self._agenda.put(key, Urgency.FREE, self._turn())
        elif notice.shown is None or notice.shown is not notice.phase:
            self._agenda.put(key, Urgency.FREE)
        elif notice.phase is Phase.SIGNING_OUT:
            self._agenda.put(key, Urgency.FREE, TAKES_LONG_SECONDS)

    async def find(self, change: Change) -> None:
        """Plan to tell all that their members do not know."""
        for notice in await change.tx.notices.untold():
            if not self._agenda.is_planned(Key(Kind.NOTICE, notice.id)):
                self.hear(notice)

    def _turn(self) -> float:
        """Return in how many seconds the next message may go."""
        now = self._clock.monotonic()
        turn = max(now, self._next_at)
        self._next_at = turn + _APART_SECONDS
        return turn - now

    async def tell(self, notice_id: str) -> None:
        """Bring one notice; try again later if Discord does not take it."""
        notice = await self._current(notice_id)
        if notice is None:
            return
        key = Key(Kind.NOTICE, notice_id)
        async with self._turns.at(notice.place, notice.answer, otherwise=notice.id):
            try:
                place = await self._notifier.show(_showing(notice))
            except NotifyError as error:
                delay = self._agenda.retry(key, Urgency.FREE, first_seconds=1.0, longest_seconds=_LONGEST_RETRY_SECONDS)
                _log.warning("notice.failed id=%s, trying again in %.0f s: %s", notice_id, delay, error)
                return
            self._agenda.succeeded(key)
            async with self._ledger.change() as change:
                await self._told(change, notice, has_arrived=place is not None)

    async def _current(self, notice_id: str) -> Notice | None:
        """Return a notice if it is to be told; an unlinking that has been under way for long says so."""
        async with self._ledger.change() as change:
            notice = await change.tx.notices.get(notice_id)
            if notice is None or notice.is_held:
                return None
            if notice.phase is notice.shown is Phase.SIGNING_OUT:
                notice = replace(notice, phase=Phase.DELAYED)
                await change.keep(notice)
        return None if notice.shown is not None and notice.shown is notice.phase else notice

    async def _told(self, change: Change, notice: Notice, *, has_arrived: bool) -> None:
        """Keep what the member knows; forget what is told to its end."""
        newest = await change.tx.notices.get(notice.id)
        if newest is None:
            return
        if notice.phase in _UNDER_WAY:
            await change.keep(replace(newest, shown=notice.phase))
        elif notice.place.lane is None and not has_arrived:
            await change.keep(replace(newest, is_held=True))
        else:
            await change.tx.notices.remove([notice.id])
            if notice.topic is Topic.UNLINKING and not (has_arrived or _is_told_anyway(notice)):
                await change.notify(notice.user_id, Topic.SIGNED_OUT)


def _is_told_anyway(notice: Notice) -> bool:
    """Tell whether the end of an unlinking is told by direct message too, wherever it was asked for."""
    return notice.phase in _BAD_ENDS or notice.shown is Phase.DELAYED


def _showing(notice: Notice) -> Showing:
    is_message = notice.place.lane is None
    return Showing(
        user_id=notice.user_id,
        content=notice,
        place=notice.place,
        answer=notice.answer,
        nonce=notice.id if is_message else None,
    )
