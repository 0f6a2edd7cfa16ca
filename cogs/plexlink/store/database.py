"""The database itself: opening, transactions, schema; what an engine needs is its own module's."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from ..errors import DatabaseInUseError, FencedError, SettingError, StoreError, StoreUnavailableError
from ..observations import Committed, unobserved
from . import migrations, moving, resealing, tables
from .signatures import sign_all
from .sqlite import SqliteFile
from .troubles import translated_files

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

    from ..observations import Observe
    from ..tenure import Fence, Process
    from .backend import Backend
    from .cells import Sealer
    from .line import Line

_log = logging.getLogger(__name__)

_MIGRATING = asyncio.Lock()
"""Alembic's operations go through one global proxy: two databases in one process are migrated in turn."""


class Database:
    """One database; a file is held by this process alone among bots, and the command line may share it."""

    def __init__(self, backend: Backend, observe: Observe = unobserved) -> None:
        self._backend = backend
        self._observe = observe
        # One transaction goes at a time anyway; in turn, nobody waits for itself and files can be put back between.
        self._turn = asyncio.Lock()
        self._trouble: str | None = None
        self._is_closed = False
        self._looks: list[Callable[[], None]] = []

    @classmethod
    @asynccontextmanager
    async def open(cls, place: Path | str, *, observe: Observe = unobserved) -> AsyncIterator[Database]:
        """Open the database that a path or a URL names, bring its schema up to date, and close it at the end.

        Raises:
            SettingError: the URL is not one that PlexLink can use.
            DatabaseInUseError: another bot runs on this file.
            StoreError: it cannot be used, a newer PlexLink wrote it, or somebody changed its schema.

        """
        backend = _backend(place)
        backend.tell_place()
        async with backend.held():
            database = cls(backend, observe)
            try:
                await database._migrate()
                yield database
                await database._leave()
            finally:
                await database._close()

    @classmethod
    @asynccontextmanager
    async def visit(cls, place: Path | str) -> AsyncIterator[Database]:
        """Open a database beside the bot that may run on it, to read or to leave work for it.

        Raises:
            SettingError: the URL is not one that PlexLink can use.
            StoreError: no bot of this version has run on it.

        """
        backend = _backend(place)
        backend.check_presence()
        async with cls._current(backend) as database:
            yield database

    @classmethod
    @asynccontextmanager
    async def _current(cls, backend: Backend) -> AsyncIterator[Database]:
        database = cls(backend)
        try:
            async with database._transaction() as connection:
                if not await connection.run_sync(migrations.is_current):
                    raise StoreError("The database is of another version; start this version's bot first.")
            yield database
        finally:
            await database._close()

    @classmethod
    @asynccontextmanager
    async def still(cls, place: Path | str) -> AsyncIterator[Database]:
        """Open a database that no bot runs on, to read all of it; nothing in it is changed. Raise as `open` does."""
        backend = _backend(place)
        backend.check_presence()
        async with backend.held(), cls._current(backend) as database:
            await database.require_stillness()
            yield database

    @staticmethod
    def back_up(place: Path | str, folder: Path, *, keep: int | None) -> Path:
        """Copy a file on which a bot may run into a folder; return where the copy is. See `copies.py`.

        Raises:
            SettingError: the URL names no file.
            StoreError: no bot of this version has run on it, or it cannot be copied.

        """
        backend = _backend(place)
        backend.check_presence()
        return backend.back_up(folder, keep=keep, now=datetime.now(UTC))

    async def move_to(self, target: Database, moved: Callable[[int, int], None]) -> int:
        """Write all rows into an empty database that no bot runs on; return how many.

        `moved` is told how many there are by then, and in all.

        Raises:
            StoreError: one of the two cannot be used, the target is not empty, or does not hold the same in the end.

        """
        await target.require_stillness()
        so_far, total = 0, 0

        def tell(count: int) -> None:
            nonlocal so_far
            so_far += count
            moved(so_far, total)

        async with self._transaction(is_long=True) as here, target._transaction(is_long=True) as there:
            total = await moving.rows_in(here)
            moved(0, total)
            await moving.copy(here, there, tell)
            await target._backend.number_on(there, tables.metadata, await moving.least_numbers(there))
        return total

    async def require_stillness(self) -> None:
        """Raise DatabaseInUseError where a bot runs on the database; one on a file holds its lock besides."""
        for each in await self.processes() or ():
            raise DatabaseInUseError(f"A bot runs on the database, on {each.host}; stop all of them.")

    @property
    def folder(self) -> Path | None:
        """Where the database's files are, if this machine has them."""
        return self._backend.folder

    def line(self, *, host: str, shards: str, version: str) -> Line | None:
        """Return a new process's line to the others on this database, where there can be others."""
        return self._backend.line(host=host, shards=shards, version=version)

    async def processes(self) -> list[Process] | None:
        """Return the processes that are there, longest first; nothing where there can be only one."""
        with self._backend.translated():
            return await self._backend.processes()

    def watch(self, look: Callable[[], None]) -> None:
        """Call `look` before and after each transaction; where it raises OSError, nothing is saved."""
        self._looks.append(look)

    @asynccontextmanager
    async def transaction(
        self, *, must_last: bool = True, fence: Fence | None = None
    ) -> AsyncIterator[AsyncConnection]:
        """Give a connection inside a writing transaction, committed at the end of the block.

        What need not last is not waited for until the disk has it: a crash of the machine may lose it, one of the
        process does not. What belongs to a tenure, by its `fence`, is done only while that lasts.

        Raises:
            FencedError: the tenure is another process's by now.
            StoreUnavailableError: the machine does not let us at present; nothing of the block was kept.
            StoreError: the database refused, or is closed; nothing of the block was kept.

        """
        async with self._turn:
            if self._is_closed:
                raise StoreError("The database is closed.")
            try:
                async with self._transaction(must_last=must_last) as connection:
                    if fence is not None:
                        await _check(connection, fence)
                    yield connection
            except StoreUnavailableError as error:
                self._tell(str(error))
                raise
            if self._trouble is not None:
                await self._recover()

    @asynccontextmanager
    async def _transaction(self, *, must_last: bool = True, is_long: bool = False) -> AsyncIterator[AsyncConnection]:
        await self._stay_in_place()
        with self._backend.translated():
            async with self._backend.begun(must_last=must_last, is_long=is_long) as connection:
                self._backend.takes_changes()  # what was rolled back is no change
                yield connection
                began = time.perf_counter()
            if self._backend.takes_changes():
                self._observe(Committed(time.perf_counter() - began))
        # What was committed into a deleted file is not kept yet.
        await self._stay_in_place()
        await self._backend.forget_erased()

    async def _stay_in_place(self) -> None:
        """Put the files back if somebody took them away."""
        await self._backend.stay_in_place()
        with translated_files():
            for look in self._looks:
                look()

    def _tell(self, trouble: str) -> None:
        """Say once what is wrong, however many meet it."""
        if trouble != self._trouble:
            self._trouble = trouble
            _log.error("store.unavailable %s Until then members are told that nothing could be saved.", trouble)

    async def check(self) -> None:
        """Write what changes nothing. Raises StoreError where that fails."""
        async with self.transaction(must_last=False) as connection:
            await self._backend.touch(connection)

    async def _recover(self) -> None:
        """Find out whether the trouble is over: a full or read-only disk can still be read."""
        try:
            async with self._transaction() as connection:
                await self._backend.touch(connection)
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
            await self._backend.close()

    async def key_records(self, first: Callable[[], dict[str, str]]) -> dict[str, str]:
        """Return the rows of the key table; in a new database, write those that `first` makes.

        Two processes that start at once on one database agree: reading and writing is one transaction.
        """
        async with self.transaction() as connection:
            known = await _read_keys(connection)
            if known:
                return known
            if await _holds_data(connection):
                raise StoreError("The database's key table is empty, though it holds data; restore it from a backup.")
            records = first()
            await _write_keys(connection, records)
        return records

    async def sign_all(self, vault: Sealer, known: dict[str, str], records: dict[str, str]) -> dict[str, str]:
        """Sign what a release wrote that signed nothing, and keep the records of the key for that, both or neither.

        Return the records: another process may have done so, and they are not those `known` any more.
        """
        async with self.transaction() as connection:
            found = await _read_keys(connection)
            if found != known:
                return found
            await sign_all(connection, vault)
            await connection.execute(delete(tables.keys))
            await _write_keys(connection, records)
        return records

    async def seal_anew(
        self, old: Sealer, new: Sealer, records: dict[str, str], sealed: Callable[[int, int], None]
    ) -> int:
        """Seal everything with other keys, and keep their records, both or neither; return how much does not open.

        `sealed` is told how many rows are done by then, and in all.
        """
        so_far = 0

        def tell(count: int) -> None:
            nonlocal so_far
            so_far += count
            sealed(so_far, total)

        async with self._transaction(is_long=True) as connection:
            total = await resealing.rows_in(connection)
            sealed(0, total)
            unreadable = await resealing.seal_anew(connection, old, new, tell)
            await connection.execute(delete(tables.keys))
            await _write_keys(connection, records)
        return unreadable

    async def keys_of(self, vault: Sealer, key_of: Callable[[str], str]) -> set[str]:
        """Return by which keys that is sealed which opens."""
        async with self._transaction(is_long=True) as connection:
            return await resealing.keys_of(connection, vault, key_of)

    async def _migrate(self) -> None:
        """Bring the schema up to date; what is refused, or fails, leaves the database as it was."""

        def copy(version: str) -> None:
            # While this transaction is open nobody else writes: the copy is of exactly what is upgraded.
            self._backend.keep_copy(version, now=datetime.now(UTC))

        async with _MIGRATING, self._transaction(is_long=True) as connection:
            version = await connection.run_sync(migrations.migrate, copy)
            found = await connection.run_sync(self._backend.strangers, tables.metadata)
            if found:
                raise StoreError(
                    f"The database holds what PlexLink did not make ({', '.join(found)}), which might keep what is "
                    "erased; remove that, or restore the database from a backup."
                )
        if version is None:
            _log.info("store.created version=%s: there was no database of PlexLink's in this place", migrations.HEAD)
        elif version != migrations.HEAD:
            _log.info("store.upgraded from=%s to=%s", version, migrations.HEAD)


def _backend(place: Path | str) -> Backend:
    """Return the engine behind a path or a URL; PostgreSQL's is imported where it is used."""
    if isinstance(place, str) and place.startswith("postgres"):
        try:
            from .postgres import PostgresServer  # noqa: PLC0415 - the driver is an extra, and takes its time
        except ModuleNotFoundError:
            raise SettingError(
                "PLEXLINK_DATABASE_URL names a PostgreSQL, whose driver is missing: install plexlink[postgres]."
            ) from None
        return PostgresServer(place)
    return SqliteFile(place)


async def _check(connection: AsyncConnection, fence: Fence) -> None:
    row = (await connection.execute(select(tables.tenure.c.holder, tables.tenure.c.epoch))).first()
    if row is None or tuple(row) != fence:
        raise FencedError("Another process has begun to work.")


async def _read_keys(connection: AsyncConnection) -> dict[str, str]:
    rows = await connection.execute(select(tables.keys.c.name, tables.keys.c.value))
    return {row.name: row.value for row in rows}


async def _write_keys(connection: AsyncConnection, records: dict[str, str]) -> None:
    await connection.execute(insert(tables.keys), [{"name": name, "value": value} for name, value in records.items()])


async def _holds_data(connection: AsyncConnection) -> bool:
    for table in tables.metadata.sorted_tables:
        is_data = table not in {tables.processes, tables.tenure}
        if is_data and (await connection.execute(select(table).limit(1))).first() is not None:
            return True
    return False
