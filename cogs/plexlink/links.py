"""What members ask for after the link: how it is, an end to it, what is stored about them."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from . import whereabouts
from .audit import AuditEntry, Deed
from .events import Checked, CheckWanted
from .models import FOR_OWNERS, Finding, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from .bell import Bell, Happened
    from .clock import Clock
    from .community import Access, Membership
    from .ledger import Ledger
    from .models import Attempt, Link, Notice, Wish

_log = logging.getLogger(__name__)

FRESH = timedelta(seconds=10)
"""Who asks again and again how a link is, is told what the last check brought: others wait too."""

PATIENCE_SECONDS = 8.0
"""How long a member who presses *Check now* waits for plex.tv."""


@dataclass(frozen=True, slots=True)
class NotLinked:
    """The member has no link."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The member's link, and when and why other code last used its token.

    `finding` is what a check has just brought; `is_asking` tells that one is still under way.
    """

    link: Link
    last_use: AuditEntry | None
    finding: Finding | None = None
    is_asking: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """It was done, or is under way; the card tells."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Nothing is stored about the member any more."""


LinkOutcome = Status | NotLinked | Done | Forgotten


class Links:
    """Show, check, end, export and delete what is stored about a member."""

    def __init__(self, *, ledger: Ledger, bell: Bell, clock: Clock, audit_days: int) -> None:
        self._ledger = ledger
        self._bell = bell
        self._clock = clock
        self._audit_days = audit_days

    @property
    def audit_days(self) -> int:
        """For how many days the audit is kept."""
        return self._audit_days

    async def status(self, user_id: int) -> Status | NotLinked:
        """Return the member's link and what is known of it."""
        async with self._ledger.change() as change:
            link = await change.tx.links.of(user_id)
            if link is None:
                return NotLinked()
            return Status(link=link, last_use=await change.tx.audit.last_use(user_id, since=link.linked_at))

    async def check(self, user_id: int) -> Status | NotLinked:
        """Let plex.tv be asked about the member's link now, and return it as `status` does."""
        before = await self.status(user_id)
        if isinstance(before, NotLinked) or before.link.trouble is not None:
            return before
        finding = await self._finding(before.link)
        after = await self.status(user_id)
        return replace(after, finding=finding, is_asking=finding is None) if isinstance(after, Status) else after

    async def _finding(self, link: Link) -> Finding | None:
        """Return what a check brings that is made now, or was just made; nothing if it takes long."""
        health = link.health
        if health.finding and health.checked_at and self._clock.now() < health.checked_at + FRESH:
            return health.finding
        checked: asyncio.Future[Finding] = asyncio.get_running_loop().create_future()

        def hear(happened: Happened) -> None:
            if isinstance(happened, Checked) and happened.link_id == link.id and not checked.done():
                checked.set_result(happened.finding)

        stop = self._bell.listen(hear)
        try:
            self._bell.ring(CheckWanted(link.id))
            await asyncio.wait({checked}, timeout=PATIENCE_SECONDS)
        finally:
            stop()
        return checked.result() if checked.done() else None

    async def show_name(self, user_id: int, *, is_shown: bool) -> None:
        """Let owners of servers read the name of the member's Plex account, or not any more; another one starts off."""
        async with self._ledger.change() as change:
            await change.tx.links.show_name(user_id, is_shown=is_shown)

    async def unlink(self, wish: Wish) -> Done | NotLinked:
        """Erase the member's link, sign it out at Plex, and tell about both on the card that was pressed.

        Raises:
            UnknownKeyError: the credential cannot be read now; nothing was erased.

        """
        async with self._ledger.change() as change:
            link = await change.tx.links.of(wish.user_id)
            if link is None:
                # The second press of a double click: the card tells already how it goes.
                return Done() if await change.tx.notices.drawn_in(wish.answer.message_id) else NotLinked()
            await whereabouts.end_link(change, link, Reason.UNLINKED, place=wish.card, answer=wish.answer)
        return Done()

    async def export(self, user_id: int) -> dict[str, Any]:
        """Return all that is stored about the member but the credentials, as JSON takes it."""
        now = self._clock.now()
        async with self._ledger.change() as change:
            tx = change.tx
            link = await tx.links.of(user_id)
            attempts = await tx.attempts.all_of(user_id)
            waiting = await tx.sign_outs.of(user_id)
            given_up = await tx.given_up.of(user_id)
            notices = await tx.notices.of(user_id)
            memberships = await tx.memberships.of(user_id)
            chosen = await tx.servers.chosen_by(user_id)
            withdrawals = await tx.withdrawals.of(user_id)
            access = await tx.access.of(user_id)
            entries = [entry async for entry in tx.audit.about(user_id)]
            known = (link, attempts, waiting, given_up, notices, memberships, chosen, withdrawals, access, entries)
            if any(known):
                await tx.audit.add(AuditEntry(at=now, actor_id=user_id, deed=Deed.EXPORTED, user_id=user_id))
        return {
            "discord_user_id": str(user_id),
            "exported_at": _text(now),
            "link": None if link is None else _exported_link(link),
            "attempts": [_exported_attempt(attempt) for attempt in attempts],
            "waiting_sign_outs": [{"requested_at": _text(requested_at)} for requested_at in waiting],
            "given_up_codes": [{"ends_at": _text(deadline_at)} for deadline_at in given_up],
            "notices": [_exported_notice(notice) for notice in notices],
            "servers": [_exported_membership(membership) for membership in memberships],
            "servers_set_up_by_you": [_id(guild_id) for guild_id in chosen],
            "withdrawn_roles": [
                {"discord_server_id": _id(guild_id), "at": _text(at)} for guild_id, at in withdrawals.items()
            ],
            "plex_server_members": [_exported_access(each) for each in access.values()],
            "audit": await asyncio.to_thread(_exported_entries, entries, user_id),
        }

    async def forget(self, wish: Wish) -> Done | Forgotten:
        """Delete all that is stored about the member; sign-outs go when they are done.

        Raise as `unlink` does.
        """
        user_id = wish.user_id
        async with self._ledger.change() as change:
            tx = change.tx
            link = await tx.links.of(user_id)
            is_known = link is not None or await tx.attempts.all_of(user_id) or await tx.notices.of(user_id)
            for_owners = [each for each in await tx.notices.of(user_id) if each.topic in FOR_OWNERS]
            await tx.notices.forget(user_id)
            for notice in for_owners:
                await change.hand_on(notice)  # their server still wants to be looked at
            if link is not None:
                await whereabouts.end_link(change, link, Reason.FORGOTTEN, place=wish.card, answer=wish.answer)
            await change.forget_attempts(user_id)
            await tx.memberships.forget(user_id)
            await tx.servers.forget_chooser(user_id)
            await tx.withdrawals.forget(user_id)
            await tx.access.forget(user_id)
            if await tx.audit.forget(user_id) or is_known:
                await change.note(Deed.FORGOTTEN, user_id, actor_id=user_id)
        _log.info("member.forgotten user=%s", user_id)
        return Forgotten() if link is None else Done()

    async def held_for(self, user_id: int) -> list[Notice]:
        """Return what the member could not be told by direct message."""
        return await self._ledger.held_for(user_id)

    async def hand_on(self, notice: Notice, owner_id: int) -> None:
        """Let another owner of a server be told what waits for somebody who does not manage it any more."""
        async with self._ledger.change() as change:
            if await change.tx.notices.get(notice.id) is not None:  # it may be over by now
                await change.hand_on(notice, owner_id)

    async def heard(self, notices: Sequence[Notice]) -> None:
        """Forget what the member was told."""
        await self._ledger.heard(notices)


def _exported_link(link: Link) -> dict[str, Any]:
    health = link.health
    return {
        "plex_account_id": link.account_id.reveal() or None,
        "plex_account_name": link.account_name.reveal() or None,
        "linked_at": _text(link.linked_at),
        "checked_at": _text(health.checked_at),
        "check_result": health.finding,
        "refused_since": _text(health.rejected_at),
        "believed_to_be": health.verdict,
        "is_held_back": health.is_held,
        "told_at": _text(health.told_at),
        "next_check_at": _text(health.next_check_at),
        "is_name_shown_to_server_owners": link.is_name_shown,
        "is_readable": link.trouble is None,
    }


def _exported_attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "requested_at": _text(attempt.requested_at),
        "ended_at": _text(attempt.ended_at),
        "state": attempt.state,
        "reason": attempt.reason,
        "discord_server_id": _id(attempt.guild_id),
        "device_name_at_plex": attempt.device_name,
        "ends_at": _text(attempt.deadline_at),
        "shown_to_you": attempt.shown_state,
        **_exported_place(attempt),
    }


def _exported_notice(notice: Notice) -> dict[str, Any]:
    return {
        "at": _text(notice.at),
        "topic": notice.topic,
        "discord_server_id": _id(notice.guild_id),
        "reason": notice.reason,
        "phase": notice.phase,
        "shown_to_you": notice.shown,
        "is_held_back": notice.is_held,
        **_exported_place(notice),
    }


def _exported_membership(membership: Membership) -> dict[str, Any]:
    return {
        "discord_server_id": _id(membership.guild_id),
        "role_id": _id(membership.role_id),
        "is_to_be_yours": membership.is_wanted,
        "standing": membership.standing,
        "because": membership.cause,
        "at": _text(membership.at),
        "is_seen": membership.is_seen,
    }


def _exported_access(access: Access) -> dict[str, Any]:
    return {
        "discord_server_id": _id(access.guild_id),
        "is_member_of_its_plex_server": access.has_access,
        "checked_at": _text(access.checked_at),
        "lost_at": _text(access.lost_at),
        "is_held_back": access.is_held,
    }


def _exported_place(drawn: Attempt | Notice) -> dict[str, Any]:
    """Return where in Discord something is shown."""
    answer = drawn.answer
    return {
        "lane": drawn.place.lane,
        "channel_id": _id(drawn.place.channel_id),
        "message_id": _id(drawn.place.message_id),
        "answer_id": None if answer is None else _id(answer.message_id),
        "answered_at": None if answer is None else _text(answer.at),
    }


def _exported_entries(entries: Sequence[AuditEntry], user_id: int) -> list[dict[str, Any]]:
    """Return entries as their member may see them; a feature that asks every few minutes makes very many in a year."""
    return [_exported_entry(entry, user_id) for entry in entries]


def _exported_entry(entry: AuditEntry, user_id: int) -> dict[str, Any]:
    """Return an entry as its member may see it: of another one who took part, only that there was one."""
    actors = {None: "the bot's host" if entry.deed is Deed.BELIEVED else "the bot", user_id: "you"}
    return {
        "at": _text(entry.at),
        "who": actors.get(entry.actor_id, "another member"),
        "did": entry.deed,
        "to": "you" if entry.user_id == user_id else "another member",
        "detail": entry.detail,
        "discord_server_id": _id(entry.guild_id),
    }


def _id(snowflake: int | None) -> str | None:
    """Return an id as text: JSON's numbers are too short for Discord's."""
    return None if snowflake is None else str(snowflake)


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat(timespec="seconds")
