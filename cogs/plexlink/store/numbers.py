"""A few numbers that the installation keeps by name; none is about anybody in particular."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from .tables import numbers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection


class Numbers:
    """The kept numbers in one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def all(self) -> dict[str, float]:
        """Return the numbers by their names."""
        rows = await self._connection.execute(select(numbers.c.name, numbers.c.value))
        return {row.name: row.value for row in rows}

    async def keep(self, kept: Mapping[str, float]) -> None:
        """Write some numbers, in place of what they were."""
        await self._connection.execute(delete(numbers).where(numbers.c.name.in_(kept)))
        await self._connection.execute(
            insert(numbers), [{"name": name, "value": value} for name, value in kept.items()]
        )
