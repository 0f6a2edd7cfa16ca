"""Codes that their members gave up: one that is approved all the same leaves a token, which is signed out.

*Cancel* and *New code* cannot take a code back at plex.tv, and the answer that brings a token may be on its way when
the button is pressed. So a given-up code is asked about once more, shortly before it runs out.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from .errors import PlexError, PlexRefusedError
from .models import Approved, Pending, Trouble
from .poller import Key, Kind, Urgency

if TYPE_CHECKING:
    from .clock import Clock
    from .models import Leftover, Secret
    from .plex import PlexClient
    from .poller import Poller
    from .sign_outs import SignOuts
    from .store import Store, Transaction

_log = logging.getLogger(__name__)

_LOOKS_BEFORE = timedelta(seconds=30)
"""How long before its end a code is asked about: time for others who are in line, and to ask again."""

_GIVES_UP_AFTER = timedelta(hours=1)
_FIRST_RETRY_SECONDS = 5.0


class Leftovers:
    """Work off the given-up codes."""

    def __init__(self, *, store: Store, plex: PlexClient, poller: Poller, sign_outs: SignOuts, clock: Clock) -> None:
        self._store = store
        self._plex = plex
        self._poller = poller
        self._sign_outs = sign_outs
        self._clock = clock
        self._in_hand: dict[str, Secret] = {}

    async def wake(self) -> None:
        """Plan a question about every given-up code."""
        async with self._store.transaction() as tx:
            await self.find(tx)

    async def find(self, tx: Transaction) -> None:
        """Plan as `wake` does."""
        for leftover in await tx.leftovers.all():
            self._plan(leftover.id, leftover.deadline_at - self._clock.now())

    async def look(self, attempt_id: str) -> None:
        """Ask about one code; sign its token out if there is one."""
        async with self._store.transaction() as tx:
            leftover = await tx.leftovers.get(attempt_id)
        if leftover is None or leftover.trouble is Trouble.UNAVAILABLE:
            return
        if leftover.trouble is Trouble.BROKEN:
            await self._finish(leftover, "unreadable")
            return
        try:
            await self._ask(leftover)
        except PlexError as error:
            await self._failed(leftover, error)

    def _plan(self, attempt_id: str, left: timedelta) -> None:
        key = Key(Kind.LEFTOVER, attempt_id)
        if not self._poller.is_planned(key):
            self._poller.put(key, Urgency.BACKGROUND, (left - _LOOKS_BEFORE).total_seconds())

    async def _ask(self, leftover: Leftover) -> None:
        answer = await self._plex.ask(leftover.pin_id, leftover.client_identifier)
        match answer:
            case Approved(token):
                self._in_hand[leftover.id] = token
            case Pending(left) if left is not None and left > _LOOKS_BEFORE:
                self._plan(leftover.id, left)
                return
            case _:
                pass
        await self._finish(leftover, "approved" if leftover.id in self._in_hand else "unused")

    async def _failed(self, leftover: Leftover, error: PlexError) -> None:
        _log.info("leftover.no_answer attempt=%s: %s", leftover.id, error)
        if isinstance(error, PlexRefusedError) or self._clock.now() >= leftover.deadline_at + _GIVES_UP_AFTER:
            await self._finish(leftover, "given_up")
            return
        self._poller.retry(Key(Kind.LEFTOVER, leftover.id), Urgency.BACKGROUND, first_seconds=_FIRST_RETRY_SECONDS)

    async def _finish(self, leftover: Leftover, outcome: str) -> None:
        """Forget a code, and queue its token if there is one: both or neither."""
        token = self._in_hand.get(leftover.id)
        async with self._store.transaction() as tx:
            await tx.leftovers.remove(leftover.id)
            if token is not None:
                await tx.sign_outs.add(
                    user_id=leftover.user_id,
                    client_identifier=leftover.client_identifier,
                    token=token,
                    now=self._clock.now(),
                )
        self._in_hand.pop(leftover.id, None)
        self._poller.succeeded(Key(Kind.LEFTOVER, leftover.id))
        _log.info("leftover.%s attempt=%s user=%s", outcome, leftover.id, leftover.user_id)
        if token is not None:
            await self._sign_outs.wake()
