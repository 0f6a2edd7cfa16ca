"""Attempts in transactions: what becomes of them is decided on their rows as the transaction finds them.

What a caller knows of an attempt only names it. So a poll and an edit of a card which end together both count, and a
commit of which nobody knows whether it came through is looked up by whoever tries again.
"""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from . import cards, flow, whereabouts
from .change import Change
from .community import Standing
from .errors import StoreError
from .events import CheckWanted, TokenDead, Unlinked, Unsure
from .models import FOR_OWNERS, Lane, Reason, Reserved, State, Trouble
from .observations import Ended, unobserved

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from .bell import Bell
    from .clock import Clock
    from .community import Membership
    from .models import Account, Answer, Attempt, Card, Notice, Place
    from .observations import Observe
    from .secret import Secret
    from .store import Store, Transaction

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawable:
    """An attempt, the name of the account that it linked while the link lives, and what its member was not told yet.

    The last where the card is an answer with a code: otherwise it is told elsewhere. `roles` came with the link, and
    `reserved` is the one that did not.
    """

    attempt: Attempt
    account_name: Secret | None = None
    news: tuple[Notice, ...] = ()
    roles: tuple[Membership, ...] = ()
    reserved: Reserved | None = None


class Ledger:
    """Read what is kept, and commit what becomes of it; the bell tells of it afterwards."""

    def __init__(self, *, store: Store, clock: Clock, bell: Bell, observe: Observe = unobserved) -> None:
        self._store = store
        self._observe = observe
        self._clock = clock
        self._bell = bell

    async def get(self, attempt_id: str) -> Attempt | None:
        """Return an attempt as it is now."""
        async with self._store.transaction() as tx:
            return await tx.attempts.get(attempt_id)

    @asynccontextmanager
    async def change(self, *, must_last: bool = True) -> AsyncIterator[Change]:
        """Give a change to be filled in; it is committed at the end of the block, and then told.

        What a card shows need not last through a crash of the machine: it is drawn again.

        Raises:
            StoreError: nothing was kept, or what was kept is found in the rows before long.

        """
        change = None
        try:
            async with self._store.transaction(must_last=must_last) as tx:
                change = Change(tx=tx, clock=self._clock)
                yield change
                await tx.tell_others(self._bell.words(*change.happened))
        except StoreError:
            if change is not None and change.happened:
                self._bell.ring(Unsure())
            raise
        for attempt in change.moved:
            _log.info("link.%s attempt=%s user=%s", attempt.state, attempt.id, attempt.user_id)
            if flow.is_over(attempt):
                self._observe(Ended(attempt.state))
        for happened in change.happened:
            if isinstance(happened, Unlinked | TokenDead):
                what = happened.reason if isinstance(happened, Unlinked) else "token_dead"
                _log.info("link.%s link=%s user=%s", what, happened.link_id, happened.user_id)
        self._bell.ring_here(*change.happened)

    async def advance(self, attempt: Attempt, event: flow.Event) -> Attempt:
        """Commit what becomes of an attempt. Raise as `Change.move` and `change` do."""
        async with self.change() as change:
            return await change.move(attempt, event)

    async def decide(self, attempt: Attempt, account: Account) -> Attempt:
        """Link an approved account, ask its member if it is another member's, or refuse it.

        Whether the other member's token still lives is asked as well: a dead one holds nothing.

        Raise as `advance` does.
        """
        async with self.change() as change:
            newest = await change.newest(attempt.id) or attempt
            holder = await change.tx.links.holding(account.id)
            rival = None if holder is None or holder.user_id == newest.user_id else holder
            if account.is_managed:
                return await change.move(newest, flow.Rejected(Reason.MANAGED))
            mine = await change.tx.links.of(newest.user_id)
            if any(link and link.trouble is Trouble.UNAVAILABLE for link in (mine, rival)):
                # It could not be signed out, and with its key it lives again: that is the host's to mend.
                _log.error(
                    "link.key_missing attempt=%s: it would replace a link whose key is not in the ring", newest.id
                )
                return await change.move(newest, flow.Rejected(Reason.KEY_MISSING))
            is_anothers = rival is not None and not (rival.is_dead and rival.trouble is None)
            if rival is not None and is_anothers and newest.reason is not Reason.MOVING:
                change.tell(CheckWanted(rival.id))
                return await change.move(newest, flow.Contested(self._clock.now() + flow.TIME_TO_DECIDE))
            after = await change.move(newest, flow.Accepted())
            if rival is not None:
                await change.move_link_away(rival, to=newest.user_id)
            await change.replace_link(newest, account)
            return after

    async def disown(self, attempt: Attempt, token: Secret) -> None:
        """Queue a token for signing out that came for an attempt which has moved on, unless it is kept after all."""
        if attempt.client_identifier is not None:
            async with self.change() as change:
                await change.disown(attempt.id, attempt.user_id, token, attempt.client_identifier)

    async def answered(self, attempt: Attempt, answer: Answer) -> Attempt:
        """Commit that nothing is owed through an interaction any more; one that came meanwhile stays."""
        async with self.change(must_last=False) as change:
            newest = await change.newest(attempt.id)
            if newest is None or newest.answer != answer or cards.has_left(newest):
                return newest or attempt
            return await change.surface(replace(newest, answer=None))

    async def shown(self, drawn: Attempt, card: Card, place: Place) -> Attempt:
        """Commit that the member sees `card` at `place`, as it was drawn; an answer that nobody needs is forgotten.

        What was changed while it was drawn is drawn again. An attempt that has left its card meanwhile was drawn over
        the one that has taken it: that one is returned instead, to be drawn again.
        """

        def see(newest: Attempt) -> Attempt:
            if newest.place not in {drawn.place, place}:
                return replace(newest, shown_state=None)
            is_final = flow.is_over(newest) and cards.card_for(newest, self._clock.now()) == card
            is_elsewhere = newest.answer != drawn.answer and place.lane is not Lane.DM
            if is_elsewhere or (newest.shown_state is None and drawn.shown_state is not None):
                is_wanted_in = newest.answer if place.lane is Lane.ANSWER else None
                return replace(newest, shown_state=None, place=is_wanted_in.place if is_wanted_in else place)
            answer = None if is_final and place.lane is not Lane.DM else newest.answer
            return replace(newest, shown_state=card, place=place, answer=answer)

        async with self.change(must_last=False) as change:
            newest = await change.newest(drawn.id)
            if newest is not None and not cards.has_left(newest):
                return await change.surface(see(newest))
            message_id = cards.message_at(place, drawn.answer)
            return await whereabouts.outdate(change, message_id, through=drawn.answer) or newest or drawn

    async def drawable(self, attempt_id: str) -> Drawable | None:
        """Return an attempt as it is now, with what stands on its card besides."""
        async with self._store.transaction() as tx:
            attempt = await tx.attempts.get(attempt_id)
            if attempt is None:
                return None
            is_code_in_answer = attempt.state is State.PENDING and attempt.answer is not None
            link = await tx.links.from_attempt(attempt) if attempt.state is State.LINKED else None
            return Drawable(
                attempt=attempt,
                account_name=None if link is None or link.trouble else link.account_name,
                news=await _news(tx, attempt.user_id) if is_code_in_answer else (),
                roles=() if link is None else _come_with(await tx.memberships.of(link.user_id), attempt.guild_id),
                reserved=None if link is None else await _reserved(tx, link.user_id, attempt.guild_id),
            )

    async def held_for(self, user_id: int) -> list[Notice]:
        """Return what a member could not be told by direct message, oldest first."""
        async with self._store.transaction() as tx:
            return await tx.notices.held_for(user_id)

    async def heard(self, notices: Sequence[Notice]) -> None:
        """Forget what a member was told."""
        async with self._store.transaction() as tx:
            await tx.notices.remove([each.id for each in notices])


async def _news(tx: Transaction, user_id: int) -> tuple[Notice, ...]:
    """Return what a member could not be told; what is for owners of servers, they read with another answer."""
    return tuple(each for each in await tx.notices.held_for(user_id) if each.topic not in FOR_OWNERS)


async def _reserved(tx: Transaction, user_id: int, asked_in: int | None) -> Reserved | None:
    """Return the role of the server where a member asked, if they are no member of the Plex server that it is for."""
    server = None if asked_in is None else await tx.servers.get(asked_in)
    if server is None or not server.is_for_plex_members or server.id in await tx.withdrawals.of(user_id):
        return None
    access, plex_server = await tx.access.get(server.id, user_id), await tx.servers.plex_server(server.id)
    if access is None or access.has_access or plex_server is None or server.setup.role_id is None:
        return None
    return Reserved(guild_id=server.id, role_id=server.setup.role_id, plex_server=plex_server.name)


def _come_with(memberships: Sequence[Membership], asked_in: int | None) -> tuple[Membership, ...]:
    """Return the roles that a linked member has, and, where they asked, the one that is owed.

    Of other servers nobody knows whether the member is there before Discord has been asked.
    """
    return tuple(
        each
        for each in memberships
        if each.is_wanted
        and each.role_id is not None
        and (
            each.standing in {Standing.SETTLED, Standing.DOUBTED}
            or (each.standing is Standing.OWED and each.guild_id == asked_in)
        )
    )
