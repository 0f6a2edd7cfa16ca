"""The rows that say which linked members are members of the Plex server that a server's role is for.

Of what an account reaches, nothing is kept but that yes or no.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, func, insert, or_, select, update

from ..community import Access
from ..models import Verdict
from .tables import access, links, memberships, servers

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement, Row
    from sqlalchemy.ext.asyncio import AsyncConnection

_IS_KNOWN_THERE = and_(memberships.c.is_wanted, memberships.c.is_seen)
_ASKS = and_(servers.c.plex_server_id_envelope.is_not(None), servers.c.left_at.is_(None))


class AccessRows:
    """Who is a member of a chosen Plex server, in one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def of(self, user_id: int) -> dict[int, Access]:
        """Return what is known of a member, by server."""
        return {each.guild_id: each for each in await self._select(access.c.user_id == user_id)}

    async def get(self, guild_id: int, user_id: int) -> Access | None:
        """Return what is known of a member in one server."""
        found = await self._select(access.c.guild_id == guild_id, access.c.user_id == user_id)
        return found[0] if found else None

    async def in_server(self, guild_id: int) -> dict[int, Access]:
        """Return what is known of the members of a server, by member."""
        return {each.user_id: each for each in await self._select(access.c.guild_id == guild_id)}

    async def concerning(self, user_id: int) -> list[int]:
        """Return the servers whose role is for members of a Plex server, and where a member is known to be."""
        rows = await self._connection.execute(
            select(memberships.c.guild_id)
            .join(servers, servers.c.id == memberships.c.guild_id)
            .where(memberships.c.user_id == user_id, _IS_KNOWN_THERE, _ASKS)
            .distinct()
            .order_by(memberships.c.guild_id)
        )
        return list(rows.scalars())

    async def unasked(self, *, held_before: datetime, lost_before: datetime, most: int) -> list[str]:
        """Return living links that plex.tv is to be asked about.

        Nothing is known of them, or they lost access before an instant, or they are held and were asked before one.
        """
        is_over = and_(access.c.is_held.is_(False), access.c.lost_at <= lost_before)
        is_held = and_(access.c.is_held, access.c.checked_at <= held_before)
        rows = await self._connection.execute(
            select(links.c.id)
            .join(memberships, memberships.c.user_id == links.c.user_id)
            .join(servers, servers.c.id == memberships.c.guild_id)
            .outerjoin(
                access, and_(access.c.guild_id == memberships.c.guild_id, access.c.user_id == memberships.c.user_id)
            )
            .where(
                links.c.verdict == Verdict.ALIVE,
                _IS_KNOWN_THERE,
                _ASKS,
                or_(access.c.user_id.is_(None), is_over, is_held),
            )
            .distinct()
            .order_by(links.c.id)
            .limit(most)
        )
        return list(rows.scalars())

    async def keep(self, known: Access) -> None:
        """Write what is known of a member, in place of what was."""
        await self.forget_in(known.guild_id, known.user_id)
        await self._connection.execute(
            insert(access).values(
                guild_id=known.guild_id,
                user_id=known.user_id,
                has_access=known.has_access,
                checked_at=known.checked_at,
                lost_at=known.lost_at,
                is_held=known.is_held,
            )
        )

    async def checked_since(self, guild_id: int, since: datetime) -> int:
        """Return about how many members of a server plex.tv has said it since an instant."""
        return await self._count(access.c.guild_id == guild_id, access.c.checked_at >= since)

    async def lost_since(self, guild_id: int, since: datetime) -> int:
        """Return how many members of a server have lost access since an instant."""
        return await self._count(access.c.guild_id == guild_id, access.c.lost_at >= since)

    async def held(self, guild_id: int) -> int:
        """Return how many losses in a server are held."""
        return await self._count(access.c.guild_id == guild_id, access.c.is_held)

    async def hold(self, guild_id: int) -> None:
        """Keep the losses of a server from being believed."""
        await self._connection.execute(
            update(access).where(access.c.guild_id == guild_id, access.c.lost_at.is_not(None)).values(is_held=True)
        )

    async def release(self, guild_id: int) -> list[int]:
        """Forget all losses in a server that were held, as if there had been none; return whose they were."""
        is_held = and_(access.c.guild_id == guild_id, access.c.is_held)
        user_ids = list((await self._connection.execute(select(access.c.user_id).where(is_held))).scalars())
        await self._connection.execute(update(access).where(is_held).values(is_held=False, lost_at=None))
        return user_ids

    async def believe(self, guild_id: int) -> int:
        """Take all losses in a server that were held for true; return how many."""
        result = await self._connection.execute(
            update(access)
            .where(access.c.guild_id == guild_id, access.c.is_held)
            .values(is_held=False, has_access=False, lost_at=None)
        )
        return result.rowcount

    async def forget(self, user_id: int) -> None:
        """Delete all that is known of a member."""
        await self._connection.execute(delete(access).where(access.c.user_id == user_id))

    async def forget_in(self, guild_id: int, user_id: int) -> None:
        """Delete what is known of a member in one server."""
        await self._connection.execute(delete(access).where(access.c.guild_id == guild_id, access.c.user_id == user_id))

    async def forget_server(self, guild_id: int) -> None:
        """Delete what is known of the members of a server."""
        await self._connection.execute(delete(access).where(access.c.guild_id == guild_id))

    async def _count(self, *where: ColumnElement[bool]) -> int:
        rows = await self._connection.execute(select(func.count()).select_from(access).where(*where))
        return rows.scalar_one()

    async def _select(self, *where: ColumnElement[bool]) -> list[Access]:
        rows = await self._connection.execute(
            select(access).where(*where).order_by(access.c.guild_id, access.c.user_id)
        )
        return [_load(row) for row in rows]


def _load(row: Row[Any]) -> Access:
    return Access(
        guild_id=row.guild_id,
        user_id=row.user_id,
        has_access=row.has_access,
        checked_at=row.checked_at,
        lost_at=row.lost_at,
        is_held=row.is_held,
    )
