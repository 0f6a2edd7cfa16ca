"""The links' rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, func, insert, select, update

from ..models import Finding, Health, Link, Trouble, Verdict
from .cells import Opening, Sealing
from .signatures import consent, is_genuine, signed
from .tables import links
from .words import read_optional_word, read_word, readable

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy import ColumnElement, Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from ..models import Attempt
    from ..secret import Secret
    from .cells import Sealer


HELD = "held"


class LinkRows:
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
        row = signed(
            self._vault,
            links,
            id=link.id,
            user_id=link.user_id,
            attempt_id=link.attempt_id,
            account_lookup=self._vault.lookup(link.account_id),
            linked_at=link.linked_at,
            consent=consent(self._vault, link.id, link.user_id) if link.is_name_shown else None,
            **_health_columns(link.health),
            **{column: seal(column, secret) for column, secret in secrets.items()},
        )
        await self._connection.execute(insert(links).values(row))

    async def of(self, user_id: int) -> Link | None:
        """Return the member's link."""
        return await self._one(links.c.user_id == user_id)

    async def from_attempt(self, attempt: Attempt) -> Link | None:
        """Return the link that an attempt led its member to, while it lives."""
        return await self._one(and_(links.c.attempt_id == attempt.id, links.c.user_id == attempt.user_id))

    async def get(self, link_id: str) -> Link | None:
        """Return one link."""
        return await self._one(links.c.id == link_id)

    async def of_many(self, user_ids: Collection[int]) -> dict[int, Link | None]:
        """Return the links of several members, by their ids; nothing for one that a newer release wrote."""
        rows = list(await self._connection.execute(select(links).where(links.c.user_id.in_(user_ids))))
        read = {link.user_id: link for link in readable(rows, self._load)}
        return {row.user_id: read.get(row.user_id) for row in rows}

    async def holding(self, account_id: Secret) -> Link | None:
        """Return the link to a Plex account."""
        return await self._one(links.c.account_lookup == self._vault.lookup(account_id))

    async def due(self, now: datetime, *, most: int) -> list[str]:
        """Return the ids of links whose token is to be checked, the most overdue first."""
        rows = await self._connection.execute(
            select(links.c.id).where(links.c.next_check_at <= now).order_by(links.c.next_check_at).limit(most)
        )
        return list(rows.scalars())

    async def unplanned(self) -> list[str]:
        """Return the ids of links that no check is planned for, though they may be alive."""
        rows = await self._connection.execute(
            select(links.c.id).where(links.c.next_check_at.is_(None), links.c.verdict != Verdict.DEAD)
        )
        return list(rows.scalars())

    async def plan(self, link_id: str, next_check_at: datetime) -> None:
        """Write when the token is checked next."""
        await self._connection.execute(update(links).where(links.c.id == link_id).values(next_check_at=next_check_at))

    async def diagnose(self, link_id: str, health: Health) -> None:
        """Write what is known of the token."""
        await self._connection.execute(update(links).where(links.c.id == link_id).values(**_health_columns(health)))

    async def checked_since(self, since: datetime) -> int:
        """Return of how many links plex.tv has said since an instant how they are."""
        return await self._count(and_(links.c.checked_at >= since, links.c.finding != Finding.SILENT))

    async def rejected_since(self, since: datetime) -> int:
        """Return how many links were refused for the first time in a row since an instant."""
        return await self._count(links.c.rejected_at >= since)

    async def by_health(self) -> dict[str, int]:
        """Return how many links there are of each verdict; those whose refusal is held back are "held"."""
        rows = await self._connection.execute(
            select(links.c.verdict, links.c.is_held, func.count()).group_by(links.c.verdict, links.c.is_held)
        )
        counts = dict.fromkeys([*map(str, Verdict), HELD], 0)
        for verdict, is_held, count in rows:
            counts[HELD if is_held else verdict] = counts.get(HELD if is_held else verdict, 0) + count
        return counts

    async def held(self) -> int:
        """Return how many refusals are held."""
        return await self._count(links.c.is_held)

    async def hold(self, *, next_check_at: datetime) -> None:
        """Keep refusals that nobody was told of from being believed."""
        await self._connection.execute(
            update(links)
            .where(links.c.rejected_at.is_not(None), links.c.told_at.is_(None), links.c.is_held.is_(False))
            .values(is_held=True, next_check_at=next_check_at)
        )

    async def release(self, next_check_at: datetime) -> int:
        """Forget all refusals that were held, as if there had been none, and check anew; return how many."""
        result = await self._connection.execute(
            update(links)
            .where(links.c.is_held)
            .values(is_held=False, verdict=Verdict.ALIVE, rejected_at=None, next_check_at=next_check_at)
        )
        return result.rowcount

    async def believe(self) -> list[int]:
        """Take all refusals that were held for true; return whose links they are."""
        user_ids = await self._connection.execute(select(links.c.user_id).where(links.c.is_held))
        await self._connection.execute(update(links).where(links.c.is_held).values(is_held=False))
        return list(user_ids.scalars())

    async def untold(self, rejected_before: datetime) -> list[Link]:
        """Return the dead links whose members were not told, refused before an instant and not held."""
        rows = await self._connection.execute(
            select(links)
            .where(
                links.c.verdict == Verdict.DEAD,
                links.c.told_at.is_(None),
                links.c.is_held.is_(False),
                links.c.rejected_at < rejected_before,
            )
            .order_by(links.c.rejected_at)
        )
        return readable(rows, self._load)

    async def show_name(self, user_id: int, *, is_shown: bool) -> None:
        """Write whether owners of servers may read the account's name."""
        link_id = (await self._connection.execute(select(links.c.id).where(links.c.user_id == user_id))).scalar()
        if link_id is not None:
            given = consent(self._vault, link_id, user_id) if is_shown else None
            await self._connection.execute(update(links).where(links.c.id == link_id).values(consent=given))

    async def remove(self, link: Link) -> None:
        """Delete a link."""
        await self._connection.execute(delete(links).where(links.c.id == link.id))

    async def _count(self, where: ColumnElement[bool]) -> int:
        rows = await self._connection.execute(select(func.count()).select_from(links).where(where))
        return rows.scalar_one()

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
            health=read_health(row),
            is_name_shown=row.consent == consent(self._vault, row.id, row.user_id),
            trouble=opening.trouble if is_genuine(self._vault, links, row) else Trouble.BROKEN,
        )


def _health_columns(health: Health) -> dict[str, Any]:
    return {
        "verdict": health.verdict,
        "finding": health.finding,
        "checked_at": health.checked_at,
        "rejected_at": health.rejected_at,
        "next_check_at": health.next_check_at,
        "told_at": health.told_at,
        "is_held": health.is_held,
    }


def read_health(row: Row[Any]) -> Health:
    """Return what is known of the token of a link whose row this is."""
    return Health(
        verdict=read_word(Verdict, row.verdict),
        finding=read_optional_word(Finding, row.finding),
        checked_at=row.checked_at,
        rejected_at=row.rejected_at,
        next_check_at=row.next_check_at,
        told_at=row.told_at,
        is_held=row.is_held,
    )
