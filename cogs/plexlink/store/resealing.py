"""All that is sealed in a database, whatever table it lies in: sealed with another key, or told by which keys it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, select, update

from ..audit import SOMEBODY
from ..errors import VaultError
from ..secret import Cell
from . import tables

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sqlalchemy import Row, Table
    from sqlalchemy.ext.asyncio import AsyncConnection

    from ..secret import Secret
    from .cells import Sealer

_AT_ONCE = 500

_SEALED = {
    table: columns
    for table in tables.metadata.sorted_tables
    if (columns := [column.name for column in table.columns if column.name.endswith("_envelope")])
}


async def rows_in(connection: AsyncConnection) -> int:
    """Return how many rows there are in tables that hold secrets."""
    counts = [await connection.execute(select(func.count()).select_from(table)) for table in _SEALED]
    return sum(count.scalar_one() for count in counts)


async def seal_anew(connection: AsyncConnection, old: Sealer, new: Sealer, sealed: Callable[[int], None]) -> int:
    """Open every envelope with `old` and seal what is in it with `new`; return how many did not open, and stay.

    `sealed` is told how many rows were looked at, some at a time.
    """
    unreadable = 0
    for table, columns in _SEALED.items():
        written = update(table).where(table.c.id == bindparam("row_id"))
        written = written.values(**{name: bindparam(f"new_{name}") for name in columns})
        async for rows in _pages(connection, table):
            changes = []
            for row in rows:
                found = {name: row._mapping[name] for name in columns}  # noqa: SLF001 - public in all but name
                opened = {name: _opened(old, table, row, name) for name in columns}
                unreadable += sum(found[name] is not None and opened[name] is None for name in columns)
                after = {
                    f"new_{name}": found[name] if secret is None else new.encrypt(secret, _cell(table, row, name))
                    for name, secret in opened.items()
                }
                changes.append({"row_id": row.id, **after})
            await connection.execute(written.execution_options(erases=True), changes)
            sealed(len(rows))
    return unreadable


async def keys_of(connection: AsyncConnection, vault: Sealer, key_of: Callable[[str], str]) -> set[str]:
    """Return by which keys that is sealed which opens; `key_of` tells it of an envelope."""
    return {
        key_of(row._mapping[name])  # noqa: SLF001 - public in all but name
        for table, columns in _SEALED.items()
        async for rows in _pages(connection, table)
        for row in rows
        for name in columns
        if _opened(vault, table, row, name) is not None
    }


async def _pages(connection: AsyncConnection, table: Table) -> AsyncIterator[list[Row[Any]]]:
    """Give the rows of a table, some at a time, in the order of their ids, which no writing changes."""
    page = select(table).order_by(table.c.id).limit(_AT_ONCE)
    rows = list(await connection.execute(page))
    while rows:
        yield rows
        rows = list(await connection.execute(page.where(table.c.id > rows[-1].id)))


def _opened(vault: Sealer, table: Table, row: Row[Any], column: str) -> Secret | None:
    envelope = row._mapping[column]  # noqa: SLF001 - public in all but name
    if envelope is None:
        return None
    try:
        return vault.decrypt(envelope, _cell(table, row, column))
    except VaultError:
        return None


def _cell(table: Table, row: Row[Any], column: str) -> Cell:
    user_id = row.user_id if "user_id" in table.c else SOMEBODY
    return Cell(table.name, column, str(row.id), user_id)
