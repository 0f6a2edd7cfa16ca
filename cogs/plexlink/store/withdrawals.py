"""The rows of decisions: from which members the owners of a server have taken the role.

They are apart from the memberships because they outlive them: a link may end, a member leave, and the role be another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from .tables import withdrawals

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection


class WithdrawalRows:
    """Decisions of owners, in one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, guild_id: int, user_id: int, now: datetime) -> bool:
        """Keep a decision; tell whether it is new."""
        if guild_id in await self.of(user_id):
            return False
        await self._connection.execute(insert(withdrawals).values(guild_id=guild_id, user_id=user_id, at=now))
        return True

    async def of(self, user_id: int) -> dict[int, datetime]:
        """Return the servers whose owners have taken the role from a member, and since when it is so."""
        rows = await self._connection.execute(
            select(withdrawals.c.guild_id, withdrawals.c.at).where(withdrawals.c.user_id == user_id)
        )
        return {row.guild_id: row.at for row in rows}

    async def in_server(self, guild_id: int) -> set[int]:
        """Return the members from whom the owners of a server have taken the role."""
        rows = await self._connection.execute(select(withdrawals.c.user_id).where(withdrawals.c.guild_id == guild_id))
        return set(rows.scalars())

    async def lift(self, guild_id: int, user_id: int) -> bool:
        """Forget a decision; tell whether there was one."""
        is_this = (withdrawals.c.guild_id == guild_id) & (withdrawals.c.user_id == user_id)
        result = await self._connection.execute(delete(withdrawals).where(is_this))
        return bool(result.rowcount)

    async def forget(self, user_id: int) -> None:
        """Delete all decisions about a member."""
        await self._connection.execute(delete(withdrawals).where(withdrawals.c.user_id == user_id))

    async def forget_server(self, guild_id: int) -> None:
        """Delete all decisions of a server's owners."""
        await self._connection.execute(delete(withdrawals).where(withdrawals.c.guild_id == guild_id))
