"""The database itself: opening, transactions, schema, and whose it is.

SQLite with WAL and full synchronisation; every writing transaction is `BEGIN IMMEDIATE`, because a deferred one
that reads first and then writes loses updates to another (both report success under the driver's defaults).
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
from sqlalchemy import event, insert, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import create_async_engine

from ..errors import DatabaseInUseError, SettingError, StoreError, StoreUnavailableError
from . import tables
from .anchor import Anchor, with_companions
from .migrations import is_current, migrate
from .troubles import translated, translated_files

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sqlalchemy import URL, Connection
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_log = logging.getLogger(__name__)

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

_WRITE = "PRAGMA user_version = 0"
"""Writes a page and changes nothing; an UPDATE to what is there already would write nothing."""


class Database:
    """One SQLite file, held by this process alone among bots; the command line may share it."""

    def __init__(self, engine: AsyncEngine, lock: filelock.BaseFileLock, anchor: Anchor | None) -> None:
        self._engine = engine
        self._lock = lock
        self._anchor = anchor
        # SQLite lets one write at a time anyway; in turn, nobody waits for itself and files can be put back between.
        self._turn = asyncio.Lock()
        self._trouble: str | None = None
        self._is_closed = False
        self._looks: list[Callable[[], None]] = []

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
        path = Path(parsed.database or "")
        lock = filelock.FileLock(f"{path}.lock", blocking=False, thread_local=False)
        _acquire(lock)
        try:
            _check_rights(path)
            # Before the engine: where a file cannot be opened, aiosqlite leaves a thread behind.
            anchor = Anchor(path)
            engine = _create_engine(parsed)
            database = cls(engine, lock, anchor)
            try:
                await database._migrate()
                yield database
                await database._leave()
            finally:
                await database._close()
                anchor.release()
        finally:
            lock.release()

    @classmethod
    @asynccontextmanager
    async def visit(cls, url: str) -> AsyncIterator[Database]:
        """Open a database beside the bot that may run on it, to read or to leave work for it.

        Raises:
            SettingError: the URL is not one that PlexLink can use.
            StoreError: no bot of this version has run on it.

        """
        parsed = _parse_url(url)
        _check_presence(parsed)
        engine = _create_engine(parsed)
        database = cls(engine, filelock.FileLock(f"{parsed.database}.lock"), anchor=None)
        try:
            async with database._transaction() as connection:
                if not await connection.run_sync(is_current):
                    raise StoreError("The database is of another version; start this version's bot first.")
            yield database
        finally:
            await engine.dispose()

    def watch(self, look: Callable[[], None]) -> None:
        """Call `look` before and after each transaction; where it raises OSError, nothing is saved."""
        self._looks.append(look)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection inside a writing transaction, committed at the end of the block.

        Raises:
            StoreUnavailableError: the machine does not let us at present; nothing of the block was kept.
            StoreError: the database refused, or is closed; nothing of the block was kept.

        """
        async with self._turn:
            if self._is_closed:
                raise StoreError("The database is closed.")
            try:
                async with self._transaction() as connection:
                    yield connection
            except StoreUnavailableError as error:
                self._tell(str(error))
                raise
            if self._trouble is not None:
                await self._recover()

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        await self._stay_in_place()
        with translated():
            async with self._engine.begin() as connection:
                yield connection
        # What was committed into a deleted file is not kept yet.
        await self._stay_in_place()

    async def _stay_in_place(self) -> None:
        """Put the files back if somebody took them away."""
        if self._anchor is not None and not self._anchor.holds():
            await self._put_back(self._anchor)
        with translated_files():
            for look in self._looks:
                look()

    async def _put_back(self, anchor: Anchor) -> None:
        # On the loop, for all its waiting for the disk: nothing may cancel it half-way.
        anchor.save()
        _acquire_again(self._lock)
        try:
            await self._engine.dispose()
        finally:
            anchor.renew()

    def _tell(self, trouble: str) -> None:
        """Say once what is wrong, however many meet it."""
        if trouble != self._trouble:
            self._trouble = trouble
            _log.error("store.unavailable %s Until then members are told that nothing could be saved.", trouble)

    async def _recover(self) -> None:
        """Find out whether the trouble is over: a full or read-only disk can still be read."""
        try:
            async with self._transaction() as connection:
                await connection.exec_driver_sql(_WRITE)
        except StoreUnavailableError:
            return
        self._trouble = None
        _log.warning("store.available_again")

    async def _leave(self) -> None:
        """See before closing that the files are where the next start looks for them."""
        try:
            await self._stay_in_place()
        except StoreUnavailableError as error:
            self._tell(str(error))

    async def _close(self) -> None:
        """Let a transaction that is under way end, and begin no other: the engine closes only what is not in use."""
        async with self._turn:
            self._is_closed = True
            await self._engine.dispose()

    async def key_records(self, first: Callable[[], dict[str, str]]) -> dict[str, str]:
        """Return the rows of the key table; in a new database, write those that `first` makes.

        Two processes that start at once on one database agree: reading and writing is one transaction.
        """
        async with self.transaction() as connection:
            rows = await connection.execute(select(tables.keys.c.name, tables.keys.c.value))
            known = {row.name: row.value for row in rows}
            if known:
                return known
            records = first()
            await connection.execute(
                insert(tables.keys), [{"name": name, "value": value} for name, value in records.items()]
            )
        return records

    async def _migrate(self) -> None:
        async with _MIGRATING, self._transaction() as connection:
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


def _check_presence(url: URL) -> None:
    if not Path(url.database or "").is_file():
        raise StoreError("There is no database yet; start the bot first.")


def _acquire(lock: filelock.BaseFileLock) -> None:
    try:
        lock.acquire()
    except filelock.Timeout:
        raise DatabaseInUseError(
            "Another bot is running on this database; stop it, or give this one its own PLEXLINK_DATA_DIR."
        ) from None
    except PermissionError:
        raise StoreError(
            "The database's folder cannot be written; mend PLEXLINK_DATA_DIR or PLEXLINK_DATABASE_URL."
        ) from None
    except OSError:
        with translated_files():
            raise


def _acquire_again(lock: filelock.BaseFileLock) -> None:
    """Let others see the lock again if it was deleted with the folder."""
    if not Path(lock.lock_file).exists():
        lock.release()
        _acquire(lock)


def _check_rights(path: Path) -> None:
    """Say at the start what SQLite says at the first writing, and wait for nothing that only a person can mend."""
    for file in with_companions(path):
        if file.exists() and not os.access(file, os.W_OK):
            raise StoreError(
                f"The database's file {file.name} cannot be written by the bot's user; "
                "mend its owner or its rights in PLEXLINK_DATA_DIR."
            )


def _create_engine(url: URL) -> AsyncEngine:
    engine = create_async_engine(url, hide_parameters=True, pool_size=1, max_overflow=0)
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
