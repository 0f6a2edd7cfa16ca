"""A process's line to the others on one PostgreSQL: by it they know of each other, ring, and work by turns.

It is a connection of its own, for a listening one cannot be lent to transactions. All clocks are the database's.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager
from itertools import dropwhile, takewhile
from typing import TYPE_CHECKING

import asyncpg

from ..tenure import LEASE_SECONDS, SEEN_WITHIN_SECONDS, Beat, Process
from . import channel
from .postgres import END_WHO_STANDS_STILL, TAKE_TURN
from .postgres_troubles import NOT_SERVED, translated

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from datetime import datetime

    from .postgres import PostgresServer

_CHANNEL = f"SELECT {channel.NAME}"

_FORGET_GONE = "DELETE FROM plexlink_processes WHERE seen_at < clock_timestamp() - interval '1 day'"
# A lease that would last for longer than a minute is from before the clock was put back, or by another server's clock.
_BEAT = """
WITH seen AS (
    INSERT INTO plexlink_processes (id, host, shards, version, started_at, seen_at)
    VALUES ($1, $2, $3, $4, coalesce($7, clock_timestamp()), clock_timestamp())
    ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at RETURNING started_at
), renewed AS (
    UPDATE plexlink_tenure SET leased_until = clock_timestamp() + make_interval(secs => $6)
    WHERE holder = $1 AND epoch = $5 RETURNING epoch
)
SELECT (SELECT started_at FROM seen), EXISTS (SELECT FROM renewed) AS is_renewed,
    NOT EXISTS (
        SELECT FROM plexlink_processes WHERE id = $1 AND abs(extract(epoch FROM clock_timestamp() - seen_at)) <= $8
    ) AS was_away,
    NOT EXISTS (
        SELECT FROM plexlink_tenure
        WHERE leased_until BETWEEN clock_timestamp() AND clock_timestamp() + interval '1 minute'
    ) AS is_vacant
"""
_CLAIM = """
INSERT INTO plexlink_tenure AS held (id, holder, epoch, leased_until)
VALUES (1, $1, 1, clock_timestamp() + make_interval(secs => $2))
ON CONFLICT (id) DO UPDATE SET holder = excluded.holder, epoch = held.epoch + 1, leased_until = excluded.leased_until
WHERE held.leased_until NOT BETWEEN clock_timestamp() AND clock_timestamp() + interval '1 minute' RETURNING epoch
"""
_RELEASE = """
UPDATE plexlink_tenure SET leased_until = clock_timestamp() - interval '1 second' WHERE holder = $1 AND epoch = $2
"""
_LEAVE = "DELETE FROM plexlink_processes WHERE id = $1"
_PRESENT = """
SELECT id, host, shards, version, extract(epoch FROM clock_timestamp() - started_at)::float8 AS up_seconds,
    EXISTS (
        SELECT FROM plexlink_tenure
        WHERE holder = processes.id
        AND leased_until BETWEEN clock_timestamp() AND clock_timestamp() + interval '1 minute'
    ) AS works
FROM plexlink_processes AS processes
WHERE abs(extract(epoch FROM clock_timestamp() - seen_at)) <= $1
ORDER BY started_at, id
"""
_RING = "SELECT pg_notify($1, $2)"


class Line:
    """One process's line; whoever opens it closes it.

    Its methods raise `StoreError` where the server cannot be used; the next one connects anew.
    """

    def __init__(
        self,
        server: PostgresServer,
        *,
        host: str,
        shards: str,
        version: str,
    ) -> None:
        self._server = server
        self._me = (secrets.token_urlsafe(16), host[:64], shards[:256], version[:32])
        self._turn = asyncio.Lock()
        self._channel = ""
        self._hear: Callable[[str], None] | None = None
        self._missed: Callable[[], None] | None = None
        self._connection: asyncpg.Connection | None = None
        self._started_at: datetime | None = None

    @property
    def id(self) -> str:
        """By what the others know this process."""
        return self._me[0]

    def listen(self, hear: Callable[[str], None], missed: Callable[[], None]) -> None:
        """Let `hear` be called with what others tell, and `missed` when some of it may have been missed."""
        self._hear, self._missed = hear, missed

    @asynccontextmanager
    async def _ready(self) -> AsyncIterator[asyncpg.Connection]:
        """Give the connection to one caller at a time; one that failed is not used again."""
        with translated():
            async with self._turn:
                try:
                    yield await self._connected()
                except NOT_SERVED:
                    self._give_up()
                    raise

    async def _connected(self) -> asyncpg.Connection:
        """Return the connection; a new one listens before anything else, and `missed` is called, for rings were."""
        if self._connection is None or self._connection.is_closed():
            connection = await self._server.connect()
            try:
                self._channel = await connection.fetchval(_CHANNEL)
                await connection.add_listener(self._channel, self._heard)
                await connection.execute(_FORGET_GONE)
            except BaseException:
                connection.terminate()
                raise
            self._connection = connection
            if self._missed is not None:
                self._missed()
        return self._connection

    def _heard(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        sender, _, what = str(payload).partition(" ")
        if sender != self._me[0] and self._hear is not None:
            self._hear(what)

    def _give_up(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def beat(self, epoch: int) -> Beat:
        """Say that this process is there, and renew its tenure, if `epoch` is one."""
        async with self._ready() as connection:
            values = (*self._me, epoch, LEASE_SECONDS, self._started_at, SEEN_WITHIN_SECONDS)
            row = await connection.fetchrow(_BEAT, *values)
        self._started_at = row["started_at"]  # others delete the row of one that was away for a day
        return Beat(is_renewed=row["is_renewed"], is_vacant=row["is_vacant"], was_away=row["was_away"])

    async def claim(self) -> int | None:
        """Take the tenure if nobody holds it, while no transaction is under way; return its epoch.

        Nothing comes of it while somebody stands still in a transaction, who is ended.
        """
        async with self._ready() as connection:
            try:
                return await self._claim(connection)
            except asyncpg.LockNotAvailableError:
                await connection.execute(END_WHO_STANDS_STILL)
                return None

    async def _claim(self, connection: asyncpg.Connection) -> int | None:
        async with connection.transaction(isolation="read_committed"):
            await connection.execute(TAKE_TURN)
            epoch: int | None = await connection.fetchval(_CLAIM, self._me[0], LEASE_SECONDS)
        return epoch

    async def release(self, epoch: int) -> None:
        """Give the tenure back."""
        async with self._ready() as connection:
            await connection.execute(_RELEASE, self._me[0], epoch)

    async def ring(self, words: str) -> None:
        """Let the others hear something, which begins with who tells it."""
        async with self._ready() as connection:
            await connection.execute(_RING, self._channel, words)

    async def others(self) -> list[Process]:
        """Return the other processes that are there."""
        return [each for each in await self._present() if each.id != self.id]

    async def earlier(self) -> list[Process]:
        """Return the processes that were there before this one; all of them, while it has not said that it is there."""
        return list(takewhile(lambda each: each.id != self.id, await self._present()))

    async def later(self) -> list[Process]:
        """Return the processes that came after this one."""
        return list(dropwhile(lambda each: each.id != self.id, await self._present()))[1:]

    async def _present(self) -> list[Process]:
        async with self._ready() as connection:
            return await present(connection)

    async def close(self) -> None:
        """Leave, as far as the server can still be told."""
        connection, self._connection = self._connection, None
        if connection is None or connection.is_closed():
            return
        try:
            await connection.execute(_LEAVE, self._me[0], timeout=2.0)
            await connection.close(timeout=2.0)
        except NOT_SERVED:
            connection.terminate()


async def present(connection: asyncpg.Connection) -> list[Process]:
    """Return the processes that are there, longest first."""
    return [Process(**row) for row in await connection.fetch(_PRESENT, SEEN_WITHIN_SECONDS)]
