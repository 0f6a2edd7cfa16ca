"""Credentials that nobody needs any more are signed out at plex.tv, with patience but not for ever."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from .errors import PlexError, PlexSlowDownError, TokenRejectedError
from .models import Trouble
from .poller import Key, Kind, Urgency

if TYPE_CHECKING:
    from .clock import Clock
    from .models import SignOut
    from .plex import PlexClient
    from .poller import Poller
    from .store import Store

_log = logging.getLogger(__name__)

GIVES_UP_AFTER = timedelta(hours=24)

_FIRST_RETRY_SECONDS = 30.0
_LONGEST_RETRY_SECONDS = 1800.0


class SignOuts:
    """Work off the waiting sign-outs."""

    def __init__(self, *, store: Store, plex: PlexClient, poller: Poller, clock: Clock) -> None:
        self._store = store
        self._plex = plex
        self._poller = poller
        self._clock = clock

    async def wake(self) -> None:
        """Plan all that wait; whoever queued them, another process included."""
        async with self._store.transaction() as tx:
            waiting = await tx.sign_outs.ids()
        for row_id in waiting:
            key = Key(Kind.SIGN_OUT, row_id)
            if not self._poller.is_planned(key):
                self._poller.put(key, Urgency.BACKGROUND)

    async def sign_out(self, row_id: str) -> None:
        """Tell plex.tv to forget one credential, then erase it here."""
        async with self._store.transaction() as tx:
            row = await tx.sign_outs.get(row_id)
        if row is None or row.trouble is Trouble.UNAVAILABLE:
            return
        if row.trouble is Trouble.BROKEN:
            await self._finish(row, "unreadable")
        else:
            await self._try(row)

    async def _try(self, row: SignOut) -> None:
        try:
            await self._plex.sign_out(row.token, row.client_identifier)
        except TokenRejectedError:
            await self._finish(row, "dead_already")
        except PlexError as error:
            await self._failed(row, error)
        else:
            self._poller.limiter.recover()
            await self._finish(row, "done")

    async def _failed(self, row: SignOut, error: PlexError) -> None:
        _log.info("sign_out.no_answer id=%s: %s", row.id, error)
        if self._clock.now() >= row.requested_at + GIVES_UP_AFTER:
            await self._finish(row, "given_up")
            return
        if isinstance(error, PlexSlowDownError):
            self._poller.limiter.slow_down(self._clock.monotonic(), error.retry_after_seconds)
        self._poller.retry(
            Key(Kind.SIGN_OUT, row.id),
            Urgency.BACKGROUND,
            first_seconds=_FIRST_RETRY_SECONDS,
            longest_seconds=_LONGEST_RETRY_SECONDS,
        )

    async def _finish(self, row: SignOut, outcome: str) -> None:
        async with self._store.transaction() as tx:
            await tx.sign_outs.remove(row.id)
        self._poller.succeeded(Key(Kind.SIGN_OUT, row.id))
        _log.info("sign_out.%s id=%s user=%s", outcome, row.id, row.user_id)
