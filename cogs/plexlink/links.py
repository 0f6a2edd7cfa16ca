"""What members ask for after the link: how it is, an end to it, what is stored about them."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import StoreError
from .models import AuditEntry, Deed, Phase, Reason, Report

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from .clock import Clock
    from .ledger import Change, Ledger
    from .models import Answer, Attempt, Finding, Link, News, Place
    from .store import Store
    from .work.asker import Asker
    from .work.given_up import GivenUpCodes
    from .work.health import HealthCheck
    from .work.messenger import Messenger
    from .work.presenter import Presenter
    from .work.reporter import Reporter
    from .work.sign_outs import SignOuts

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NotLinked:
    """The member has no link."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The member's link, and when and why other code last used its token; `finding` is a check made just now."""

    link: Link
    last_use: AuditEntry | None
    finding: Finding | None = None


@dataclass(frozen=True, slots=True)
class Reported:
    """It is under way; the card tells how it goes."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Nothing is stored about the member any more."""


LinkOutcome = Status | NotLinked | Reported | Forgotten


class Links:
    """Show, check, end, export and delete what is stored about a member."""

    def __init__(
        self,
        *,
        store: Store,
        ledger: Ledger,
        asker: Asker,
        presenter: Presenter,
        health: HealthCheck,
        sign_outs: SignOuts,
        given_up: GivenUpCodes,
        reporter: Reporter,
        messenger: Messenger,
        clock: Clock,
        audit_days: int,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._asker = asker
        self._presenter = presenter
        self._health = health
        self._sign_outs = sign_outs
        self._given_up = given_up
        self._reporter = reporter
        self._messenger = messenger
        self._clock = clock
        self._audit_days = audit_days

    @property
    def audit_days(self) -> int:
        """For how many days the audit is kept."""
        return self._audit_days

    async def status(self, user_id: int) -> Status | NotLinked:
        """Return the member's link and what is known of it."""
        async with self._store.transaction() as tx:
            link = await tx.links.of(user_id)
            if link is None:
                return NotLinked()
            return Status(link=link, last_use=await tx.audit.last_use(user_id, since=link.linked_at))

    async def check(self, user_id: int) -> Status | NotLinked:
        """Ask plex.tv about the member's link now, and return it as `status` does."""
        before = await self.status(user_id)
        if isinstance(before, NotLinked) or before.link.trouble is not None:
            return before
        finding = await self._health.check_now(before.link)
        after = await self.status(user_id)
        if isinstance(after, NotLinked):
            return after
        return Status(link=after.link, last_use=after.last_use, finding=finding)

    async def unlink(self, user_id: int, *, place: Place, answer: Answer | None) -> Reported | NotLinked:
        """Erase the member's link, sign it out at Plex, and tell about both on the card at `place`.

        Raises:
            UnknownKeyError: the credential cannot be read now; nothing was erased.

        """
        async with self._ledger.change() as change:
            link = await change.tx.links.of(user_id)
            if link is None:
                return NotLinked()
            report_id = await self.end(change, link, Reason.UNLINKED, place=place, answer=answer)
        _log.info("link.unlinked link=%s user=%s", link.id, user_id)
        await self.carry_on(change, report_id)
        return Reported()

    async def end(self, change: Change, link: Link, reason: Reason, *, place: Place, answer: Answer | None) -> str:
        """Erase a link and keep a report of it in the same change; return the report's id. Raise as `unlink` does."""
        sign_out_id = await change.remove_link(link, reason)
        report = Report(
            id=sign_out_id or link.id,
            user_id=link.user_id,
            reason=reason,
            phase=Phase.UNREADABLE if sign_out_id is None else Phase.SIGNING_OUT,
            requested_at=self._clock.now(),
            place=place,
            answer=answer,
        )
        await change.tx.reports.add(report)
        return report.id

    async def carry_on(self, change: Change, report_id: str | None = None) -> None:
        """Plan what a committed change left to be shown, and to be done at plex.tv."""
        for attempt in change.touched.values():
            self._presenter.show_now(attempt)
        if report_id is not None:
            self._reporter.plan(report_id)
            self._sign_outs.begin(report_id)
        await self.clean_up()

    async def clean_up(self) -> None:
        """Plan what is left to be done at plex.tv."""
        # It is committed and must not be answered as failed; what is not planned now, the next sweep plans.
        with suppress(StoreError):
            await self._sign_outs.wake()
            await self._given_up.wake()
            await self._messenger.wake()

    async def export(self, user_id: int) -> dict[str, Any]:
        """Return all that is stored about the member but the credentials, as JSON takes it."""
        now = self._clock.now()
        async with self._store.transaction() as tx:
            link = await tx.links.of(user_id)
            attempts = await tx.attempts.all_of(user_id)
            waiting = await tx.sign_outs.of(user_id)
            given_up = await tx.given_up.of(user_id)
            news = await tx.news.of(user_id)
            entries = await tx.audit.about(user_id)
            if link is not None or attempts or waiting or given_up or news or entries:
                await tx.audit.add(AuditEntry(at=now, actor_id=user_id, deed=Deed.EXPORTED, user_id=user_id))
        return {
            "discord_user_id": str(user_id),
            "exported_at": _text(now),
            "link": None if link is None else _exported_link(link),
            "attempts": [_exported_attempt(attempt) for attempt in attempts],
            "waiting_sign_outs": [{"requested_at": _text(requested_at)} for requested_at in waiting],
            "given_up_codes": [{"ends_at": _text(deadline_at)} for deadline_at in given_up],
            "news": [{"at": _text(each.at), "topic": each.topic} for each in news],
            "audit": [_exported_entry(entry, user_id) for entry in entries],
        }

    async def forget(self, user_id: int, *, place: Place, answer: Answer | None) -> Reported | Forgotten:
        """Delete all that is stored about the member; sign-outs go when they are done.

        Raise as `unlink` does.
        """
        report_id = None
        async with self._ledger.change() as change:
            link = await change.tx.links.of(user_id)
            if link is not None:
                report_id = await self.end(change, link, Reason.FORGOTTEN, place=place, answer=answer)
            await change.forget_attempts(user_id)
            await change.tx.news.forget(user_id)
            if await change.tx.audit.forget(user_id):
                await change.note(Deed.FORGOTTEN, user_id, actor_id=user_id)
        for attempt in change.touched.values():
            self._asker.release(attempt)
        _log.info("member.forgotten user=%s", user_id)
        await self.carry_on(change, report_id)
        return Forgotten() if report_id is None else Reported()

    async def news_for(self, user_id: int) -> list[News]:
        """Return what the member could not be told by direct message."""
        return await self._messenger.held_for(user_id)

    async def heard(self, news: Sequence[News]) -> None:
        """Forget what the member was told."""
        await self._messenger.heard(news)


def _exported_link(link: Link) -> dict[str, Any]:
    health = link.health
    return {
        "plex_account_id": link.account_id.reveal() or None,
        "plex_account_name": link.account_name.reveal() or None,
        "linked_at": _text(link.linked_at),
        "checked_at": _text(health.checked_at),
        "check_result": health.finding,
        "refused_since": _text(health.rejected_at),
        "is_readable": link.trouble is None,
    }


def _exported_attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "requested_at": _text(attempt.requested_at),
        "ended_at": _text(attempt.ended_at),
        "state": attempt.state,
        "reason": attempt.reason,
        "discord_server_id": None if attempt.guild_id is None else str(attempt.guild_id),
        "device_name_at_plex": attempt.device_name,
    }


def _exported_entry(entry: AuditEntry, user_id: int) -> dict[str, Any]:
    """Return an entry as its member may see it: of another one who took part, only that there was one."""
    actors = {None: "the bot", user_id: "you"}
    return {
        "at": _text(entry.at),
        "who": actors.get(entry.actor_id, "another member"),
        "did": entry.deed,
        "to": "you" if entry.user_id == user_id else "another member",
        "detail": entry.detail,
    }


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat(timespec="seconds")
