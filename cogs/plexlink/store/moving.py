"""All that a database holds into another one, of the same engine or not: all of it or nothing, and compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select, tuple_

from ..errors import StoreError
from . import tables

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Row, Table
    from sqlalchemy.ext.asyncio import AsyncConnection

_AT_ONCE = 500

_MOVED = [table for table in tables.metadata.sorted_tables if table not in {tables.processes, tables.tenure}]
"""All but who is there, which is nobody while something moves."""


async def rows_in(connection: AsyncConnection) -> int:
    """Return how many rows there are to be moved."""
    return sum([await _count(connection, table) for table in _MOVED])


async def least_numbers(connection: AsyncConnection) -> dict[Table, int]:
    """Return by table up to which number rows have been, also those that are erased: servers know how far they read."""
    read_to = select(func.max(tables.servers.c.audited_to), func.max(tables.servers.c.telling_to))
    return {tables.audit: max((number or 0 for number in (await connection.execute(read_to)).one()), default=0)}


async def copy(source: AsyncConnection, target: AsyncConnection, moved: Callable[[int], None]) -> None:
    """Write all rows of one database into another one, and read them there; `moved` is told of how many at a time.

    Raises:
        StoreError: the target holds rows already, or does not return what was written.

    """
    if await rows_in(target):
        raise StoreError("The database to move to is not empty; name a new one.")
    for table in _MOVED:
        for offset in range(0, await _count(source, table), _AT_ONCE):
            rows = await _page(source, table, offset)
            await target.execute(insert(table), [row._asdict() for row in rows])
            if await _same(target, table, rows) != {_key(table, row): tuple(row) for row in rows}:
                raise StoreError(f"The database to move to does not return what was written to {table.name}.")
            moved(len(rows))
        if await _count(source, table) != await _count(target, table):
            raise StoreError(f"The database to move to does not hold as many rows of {table.name}.")


async def _count(connection: AsyncConnection, table: Table) -> int:
    return (await connection.execute(select(func.count()).select_from(table))).scalar_one()


async def _page(connection: AsyncConnection, table: Table, offset: int) -> list[Row[Any]]:
    page = select(table).order_by(*table.primary_key.columns).limit(_AT_ONCE).offset(offset)
    return list(await connection.execute(page))


async def _same(connection: AsyncConnection, table: Table, rows: list[Row[Any]]) -> dict[Any, tuple[Any, ...]]:
    """Return the rows with the same keys; each engine has an order of its own for texts."""
    is_one = tuple_(*table.primary_key.columns).in_([_key(table, row) for row in rows])
    return {_key(table, row): tuple(row) for row in await connection.execute(select(table).where(is_one))}


def _key(table: Table, row: Row[Any]) -> tuple[Any, ...]:
    return tuple(row._mapping[column.name] for column in table.primary_key.columns)  # noqa: SLF001 - public in all but name
