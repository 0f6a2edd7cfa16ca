"""The links' rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select

from ..models import Link, Secret
from .cells import Opening, Sealing
from .tables import links

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from .cells import Sealer


class Links:
    """Links in one transaction."""

    def __init__(self, connection: AsyncConnection, vault: Sealer) -> None:
        self._connection = connection
        self._vault = vault

    async def add(self, link: Link) -> None:
        """Insert a link; its member must not have one."""
        seal = Sealing(self._vault, links, link.id, link.user_id)
        secrets = {
            "account_id_envelope": link.account_id,
            "account_name_envelope": link.account_name,
            "client_identifier_envelope": link.client_identifier,
            "token_envelope": link.token,
        }
        await self._connection.execute(
            insert(links).values(
                id=link.id,
                user_id=link.user_id,
                attempt_id=link.attempt_id,
                account_lookup=self._vault.lookup(link.account_id),
                linked_at=link.linked_at,
                **{column: seal(column, secret) for column, secret in secrets.items()},
            )
        )

    async def of(self, user_id: int) -> Link | None:
        """Return the member's link."""
        return await self._one(links.c.user_id == user_id)

    async def from_attempt(self, attempt_id: str) -> Link | None:
        """Return the link that an attempt led to, while it lives."""
        return await self._one(links.c.attempt_id == attempt_id)

    async def holder_of(self, account_id: Secret) -> int | None:
        """Return the Discord user id of the member who linked a Plex account."""
        rows = await self._connection.execute(
            select(links.c.user_id).where(links.c.account_lookup == self._vault.lookup(account_id))
        )
        return rows.scalar()

    async def remove(self, link: Link) -> None:
        """Delete a link."""
        await self._connection.execute(delete(links).where(links.c.id == link.id))

    async def _one(self, where: ColumnElement[bool]) -> Link | None:
        row = (await self._connection.execute(select(links).where(where))).first()
        return None if row is None else self._load(row)

    def _load(self, row: Row[Any]) -> Link:
        opening = Opening(self._vault, links, row)
        return Link(
            id=row.id,
            user_id=row.user_id,
            attempt_id=row.attempt_id,
            account_id=opening.required("account_id_envelope"),
            account_name=opening.required("account_name_envelope"),
            client_identifier=opening.required("client_identifier_envelope"),
            token=opening.required("token_envelope"),
            linked_at=row.linked_at,
            trouble=opening.trouble,
        )
