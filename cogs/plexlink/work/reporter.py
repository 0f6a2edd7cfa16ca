"""Members see how an unlinking goes: the card on which they asked for it is kept true until its end is told."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from ..errors import NotifyError
from ..models import Phase, Topic
from .agenda import Key, Kind, Urgency

if TYPE_CHECKING:
    from ..clock import Clock
    from ..models import Report
    from ..store import Store, Transaction
    from .agenda import Agenda
    from .messenger import Messenger

_log = logging.getLogger(__name__)

TAKES_LONG_SECONDS = 15.0
"""After so long, "signing out" is not the whole truth any more."""

_UNDER_WAY = {Phase.SIGNING_OUT, Phase.DELAYED}
_BAD_ENDS = {Phase.GIVEN_UP, Phase.UNREADABLE}


class ReportNotifier(Protocol):
    """What the reporter needs of the surface."""

    async def report(self, report: Report) -> bool:
        """Draw a report on its card; tell whether that was still possible.

        Raises:
            NotifyError: it did not arrive; try again.

        """
        ...


class Reporter:
    """Keep reports true."""

    def __init__(
        self, *, store: Store, agenda: Agenda, notifier: ReportNotifier, messenger: Messenger, clock: Clock
    ) -> None:
        self._store = store
        self._agenda = agenda
        self._notifier = notifier
        self._messenger = messenger
        self._clock = clock

    async def find(self, tx: Transaction) -> None:
        """Plan to draw all whose card is behind."""
        for report_id in await tx.reports.behind():
            if not self._agenda.is_planned(Key(Kind.REPORT, report_id)):
                self.plan(report_id)

    def plan(self, report_id: str) -> None:
        """Plan to draw one, if it is there."""
        self._agenda.put(Key(Kind.REPORT, report_id), Urgency.FREE)

    async def draw(self, report_id: str) -> None:
        """Bring one card up to date; try again later if Discord does not take it."""
        report = await self._current(report_id)
        if report is None or report.shown is report.phase:
            return
        key = Key(Kind.REPORT, report_id)
        try:
            has_arrived = await self._notifier.report(report)
        except NotifyError as error:
            delay = self._agenda.retry(key, Urgency.FREE, first_seconds=1.0)
            _log.warning("report.failed id=%s, trying again in %.0f s: %s", report_id, delay, error)
            return
        self._agenda.succeeded(key)
        await self._drawn(report, has_arrived=has_arrived)

    async def _current(self, report_id: str) -> Report | None:
        """Return a report; one that has been under way for long says so."""
        async with self._store.transaction() as tx:
            report = await tx.reports.get(report_id)
            if report is not None and report.phase is report.shown is Phase.SIGNING_OUT:
                await tx.reports.move(report_id, Phase.DELAYED)
                report = await tx.reports.get(report_id)
        return report

    async def _drawn(self, report: Report, *, has_arrived: bool) -> None:
        async with self._store.transaction() as tx:
            newest = await tx.reports.get(report.id)
            if report.phase in _UNDER_WAY:
                await tx.reports.show(report.id, report.phase)
            else:
                await self._close(tx, report, has_arrived=has_arrived)
        if newest is not None and newest.phase is not report.phase:
            self.plan(report.id)
        elif report.phase is Phase.SIGNING_OUT:
            self._agenda.put(Key(Kind.REPORT, report.id), Urgency.FREE, TAKES_LONG_SECONDS)
        await self._messenger.wake()

    async def _close(self, tx: Transaction, report: Report, *, has_arrived: bool) -> None:
        """Forget a report whose end was told, on its card or by the message that is sent in some cases anyway."""
        await tx.reports.remove(report.id)
        is_told_anyway = report.phase in _BAD_ENDS or report.shown is Phase.DELAYED
        if not (has_arrived or is_told_anyway):
            await tx.news.add(report.user_id, Topic.SIGNED_OUT, self._clock.now())
