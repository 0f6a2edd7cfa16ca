"""The rows of codes that their members gave up, and that may be approved all the same until they run out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select

from ..models import Leftover
from .cells import Opening, Sealing
from .tables import leftovers

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from .cells import Sealer


class Leftovers:
    """Given-up codes in one transaction."""

    def __init__(self, connection: AsyncConnection, vault: Sealer) -> None:
        self._connection = connection
        self._vault = vault

    async def add(self, leftover: Leftover) -> None:
        """Keep a code's secrets, sealed anew for their new row."""
        seal = Sealing(self._vault, leftovers, leftover.id, leftover.user_id)
        await self._connection.execute(
            insert(leftovers).values(
                id=leftover.id,
                user_id=leftover.user_id,
                client_identifier_envelope=seal("client_identifier_envelope", leftover.client_identifier),
                pin_id_envelope=seal("pin_id_envelope", leftover.pin_id),
                deadline_at=leftover.deadline_at,
            )
        )

    async def all(self) -> list[Leftover]:
        """Return all of them, those that run out first at the front."""
        rows = await self._connection.execute(select(leftovers).order_by(leftovers.c.deadline_at))
        return [self._load(row) for row in rows]

    async def of(self, user_id: int) -> list[datetime]:
        """Return when the given-up codes of a member run out."""
        rows = await self._connection.execute(
            select(leftovers.c.deadline_at).where(leftovers.c.user_id == user_id).order_by(leftovers.c.deadline_at)
        )
        return list(rows.scalars())

    async def get(self, attempt_id: str) -> Leftover | None:
        """Return the code of a given-up attempt."""
        row = (await self._connection.execute(select(leftovers).where(leftovers.c.id == attempt_id))).first()
        return None if row is None else self._load(row)

    async def remove(self, attempt_id: str) -> None:
        """Delete a code that has run out, or whose token is taken care of."""
        await self._connection.execute(delete(leftovers).where(leftovers.c.id == attempt_id))

    def _load(self, row: Row[Any]) -> Leftover:
        opening = Opening(self._vault, leftovers, row)
        return Leftover(
            id=row.id,
            user_id=row.user_id,
            client_identifier=opening.required("client_identifier_envelope"),
            pin_id=opening.required("pin_id_envelope"),
            deadline_at=row.deadline_at,
            trouble=opening.trouble,
        )
