"""PostgreSQL as the engine: what it is told in, what it says in a sentence, and that transactions go one at a time."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import ssl
import sys
from contextlib import asynccontextmanager, closing, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import asyncpg
import pytest
from sqlalchemy import inspect, select, text, update

from certificates import a_certificate
from plexlink.errors import SettingError, StoreError, StoreUnavailableError
from plexlink.store import Database, Store, migrations, tables
from plexlink.store import postgres as postgres_module
from plexlink.store.postgres import OLDEST as OLDEST_OF_OURS
from plexlink.store.postgres import PostgresServer
from ports import free_port
from postgres import GUARDED, OLDEST, Server, a_server
from rows import a_vault, assert_is_a_sentence, keep, rows_of, write_everything

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from sqlalchemy import Connection


@pytest.fixture
def url(postgres: Server) -> str:
    return postgres.create_database()


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    async with Database.open(url) as database:
        yield database


def name_of(url: str) -> str:
    return url.rpartition("/")[2]


# --- the schema ---


def _reflected(connection: Connection) -> dict[str, Any]:
    inspector = inspect(connection)
    names = [name for name in inspector.get_table_names() if name != migrations.VERSION_TABLE]
    return {
        name: (
            [
                (each["name"], str(each["type"]), each["nullable"], each["default"])
                for each in inspector.get_columns(name)
            ],
            inspector.get_pk_constraint(name)["constrained_columns"],
            sorted((each["name"], each["column_names"], each["unique"]) for each in inspector.get_indexes(name)),
            sorted(each["column_names"] for each in inspector.get_unique_constraints(name)),
        )
        for name in names
    }


async def test_migrated_database_is_the_one_that_the_tables_would_create(database: Database, postgres: Server) -> None:
    async with database.transaction() as connection:
        migrated = await connection.run_sync(_reflected)
        where = await connection.scalar(
            text("SELECT indexdef FROM pg_indexes WHERE indexname = 'plexlink_attempts_one_open'")
        )
    async with Database.open(postgres.create_database()) as other, other.transaction() as connection:
        await connection.run_sync(tables.metadata.drop_all)
        await connection.run_sync(tables.metadata.create_all)
        created = await connection.run_sync(_reflected)
    assert migrated == created
    assert set(migrated) == set(tables.metadata.tables)
    assert "WHERE (ended_at IS NULL)" in where


@pytest.mark.parametrize(
    "planted",
    [
        "ALTER TABLE plexlink_links ADD COLUMN copy text",
        "CREATE RULE keeps AS ON DELETE TO plexlink_links DO INSTEAD NOTHING",
        "CREATE TRIGGER keeps BEFORE DELETE ON plexlink_links FOR EACH ROW EXECUTE FUNCTION keep()",
        "ALTER TABLE plexlink_links RENAME TO kept; CREATE VIEW plexlink_links AS SELECT * FROM kept",
    ],
)
async def test_what_somebody_planted_in_the_schema_is_named_and_refused(
    url: str, postgres: Server, planted: str
) -> None:
    async with Database.open(url):
        pass
    postgres.sql("CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'", name_of(url))
    postgres.sql(planted, name_of(url))
    with pytest.raises(StoreError, match=r"did not make \(((column|relation) plexlink_links.*|(rule|trigger) keeps)\)"):
        await Database.open(url).__aenter__()


async def test_oldest_release_that_the_tests_have_serves_as_well() -> None:
    with a_server(OLDEST) as server:
        async with Database.open(server.create_database()) as database:
            await keep(database, {"kept": "yes"})
            assert await rows_of(database) == {"kept": "yes"}


# --- URLs ---


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg", "postgresql+psycopg2"])
@pytest.mark.parametrize("end", ["", "?sslmode=prefer", "?sslmode=disable&channel_binding=prefer&pgbouncer=true"])
async def test_url_is_taken_as_hosting_panels_print_it(url: str, scheme: str, end: str) -> None:
    async with Database.open(f"{scheme}{url.removeprefix('postgresql')}{end}") as database:
        await keep(database, {"kept": "yes"})


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("postgresql://planted:pla#nted@host/name", "write it as %23"),
        ("postgresql://planted:pla/nted@host/name", "no port where one should be"),
        ("postgresql://planted@host:port/name", "no port where one should be"),
        ("postgresql://planted@host/name?sslmode=yes", "sslmode that is none of"),
        ("postgresqlite://planted@host/name", "must begin with postgresql://"),
        ("postgresql://planted:a[planted]c@host/name", "cannot be read"),
        ("postgresql://planted:pla[nted@host/name", "cannot be read"),
        ("postgresql://planted:pla\u2100nted@host/name", "cannot be read"),
        ("postgresql://planted:42?planted@host/name", "in a password, write it as %3F"),
    ],
)
async def test_url_that_cannot_be_used_is_a_setting_error_that_names_the_variable(bad: str, words: str) -> None:
    with pytest.raises(SettingError, match=re.escape(words)) as raised:
        await Database.open(bad).__aenter__()
    assert_is_a_sentence(raised.value)


async def test_file_of_a_certificate_that_is_not_there_is_a_setting_error(url: str) -> None:
    with pytest.raises(SettingError, match="names a file in sslrootcert that is not there"):
        await Database.open(f"{url}?sslmode=verify-full&sslrootcert=/planted").__aenter__()


async def test_without_its_driver_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    for name in ("postgres", "postgres_troubles"):
        monkeypatch.delitem(sys.modules, f"plexlink.store.{name}", raising=False)
    with pytest.raises(SettingError, match=r"install plexlink\[postgres\]"):
        await Database.open("postgresql://127.0.0.1/plexlink").__aenter__()


# --- what a server says ---


def with_missing_database(server: Server, _: str) -> str:
    return server.url("planted")


def with_a_wrong_password(server: Server, url: str) -> str:
    server.sql(f"DROP ROLE IF EXISTS {GUARDED}; CREATE ROLE {GUARDED} LOGIN PASSWORD 'right'")
    return server.url(name_of(url), f"{GUARDED}:planted")


def without_rights(server: Server, url: str) -> str:
    server.sql("DROP ROLE IF EXISTS guest; CREATE ROLE guest LOGIN")
    return server.url(name_of(url), "guest")


def with_no_connection_left(server: Server, url: str) -> str:
    server.sql("DROP ROLE IF EXISTS many; CREATE ROLE many LOGIN CONNECTION LIMIT 0")
    return server.url(name_of(url), "many")


def read_only(server: Server, url: str) -> str:
    server.sql(f"ALTER DATABASE {name_of(url)} SET default_transaction_read_only = on")
    return url


def with_nobody_there(_: Server, url: str) -> str:
    return re.sub(r":[0-9]+/", f":{free_port()}/", url)


def of_nowhere(_: Server, url: str) -> str:
    return url.replace("127.0.0.1", "planted.invalid")


def encrypted(_: Server, url: str) -> str:
    return f"{url}?sslmode=require"


@pytest.mark.parametrize(
    ("make", "words", "is_for_now"),
    [
        (with_missing_database, "there is no such database; create it", False),
        (with_a_wrong_password, "does not accept the user and the password", False),
        (without_rights, "may not create or write", False),
        (encrypted, "does not encrypt connections", False),
        (with_no_connection_left, "no connection left", True),
        (read_only, "read-only, or a replica", True),
        (with_nobody_there, "cannot be reached", True),
        (of_nowhere, "cannot be reached", True),
    ],
)
async def test_what_is_wrong_is_one_sentence_and_told_from_what_passes(
    postgres: Server, url: str, make: Any, words: str, *, is_for_now: bool
) -> None:
    with pytest.raises(StoreError, match=words) as raised:
        await Database.open(make(postgres, url)).__aenter__()
    assert_is_a_sentence(raised.value)
    assert isinstance(raised.value, StoreUnavailableError) is is_for_now


def test_old_release_and_a_replica_are_told() -> None:
    found = {"is_replica": False, "is_read_only": False, "schema": "public", "may_create": True, "is_encrypted": True}
    with pytest.raises(StoreError, match=f"PostgreSQL 13; {OLDEST_OF_OURS} or a newer one is needed"):
        PostgresServer("postgresql://host/name").judge({**found, "version": 130_022})
    with pytest.raises(StoreUnavailableError, match="read-only, or a replica"):
        PostgresServer("postgresql://host/name").judge({**found, "version": 160_000, "is_replica": True})


async def test_what_is_not_encrypted_on_its_way_is_said(caplog: pytest.LogCaptureFixture) -> None:
    found = {"version": 160_000, "is_replica": False, "is_read_only": False, "schema": "public", "may_create": True}
    server = PostgresServer("postgresql://host/name")
    server.judge({**found, "is_encrypted": False, "is_near": True})
    server.judge({**found, "is_encrypted": True, "is_near": False})
    assert not caplog.records
    server.judge({**found, "is_encrypted": False, "is_near": False})
    assert "store.not_encrypted" in caplog.text


@asynccontextmanager
async def encrypted_with(certificate: Path, server: Server) -> AsyncIterator[int]:
    """Give a port where connections are encrypted as PostgreSQL does it; the server of the tests is built without."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while content := await reader.read(2**16):
                writer.write(content)
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            assert (await reader.readexactly(8))[4:] == (80877103).to_bytes(4), "it asks whether there is TLS"
            writer.write(b"S")
            await writer.start_tls(context)
            there, away = await asyncio.open_connection("127.0.0.1", server.port)
            await asyncio.gather(carry(reader, away), carry(there, writer))

    proxy = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with proxy:
        yield proxy.sockets[0].getsockname()[1]


async def test_certificate_is_checked_where_the_url_says_so(postgres: Server, url: str, tmp_path: Path) -> None:
    known, stranger = (a_certificate(tmp_path / name, "127.0.0.1") for name in ("known", "stranger"))
    async with encrypted_with(known, postgres) as port:
        url = url.replace(f":{postgres.port}/", f":{port}/")
        for end in ("require", *(f"{mode}&sslrootcert={quote(str(known))}" for mode in ("verify-ca", "verify-full"))):
            async with Database.open(f"{url}?sslmode={end}") as database:
                await keep(database, {"kept": "yes"})
        with pytest.raises(StoreError, match="certificate is not to be trusted"):
            await Database.open(f"{url}?sslmode=verify-full&sslrootcert={quote(str(stranger))}").__aenter__()


async def test_host_that_never_answers_is_one_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_module, "_CONNECTS_WITHIN_SECONDS", 0.2)

    with closing(socket.create_server(("127.0.0.1", 0))) as silent:  # the system accepts, and nobody reads
        port = silent.getsockname()[1]
        with pytest.raises(StoreUnavailableError, match="cannot be reached"):
            await Database.open(f"postgresql://planted@127.0.0.1:{port}/name").__aenter__()


# --- one at a time ---


async def test_two_processes_that_read_modify_and_write_at_once_lose_nothing(url: str, database: Database) -> None:
    await keep(database, {"counter": "0"})

    async def count(side: Database) -> None:
        async with side.transaction() as connection:
            value = await connection.scalar(select(tables.keys.c.value))
            await asyncio.sleep(0)
            await connection.execute(update(tables.keys).values(value=str(int(value) + 1)))

    async with Database.visit(url) as other:
        await asyncio.gather(*(count(side) for _ in range(20) for side in (database, other)))
    assert await rows_of(database) == {"counter": "40"}


async def test_who_stands_still_in_a_transaction_holds_others_up_for_a_few_seconds_only(
    url: str, database: Database
) -> None:
    is_in = asyncio.Event()

    async def stand_still(other: Database) -> None:
        async with other.transaction() as connection:
            await connection.execute(update(tables.keys).values(value="never"))
            is_in.set()
            await moved_on.wait()

    await keep(database, {"kept": "yes"})
    moved_on = asyncio.Event()
    async with Database.visit(url) as other:
        standing = asyncio.create_task(stand_still(other))
        await is_in.wait()
        assert await rows_of(database) == {"kept": "yes"}
        moved_on.set()
        with pytest.raises(StoreUnavailableError):
            await standing
        assert await rows_of(other) == {"kept": "yes"}, "the next transaction has a connection of its own"
    assert await rows_of(database) == {"kept": "yes"}


async def test_who_is_frozen_between_the_two_parts_of_a_new_statement_loses_its_turn(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's own limit begins only when a statement is over, so this one would hold all others up for ever."""
    monkeypatch.setattr(postgres_module, "_ANSWERS_WITHIN_SECONDS", 120.0)
    async with Database.open(url) as database:
        async with frozen_with_the_turn(url):
            await keep(database, {"kept": "yes"})
        assert await rows_of(database) == {"kept": "yes"}
        line, epoch = database.line(host="another", shards="none", version="1"), None
        assert line is not None
        async with frozen_with_the_turn(url):
            while epoch is None:
                with suppress(StoreUnavailableError):
                    epoch = await line.claim()
        await line.close()
        assert epoch == 1


@asynccontextmanager
async def frozen_with_the_turn(url: str) -> AsyncIterator[None]:
    """Hold the turn, and stand still where the server was asked what a statement returns; see that it is ended."""
    frozen = await asyncpg.connect(url)
    try:
        await frozen.execute(f"BEGIN; {postgres_module.TAKE_TURN}; SET LOCAL idle_in_transaction_session_timeout = 0")
        await frozen.prepare("SELECT 42")
        yield
        while not frozen.is_closed():  # noqa: ASYNC110 - the driver's
            await asyncio.sleep(0.01)
    finally:
        frozen.terminate()


async def test_a_connection_to_what_has_become_a_replica_is_not_kept(
    url: str, database: Database, postgres: Server
) -> None:
    """A fail-over behind one name: the new connection leads to the former server, which takes no writes any more."""
    name = name_of(url)
    postgres.sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    postgres.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")  # noqa: S608 - ours
    with pytest.raises(StoreUnavailableError, match="read-only, or a replica"):
        async with database.transaction() as connection:
            await connection.execute(text("SELECT 1"))  # what it holds may be old
    postgres.sql(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    await keep(database, {"kept": "yes"})
    async with database.transaction() as connection:
        await connection.execute(text("SET default_transaction_read_only = on"))  # it has become one while connected
    with pytest.raises(StoreUnavailableError, match="read-only, or a replica"):
        await keep(database, {"kept": "no"})
    await keep(database, {"more": "yes"})


async def test_what_is_read_after_the_wait_for_the_turn_is_what_is_there_by_then(url: str, postgres: Server) -> None:
    postgres.sql(f"ALTER DATABASE {name_of(url)} SET default_transaction_isolation = 'serializable'")
    async with Database.open(url) as database, database.transaction() as connection:
        assert await connection.scalar(text("SHOW transaction_isolation")) == "read committed"


async def test_commits_wait_for_the_disk_but_those_that_need_not_last(database: Database) -> None:
    for must_last in (True, False, False, True):
        async with database.transaction(must_last=must_last) as connection:
            assert (await connection.scalar(text("SHOW synchronous_commit")) == "on") is must_last


# --- a server that comes and goes ---


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["restart", "crash"])
async def test_a_server_that_is_back_is_used_again_without_anybody_noticing(how: signal.Signals) -> None:
    with a_server() as server:
        async with Database.open(server.create_database()) as database:
            await keep(database, {"kept": "yes"})
            server.stop(how)
            with pytest.raises(StoreUnavailableError, match="cannot be reached"):
                await rows_of(database)
            server.start()
            assert await rows_of(database) == {"kept": "yes"}
            server.stop(how)
            server.start()
            assert await rows_of(database) == {"kept": "yes"}


# --- secrets ---


async def test_no_secret_stands_in_any_file_of_the_server(database: Database, postgres: Server) -> None:
    async with Store(database=database, vault=a_vault()).transaction() as tx:
        await write_everything(tx)
    postgres.sql("CHECKPOINT")
    content = b"".join(contents_of(postgres.data))
    assert b"Discord: alice via PlexLink" in content, "the rows are there"
    assert b"planted-token" not in content
    assert b"planted-account" not in content


def contents_of(folder: Path) -> Iterator[bytes]:
    """Read all files of a server that runs, which removes some meanwhile."""
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError, IsADirectoryError):
            yield file.read_bytes()
