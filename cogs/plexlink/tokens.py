"""Other code asks for a member's token, and the audit tells who did and why.

Calls that come while a transaction is under way share the next one: the token goes out when its use is committed, and
a thousand calls a second cost a few hundred commits, not a thousand.
"""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from .audit import AuditEntry, Deed
from .errors import StoreError
from .models import Trouble

if TYPE_CHECKING:
    from .clock import Clock
    from .models import Link
    from .secret import Secret
    from .store import Store

_log = logging.getLogger(__name__)

_PURPOSE = re.compile(r"[a-z0-9_-]{1,32}")
_LARGEST_ID = 2**63 - 1
_MOST_AT_ONCE = 500


class GrantOutcome(StrEnum):
    """What came of asking for a token; equal to its plain text, also where a reload has replaced this class."""

    GRANTED = "granted"
    NOT_LINKED = "not_linked"
    DEAD = "dead"
    NEEDS_RELINK = "needs_relink"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A member's token and the client identifier that every call with it must send, or why there is none."""

    outcome: GrantOutcome
    token: Secret | None = None
    client_identifier: Secret | None = None


@dataclass(frozen=True, slots=True)
class _Wish:
    user_id: int
    purpose: str
    granted: asyncio.Future[Grant]


class Tokens:
    """Give tokens to other code."""

    def __init__(self, *, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._wishes: list[_Wish] = []
        self._serving: asyncio.Task[None] | None = None

    async def token_for(self, user_id: int, *, purpose: str) -> Grant:
        """Return the member's token, once its use is in the audit, or why there is none.

        Raises:
            ValueError: the purpose does not fit `[a-z0-9_-]{1,32}`, or the id is none of Discord's.

        """
        if type(user_id) is not int or not 0 < user_id <= _LARGEST_ID:  # others are served together with this one
            raise ValueError("a user's id is a whole number, as in member.id")
        if type(purpose) is not str or not _PURPOSE.fullmatch(purpose):
            raise ValueError("a purpose has 1 to 32 of the characters a-z, 0-9, _ and -")
        loop = asyncio.get_running_loop()
        wish = _Wish(user_id, purpose, loop.create_future())
        self._wishes.append(wish)
        if self._serving is None:
            self._serving = loop.create_task(self._serve(), name="plexlink-tokens")
        return await wish.granted

    async def stop(self) -> None:
        """Serve those who have asked."""
        if self._serving is not None:
            await self._serving

    async def _serve(self) -> None:
        try:
            while self._wishes:
                wishes, self._wishes = self._wishes[:_MOST_AT_ONCE], self._wishes[_MOST_AT_ONCE:]
                try:
                    grants = await self._grant(wishes)
                except Exception:  # noqa: BLE001 - logged; nobody may wait for ever
                    _log.exception("tokens.failed")
                    grants = [Grant(outcome=GrantOutcome.UNAVAILABLE)] * len(wishes)
                for wish, grant in zip(wishes, grants, strict=True):
                    if not wish.granted.done():  # its caller may have given up
                        wish.granted.set_result(grant)
        finally:
            self._serving = None

    async def _grant(self, wishes: list[_Wish]) -> list[Grant]:
        now = self._clock.now()
        try:
            async with self._store.transaction() as tx:
                links = await tx.links.of_many({wish.user_id for wish in wishes})
                grants = [
                    _grant(links[wish.user_id]) if wish.user_id in links else Grant(outcome=GrantOutcome.NOT_LINKED)
                    for wish in wishes
                ]
                uses = [
                    AuditEntry(at=now, actor_id=None, deed=Deed.USED, user_id=wish.user_id, detail=wish.purpose)
                    for wish, grant in zip(wishes, grants, strict=True)
                    if grant.outcome is GrantOutcome.GRANTED
                ]
                if uses:
                    await tx.audit.add(*uses)
        except StoreError as error:
            _log.error("tokens.store_failed: %s", error)
            return [Grant(outcome=GrantOutcome.UNAVAILABLE)] * len(wishes)
        return grants


def _grant(link: Link | None) -> Grant:
    if link is None or link.trouble is Trouble.UNAVAILABLE:
        return Grant(outcome=GrantOutcome.UNAVAILABLE)
    if link.trouble is Trouble.BROKEN:
        return Grant(outcome=GrantOutcome.NEEDS_RELINK)
    if link.is_dead:
        return Grant(outcome=GrantOutcome.DEAD)
    return Grant(outcome=GrantOutcome.GRANTED, token=link.token, client_identifier=link.client_identifier)
