"""The rows of servers: what their owners have chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, exists, insert, or_, select, update

from ..audit import SOMEBODY
from ..community import Objection, Server, Setup
from ..models import PlexServer
from .cells import Opening, Sealing
from .tables import audit, servers
from .words import read_optional_word, readable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy import ColumnElement, Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from ..secret import Secret
    from .cells import Sealer

HANDLE_LENGTH = 16

_IS_THERE = servers.c.left_at.is_(None)

_BEFORE_0012 = None
"""What a release of before that revision kept of a Plex server's owner: its identifier alone counts, until it is chosen
again."""


class ServerRows:
    """Servers in one transaction."""

    def __init__(self, connection: AsyncConnection, vault: Sealer) -> None:
        self._connection = connection
        self._vault = vault

    async def get(self, guild_id: int) -> Server | None:
        """Return one server, if its owners have ever chosen anything; nobody else changes its row meanwhile.

        Raises:
            NewerRowError: a newer release wrote it.

        """
        row = (
            await self._connection.execute(select(servers).where(servers.c.id == guild_id).with_for_update())
        ).first()
        return None if row is None else _load(row)

    async def present(self) -> list[Server]:
        """Return the servers in which the bot is."""
        return await self._select(_IS_THERE)

    async def all(self) -> list[Server]:
        """Return all servers."""
        return await self._select()

    async def unreconciled(self, since: datetime) -> list[Server]:
        """Return the servers whose members were not compared with Discord since an instant."""
        return await self._select(_IS_THERE, or_(servers.c.reconciled_at.is_(None), servers.c.reconciled_at < since))

    async def left(self, before: datetime) -> list[Server]:
        """Return the servers that the bot left before an instant."""
        return await self._select(servers.c.left_at < before)

    async def with_news(self, closed_before: datetime) -> list[int]:
        """Return the servers whose channel has not shown all of their audit, but for those that were closed since."""
        is_open = or_(servers.c.closed_at.is_(None), servers.c.closed_at < closed_before)
        has_news = exists().where(audit.c.guild_id == servers.c.id, audit.c.id > servers.c.audited_to)
        rows = await self._connection.execute(
            select(servers.c.id).where(_IS_THERE, servers.c.audit_channel_id.is_not(None), is_open, has_news)
        )
        return list(rows.scalars())

    async def keep(self, server: Server) -> None:
        """Write a server, a new one or in place of what it was."""
        columns = _columns(server)
        result = await self._connection.execute(update(servers).where(servers.c.id == server.id).values(**columns))
        if not result.rowcount:
            await self._connection.execute(insert(servers).values(id=server.id, **columns))

    async def chosen_by(self, user_id: int) -> list[int]:
        """Return the servers for which somebody has chosen last."""
        return [server.id for server in await self._select(servers.c.chosen_by == user_id)]

    async def forget_chooser(self, user_id: int) -> None:
        """Forget who has chosen; what was chosen is the server's."""
        await self._connection.execute(update(servers).where(servers.c.chosen_by == user_id).values(chosen_by=None))

    async def plex_server(self, guild_id: int) -> PlexServer | None:
        """Return the Plex server whose members a server's role is for; nothing where it cannot be read either."""
        row = await self._row(guild_id)
        return None if row is None else self._plex_server(row)

    async def _row(self, guild_id: int) -> Row[Any] | None:
        return (await self._connection.execute(select(servers).where(servers.c.id == guild_id))).first()

    def _plex_server(self, row: Row[Any]) -> PlexServer | None:
        if row.plex_server_id_envelope is None:
            return None
        opening = Opening(self._vault, servers, row, user_id=SOMEBODY)
        known = PlexServer(
            id=opening.required("plex_server_id_envelope"), name=opening.required("plex_server_name_envelope")
        )
        return known if opening.trouble is None else None

    async def is_reached(self, guild_id: int, reached: Iterable[PlexServer], account_id: Secret) -> bool | None:
        """Tell whether an account reaches the Plex server whose members a server's role is for.

        Its identifier is a text in a file, which anybody can give to a server of their own: it counts together with
        whose it is. Nothing where none is chosen, or it cannot be read.
        """
        row = await self._row(guild_id)
        chosen = None if row is None else self._plex_server(row)
        if row is None or chosen is None:
            return None
        return any(
            each.id == chosen.id
            and row.plex_server_owner in {self._owner(guild_id, each.owner_id or account_id), _BEFORE_0012}
            for each in reached
        )

    async def choose_plex_server(self, guild_id: int, chosen: PlexServer | None) -> bool:
        """Write whose members a server's role is for, and tell whether that is new.

        They are those of a Plex server, of which `owner_id` is known too, or everybody who has linked.
        """
        row = await self._row(guild_id)
        if row is None:
            return False
        before = self._plex_server(row)
        id_before, id_now = (None if each is None else each.id for each in (before, chosen))
        owner = None if chosen is None or chosen.owner_id is None else self._owner(guild_id, chosen.owner_id)
        was_readable = before is not None or row.plex_server_id_envelope is None
        is_new = not was_readable or id_before != id_now or row.plex_server_owner != owner
        seal = Sealing(self._vault, servers, str(guild_id), SOMEBODY)
        await self._connection.execute(
            update(servers)
            .where(servers.c.id == guild_id)
            .execution_options(erases=row.plex_server_id_envelope is not None)
            .values(
                plex_server_id_envelope=seal("plex_server_id_envelope", id_now),
                plex_server_name_envelope=seal("plex_server_name_envelope", None if chosen is None else chosen.name),
                plex_server_owner=owner,
                losses_believed_at=None if is_new else row.losses_believed_at,
            )
        )
        return is_new

    def _owner(self, guild_id: int, account_id: Secret) -> str:
        return self._vault.sign("plex_server_owner", guild_id, account_id.reveal())

    def handle_of(self, plex_server_id: Secret, guild_id: int, user_id: int) -> str:
        """Return what stands for a Plex server on the card of one owner of a server, and tells nobody which it is.

        It has to fit into a custom id, and 64 bits are enough: it is looked for among that owner's own alone, so that
        whoever hits one by guessing has chosen what they may choose anyway.
        """
        return self._vault.sign("plex_server", guild_id, user_id, plex_server_id.reveal())[:HANDLE_LENGTH]

    async def remove(self, guild_id: int) -> None:
        """Delete a server."""
        await self._connection.execute(delete(servers).where(servers.c.id == guild_id))

    async def _select(self, *where: ColumnElement[bool]) -> list[Server]:
        rows = await self._connection.execute(select(servers).where(*where).order_by(servers.c.id).with_for_update())
        return readable(rows, _load)


def _columns(server: Server) -> dict[str, Any]:
    return {
        "role_id": server.setup.role_id,
        "audit_channel_id": server.setup.audit_channel_id,
        "panel_channel_id": server.panel_channel_id,
        "panel_message_id": server.panel_message_id,
        "objection": server.objection,
        "audited_to": server.audited_to,
        "telling_to": server.telling_to,
        "closed_at": server.closed_at,
        "reconciled_at": server.reconciled_at,
        "left_at": server.left_at,
        "chosen_by": server.chosen_by,
        "losses_believed_at": server.losses_believed_at,
    }


def _load(row: Row[Any]) -> Server:
    return Server(
        id=row.id,
        setup=Setup(role_id=row.role_id, audit_channel_id=row.audit_channel_id),
        panel_channel_id=row.panel_channel_id,
        panel_message_id=row.panel_message_id,
        objection=read_optional_word(Objection, row.objection),
        audited_to=row.audited_to,
        telling_to=row.telling_to,
        closed_at=row.closed_at,
        reconciled_at=row.reconciled_at,
        left_at=row.left_at,
        chosen_by=row.chosen_by,
        losses_believed_at=row.losses_believed_at,
        is_for_plex_members=row.plex_server_id_envelope is not None,
    )
