"""What is SQLite's alone: the file, whose it is, and how its connections behave.

WAL and full synchronisation; every transaction is `BEGIN IMMEDIATE`, because a deferred one that reads first and then
writes loses updates to another (both report success under the driver's defaults).
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import sqlite3
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import filelock
from sqlalchemy import URL, event, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from ..errors import SettingError, StoreError
from ..files import OWNER_ONLY, make_folder
from .anchor import Anchor, rescue_of, with_companions
from .copies import back_up
from .lock import acquire
from .troubles import translated, translated_files

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime

    from sqlalchemy import Connection, MetaData, Table
    from sqlalchemy.engine.interfaces import DBAPICursor, ExecutionContext
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_URL = re.compile(r"sqlite(?:\+\w+)?:///(?P<path>.+)", re.DOTALL)

_PATIENT = "PRAGMA busy_timeout = 5000"
_EMPTY_LOG = f"PRAGMA busy_timeout = 0; PRAGMA wal_checkpoint(TRUNCATE); {_PATIENT}"

_SYNCHRONOUS = "synchronous"
_FULL, _NORMAL = "FULL", "NORMAL"

_CHANGES = ("INSERT", "UPDATE", "DELETE")

_NUMBER_ON = (
    text("UPDATE sqlite_sequence SET seq = max(seq, :number) WHERE name = :name"),
    text(
        "INSERT INTO sqlite_sequence (name, seq)"
        " SELECT :name, :number WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = :name)"
    ),
)

_PRAGMAS = (
    _PATIENT,
    "PRAGMA journal_mode = WAL",
    f"PRAGMA synchronous = {_FULL}",
    "PRAGMA foreign_keys = ON",
    # What was erased shall not be found in the file's free pages.
    "PRAGMA secure_delete = ON",
    # Nothing that somebody wrote into the schema calls functions of ours.
    "PRAGMA trusted_schema = OFF",
)

_STRANGERS = """
SELECT type || ' ' || name FROM sqlite_master
    WHERE sql NOT LIKE 'CREATE TABLE %' AND sql NOT LIKE 'CREATE INDEX %' AND sql NOT LIKE 'CREATE UNIQUE INDEX %'
"""
"""Triggers, views and virtual tables, wherever they are: the file is PlexLink's alone, and behind a view in place of a
table of ours another table can stand. The text tells what they are; the other columns take another spelling too."""

_WRITES_NOTHING_NEW = "PRAGMA user_version = 0"
"""Writes a page and changes nothing; an UPDATE to what is there already would write nothing."""

_TOLD: set[Path] = set()

_log = logging.getLogger(__name__)


class SqliteFile:
    """The file that a path or a URL names; a bot holds it, the command line visits it: see `backend.Backend`.

    Raises:
        SettingError: the URL names no SQLite file.

    """

    def __init__(self, place: Path | str) -> None:
        self._path = (_path_of(place) if isinstance(place, str) else place).absolute()
        self.resolved = Path(os.path.realpath(self._path))
        # Two ways to one file, through a link, are one bot too many.
        self._lock = filelock.FileLock(f"{self.resolved}.lock", mode=OWNER_ONLY, blocking=False, thread_local=False)
        self._anchor: Anchor | None = None
        self._has_changed = False
        self._has_erased = True  # whatever an earlier process left in the log
        self._engine = self._create_engine()

    @property
    def folder(self) -> Path:
        """Where the file lies, whatever links lead there."""
        return self.resolved.parent

    def tell_place(self) -> None:
        """Say once where the database lies: a process opens it twice, and a start that fails tries again."""
        if self.resolved not in _TOLD:
            _TOLD.add(self.resolved)
            _log.info("store.opening file=%s", self.resolved)

    def _create_engine(self) -> AsyncEngine:
        """Return an engine with one connection."""
        # Never as text: a path may hold what means something in a URL.
        url = URL.create("sqlite+aiosqlite", database=str(self._path))
        engine = create_async_engine(url, hide_parameters=True, pool_size=1, max_overflow=0)
        event.listen(engine.sync_engine, "connect", _prepare)
        event.listen(engine.sync_engine, "begin", _begin)
        event.listen(engine.sync_engine, "after_cursor_execute", self._note, named=True)
        return engine

    @asynccontextmanager
    async def begun(self, *, must_last: bool = True, is_long: bool = False) -> AsyncIterator[AsyncConnection]:  # noqa: ARG002 - nothing takes too long for a file
        """Give a connection in a transaction, committed at the end of the block."""
        async with self._engine.connect() as connection:
            await _wait_for_disk(connection, at_commits=must_last)
            async with connection.begin():
                yield connection

    def translated(self) -> AbstractContextManager[None]:
        """Raise what SQLite raises as a `StoreError`."""
        return translated()

    async def touch(self, connection: AsyncConnection) -> None:
        """Write what changes nothing."""
        await connection.exec_driver_sql(_WRITES_NOTHING_NEW)

    def line(self, **_: object) -> None:
        """Return nothing: a file is one process's."""

    async def processes(self) -> None:
        """Return nothing, for the same reason."""

    async def close(self) -> None:
        """Close the connection."""
        await self._engine.dispose()

    def _note(self, *, cursor: DBAPICursor, statement: str, context: ExecutionContext, **_: object) -> None:
        """Remember that something was changed, or that a secret may be in the log and nowhere else any more."""
        if statement.startswith(_CHANGES):
            self._has_changed = True
        erases = statement.startswith("DELETE") or context.execution_options.get("erases", False)
        if erases and cursor.rowcount != 0:
            self._has_erased = True

    def takes_changes(self) -> bool:
        """Tell whether something was changed since the last time."""
        has_changed, self._has_changed = self._has_changed, False
        return has_changed

    async def forget_erased(self) -> None:
        """Empty the log of what was erased: it keeps every page as it was at each commit.

        As long as another program reads, that is for the next time.
        """
        if self._has_erased:
            emptying = asyncio.ensure_future(self._empty_log())
            try:
                await asyncio.shield(emptying)
            except asyncio.CancelledError:
                await emptying  # the engine forgets to close a connection that is given back half-way
                raise

    async def _empty_log(self) -> None:
        with suppress(SQLAlchemyError, sqlite3.Error, OSError):
            async with self._engine.connect() as connection:
                driver: Any = (await connection.get_raw_connection()).driver_connection
                try:
                    await driver.executescript(_EMPTY_LOG)  # one call in the driver's thread: nothing cuts it in two
                except sqlite3.Error:
                    await driver.executescript(_PATIENT)
                    raise
            self._has_erased = with_companions(self._path)[1].stat().st_size > 0

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Keep other bots away from the file, and hold on to it though somebody deletes it.

        Raises:
            DatabaseInUseError: another bot runs on it, or may.
            StoreError: it cannot be opened or written.

        """
        with suppress(OSError):  # what is in the way is said where the lock cannot be written
            make_folder(self.folder)
        acquire(self._lock)
        try:
            _check_rights(self._path)
            _check_names(self._path)
            _make_private(self._path, Path(self._lock.lock_file))
            # Before any connection: where a file cannot be opened, aiosqlite leaves a thread behind.
            self._anchor = Anchor(self._path)
            try:
                yield
            finally:
                self._anchor.release()
        finally:
            self._lock.release()

    def check_presence(self) -> None:
        """Raise StoreError where no bot has made the file yet."""
        with translated_files():
            is_there = self._path.is_file()
        if not is_there:
            raise StoreError(f"There is no database {self.resolved} yet; start the bot first.")

    def keep_copy(self, version: str, *, now: datetime) -> None:
        """Put a copy of the database beside it, where it holds anything.

        On the loop, for all its waiting for the disk: nothing may cancel it half-way.

        Raises:
            StoreError: there is no copy, and so there should be no upgrade.

        """
        copy = None if self._anchor is None else self._anchor.keep_copy(self.resolved, version=version, now=now)
        if copy is not None:
            _log.info("store.copied file=%s: the database as it was before its upgrade", copy)

    def back_up(self, folder: Path, *, keep: int | None, now: datetime) -> Path:
        """Copy the database into a folder; see `copies.py`."""
        return back_up(self.resolved, folder, keep=keep, now=now)

    async def stay_in_place(self) -> None:
        """Put the files back if somebody took them away. Raise StoreUnavailableError where that fails."""
        anchor = self._anchor
        if anchor is None or anchor.holds():
            return
        # On the loop, for all its waiting for the disk: nothing may cancel it half-way.
        anchor.save()
        _acquire_again(self._lock)
        try:
            await self._engine.dispose()
        finally:
            anchor.renew()

    async def number_on(self, connection: AsyncConnection, _: MetaData, least: Mapping[Table, int]) -> None:
        """Let SQLite, which has seen the numbers of the rows, go on after `least` too."""
        for table, number in least.items():
            for statement in _NUMBER_ON:
                await connection.execute(statement, {"name": table.name, "number": number})

    def strangers(self, connection: Connection, metadata: MetaData) -> list[str]:
        """Name what was not made by us: at our tables, and whatever in the file is neither a table nor an index."""
        found = list(connection.exec_driver_sql(_STRANGERS).scalars())
        for table in metadata.sorted_tables:
            columns = connection.exec_driver_sql("SELECT name FROM pragma_table_xinfo(?)", (table.name,)).scalars()
            found += [f"column {table.name}.{name}" for name in columns if name not in table.columns]
        return found


def _path_of(url: str) -> Path:
    """Return the path behind `sqlite:///`; a `~` at its beginning is the home.

    Not parsed by SQLAlchemy: whether it decodes %-escapes depends on its release, and it drops what follows a `?`.
    """
    found = _URL.fullmatch(url)
    path = unquote(found["path"]) if found else ":memory:"
    if path == ":memory:" or "\0" in path:
        raise SettingError(
            "PLEXLINK_DATABASE_URL must name an SQLite file, sqlite:////absolute/path/to/file.sqlite3 (four slashes), "
            "or a PostgreSQL, postgresql://user:password@host/database."
        )
    if "?" in url:
        raise SettingError("PLEXLINK_DATABASE_URL has a ?, which ends a path in URLs; write it as %3F.")
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise SettingError("PLEXLINK_DATABASE_URL begins with the ~ of a user who has no home folder.") from None


def _acquire_again(lock: filelock.BaseFileLock) -> None:
    """Let others see the lock again if it was deleted with the folder."""
    if not Path(lock.lock_file).exists():
        lock.release()
        acquire(lock)


def _check_rights(path: Path) -> None:
    """Say at the start what SQLite says at the first writing, and wait for nothing that only a person can mend."""
    for file in with_companions(path):
        if file.exists() and not os.access(file, os.W_OK):
            raise StoreError(
                f"The database's file {file.name} cannot be written by the bot's user; "
                "mend its owner or its rights in PLEXLINK_DATA_DIR."
            )


def _check_names(path: Path) -> None:
    """Refuse a file that has another name too: there SQLite has another log, and we have another lock.

    See "Multiple links to the same file" in https://www.sqlite.org/howtocorrupt.html.
    """
    rescue = rescue_of(path)
    with suppress(OSError):
        if rescue.samefile(path):
            rescue.unlink()  # whoever put the file back died before it took this name away
    with translated_files():
        has_others = path.is_file() and path.stat().st_nlink > 1
    if has_others:
        raise StoreError(
            f"The database {path} has other names too (hard links: find -samefile), by which another program could "
            "spoil it; remove those, or replace it by a copy."
        )


def _make_private(path: Path, lock: Path) -> None:
    """Let nobody else open the files, whatever the folder: who may read them may hold SQLite's lock and ours.

    The companions get the rights of the file itself. Some file systems have none.
    """
    with translated_files():
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, OWNER_ONLY))
    for file in (*with_companions(path), lock):
        try:
            if file.stat().st_mode & 0o077:
                file.chmod(OWNER_ONLY)
        except FileNotFoundError:
            continue
        except OSError as error:
            _log.warning("store.not_private file=%s: others may open it; %s", file.name, os.strerror(error.errno or 0))


async def _wait_for_disk(connection: AsyncConnection, *, at_commits: bool) -> None:
    """Let commits wait until the disk has them, or not; before a transaction begins, and until it is said otherwise."""
    raw = await connection.get_raw_connection()
    synchronous = _FULL if at_commits else _NORMAL
    if raw.info.get(_SYNCHRONOUS, _FULL) != synchronous:
        driver: Any = raw.driver_connection
        raw.info[_SYNCHRONOUS] = None  # whoever is cut off here does not know
        await driver.executescript(f"PRAGMA synchronous = {synchronous}")
        raw.info[_SYNCHRONOUS] = synchronous


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
