"""The rows of codes that their members gave up, and that may be approved all the same until they run out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, exists, insert, select

from ..models import GivenUp
from .cells import Opening, Sealing
from .tables import attempts, given_up_codes

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from .cells import Sealer


class GivenUpRows:
    """Given-up codes in one transaction."""

    def __init__(self, connection: AsyncConnection, vault: Sealer) -> None:
        self._connection = connection
        self._vault = vault

    async def add(self, given_up: GivenUp) -> None:
        """Keep a code's secrets, sealed anew for their new row."""
        seal = Sealing(self._vault, given_up_codes, given_up.id, given_up.user_id)
        await self._connection.execute(
            insert(given_up_codes).values(
                id=given_up.id,
                user_id=given_up.user_id,
                client_identifier_envelope=seal("client_identifier_envelope", given_up.client_identifier),
                pin_id_envelope=seal("pin_id_envelope", given_up.pin_id),
                deadline_at=given_up.deadline_at,
            )
        )

    async def all(self) -> list[GivenUp]:
        """Return all of them, those that run out first at the front."""
        rows = await self._connection.execute(select(given_up_codes).order_by(given_up_codes.c.deadline_at))
        return [self._load(row) for row in rows]

    async def of(self, user_id: int) -> list[datetime]:
        """Return when the given-up codes of a member run out."""
        rows = await self._connection.execute(
            select(given_up_codes.c.deadline_at)
            .where(given_up_codes.c.user_id == user_id)
            .order_by(given_up_codes.c.deadline_at)
        )
        return list(rows.scalars())

    async def of_forgotten(self, user_id: int) -> list[datetime]:
        """Return when those given-up codes of a member run out of whose attempts nothing is known any more."""
        is_forgotten = ~exists().where(attempts.c.id == given_up_codes.c.id)
        rows = await self._connection.execute(
            select(given_up_codes.c.deadline_at).where(given_up_codes.c.user_id == user_id, is_forgotten)
        )
        return list(rows.scalars())

    async def get(self, attempt_id: str) -> GivenUp | None:
        """Return the code of a given-up attempt."""
        row = (await self._connection.execute(select(given_up_codes).where(given_up_codes.c.id == attempt_id))).first()
        return None if row is None else self._load(row)

    async def remove(self, attempt_id: str) -> None:
        """Delete a code that has run out, or whose token is taken care of."""
        await self._connection.execute(delete(given_up_codes).where(given_up_codes.c.id == attempt_id))

    def _load(self, row: Row[Any]) -> GivenUp:
        opening = Opening(self._vault, given_up_codes, row)
        return GivenUp(
            id=row.id,
            user_id=row.user_id,
            client_identifier=opening.required("client_identifier_envelope"),
            pin_id=opening.required("pin_id_envelope"),
            deadline_at=row.deadline_at,
            trouble=opening.trouble,
        )
