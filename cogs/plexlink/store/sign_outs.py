"""The rows of credentials that plex.tv is still to be told to forget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select

from ..models import SignOut
from .cells import Opening, Sealing
from .tables import sign_outs

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from .cells import Sealer


class SignOutRows:
    """Waiting sign-outs in one transaction."""

    def __init__(self, connection: AsyncConnection, vault: Sealer) -> None:
        self._connection = connection
        self._vault = vault

    async def add(self, sign_out: SignOut) -> None:
        """Queue a credential, sealed anew for its new row."""
        seal = Sealing(self._vault, sign_outs, sign_out.id, sign_out.user_id)
        await self._connection.execute(
            insert(sign_outs).values(
                id=sign_out.id,
                user_id=sign_out.user_id,
                client_identifier_envelope=seal("client_identifier_envelope", sign_out.client_identifier),
                token_envelope=seal("token_envelope", sign_out.token),
                requested_at=sign_out.requested_at,
            )
        )

    async def ids(self) -> list[str]:
        """Return the ids of all that wait, oldest first."""
        rows = await self._connection.execute(select(sign_outs.c.id).order_by(sign_outs.c.requested_at))
        return list(rows.scalars())

    async def of(self, user_id: int) -> list[datetime]:
        """Return since when sign-outs of a member wait."""
        rows = await self._connection.execute(
            select(sign_outs.c.requested_at).where(sign_outs.c.user_id == user_id).order_by(sign_outs.c.requested_at)
        )
        return list(rows.scalars())

    async def waiting_since(self) -> list[datetime]:
        """Return since when each of them waits."""
        return list((await self._connection.execute(select(sign_outs.c.requested_at))).scalars())

    async def get(self, row_id: str) -> SignOut | None:
        """Return one waiting sign-out."""
        row = (await self._connection.execute(select(sign_outs).where(sign_outs.c.id == row_id))).first()
        return None if row is None else self._load(row)

    async def remove(self, row_id: str) -> None:
        """Delete a sign-out that is done or given up."""
        await self._connection.execute(delete(sign_outs).where(sign_outs.c.id == row_id))

    def _load(self, row: Row[Any]) -> SignOut:
        opening = Opening(self._vault, sign_outs, row)
        return SignOut(
            id=row.id,
            user_id=row.user_id,
            client_identifier=opening.required("client_identifier_envelope"),
            token=opening.required("token_envelope"),
            requested_at=row.requested_at,
            trouble=opening.trouble,
        )
