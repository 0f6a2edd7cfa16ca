"""What is PostgreSQL's alone: the server behind a URL, and whose turn it is there.

Every transaction of the store first takes one advisory lock, which it holds until its end: so one goes at a time, as
with a file, and what is proven for the one engine holds for the other. It costs little: plex.tv's pace bounds an
installation long before its database does. A session that stands still inside a transaction is ended by the server
after a few seconds, but for a migration or a move.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import asyncpg
from sqlalchemy import event, false, func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from ..errors import SettingError
from . import postgres_troubles as troubles
from .postgres_troubles import POOLED, READ_ONLY, RIGHTS, for_good, for_now
from .postgres_url import plain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

    from sqlalchemy import Connection, MetaData, Table
    from sqlalchemy.engine.interfaces import DBAPICursor
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from ..tenure import Process
    from .line import Line

_log = logging.getLogger(__name__)

OLDEST = 14
"""Maintained until November 2026, https://www.postgresql.org/support/versioning/; the tests have 16 and 18."""

_CONNECTS_WITHIN_SECONDS = 10.0
_ANSWERS_WITHIN_SECONDS = 20.0
"""A server that is gone without a word is given up then; its own limits below are shorter."""

_TRIAL, _HEARD_WITHIN_SECONDS = "plexlink_trial", 5.0
_STANDS_STILL_SECONDS = 5
_WAITS_FOR_TURN_SECONDS = 15

_TURN = "x'504c4558'::int, hashtext(current_schema())"
"""A lock of ours, by the letters PLEX; several installations in one database have a schema each."""

# Of the transaction alone: a pooler may give the session to others afterwards.
_BEGIN = (
    f"SELECT set_config('idle_in_transaction_session_timeout', '{_STANDS_STILL_SECONDS}s', true),"
    f" set_config('lock_timeout', '{_WAITS_FOR_TURN_SECONDS}s', true),"
    " {more}pg_advisory_xact_lock({lock})"
)
TAKE_TURN = _BEGIN.format(more="", lock=_TURN)
_TAKE_TURN = text(TAKE_TURN)
_TAKE_TURN_FOR_WHAT_NEED_NOT_LAST = text(
    _BEGIN.format(more="set_config('synchronous_commit', 'off', true), ", lock=_TURN)
)
_PATIENTLY = text("SELECT set_config('idle_in_transaction_session_timeout', '0', true)")

END_WHO_STANDS_STILL = """
SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND granted AND datname = current_database() AND objsubid = 2
    AND classid::bigint = x'504c4558'::int AND objid::bigint = hashtext(current_schema())::bigint & x'ffffffff'::bigint
    AND state = 'active' AND wait_event IN ('ClientRead', 'ClientWrite')
    AND state_change < clock_timestamp() - interval '10 seconds'
"""
"""The server's own limit begins when a statement is over. The driver sends a new one in two parts, and whoever is
frozen between them, or cut off, would hold all others up for as long."""

_END_WHO_STANDS_STILL = text(END_WHO_STANDS_STILL)

_WRITES_NOTHING_NEW = "DELETE FROM plexlink_keys WHERE false"
_CHANGES = ("INSERT", "UPDATE", "DELETE")

_LOOK = """
SELECT current_setting('server_version_num')::int AS version, pg_is_in_recovery() AS is_replica,
    current_setting('transaction_read_only') = 'on' AS is_read_only, current_schema() AS schema,
    coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create,
    coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS is_encrypted,
    inet_client_addr() IS NULL OR host(inet_client_addr()) IN ('127.0.0.1', '::1') AS is_near,
    pg_backend_pid() AS pid
"""

_STRANGERS = """
SELECT 'trigger ' || tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE NOT tgisinternal AND c.relname = ANY(:ours) AND c.relnamespace = current_schema()::regnamespace
UNION ALL SELECT 'rule ' || rulename FROM pg_rules WHERE schemaname = current_schema() AND tablename = ANY(:ours)
UNION ALL SELECT 'relation ' || relname FROM pg_class
    WHERE relkind <> 'r' AND relname = ANY(:ours) AND relnamespace = current_schema()::regnamespace
"""
"""What stands in place of a table of ours (a view, say) may lead to one that has triggers. Views over ours are left
alone: the server may serve others too, and a view keeps nothing."""

_COLUMNS = """
SELECT table_name, column_name FROM information_schema.columns
    WHERE table_schema = current_schema() AND table_name = ANY(:ours)
"""


class PostgresServer:
    """The database that a URL names on a PostgreSQL server: see `backend.Backend`.

    Raises:
        SettingError: the URL is not one that can be used.

    """

    folder: Path | None = None

    def __init__(self, url: str) -> None:
        self._url = plain(url)
        self._has_changed = False
        self._engine = self._create_engine(_ANSWERS_WITHIN_SECONDS)

    def _create_engine(self, answers_within_seconds: float | None) -> AsyncEngine:
        """Return an engine with one connection."""

        async def connect() -> asyncpg.Connection:
            return await self.connect(answers_within_seconds)

        engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=connect,
            hide_parameters=True,
            isolation_level="READ COMMITTED",  # what is read after the wait for the turn is what is there by then
            pool_size=1,
            max_overflow=0,
        )
        event.listen(engine.sync_engine, "after_cursor_execute", self._note, named=True)
        return engine

    async def connect(self, answers_within_seconds: float | None = _ANSWERS_WITHIN_SECONDS) -> asyncpg.Connection:
        """Return a connection of the driver's own."""
        return await asyncpg.connect(
            self._url, timeout=_CONNECTS_WITHIN_SECONDS, command_timeout=answers_within_seconds
        )

    def _note(self, *, cursor: DBAPICursor, statement: str, **_: object) -> None:
        if statement.startswith(_CHANGES) and cursor.rowcount != 0:
            self._has_changed = True

    def takes_changes(self) -> bool:
        """Tell whether something was changed since the last time."""
        has_changed, self._has_changed = self._has_changed, False
        return has_changed

    def tell_place(self) -> None:
        """Say nothing: a URL is secret."""

    def check_presence(self) -> None:
        """Leave it to the tables."""

    def translated(self) -> AbstractContextManager[None]:
        """Raise what the driver, the server and the network say as a `StoreError`."""
        return troubles.translated()

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Look whether the server is one that can be used; who of several processes works there is the tenure's to say.

        Raises:
            StoreError: it cannot be used.

        """
        with troubles.translated():
            connection = await self.connect()
            try:
                found = await connection.fetchrow(_LOOK)
                self.judge(found)
                if found["pid"] != connection.get_server_pid():
                    await self._hear_through_pooler(connection)
            finally:
                await connection.close(timeout=_CONNECTS_WITHIN_SECONDS)
        yield

    async def _hear_through_pooler(self, connection: asyncpg.Connection) -> None:
        """Raise StoreError where a pooler lends a session for one transaction only: it loses what is listened for."""
        heard = asyncio.Event()

        def hear(*_: object) -> None:
            heard.set()

        await connection.add_listener(_TRIAL, hear)
        other = await self.connect()
        try:
            await other.execute("SELECT pg_notify($1, '')", _TRIAL)
            async with asyncio.timeout(_HEARD_WITHIN_SECONDS):
                await heard.wait()
        except TimeoutError:
            raise for_good(POOLED) from None
        finally:
            await other.close(timeout=_CONNECTS_WITHIN_SECONDS)

    def judge(self, found: Mapping[str, Any]) -> None:
        """Say whether what a server tells of itself will do. Raise as `held` does."""
        if found["version"] // 10_000 < OLDEST:
            raise for_good(f"its server is PostgreSQL {found['version'] // 10_000}; {OLDEST} or a newer one is needed")
        if found["is_replica"] or found["is_read_only"]:
            raise for_now(READ_ONLY)
        if found["schema"] is None or not found["may_create"]:
            raise for_good(RIGHTS)
        if not found["is_encrypted"] and not found["is_near"]:
            _log.warning(
                "store.not_encrypted: whoever is between here and the database's server can read along; "
                "let PLEXLINK_DATABASE_URL end in ?sslmode=verify-full"
            )

    async def stay_in_place(self) -> None:
        """Leave its files to the server."""

    def line(self, *, host: str, shards: str, version: str) -> Line:
        """Return a new process's line to the others."""
        from .line import Line  # noqa: PLC0415 - it knows this module

        return Line(self, host=host, shards=shards, version=version)

    @asynccontextmanager
    async def begun(self, *, must_last: bool = True, is_long: bool = False) -> AsyncIterator[AsyncConnection]:
        """Give a connection in a transaction, committed at the end of the block."""
        engine = self._create_engine(None) if is_long else self._engine
        try:
            async with engine.connect() as connection, _given_up_if_useless(connection):
                await _take_turn(connection, must_last=must_last)
                if is_long:
                    await connection.execute(_PATIENTLY)
                yield connection
                await connection.commit()
        finally:
            if is_long:
                await engine.dispose()

    async def forget_erased(self) -> None:
        """Leave it to the server, which overwrites in its own time; see PRIVACY.md."""

    def keep_copy(self, version: str, *, now: datetime) -> None:  # noqa: ARG002 - the protocol's
        """Leave it to whoever keeps the server: where its backups go is theirs to say."""
        _log.warning(
            "store.not_copied version=%s: PlexLink copies no PostgreSQL before it upgrades its tables", version
        )

    def back_up(self, folder: Path, **_: object) -> NoReturn:  # noqa: ARG002 - the protocol's
        """Leave it to the server's own program."""
        raise SettingError('A PostgreSQL is backed up with pg_dump; see "Back up" in deploy/runbook.md.')

    async def number_on(self, connection: AsyncConnection, metadata: MetaData, least: Mapping[Table, int]) -> None:
        """Let sequences go on after the greatest number, and after `least`."""
        for table in metadata.sorted_tables:
            column = table.autoincrement_column
            if column is not None:
                greatest = select(func.greatest(func.max(column), least.get(table, 0)) + 1).scalar_subquery()
                sequence = func.pg_get_serial_sequence(table.name, column.name)
                await connection.execute(select(func.setval(sequence, greatest, false())))

    def strangers(self, connection: Connection, metadata: MetaData) -> list[str]:
        """Name what is at our tables and was not made by us."""
        known = {table.name: table for table in metadata.sorted_tables}
        found = list(connection.execute(text(_STRANGERS), {"ours": list(known)}).scalars())
        columns = connection.execute(text(_COLUMNS), {"ours": list(known)})
        return found + [f"column {table}.{name}" for table, name in columns if name not in known[table].columns]

    async def touch(self, connection: AsyncConnection) -> None:
        """Write what changes nothing; a replica and a read-only database refuse even that."""
        await connection.exec_driver_sql(_WRITES_NOTHING_NEW)

    async def processes(self) -> list[Process]:
        """Return the processes that are there, longest first."""
        from .line import present  # noqa: PLC0415 - it knows this module

        connection = await self.connect()
        try:
            return await present(connection)
        finally:
            await connection.close(timeout=_CONNECTS_WITHIN_SECONDS)

    async def close(self) -> None:
        """Close the connection."""
        await self._engine.dispose()


@asynccontextmanager
async def _given_up_if_useless(connection: AsyncConnection) -> AsyncIterator[None]:
    """Let the next transaction have a new connection where this one does not answer, or leads to a replica by now."""
    try:
        yield
    except (TimeoutError, DBAPIError) as error:
        if isinstance(error, TimeoutError) or troubles.code_of(error) == troubles.READS_ONLY:
            await connection.invalidate()
        raise


async def _take_turn(connection: AsyncConnection, *, must_last: bool) -> None:
    """Begin a transaction when no other is under way.

    A connection that broke while it lay idle is replaced, and whoever holds the turn and stands still loses it.
    """
    statement = _TAKE_TURN if must_last else _TAKE_TURN_FOR_WHAT_NEED_NOT_LAST
    try:
        await connection.execute(statement)
    except DBAPIError as error:
        is_held_up = troubles.code_of(error) == troubles.WAITED_IN_VAIN
        if not (error.connection_invalidated or is_held_up):
            raise
        await connection.rollback()
        if is_held_up:
            await connection.execute(_END_WHO_STANDS_STILL)
            await connection.rollback()
        await connection.execute(statement)
