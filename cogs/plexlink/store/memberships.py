"""The rows of linked members in servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, insert, or_, select, update

from ..community import Cause, Membership, Standing
from ..models import Verdict
from .tables import links, memberships, servers
from .words import read_word, readable

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Row
    from sqlalchemy.ext.asyncio import AsyncConnection

_NO_ROLE = 0
"""In a column that takes part in a unique index, where no two nulls are equal. Discord gives no role this id."""

_IS_ROLE = memberships.c.role_id != _NO_ROLE

_UNTIL_TOLD = (Standing.OWED, Standing.DOUBTED)


class MembershipRows:
    """Linked members in servers, in one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def of(self, user_id: int) -> list[Membership]:
        """Return where a member is or may be, and with which role."""
        return await self._select(memberships.c.user_id == user_id)

    async def of_in(self, user_id: int, guild_id: int) -> list[Membership]:
        """Return a member's roles in a server."""
        return await self._select(memberships.c.user_id == user_id, memberships.c.guild_id == guild_id)

    async def with_role(self, guild_id: int, role_id: int) -> list[Membership]:
        """Return who has a role in a server, is to have or to lose it, or was found with it."""
        return await self._select(memberships.c.guild_id == guild_id, memberships.c.role_id == role_id)

    async def get(self, membership_id: int) -> Membership | None:
        """Return one membership."""
        found = await self._select(memberships.c.id == membership_id)
        return found[0] if found else None

    async def next_due(self, guild_id: int, *, but_not: Collection[int]) -> Membership | None:
        """Return what a server is owed, or else what is to be looked at again; what is owed of some roles waits.

        Who is known to be there comes first, and of those the oldest.
        """
        here = and_(
            memberships.c.guild_id == guild_id,
            memberships.c.cause.in_(list(Cause)),  # of a newer release's, nothing can be done
        )
        is_owed = and_(memberships.c.standing == Standing.OWED, memberships.c.role_id.not_in(but_not))
        for which in (and_(is_owed, memberships.c.is_seen), is_owed, memberships.c.standing == Standing.DOUBTED):
            found = await self._select(here, which, most=1)
            if found:
                return found[0]
        return None

    async def servers_due(self) -> list[int]:
        """Return the servers that the bot is in and that something is owed to."""
        rows = await self._connection.execute(
            select(memberships.c.guild_id)
            .join(servers, servers.c.id == memberships.c.guild_id)
            .where(memberships.c.standing.in_(_UNTIL_TOLD), servers.c.left_at.is_(None))
            .distinct()
        )
        return list(rows.scalars())

    async def entitled(self, *, rejected_after: datetime) -> list[int]:
        """Return the members who are linked, but for those whose token has been known to be dead since an instant."""
        is_dead = and_(links.c.verdict == Verdict.DEAD, links.c.is_held.is_(False))
        rows = await self._connection.execute(
            select(links.c.user_id).where(or_(~is_dead, links.c.rejected_at > rejected_after)).order_by(links.c.user_id)
        )
        return list(rows.scalars())

    async def dead_since(self, before: datetime) -> list[int]:
        """Return the members who have a role though their token has been dead since before an instant."""
        rows = await self._connection.execute(
            select(links.c.user_id)
            .join(memberships, memberships.c.user_id == links.c.user_id)
            .where(
                links.c.verdict == Verdict.DEAD,
                links.c.is_held.is_(False),
                links.c.rejected_at <= before,
                memberships.c.is_wanted,
                _IS_ROLE,
            )
            .distinct()
        )
        return list(rows.scalars())

    async def want(
        self, guild_id: int, user_ids: Collection[int], role_id: int | None, cause: Cause, now: datetime
    ) -> int:
        """Let members have a role in a server; leave alone who is to have it already. Return how many are owed it."""
        here = and_(memberships.c.guild_id == guild_id, memberships.c.user_id.in_(user_ids))
        wanted = [(guild_id, user_id, role_id or _NO_ROLE) for user_id in user_ids]
        return len(await self._want(here, wanted, cause, now))

    async def want_in(self, user_id: int, roles: Mapping[int, int | None], cause: Cause, now: datetime) -> list[int]:
        """Let a member have roles, by server, as `want` does; return the servers that owe it."""
        wanted = [(guild_id, user_id, role_id or _NO_ROLE) for guild_id, role_id in roles.items()]
        owed = await self._want(memberships.c.user_id == user_id, wanted, cause, now)
        return [guild_id for guild_id, _, _ in owed]

    async def _want(
        self, where: ColumnElement[bool], wanted: Sequence[tuple[int, int, int]], cause: Cause, now: datetime
    ) -> list[tuple[int, int, int]]:
        """Let there be rows for servers, members and roles, among those that stand there; return what is owed."""
        rows = list(await self._connection.execute(select(memberships).where(where)))
        known = {(row.guild_id, row.user_id, row.role_id): row for row in rows}
        seen = {(row.guild_id, row.user_id) for row in rows if row.is_seen}
        # A row with a role tells as well whether the member is there.
        spare = [known.get((guild, user, _NO_ROLE)) for guild, user, role in wanted if role != _NO_ROLE]
        outdated = [key for key in wanted if key in known and not _is_as_wanted(known[key])]
        new = [key for key in wanted if key not in known]
        if any(spare):
            ids = [row.id for row in spare if row is not None]
            await self._connection.execute(delete(memberships).where(memberships.c.id.in_(ids)))
        owed = {"is_wanted": True, "standing": Standing.OWED, "cause": cause, "at": now}
        if outdated:
            ids = [known[key].id for key in outdated]
            await self._connection.execute(update(memberships).where(memberships.c.id.in_(ids)).values(**owed))
        if new:
            await self._connection.execute(
                insert(memberships),
                [
                    {"guild_id": guild, "user_id": user, "role_id": role, "is_seen": (guild, user) in seen, **owed}
                    for guild, user, role in new
                ],
            )
        return [*outdated, *new]

    async def find(self, guild_id: int, user_id: int, role_id: int, now: datetime) -> None:
        """Note that somebody who has not linked has a role."""
        await self._connection.execute(
            insert(memberships).values(
                guild_id=guild_id,
                user_id=user_id,
                role_id=role_id,
                is_wanted=False,
                standing=Standing.FOUND,
                cause=Cause.SETUP,
                at=now,
                is_seen=True,
            )
        )

    async def unwant(self, user_id: int, cause: Cause, now: datetime) -> None:
        """Let a member lose every role that came with the link; one whose link has died is still known to be there."""
        is_theirs = memberships.c.user_id == user_id
        await self._unwant(and_(is_theirs, _IS_ROLE) if cause is Cause.DEAD else is_theirs, cause, now)

    async def unwant_in(self, guild_id: int, user_id: int, cause: Cause, now: datetime) -> None:
        """Let a member lose the role in one server."""
        is_this = and_(memberships.c.guild_id == guild_id, memberships.c.user_id == user_id)
        await self._unwant(and_(is_this, _IS_ROLE), cause, now)

    async def holders(self, guild_id: int) -> set[int]:
        """Return the members who are to have a role in a server, or have it."""
        rows = await self._connection.execute(
            select(memberships.c.user_id).where(memberships.c.guild_id == guild_id, memberships.c.is_wanted, _IS_ROLE)
        )
        return set(rows.scalars())

    async def unwant_others(self, guild_id: int, role_id: int | None, now: datetime) -> None:
        """Let the members of a server lose what is not its role any more."""
        is_another = and_(memberships.c.guild_id == guild_id, _IS_ROLE, memberships.c.role_id != (role_id or _NO_ROLE))
        await self._unwant(is_another, Cause.SETUP, now)
        await self._connection.execute(delete(memberships).where(is_another, memberships.c.standing == Standing.FOUND))

    async def see(self, guild_id: int, user_id: int) -> None:
        """Note that a member is in a server, whatever is owed there."""
        is_this = and_(memberships.c.guild_id == guild_id, memberships.c.user_id == user_id)
        await self._connection.execute(
            update(memberships).where(is_this, memberships.c.is_seen.is_(False)).values(is_seen=True)
        )

    async def _unwant(self, where: ColumnElement[bool], cause: Cause, now: datetime) -> None:
        wanted = and_(where, memberships.c.is_wanted)
        await self._connection.execute(delete(memberships).where(wanted, ~_IS_ROLE))
        await self._connection.execute(
            update(memberships).where(wanted).values(is_wanted=False, standing=Standing.OWED, cause=cause, at=now)
        )

    async def doubt(self, guild_id: int, *, owed_before: datetime) -> None:
        """Let everything in a server be looked at again that is thought to be settled, or was owed for long in vain."""
        is_old = and_(memberships.c.standing == Standing.OWED, memberships.c.at < owed_before)
        await self._connection.execute(
            update(memberships)
            .where(
                memberships.c.guild_id == guild_id,
                memberships.c.is_wanted,
                or_(memberships.c.standing == Standing.SETTLED, is_old),
            )
            .values(standing=Standing.DOUBTED)
        )

    async def doubt_settled(self, guild_id: int, user_id: int) -> None:
        """Let a member be looked at again of whom all is thought to be settled, given or taken."""
        is_theirs = and_(memberships.c.guild_id == guild_id, memberships.c.user_id == user_id)
        is_meant = and_(is_theirs, _IS_ROLE, memberships.c.standing == Standing.SETTLED)
        await self._connection.execute(update(memberships).where(is_meant).values(standing=Standing.DOUBTED))

    async def owe_again(self, membership: Membership) -> None:
        """Let what was looked at again, and may not be done, wait with what is owed."""
        await self._connection.execute(update(memberships).where(_as_read(membership)).values(standing=Standing.OWED))

    async def settle(self, membership: Membership, standing: Standing, now: datetime) -> bool:
        """Write how a membership is, unless it has changed since it was read; tell whether it was written."""
        result = await self._connection.execute(
            update(memberships).where(_as_read(membership)).values(standing=standing, at=now, is_seen=True)
        )
        return bool(result.rowcount)

    async def put_off(self, membership: Membership, now: datetime) -> None:
        """Let what is owed to others come first."""
        await self._connection.execute(update(memberships).where(_as_read(membership)).values(at=now))

    async def remove(self, membership: Membership) -> None:
        """Delete what was owed to somebody who is not there, unless it has changed since it was read."""
        await self._connection.execute(delete(memberships).where(_as_read(membership)))

    async def forget_role(self, guild_id: int, role_id: int) -> None:
        """Delete all about a role that there is no more, but for who is there."""
        is_here = memberships.c.guild_id == guild_id
        is_gone = and_(is_here, memberships.c.role_id == role_id)
        known = select(memberships.c.user_id).where(is_here, memberships.c.role_id == _NO_ROLE).scalar_subquery()
        await self._connection.execute(
            update(memberships)
            .where(is_gone, memberships.c.is_wanted, memberships.c.user_id.not_in(known))
            .values(role_id=_NO_ROLE)
        )
        await self._connection.execute(delete(memberships).where(is_gone))

    async def forget_server(self, guild_id: int) -> None:
        """Delete all about a server."""
        await self._connection.execute(delete(memberships).where(memberships.c.guild_id == guild_id))

    async def went(self, guild_id: int, user_id: int) -> None:
        """Delete all about a member who has left a server."""
        here = and_(memberships.c.guild_id == guild_id, memberships.c.user_id == user_id)
        await self._connection.execute(delete(memberships).where(here))

    async def forget(self, user_id: int) -> None:
        """Delete where a member is, but for the roles that are still to be taken away."""
        is_owed = and_(memberships.c.is_wanted.is_(False), memberships.c.standing.in_(_UNTIL_TOLD))
        await self._connection.execute(delete(memberships).where(memberships.c.user_id == user_id, ~is_owed))

    async def prune(self, taken_before: datetime) -> None:
        """Delete what tells of roles that were taken away before an instant."""
        is_over = and_(memberships.c.is_wanted.is_(False), memberships.c.standing == Standing.SETTLED)
        await self._connection.execute(delete(memberships).where(is_over, memberships.c.at < taken_before))

    async def _select(self, *where: ColumnElement[bool], most: int | None = None) -> list[Membership]:
        query = select(memberships).where(*where).order_by(memberships.c.at, memberships.c.id).limit(most)
        return readable(await self._connection.execute(query), _load)


def _is_as_wanted(row: Row[Any]) -> bool:
    return bool(row.is_wanted) and row.standing != Standing.FOUND


def _as_read(membership: Membership) -> ColumnElement[bool]:
    return and_(
        memberships.c.id == membership.id,
        memberships.c.is_wanted == membership.is_wanted,
        memberships.c.standing == membership.standing,
        memberships.c.at == membership.at,
    )


def _load(row: Row[Any]) -> Membership:
    return Membership(
        id=row.id,
        guild_id=row.guild_id,
        user_id=row.user_id,
        role_id=row.role_id or None,
        is_wanted=row.is_wanted,
        standing=read_word(Standing, row.standing),
        cause=read_word(Cause, row.cause),
        at=row.at,
        is_seen=row.is_seen,
    )
