"""Codes that their members gave up: one that is approved all the same leaves a token, which is signed out.

*Cancel* and *New code* cannot take a code back at plex.tv, and the answer that brings a token may be on its way when
the button is pressed. So a given-up code is asked about a minute later, shortly before it runs out, and when it just
does. The first look is for those who had the page open; at the end nobody may be there to look: a process is restarted,
or its database is away.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from math import inf
from typing import TYPE_CHECKING

from ..errors import PlexError, PlexRefusedError
from ..models import Approved, Expired, Pending, Trouble
from .agenda import Key, Kind
from .shares import Purpose

if TYPE_CHECKING:
    from ..change import Change
    from ..clock import Clock
    from ..ledger import Ledger
    from ..models import GivenUp
    from ..plex import PlexClient
    from .agenda import Agenda
    from .hand import Hand

_log = logging.getLogger(__name__)

_FIRST_LOOK_SECONDS = 60.0
_LOOKS_ANEW_SECONDS = 10.0
"""When a process looks first that has just begun to work: nobody knows whether the one before it did."""

_LOOKS_BEFORE = timedelta(seconds=30)
"""How long before its end a code is asked about: time for others who are in line, and to ask again."""

_LAST_LOOK_BEFORE = timedelta(seconds=1)
"""plex.tv forgets a code at its end."""

_GIVES_UP_AFTER = timedelta(hours=1)
_FIRST_RETRY_SECONDS = 5.0


class GivenUpCodes:
    """Work off the given-up codes."""

    def __init__(self, *, ledger: Ledger, plex: PlexClient, agenda: Agenda, clock: Clock, hand: Hand) -> None:
        self._ledger = ledger
        self._plex = plex
        self._agenda = agenda
        self._clock = clock
        self._in_hand = hand.of_given_up

    def hear(self, given_up: GivenUp) -> None:
        """Plan the first question about a code that was just given up."""
        self._begin(given_up, _FIRST_LOOK_SECONDS)

    async def find(self, change: Change) -> None:
        """Plan a question about every given-up code."""
        for given_up in await change.tx.given_up.all():
            self._begin(given_up, _LOOKS_ANEW_SECONDS)

    def _begin(self, given_up: GivenUp, within_seconds: float) -> None:
        if not self._agenda.is_planned(Key(Kind.GIVEN_UP, given_up.id)):
            left = given_up.deadline_at - self._clock.now()
            self._plan(given_up.id, left, within_seconds=within_seconds)

    async def look(self, attempt_id: str) -> None:
        """Ask about one code; sign its token out if there is one."""
        async with self._ledger.change() as change:
            given_up = await change.tx.given_up.get(attempt_id)
        if given_up is None:
            return
        is_late = self._clock.now() >= given_up.deadline_at + _GIVES_UP_AFTER
        if given_up.trouble is Trouble.BROKEN or (given_up.trouble is not None and is_late):
            await self._finish(given_up, "unreadable")
        if given_up.trouble is not None:
            return
        try:
            await self._ask(given_up)
        except PlexError as error:
            await self._failed(given_up, error)

    def _plan(self, attempt_id: str, left: timedelta, *, within_seconds: float = inf) -> None:
        """Plan the next look at a code with so much time left; the last one goes ahead of everything."""
        before_end = (left - _LAST_LOOK_BEFORE).total_seconds()
        delay = (left - _LOOKS_BEFORE).total_seconds() if left > _LOOKS_BEFORE else before_end
        delay = min(delay, within_seconds)
        self._agenda.put(Key(Kind.GIVEN_UP, attempt_id), Purpose.BACKGROUND, delay, last_chance_seconds=before_end)

    async def _ask(self, given_up: GivenUp) -> None:
        answer = await self._plex.ask(given_up.pin_id, given_up.client_identifier)
        match answer:
            case Approved(token):
                self._in_hand[given_up.id] = given_up, token
                await self._finish(given_up, "approved")
            case Pending(left):
                await self._look_again(given_up, left)
            case Expired():
                await self._look_again(given_up, None)

    async def _look_again(self, given_up: GivenUp, left: timedelta | None) -> None:
        """Plan the next look, up to the last one: what plex.tv says before, others may say in its name."""
        left = given_up.deadline_at - self._clock.now() if left is None else left
        if left <= 2 * _LAST_LOOK_BEFORE:
            await self._finish(given_up, "unused")
        else:
            self._plan(given_up.id, left)

    async def _failed(self, given_up: GivenUp, error: PlexError) -> None:
        _log.info("given_up.no_answer attempt=%s: %s", given_up.id, error)
        if isinstance(error, PlexRefusedError):
            await self._look_again(given_up, None)
            return
        if self._clock.now() >= given_up.deadline_at + _GIVES_UP_AFTER:
            await self._finish(given_up, "given_up")
            return
        left = given_up.deadline_at - _LAST_LOOK_BEFORE - self._clock.now()
        self._agenda.retry(
            Key(Kind.GIVEN_UP, given_up.id),
            Purpose.BACKGROUND,
            first_seconds=_FIRST_RETRY_SECONDS,
            last_chance_seconds=left.total_seconds(),
        )

    async def _finish(self, given_up: GivenUp, outcome: str) -> None:
        """Forget a code, and queue its token if there is one: both or neither."""
        _, token = self._in_hand.get(given_up.id, (None, None))
        async with self._ledger.change() as change:
            await change.tx.given_up.remove(given_up.id)
            if token is not None:
                await change.disown(given_up.id, given_up.user_id, token, given_up.client_identifier)
        self._in_hand.pop(given_up.id, None)
        self._agenda.succeeded(Key(Kind.GIVEN_UP, given_up.id))
        _log.info("given_up.%s attempt=%s user=%s", outcome, given_up.id, given_up.user_id)
