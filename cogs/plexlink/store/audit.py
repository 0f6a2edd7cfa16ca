"""The audit's rows: written once and never changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, func, insert, or_, select, update

from ..audit import SOMEBODY, AuditEntry, Deed
from .tables import audit
from .words import read_word, readable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection


_AT_ONCE = 500


class AuditRows:
    """The audit in one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, *entries: AuditEntry) -> None:
        """Append entries."""
        await self._connection.execute(insert(audit), [_columns(entry) for entry in entries])

    async def about(self, user_id: int) -> AsyncIterator[AuditEntry]:
        """Give all entries about a member or by them, oldest first, and let others go on between some and more."""
        is_theirs, read_to = or_(audit.c.user_id == user_id, audit.c.actor_id == user_id), 0
        page = select(audit).where(is_theirs).order_by(audit.c.id).limit(_AT_ONCE)
        while rows := (await self._connection.execute(page.where(audit.c.id > read_to))).all():
            for entry in readable(rows, _load):
                yield entry
            read_to = rows[-1].id

    async def newest(self) -> int:
        """Return the id of the last entry; each one that is added later has a greater one.

        That is so because one transaction writes at a time; a database in which several do must make sure of it.
        """
        return (await self._connection.execute(select(func.max(audit.c.id)))).scalar() or 0

    async def told_to(self, guild_id: int, *, after: int, most: int, up_to: int | None = None) -> list[AuditEntry]:
        """Return the next entries for the owners of a server, oldest first; what a newer release wrote is left out."""
        here = [audit.c.guild_id == guild_id, audit.c.id > after, audit.c.deed.in_(list(Deed))]
        if up_to is not None:
            here.append(audit.c.id <= up_to)
        rows = await self._connection.execute(select(audit).where(*here).order_by(audit.c.id).limit(most))
        return readable(rows, _load)

    async def in_server(self, guild_id: int, *, after: int, most: int) -> tuple[list[AuditEntry], int]:
        """Return entries for the owners of a server, newest first, and how many there are; `after` are left out."""
        rows = list(
            await self._connection.execute(
                select(audit, func.count().over().label("total"))
                .where(audit.c.guild_id == guild_id)
                .order_by(audit.c.id.desc())
                .limit(most)
                .offset(after)
            )
        )
        return readable(rows, _load), rows[0].total if rows else 0

    async def count(self, guild_id: int, deed: Deed, user_id: int, *, since: datetime) -> int:
        """Return how often something was done to a member in a server since an instant."""
        where = and_(
            audit.c.guild_id == guild_id, audit.c.user_id == user_id, audit.c.deed == deed, audit.c.at >= since
        )
        return (await self._connection.execute(select(func.count()).select_from(audit).where(where))).scalar_one()

    async def last_use(self, user_id: int, since: datetime) -> AuditEntry | None:
        """Return the last time since an instant that other code was given the member's token."""
        row = (
            await self._connection.execute(
                select(audit)
                .where(audit.c.user_id == user_id, audit.c.deed == Deed.USED, audit.c.at >= since)
                .order_by(audit.c.id.desc())
                .limit(1)
            )
        ).first()
        return None if row is None else _load(row)

    async def forget(self, user_id: int) -> int:
        """Delete all entries about a member; what they did to others stays, as somebody's. Return how many."""
        result = await self._connection.execute(delete(audit).where(audit.c.user_id == user_id))
        await self._connection.execute(update(audit).where(audit.c.actor_id == user_id).values(actor_id=SOMEBODY))
        return result.rowcount

    async def prune(self, before: datetime) -> None:
        """Delete entries that are older than they need be."""
        await self._connection.execute(delete(audit).where(audit.c.at < before))


def _columns(entry: AuditEntry) -> dict[str, Any]:
    return {
        "at": entry.at,
        "actor_id": entry.actor_id,
        "deed": entry.deed,
        "user_id": entry.user_id,
        "detail": entry.detail,
        "guild_id": entry.guild_id,
    }


def _load(row: Row[Any]) -> AuditEntry:
    return AuditEntry(
        id=row.id,
        at=row.at,
        actor_id=row.actor_id,
        deed=read_word(Deed, row.deed),
        user_id=row.user_id,
        detail=row.detail,
        guild_id=row.guild_id,
    )
