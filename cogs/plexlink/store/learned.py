"""A few numbers that the installation learned as it went; none is about anybody in particular."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from .tables import learned

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection


class LearnedNumbers:
    """The learned numbers in one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def all(self) -> dict[str, float]:
        """Return the numbers by their names, as they were kept last."""
        rows = await self._connection.execute(select(learned.c.name, learned.c.value))
        return {row.name: row.value for row in rows}

    async def keep(self, numbers: Mapping[str, float]) -> None:
        """Replace all numbers."""
        await self._connection.execute(delete(learned))
        await self._connection.execute(
            insert(learned), [{"name": name, "value": value} for name, value in numbers.items()]
        )
