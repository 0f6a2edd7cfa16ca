"""What decides where a row's secrets go is signed: no hand without the key changes it unnoticed.

Envelopes are bound to their cells; member, attempt, state and place of a row are readable, and bound by this.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from .tables import attempts, links, notices

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Row, Table
    from sqlalchemy.ext.asyncio import AsyncConnection

    from .cells import Sealer

_log = logging.getLogger(__name__)

_PLACE = ("lane", "channel_id", "message_id", "answer_message_id")
SIGNED: dict[Table, tuple[str, ...]] = {
    attempts: ("id", "user_id", "guild_id", "device_name", "state", "reason", *_PLACE),
    links: ("id", "user_id", "attempt_id", "account_lookup"),
    notices: ("id", "user_id", "topic", "reason", *_PLACE),
}


def signed(vault: Sealer, table: Table, **columns: Any) -> dict[str, Any]:  # noqa: ANN401 - a column is any
    """Return the columns of a new row with its signature."""
    return {**columns, "signature": _signature(vault, table, columns)}


def resigned(vault: Sealer, table: Table, row: Row[Any], columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return columns that change in a row with its new signature; one that was not genuine does not become so."""
    if not is_genuine(vault, table, row):
        return {**columns}
    return {**columns, "signature": _signature(vault, table, {**row._asdict(), **columns})}


def is_genuine(vault: Sealer, table: Table, row: Row[Any]) -> bool:
    """Tell whether a row is as PlexLink wrote it; of one that is not it is said once in the log."""
    if row.signature == _signature(vault, table, row._asdict()):
        return True
    _say_once(table.name, row.id)
    return False


def consent(vault: Sealer, link_id: str, user_id: int) -> str:
    """Return what stands in a link's row whose member shows its account's name to owners of servers."""
    return vault.sign(links.name, "consent", link_id, user_id)


async def sign_all(connection: AsyncConnection, vault: Sealer) -> None:
    """Sign the rows of a release that signed none."""
    for table in SIGNED:
        for row in await connection.execute(select(table)):
            signature = _signature(vault, table, row._asdict())
            await connection.execute(update(table).where(table.c.id == row.id).values(signature=signature))


def _signature(vault: Sealer, table: Table, columns: Mapping[str, Any]) -> str:
    return vault.sign(table.name, *(columns[name] for name in SIGNED[table]))


@lru_cache(maxsize=1024)
def _say_once(table: str, row_id: object) -> None:
    _log.error("store.row_changed table=%s row=%s: somebody else wrote it, and it counts as unreadable", table, row_id)
