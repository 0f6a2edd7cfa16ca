"""What the owners of a server may read of its linked members: the rows of links, seen from one server.

Only who is known to be there is found, and of the secrets no more is opened than a name that its member shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, func, select

from ..community import Standing
from ..models import Entry, Verdict
from .cells import Opening
from .links import read_health
from .signatures import consent, is_genuine
from .tables import links, memberships, withdrawals
from .words import read_word, readable

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement, Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from ..secret import Secret
    from .cells import Sealer

_IS_DEAD = and_(links.c.verdict == Verdict.DEAD, links.c.is_held.is_(False))
_IS_KNOWN_HERE = and_(memberships.c.is_wanted, memberships.c.is_seen)
_HERE = memberships.join(links, links.c.user_id == memberships.c.user_id).outerjoin(
    withdrawals,
    and_(withdrawals.c.user_id == memberships.c.user_id, withdrawals.c.guild_id == memberships.c.guild_id),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many members of a server there are."""

    linked: int
    waiting: int
    dead: int
    withdrawn: int
    new: int


class RosterRows:
    """The linked members of servers, in one transaction."""

    def __init__(self, connection: AsyncConnection, vault: Sealer) -> None:
        self._connection = connection
        self._vault = vault

    async def page(self, guild_id: int, *, after: int, most: int) -> tuple[list[Entry], int]:
        """Return members of a server, who linked last first, and how many there are; `after` are left out."""
        rows = await self._select(memberships.c.guild_id == guild_id, after=after, most=most)
        return readable(rows, self._load), rows[0].total if rows else 0

    async def one(self, guild_id: int, user_id: int) -> Entry | None:
        """Return one member of a server.

        Raises:
            NewerRowError: a newer release wrote it.

        """
        rows = await self._select(memberships.c.guild_id == guild_id, memberships.c.user_id == user_id, most=1)
        return self._load(rows[0]) if rows else None

    async def counts(self, guild_id: int, *, new_since: datetime) -> Counts:
        """Return how many members of a server there are."""

        def number(where: ColumnElement[bool]) -> ColumnElement[int]:
            return func.coalesce(func.sum(case((where, 1), else_=0)), 0)

        is_withdrawn = withdrawals.c.at.is_not(None)
        query = (
            select(
                func.count().label("linked"),
                number(and_(memberships.c.standing == Standing.OWED, ~_IS_DEAD, ~is_withdrawn)).label("waiting"),
                number(_IS_DEAD).label("dead"),
                number(is_withdrawn).label("withdrawn"),
                number(links.c.linked_at >= new_since).label("new"),
            )
            .select_from(_HERE)
            .where(memberships.c.guild_id == guild_id, _IS_KNOWN_HERE)
        )
        row = (await self._connection.execute(query)).one()
        return Counts(linked=row.linked, waiting=row.waiting, dead=row.dead, withdrawn=row.withdrawn, new=row.new)

    async def _select(self, *where: ColumnElement[bool], after: int = 0, most: int) -> list[Row[Any]]:
        query = (
            select(
                links,
                memberships.c.role_id,
                memberships.c.standing,
                withdrawals.c.at.label("withdrawn_at"),
                func.count().over().label("total"),
            )
            .select_from(_HERE)
            .where(_IS_KNOWN_HERE, *where)
            .order_by(links.c.linked_at.desc(), links.c.id)
            .limit(most)
            .offset(after)
        )
        return list(await self._connection.execute(query))

    def _load(self, row: Row[Any]) -> Entry:
        return Entry(
            user_id=row.user_id,
            linked_at=row.linked_at,
            health=read_health(row),
            role_id=row.role_id or None,
            standing=read_word(Standing, row.standing),
            withdrawn_at=row.withdrawn_at,
            account_name=self._name(row) if row.consent == consent(self._vault, row.id, row.user_id) else None,
        )

    def _name(self, row: Row[Any]) -> Secret | None:
        is_ours = is_genuine(self._vault, links, row)
        return Opening(self._vault, links, row).optional("account_name_envelope") if is_ours else None
