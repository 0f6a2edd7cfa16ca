"""What one transaction changes: attempts, links, sign-outs, notices and the audit move together, or not at all."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from . import cards, entitlements, flow
from .audit import SOMEBODY, AuditEntry, Deed
from .community import Cause, ServerTouched
from .errors import StaleAttemptError, UnknownKeyError
from .events import AccessWanted, Linked, Unlinked
from .models import GivenUp, Lane, Link, Notice, Phase, Place, Reason, SignOut, State, Topic, Trouble

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .bell import Happened
    from .clock import Clock
    from .community import Membership, Objection, Server
    from .models import Account, Answer, Attempt
    from .secret import Secret
    from .store import Transaction

_KEPT = timedelta(days=1)
"""How long an ended attempt that led to no link is kept, so that its card's buttons still know their owner."""

_IS_NEWS = timedelta(minutes=15)
"""For so long after the linking its card is drawn anew where it is known what becomes of a role."""

_KEPT_UNSEEN = timedelta(days=7)
"""How long one is kept whose member could not be told."""


_DEEDS = {
    Reason.REPLACED: Deed.REPLACED,
    Reason.MOVED: Deed.MOVED,
    Reason.UNLINKED: Deed.UNLINKED,
    Reason.UNDONE: Deed.UNDONE,
    Reason.FORGOTTEN: Deed.UNLINKED,
}


_CAUSES = {Reason.MOVED: Cause.MOVED, Reason.FORGOTTEN: Cause.FORGOTTEN}
"""Why roles go with a link, where it was not simply ended."""


class Change:
    """What is to be committed together; of what `happened` the bell tells when it is."""

    def __init__(self, *, tx: Transaction, clock: Clock) -> None:
        self.tx = tx
        self.moved: list[Attempt] = []
        self.clock = clock
        self._touched: dict[str, Attempt | Notice] = {}
        self._happened: list[Happened] = []

    @property
    def happened(self) -> list[Happened]:
        """Return the rows that were touched, as they are in the end, then everything else in its order."""
        return [*self._touched.values(), *self._happened]

    def tell(self, happened: Happened) -> None:
        """Let this be told too."""
        self._happened.append(happened)

    async def add(self, attempt: Attempt) -> None:
        """Keep a new attempt."""
        await self.tx.attempts.add(attempt)
        self.moved.append(attempt)
        self._touched[attempt.id] = attempt

    async def unfinished(self) -> list[Attempt]:
        """Return all attempts that something is still to be done about; forget what is long over."""
        now = self.clock.now()
        await self.tx.attempts.prune(seen_before=now - _KEPT, unseen_before=now - _KEPT_UNSEEN)
        return [attempt for attempt in await self.tx.attempts.unfinished() if not cards.is_settled(attempt)]

    async def newest(self, attempt_id: str) -> Attempt | None:
        """Return an attempt as this change finds it; what a caller looked at before may be outdated."""
        return await self.tx.attempts.get(attempt_id)

    async def move(self, attempt: Attempt, event: flow.Event) -> Attempt:
        """Advance an attempt; a token that leads to no link is queued for signing out.

        Of a code that ends before its time, what is needed to clean up is kept: it may be approved all the same.

        Raises:
            IllegalTransitionError: the event does not fit the state that the attempt has by now.
            StaleAttemptError: the attempt is gone.
            UnknownKeyError: it holds what cannot be read now, and would be lost.

        """
        newest = await self.newest(attempt.id)
        if newest is None:
            raise StaleAttemptError(f"attempt {attempt.id} is gone")
        if newest.trouble is Trouble.UNAVAILABLE and not flow.is_lost(newest, self.clock.now()):
            raise UnknownKeyError(f"attempt {newest.id} needs a key that is not in the ring")
        after = flow.advance(newest, event, self.clock.now())
        await self.tx.attempts.move(after)
        self.moved.append(after)
        self._touched[after.id] = after
        if flow.is_over(after) and after.state is not State.LINKED and newest.token and newest.client_identifier:
            await self.disown(newest.id, newest.user_id, newest.token, newest.client_identifier)
        if flow.is_over(after) and (given_up := _given_up(newest)) and self.clock.now() < given_up.deadline_at:
            await self.tx.given_up.add(given_up)
            self.tell(given_up)
        return after

    async def surface(self, attempt: Attempt) -> Attempt:
        """Keep what the member sees of an attempt, and where."""
        if attempt.reason is Reason.FORGOTTEN and cards.is_settled(attempt):
            await self.tx.attempts.remove(attempt.id)
        else:
            await self.tx.attempts.show(attempt)
        self._touched[attempt.id] = attempt
        return attempt

    async def redraw(self, attempt: Attempt) -> Attempt:
        """Note that what the member sees may be outdated, so that the card is drawn again."""
        newest = await self.newest(attempt.id)
        if newest is None or cards.has_left(newest):
            return newest or attempt
        return await self.surface(replace(newest, shown_state=None))

    async def redraw_news(self, user_id: int) -> None:
        """Let the card of a new link tell what has become of a role."""
        link = await self.tx.links.of(user_id)
        if link is None or link.linked_at < self.clock.now() - _IS_NEWS:
            return
        attempt = await self.newest(link.attempt_id)
        if attempt is not None and attempt.state is State.LINKED and (attempt.answer or attempt.place.lane is Lane.DM):
            await self.redraw(attempt)  # what can no longer be edited was told that the role is on its way

    async def ask_for_access(self, membership: Membership) -> None:
        """Let plex.tv be asked whether a member who was seen in a server may have its role, if nobody knows."""
        server = await self.tx.servers.get(membership.guild_id)
        if server is None or not server.is_for_plex_members:
            return
        link = await self.tx.links.of(membership.user_id)
        if link is not None and await self.tx.access.get(server.id, link.user_id) is None:
            is_news = link.linked_at >= self.clock.now() - _IS_NEWS
            self.tell(AccessWanted(link.id, is_waited_for=is_news))

    async def forget_attempts(self, user_id: int) -> None:
        """End the member's open attempt, and delete all of them, those with a card as soon as it tells nothing more.

        Raises:
            UnknownKeyError: the open one holds a token that cannot be read now.

        """
        attempt = await self.tx.attempts.open_of(user_id)
        if attempt is not None and attempt.trouble is Trouble.UNAVAILABLE:
            raise UnknownKeyError(f"attempt {attempt.id} needs a key that is not in the ring; nothing was deleted")
        if attempt is not None and attempt.state is State.APPROVED:
            await self.move(attempt, flow.Rejected(Reason.FORGOTTEN))
        elif attempt is not None:
            await self.move(attempt, flow.Cancelled())
        await self.tx.attempts.forget(user_id)
        for left in await self.tx.attempts.all_of(user_id):
            self._touched[left.id] = left

    async def replace_link(self, attempt: Attempt, account: Account) -> None:
        """Give the member the link that an approved attempt led to, in place of an older one."""
        old = await self.tx.links.of(attempt.user_id)
        if old is not None:
            await self.remove_link(old, Reason.REPLACED)
        token, client_identifier = _credential(attempt)
        link = Link(
            id=secrets.token_urlsafe(16),
            user_id=attempt.user_id,
            attempt_id=attempt.id,
            account_id=account.id,
            account_name=account.name,
            client_identifier=client_identifier,
            token=token,
            linked_at=self.clock.now(),
        )
        await self.tx.links.add(link)
        if old is not None and old.account_id == account.id:
            await self.tx.links.show_name(link.user_id, is_shown=old.is_name_shown)  # the setting is for the account
        await self.tx.notices.remove_about(link.user_id, Topic.LINK_MOVED)
        await self.note(Deed.LINKED, link.user_id, actor_id=link.user_id)
        await self.entitle(link.user_id, seen_in=attempt.guild_id)
        if await self.tx.access.concerning(link.user_id):  # what was known is of another account
            self.tell(AccessWanted(link.id, is_waited_for=True))
        self.tell(Linked(user_id=link.user_id, link_id=link.id, at=link.linked_at))

    async def move_link_away(self, link: Link, *, to: int) -> None:
        """Take a link from a member because another one has proven the account theirs, and let the first one know."""
        await self.remove_link(link, Reason.MOVED, actor_id=to)
        await self.notify(link.user_id, Topic.LINK_MOVED)

    async def remove_link(self, link: Link, reason: Reason, *, actor_id: int | None = None) -> str | None:
        """Erase a link, queue its credential, and note on the card it came with what became of it.

        Return the id of the sign-out, if there is something left to sign out with.

        Raises:
            UnknownKeyError: the credential cannot be read now, but may be when its key is back.

        """
        if link.trouble is Trouble.UNAVAILABLE:
            raise UnknownKeyError(f"link {link.id} needs a key that is not in the ring; nothing was erased")
        await self.tx.links.remove(link)
        await self.tx.notices.remove_about(link.user_id, Topic.LINK_DEAD)
        origin = await self.tx.attempts.get(link.attempt_id)
        if origin is not None and origin.user_id == link.user_id:
            await self.tx.attempts.annotate(origin.id, reason)
            self._touched[origin.id] = replace(origin, reason=reason)
        await self.note(_DEEDS[reason], link.user_id, actor_id=actor_id or link.user_id)
        if reason is not Reason.REPLACED:  # a newer one follows
            await self.tx.access.forget(link.user_id)
            await self.disentitle(link.user_id, _CAUSES.get(reason, Cause.UNLINKED))
        self.tell(Unlinked(user_id=link.user_id, link_id=link.id, at=self.clock.now(), reason=str(reason)))
        if not (link.token.reveal() and link.client_identifier.reveal()):  # of a broken row, these may still be whole
            await self.notify(link.user_id, Topic.NOT_SIGNED_OUT)
            return None
        return await self._sign_out(link.user_id, link.token, link.client_identifier)

    async def entitle(self, user_id: int, *, cause: Cause = Cause.LINKED, seen_in: int | None = None) -> None:
        """Let a member who has linked, perhaps in a server, have the roles that come with it."""
        self._touch(await entitlements.entitle(self.tx, user_id, self.clock.now(), cause=cause, seen_in=seen_in))

    async def disentitle(self, user_id: int, cause: Cause) -> None:
        """Let a member lose the roles that came with the link."""
        self._touch(await entitlements.disentitle(self.tx, user_id, cause, self.clock.now()))

    async def object(self, server: Server, objection: Objection, *, user_id: int | None = None) -> None:
        """Note why a server's role cannot be given, and let whoever chose it know."""
        await self.tx.servers.keep(replace(server, objection=objection))
        await self.note_for(server.id, Deed.ROLE_REFUSED, None, user_id=user_id, detail=objection)
        await self._tell_owner(server)

    async def close_channel(self, server: Server) -> None:
        """Note that Discord lets nothing be written into the audit's channel, and let whoever chose it know once."""
        await self.tx.servers.keep(replace(server, closed_at=self.clock.now()))
        if server.closed_at is None:
            await self._tell_owner(server)

    async def lose_panel(self, server: Server) -> None:
        """Note that a server's panel is gone, and let whoever posted it know."""
        await self.tx.servers.keep(replace(server, panel_message_id=None))
        await self.note_for(server.id, Deed.PANEL_GONE, None, detail=str(server.panel_channel_id))
        await self._tell_owner(server)

    async def hold_losses(self, server: Server) -> None:
        """Note that too many lose a server's Plex server at once, and let whoever chose know that they decide."""
        await self.note_for(server.id, Deed.ACCESS_HELD, None)
        await self._tell_owner(server, Topic.LOSSES_HELD)

    async def settle_losses(self, guild_id: int) -> None:
        """Tell nobody any more that losses wait for an owner: they do not."""
        await self.tx.notices.remove_about_server(guild_id, Topic.LOSSES_HELD)

    async def _tell_owner(self, server: Server, topic: Topic = Topic.SETUP_BROKEN) -> None:
        """Let whoever chose know; whether that is still an owner is looked at when it is told."""
        await self._tell_of_server(server.chosen_by or SOMEBODY, topic, server.id)

    async def hand_on(self, notice: Notice, user_id: int = SOMEBODY) -> None:
        """Let somebody else be told what is for the owners of a server."""
        await self.tx.notices.remove([notice.id])
        await self._tell_of_server(user_id, notice.topic, notice.guild_id)

    async def _tell_of_server(self, user_id: int, topic: Topic, guild_id: int | None) -> None:
        """Let an owner be told, unless they are to be already; what waits for their next answer is tried once more.

        They may have left since, and never ask for anything again.
        """
        for waiting in await self.tx.notices.of(user_id):
            if waiting.topic is topic and waiting.guild_id == guild_id:
                if waiting.is_held:
                    await self.keep(replace(waiting, is_held=False))
                return
        await self.notify(user_id, topic, guild_id=guild_id)

    async def note_where_known(self, deed: Deed, user_id: int) -> None:
        """Write what became of a link into the audit of the servers where its member is."""
        there = {each.guild_id for each in await self.tx.memberships.of(user_id) if each.is_there}
        await entitlements.note(self.tx, there, deed, user_id, self.clock.now())
        self._touch(sorted(there))

    async def note_for(
        self, guild_id: int, deed: Deed, actor_id: int | None, *, user_id: int | None = None, detail: str | None = None
    ) -> None:
        """Write what was done into the audit of a server."""
        await entitlements.note(
            self.tx, [guild_id], deed, user_id or SOMEBODY, self.clock.now(), actor_id=actor_id, detail=detail
        )
        self.tell(ServerTouched(guild_id))

    def _touch(self, guild_ids: Sequence[int]) -> None:
        for guild_id in guild_ids:
            self.tell(ServerTouched(guild_id))

    async def note(self, deed: Deed, user_id: int, *, actor_id: int | None = None, detail: str | None = None) -> None:
        """Write what was done into the audit."""
        await self.tx.audit.add(
            AuditEntry(at=self.clock.now(), actor_id=actor_id, deed=deed, user_id=user_id, detail=detail)
        )

    async def notify(
        self,
        user_id: int,
        topic: Topic,
        *,
        notice_id: str | None = None,
        reason: Reason | None = None,
        phase: Phase | None = None,
        place: Place | None = None,
        answer: Answer | None = None,
        guild_id: int | None = None,
    ) -> None:
        """Let a member be told, at `place` or by direct message."""
        notice = Notice(
            id=notice_id or secrets.token_urlsafe(16),
            user_id=user_id,
            topic=topic,
            at=self.clock.now(),
            reason=reason,
            phase=phase,
            place=place or Place(),
            answer=answer,
            guild_id=guild_id,
        )
        await self.tx.notices.add(notice)
        self._touched[notice.id] = notice

    async def tell_again(self, notice: Notice) -> None:
        """Let a notice be told again that is thought to be told as it is."""
        if notice.shown is notice.phase:
            await self.keep(replace(notice, shown=None))

    async def keep(self, notice: Notice) -> None:
        """Keep how far a notice has come."""
        await self.tx.notices.keep(notice)
        self._touched[notice.id] = notice

    async def disown(self, attempt_id: str, user_id: int, token: Secret, client_identifier: Secret) -> bool:
        """Queue a token that came of an attempt, unless that or the member's link keeps it; tell whether it did.

        Its code has nothing more to give, and is not looked after any longer.
        """
        await self.tx.given_up.remove(attempt_id)
        row, link = await self.tx.attempts.get(attempt_id), await self.tx.links.of(user_id)
        if token in {row and row.token, link and link.token}:
            return False
        await self._sign_out(user_id, token, client_identifier)
        return True

    async def _sign_out(self, user_id: int, token: Secret, client_identifier: Secret) -> str:
        sign_out = SignOut(
            id=secrets.token_urlsafe(16),
            user_id=user_id,
            token=token,
            client_identifier=client_identifier,
            requested_at=self.clock.now(),
        )
        await self.tx.sign_outs.add(sign_out)
        self.tell(sign_out)
        return sign_out.id


def _given_up(attempt: Attempt) -> GivenUp | None:
    """Return what an attempt leaves behind at plex.tv that ends now, if there is a code."""
    if attempt.client_identifier is None or attempt.pin_id is None or attempt.deadline_at is None:
        return None
    return GivenUp(
        id=attempt.id,
        user_id=attempt.user_id,
        client_identifier=attempt.client_identifier,
        pin_id=attempt.pin_id,
        deadline_at=attempt.deadline_at,
    )


def _credential(attempt: Attempt) -> tuple[Secret, Secret]:
    if attempt.token is None or attempt.client_identifier is None:
        raise StaleAttemptError(f"attempt {attempt.id} holds no credential")
    return attempt.token, attempt.client_identifier
