"""The database itself: opening, transactions, schema, and whose it is.

SQLite with WAL and full synchronisation; every writing transaction is `BEGIN IMMEDIATE`, because a deferred one
that reads first and then writes loses updates to another (both report success under the driver's defaults).
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import filelock
from sqlalchemy import delete, event, insert, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from ..errors import DatabaseInUseError, SettingError, StoreError
from . import tables
from .migrations import migrate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from sqlalchemy import URL, Connection
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_MIGRATING = asyncio.Lock()
"""Alembic's operations go through one global proxy: two databases in one process are migrated in turn."""

_PRAGMAS = (
    "PRAGMA busy_timeout = 5000",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    # What was erased shall not be found in the file's free pages.
    "PRAGMA secure_delete = ON",
)


class Database:
    """One SQLite file, held by this process alone among bots; the command line may share it."""

    def __init__(self, engine: AsyncEngine, lock: filelock.BaseFileLock) -> None:
        self._engine = engine
        self._lock = lock

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator[Database]:
        """Open the database, bring its schema up to date, and close it at the end.

        Raises:
            SettingError: the URL is not one that PlexLink can use.
            DatabaseInUseError: another bot runs on this file.
            StoreError: the file cannot be opened, or a newer PlexLink wrote it.

        """
        parsed = _parse_url(url)
        lock = filelock.FileLock(f"{parsed.database}.lock", blocking=False, thread_local=False)
        _acquire(lock)
        try:
            _try_to_open(parsed)
            engine = _create_engine(parsed)
            try:
                database = cls(engine, lock)
                await database._migrate()
                yield database
            finally:
                await engine.dispose()
        finally:
            lock.release()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection inside a writing transaction, committed at the end of the block.

        Raises:
            StoreError: the database refused; nothing of the block was kept.

        """
        with _translated():
            async with self._engine.begin() as connection:
                yield connection

    async def key_records(self) -> dict[str, str]:
        """Return the rows of the key table; none in a new database."""
        async with self.transaction() as connection:
            rows = await connection.execute(select(tables.keys.c.name, tables.keys.c.value))
            return {row.name: row.value for row in rows}

    async def replace_key_records(self, records: dict[str, str]) -> None:
        """Write the rows of the key table."""
        async with self.transaction() as connection:
            await connection.execute(delete(tables.keys))
            await connection.execute(
                insert(tables.keys), [{"name": name, "value": value} for name, value in records.items()]
            )

    async def _migrate(self) -> None:
        async with _MIGRATING, self.transaction() as connection:
            await connection.run_sync(migrate)


def _parse_url(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise SettingError("PLEXLINK_DATABASE_URL is not a database URL; write sqlite:///path/to/file.") from None
    is_file = parsed.get_backend_name() == "sqlite" and parsed.database not in {None, "", ":memory:"}
    if not is_file or parsed.host or parsed.username or parsed.query:
        raise SettingError("PLEXLINK_DATABASE_URL must name an SQLite file: sqlite:///path/to/file.")
    return parsed.set(drivername="sqlite+aiosqlite")


def _acquire(lock: filelock.BaseFileLock) -> None:
    try:
        lock.acquire()
    except filelock.Timeout:
        raise DatabaseInUseError(
            "Another bot is running on this database; stop it, or give this one its own PLEXLINK_DATA_DIR."
        ) from None
    except OSError:
        raise StoreError(
            "The database's folder cannot be written; mend PLEXLINK_DATA_DIR or PLEXLINK_DATABASE_URL."
        ) from None


def _try_to_open(url: URL) -> None:
    # Where a file cannot be opened, aiosqlite leaves a thread behind that reports to a loop long closed.
    with _translated():
        sqlite3.connect(url.database or "").close()


def _create_engine(url: URL) -> AsyncEngine:
    engine = create_async_engine(url, hide_parameters=True, pool_size=4, max_overflow=0)
    event.listen(engine.sync_engine, "connect", _prepare)
    event.listen(engine.sync_engine, "begin", _begin)
    return engine


def _prepare(driver_connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own type is private
    # SQLAlchemy, not the driver, decides where a transaction begins.
    driver_connection.isolation_level = None
    try:
        cursor = driver_connection.cursor()
        for pragma in _PRAGMAS:
            cursor.execute(pragma)
        cursor.close()
    except sqlite3.Error:
        # The pool has not taken the connection yet: nobody else would end its thread.
        driver_connection.close()
        raise


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        cause = error if isinstance(error, sqlite3.Error) else getattr(error, "orig", None) or type(error).__name__
        raise StoreError(
            f"The database cannot be used ({cause}); look at PLEXLINK_DATA_DIR or PLEXLINK_DATABASE_URL."
        ) from None
