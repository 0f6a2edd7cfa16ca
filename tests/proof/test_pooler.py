"""PgBouncer between the bot and its PostgreSQL: in one mode all is well, in the others it is told at the start."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from plexlink.errors import StoreError
from plexlink.store import Database
from ports import free_port
from postgres import PATIENCE_SECONDS, a_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postgres import PostgresDatabase

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")

pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed")

CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
"""


@contextmanager
def pooled(database: PostgresDatabase, mode: str) -> Iterator[str]:
    """Give the URL of a database behind a pooler."""
    server, port = database.server, free_port()
    settings = server.folder / "pgbouncer.ini"
    text = CONFIGURATION.format(server=server.port, port=port, mode=mode)
    settings.write_text(text.replace("* = host", f"* = user={database.user} host"))
    pooler = subprocess.Popen(  # noqa: S603 - our own arguments
        [str(PGBOUNCER), "-q", str(settings)], user=server.system_user, stderr=subprocess.DEVNULL
    )
    try:
        yield database.url.replace(f":{server.port}/", f":{port}/")
    finally:
        pooler.terminate()
        pooler.wait(PATIENCE_SECONDS)


async def listening(url: str) -> None:
    port = int(url.rpartition(":")[2].partition("/")[0])
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port)).close()
                return
            await asyncio.sleep(0.05)


async def test_a_pooler_of_sessions_serves() -> None:
    with a_server() as server, pooled(server.database(), "session") as url:
        await listening(url)
        async with Database.open(url) as database:
            await database.check()


@pytest.mark.parametrize("mode", ["transaction", "statement"])
async def test_a_pooler_that_lends_sessions_for_less_is_told(mode: str) -> None:
    with a_server() as server, pooled(server.database(), mode) as url:
        await listening(url)
        with pytest.raises(StoreError, match="a pooler lends a session for one transaction only; connect directly"):
            await Database.open(url).__aenter__()
