"""The rows of unlinkings that their members are told about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, or_, select, update

from ..models import Phase, Reason, Report
from .cells import Opening, Sealing
from .places import read_answer, read_place, surface_columns
from .tables import reports
from .words import read_optional_word, read_word

if TYPE_CHECKING:
    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from .cells import Sealer


class ReportRows:
    """Reports in one transaction."""

    def __init__(self, connection: AsyncConnection, vault: Sealer) -> None:
        self._connection = connection
        self._vault = vault

    async def add(self, report: Report) -> None:
        """Insert a report."""
        seal = Sealing(self._vault, reports, report.id, report.user_id)
        await self._connection.execute(
            insert(reports).values(
                id=report.id,
                user_id=report.user_id,
                reason=report.reason,
                phase=report.phase,
                requested_at=report.requested_at,
                **surface_columns(seal, report.place, report.answer),
            )
        )

    async def get(self, report_id: str) -> Report | None:
        """Return one report."""
        row = (await self._connection.execute(select(reports).where(reports.c.id == report_id))).first()
        return None if row is None else self._load(row)

    async def behind(self) -> list[str]:
        """Return the ids of those whose card does not say what is true."""
        is_behind = or_(reports.c.shown.is_(None), reports.c.shown != reports.c.phase)
        rows = await self._connection.execute(select(reports.c.id).where(is_behind).order_by(reports.c.requested_at))
        return list(rows.scalars())

    async def move(self, report_id: str, phase: Phase) -> None:
        """Write how far the unlinking has come."""
        await self._connection.execute(update(reports).where(reports.c.id == report_id).values(phase=phase))

    async def show(self, report_id: str, phase: Phase) -> None:
        """Write what the member sees."""
        await self._connection.execute(update(reports).where(reports.c.id == report_id).values(shown=phase))

    async def outdate(self, message_id: int) -> None:
        """Let what is reported in a message be drawn again."""
        is_there = or_(reports.c.message_id == message_id, reports.c.answer_message_id == message_id)
        await self._connection.execute(update(reports).where(is_there).values(shown=None))

    async def remove(self, report_id: str) -> None:
        """Delete a report whose end the member knows."""
        await self._connection.execute(delete(reports).where(reports.c.id == report_id))

    def _load(self, row: Row[Any]) -> Report:
        return Report(
            id=row.id,
            user_id=row.user_id,
            reason=read_word(Reason, row.reason),
            phase=read_word(Phase, row.phase),
            requested_at=row.requested_at,
            shown=read_optional_word(Phase, row.shown),
            place=read_place(row),
            answer=read_answer(row, Opening(self._vault, reports, row)),
        )
