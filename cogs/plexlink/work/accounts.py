"""After the approval: plex.tv says whose account it was, and a contested one is waited for.

The token is committed by then. What is missing is a name, which is asked for until plex.tv says it, and the word of a
member whose account another one has linked.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from .. import flow
from ..errors import PlexError, StaleAttemptError, TokenRejectedError
from ..models import Reason
from .agenda import Key, Kind
from .shares import Purpose

if TYPE_CHECKING:
    from ..clock import Clock
    from ..ledger import Ledger
    from ..models import Attempt
    from ..plex import PlexClient
    from .agenda import Agenda

_log = logging.getLogger(__name__)

REJECTED_TWICE_SECONDS = 300.0
"""A token that plex.tv gave counts as refused after two refusals at least this far apart."""

_AGAIN_SECONDS = 3.0
_LONGEST_SECONDS = 60.0
"""Between two questions while plex.tv refuses the token."""

_GIVES_UP_AFTER = timedelta(days=1)
"""For so long plex.tv is asked whose account was approved."""


class Accounts:
    """Take approved attempts to their end."""

    def __init__(self, *, ledger: Ledger, plex: PlexClient, agenda: Agenda, clock: Clock) -> None:
        self._ledger = ledger
        self._plex = plex
        self._agenda = agenda
        self._clock = clock
        self._rejected_since: dict[str, float] = {}

    async def read(self, attempt: Attempt) -> None:
        """Ask whose account was approved, and decide what becomes of it.

        Raises:
            StaleAttemptError: the attempt has no token.
            PlexError: it is not known; a day after the command the attempt ends instead.

        """
        if attempt.token is None or attempt.client_identifier is None:
            raise StaleAttemptError("the attempt holds no token in its state")
        try:
            account = await self._plex.account(attempt.token, attempt.client_identifier)
        except TokenRejectedError:
            await self._is_rejected(attempt)
        except PlexError:
            if self._clock.now() < attempt.requested_at + _GIVES_UP_AFTER:
                raise
            await self._ledger.advance(attempt, flow.Rejected(Reason.UNTOLD))
        else:
            await self._ledger.decide(attempt, account)
            self._agenda.succeeded(_key(attempt))

    async def leave(self, attempt: Attempt) -> None:
        """Leave a contested account where it is, once its member has had the time to say otherwise."""
        left = flow.left(attempt, self._clock.now()).total_seconds()
        if left > 0:
            self._agenda.put(_key(attempt), Purpose.FREE, left)
            return
        await self._ledger.advance(attempt, flow.Rejected(Reason.TAKEN))

    def forget(self, attempt_id: str) -> None:
        """Forget an attempt that has ended."""
        self._rejected_since.pop(attempt_id, None)

    async def _is_rejected(self, attempt: Attempt) -> None:
        """Ask again within seconds: one refusal says little of a token that plex.tv gave a moment ago."""
        now = self._clock.monotonic()
        left = self._rejected_since.setdefault(attempt.id, now) + REJECTED_TWICE_SECONDS - now
        if left <= 0:
            await self._ledger.advance(attempt, flow.Rejected(Reason.REVOKED))
            return
        delay = self._agenda.retry(
            _key(attempt), Purpose.ACCOUNT, first_seconds=_AGAIN_SECONDS, longest_seconds=_LONGEST_SECONDS
        )
        if delay > left:
            self._agenda.put(_key(attempt), Purpose.ACCOUNT, left)
        _log.warning("link.token_rejected attempt=%s: plex.tv did not accept it yet, asking again", attempt.id)


def _key(attempt: Attempt) -> Key:
    return Key(Kind.ATTEMPT, attempt.id)
