"""The store on a real SQLite file: schema, transactions, rows, and what the file shows."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from sqlalchemy import insert, inspect, text

from plexlink import flow
from plexlink.community import Server
from plexlink.errors import DatabaseInUseError, SettingError, StoreError, StoreUnavailableError
from plexlink.keys import open_vault
from plexlink.models import Lane, Phase, Place, PlexServer, Reason, State, Topic
from plexlink.secret import Secret
from plexlink.settings import PlexLinkSettings
from plexlink.store import Database, Store, migrations, tables
from plexlink.vault import KeyRecords, Vault
from rows import NOW, RING, A, a_vault, assert_is_a_sentence, full, keep, opened, planted, rows_of, write_everything

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection

DATA = Path(__file__).parents[1] / "data"
unix_only = pytest.mark.skipif(os.name == "nt", reason="Windows has other rights and locks")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "plexlink.sqlite3"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    async with Database.open(url) as database:
        yield database


@pytest.fixture
def store(database: Database) -> Store:
    return Store(database=database, vault=a_vault())


def make_garbage(path: Path) -> None:
    path.write_bytes(os.urandom(8192))


def content_of(path: Path) -> bytes:
    return path.read_bytes()


def erase(path: Path) -> None:
    path.unlink()


# --- the schema ---


def _reflected(connection: Connection) -> dict[str, Any]:
    """Return all that a database says of its tables, partial indexes included."""
    inspector = inspect(connection)
    columns = {
        name: [
            (column["name"], str(column["type"]), column["nullable"], column["primary_key"], column["default"])
            for column in inspector.get_columns(name)
        ]
        for name in inspector.get_table_names()
        if name != migrations.VERSION_TABLE
    }
    rows = connection.execute(text("SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'index'"))
    indexes = {row.name: (row.tbl_name, " ".join((row.sql or "").split())) for row in rows}
    indexes = {name: index for name, index in indexes.items() if index[0] != migrations.VERSION_TABLE}
    keys = {name: inspector.get_foreign_keys(name) for name in columns}
    return {"columns": columns, "indexes": indexes, "keys": keys}


async def test_migrated_database_is_the_one_that_the_tables_would_create(database: Database, tmp_path: Path) -> None:
    async with database.transaction() as connection:
        migrated = await connection.run_sync(_reflected)
    async with Database.open(f"sqlite:///{tmp_path / 'other.sqlite3'}") as other, other.transaction() as connection:
        await connection.run_sync(tables.metadata.drop_all)
        await connection.run_sync(tables.metadata.create_all)
        created = await connection.run_sync(_reflected)
    assert migrated == created
    assert set(migrated["columns"]) == set(tables.metadata.tables)


def test_head_is_the_newest_revision_file() -> None:
    folder = Path(migrations.__file__).parent / "versions"
    files = sorted(folder.glob("[0-9]*.py"))
    assert files[-1].name.split("_")[0] == migrations.HEAD
    texts = [file.read_text(encoding="utf-8") for file in files]
    revisions = [re.findall(r'^revision = "(\w+)"', each, re.MULTILINE) for each in texts]
    parents = [re.findall(r"^down_revision = \"?(\w+)", each, re.MULTILINE) for each in texts]
    assert revisions == [[file.name.split("_")[0]] for file in files]
    assert parents == [["None"], *revisions[:-1]]


async def test_database_is_at_head_after_every_opening_and_free_again_after_every_closing(url: str) -> None:
    for _ in range(3):
        async with Database.open(url) as database, database.transaction() as connection:
            version = await connection.scalar(text(f"SELECT version_num FROM {migrations.VERSION_TABLE}"))  # noqa: S608
            assert version == migrations.HEAD


@pytest.mark.parametrize("version", ["9999", "abcdef", "0001x"])
async def test_database_of_a_newer_release_is_refused_with_a_sentence(url: str, path: Path, version: str) -> None:
    async with opened(url):
        pass
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"UPDATE {migrations.VERSION_TABLE} SET version_num = ?", (version,))  # noqa: S608
    before = content_of(path)
    with pytest.raises(StoreError, match="newer PlexLink"):
        await opened(url).__aenter__()
    assert content_of(path) == before


IMPORTS = """
import asyncio, sys
from plexlink.store import Database

async def main():
    async with Database.open(sys.argv[1]):
        pass

asyncio.run(main())
print(sorted(name for name in sys.modules if name.split(".")[0] == "alembic"))
"""


async def test_a_database_of_the_release_before_comes_along_with_rows_in_every_state(path: Path, url: str) -> None:
    before = (DATA / "databases" / "0003.sql").read_text()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.executescript(before)
    settings = PlexLinkSettings(data_dir=path.parent, keys=Secret(f"a:{A.text.reveal()}"))
    async with Database.open(url) as database:
        await open_vault(database, settings)
        records = await rows_of(database)
    vault = Vault(ring=RING, records=KeyRecords(**records), reload=lambda: RING)
    async with opened(url, vault) as store, store.transaction() as tx:
        attempts = [attempt for user_id in range(1, 12) for attempt in await tx.attempts.all_of(user_id)]
        assert {attempt.state for attempt in attempts} == set(State)
        assert not any(attempt.trouble for attempt in attempts)
        assert [attempt.token for attempt in attempts if attempt.state is State.APPROVED] == [
            Secret("token-of-3-0123456789"),
            Secret("token-of-4-0123456789"),
        ]
        links = await tx.links.of_many({5, 11})
        assert [link and (link.token, link.trouble) for link in links.values()] == [
            (Secret(f"token-of-{user_id}-0123456789"), None) for user_id in links
        ]
        assert [code.pin_id for code in await tx.given_up.all()] == [Secret("pin-of-9-0123456789")]
        (sign_out,) = await tx.sign_outs.ids()
        unlinkings = {user_id: (await tx.notices.of(user_id))[0] for user_id in (6, 12, 13)}
        assert [(each.topic, each.reason, each.phase, each.shown) for each in unlinkings.values()] == [
            (Topic.UNLINKING, Reason.UNDONE, Phase.SIGNING_OUT, None),
            (Topic.UNLINKING, Reason.UNLINKED, Phase.DELAYED, Phase.DELAYED),
            (Topic.UNLINKING, Reason.FORGOTTEN, Phase.SIGNED_OUT, None),
        ]
        assert unlinkings[6].id == sign_out
        assert unlinkings[6].place == Place(lane=Lane.DM, channel_id=60, message_id=61)
        assert (unlinkings[12].place, unlinkings[12].answer) == (Place(lane=Lane.ANSWER), None)
        messages = [notice for user_id in (11, *range(20, 24)) for notice in await tx.notices.of(user_id)]
        assert [notice.topic for notice in messages] == [
            Topic.LINK_DEAD,
            Topic.LINK_DEAD,
            Topic.LINK_MOVED,
            Topic.SIGNED_OUT,
            Topic.NOT_SIGNED_OUT,
        ]
        assert [notice.is_held for notice in messages] == [True, False, False, False, False]
        assert len([entry async for entry in tx.audit.about(5)]) == 2


async def test_alembic_is_not_imported_when_nothing_is_to_be_migrated(url: str) -> None:
    async with opened(url):
        pass
    arguments = [sys.executable, "-c", IMPORTS, url]
    ended = await asyncio.to_thread(subprocess.run, arguments, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


async def test_erased_data_is_overwritten_and_commits_survive_a_power_cut(database: Database) -> None:
    async with database.transaction() as connection:
        pragmas = {
            name: await connection.scalar(text(f"PRAGMA {name}"))
            for name in (
                "journal_mode",
                "synchronous",
                "foreign_keys",
                "secure_delete",
                "busy_timeout",
                "trusted_schema",
            )
        }
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "secure_delete": 1,
        "busy_timeout": 5000,
        "trusted_schema": 0,
    }


# --- opening ---


@unix_only
@pytest.mark.parametrize("was_there", [False, True])
async def test_the_files_are_their_owners_alone_whatever_the_folder(tmp_path: Path, *, was_there: bool) -> None:
    folder = tmp_path / "open"
    folder.mkdir(mode=0o755)
    url = f"sqlite:///{folder / 'plexlink.sqlite3'}"
    if was_there:
        async with opened(url):
            pass
        for file in folder.iterdir():
            file.chmod(0o644)
    async with opened(url):
        assert {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()} == {
            f"plexlink.sqlite3{end}": 0o600 for end in ("", "-wal", "-shm", ".lock")
        }


@unix_only
async def test_each_folder_that_is_made_on_the_way_to_a_database_is_its_owners_alone(tmp_path: Path) -> None:
    made = [tmp_path / way for way in ("of", "of/the", "of/the/url", "data", "data/of", "data/of/it")]
    before = os.umask(0)
    try:
        PlexLinkSettings(data_dir=made[-1]).make_folder()
        async with Database.open(f"sqlite:///{made[2] / 'file'}") as database:
            assert {mode_of(folder) for folder in made} == {0o700}
            shutil.rmtree(made[0])
            await keep(database, {"kept": "yes"})
            assert {mode_of(folder) for folder in made} == {0o700}
    finally:
        os.umask(before)


STRANGERS = {
    "trigger keeper": "CREATE TRIGGER keeper AFTER DELETE ON plexlink_links"
    " BEGIN INSERT INTO kept VALUES (OLD.id, 0, OLD.token_envelope, '', ''); END",
    "view plexlink_leftovers": "DROP TABLE plexlink_leftovers; CREATE VIEW plexlink_leftovers AS SELECT * FROM kept",
    "trigger loud": "CREATE TRIGGER loud BEFORE DELETE ON PLEXLINK_LINKS BEGIN SELECT RAISE(IGNORE); END",
    "trigger far": "CREATE TRIGGER far AFTER INSERT ON kept BEGIN SELECT 1; END",
    "view all_links": "CREATE VIEW all_links AS SELECT * FROM plexlink_links",
    "table words": "CREATE VIRTUAL TABLE words USING fts4(word)",
    "TRIGGER hidden": "PRAGMA writable_schema = ON; INSERT INTO sqlite_master VALUES ('TRIGGER', 'hidden',"
    " 'plexlink_links', 0, 'CREATE TRIGGER hidden AFTER DELETE ON plexlink_links BEGIN SELECT 1; END')",
    "column plexlink_links.copy": "ALTER TABLE plexlink_links ADD COLUMN copy TEXT AS (token_envelope) VIRTUAL",
}


@pytest.mark.parametrize("stranger", STRANGERS)
async def test_what_somebody_planted_in_the_schema_is_named_and_refused(url: str, path: Path, stranger: str) -> None:
    async with opened(url):
        pass
    with closing(sqlite3.connect(path)) as planter, planter:
        planter.execute("CREATE TABLE kept AS SELECT * FROM plexlink_leftovers")
        planter.executescript(STRANGERS[stranger])
    with pytest.raises(StoreError, match=re.escape(f"({stranger})")):
        await opened(url).__aenter__()


async def test_database_is_opened_by_one_bot_at_a_time(url: str, database: Database) -> None:
    with pytest.raises(DatabaseInUseError, match="another bot on this database"):
        await opened(url).__aenter__()
    assert await rows_of(database) == {}, "the first goes on"


@unix_only
@pytest.mark.parametrize("name", ["other.sqlite3", "plexlink.sqlite3.rescue"])
async def test_a_database_with_a_second_name_is_refused_unless_that_is_what_a_killed_bot_left(
    url: str, path: Path, name: str
) -> None:
    async with opened(url):
        (other := path.with_name(name)).hardlink_to(path)
        if name.startswith("other"):
            with pytest.raises(StoreError, match="has other names too"):
                await Database.open(other).__aenter__()
    if name.startswith("other"):
        with pytest.raises(StoreError, match="has other names too"):
            await opened(url).__aenter__()
        erase(other)
    async with opened(url):
        assert not other.exists()


def refuse_flock(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Stand on a file system that answers so when a file is to be locked."""

    def refuse(*_: object) -> None:
        raise OSError(number, "planted")

    monkeypatch.setattr("fcntl.flock", refuse)


async def said_by_opening(place: Path, kind: type[StoreError]) -> str:
    with pytest.raises(StoreError) as raised:
        await Database.open(place).__aenter__()
    assert type(raised.value) is kind
    said = str(raised.value)
    assert f" {place}.lock" in said
    assert said.endswith(".")
    return said


NO_LOCKS = {errno.ENOTSUP: StoreError, errno.ENOLCK: StoreUnavailableError}


@unix_only
@pytest.mark.parametrize("number", NO_LOCKS)
async def test_file_that_cannot_be_locked_is_told_from_one_that_is(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    refuse_flock(monkeypatch, number)
    said = await said_by_opening(path, NO_LOCKS[number])
    assert f"cannot be told: {path}.lock cannot be locked ({os.strerror(number)})" in said


@unix_only
async def test_without_flock_one_bot_runs_and_a_second_hears_which_process_it_is(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_flock(monkeypatch, errno.ENOSYS)
    async with Database.open(path) as database:
        said = await said_by_opening(path, DatabaseInUseError)
        assert said.startswith(f"Process {os.getpid()} holds {path}.lock, most likely another bot on this database")
        assert await rows_of(database) == {}
    assert "" in names_in(path)
    assert ".lock" not in names_in(path)


LEFT_OVER = {
    "": "names no process; if no bot runs on this database, delete the file",
    "garbage": "names no process;",
    "7\nmachine with planted words\n": "names no process;",
    "7\nold-container\n": "names process 7 of old-container; if that has ended, delete the file that it left over",
    "7\nweb?pidns-f0000123\n8\n": "names process 7 of web;",
}


@unix_only
@pytest.mark.parametrize("content", LEFT_OVER)
async def test_without_flock_a_lock_that_may_be_left_over_is_not_called_a_running_bot(
    path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    refuse_flock(monkeypatch, errno.ENOSYS)
    write(path.with_name(f"{path.name}.lock"), content.encode())
    said = await said_by_opening(path, DatabaseInUseError)
    assert said.startswith("Whether another bot runs cannot be told: ")
    assert LEFT_OVER[content] in said
    assert "planted" not in said


@unix_only
async def test_without_flock_the_lock_of_a_process_that_has_ended_is_taken_over(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_flock(monkeypatch, errno.ENOSYS)
    ended = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    await ended.wait()
    async with Database.open(path):
        mine = content_of(path.with_name(f"{path.name}.lock")).decode().splitlines()
    write(path.with_name(f"{path.name}.lock"), f"{ended.pid}\n{mine[1]}\n".encode())
    async with Database.open(path) as database:
        assert await rows_of(database) == {}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has such a /proc")
async def test_place_that_takes_no_files_is_not_called_a_running_bot() -> None:
    said = await said_by_opening(Path("/proc/plexlink.sqlite3"), StoreError)
    assert "cannot be written (" in said


def threads_left_beside(before: set[threading.Thread]) -> list[str]:
    """Return the names of new threads that do not end; a closed connection's ends a moment after the closing.

    The event loop keeps its own for as long as it lives.
    """
    new = {thread for thread in set(threading.enumerate()) - before if not thread.name.startswith("asyncio_")}
    for thread in new:
        thread.join(timeout=60)
    return [thread.name for thread in new if thread.is_alive()]


async def test_failed_opening_leaves_neither_a_lock_nor_a_thread_behind(url: str, path: Path) -> None:
    make_garbage(path)
    before = set(threading.enumerate())
    for _ in range(2):
        with pytest.raises(StoreError) as raised:
            await opened(url).__aenter__()
        assert not isinstance(raised.value, DatabaseInUseError)
    assert threads_left_beside(before) == []
    erase(path)
    async with opened(url):
        pass


async def test_closing_lets_a_transaction_end_and_none_begin(url: str) -> None:
    before = set(threading.enumerate())
    is_under_way, may_end = asyncio.Event(), asyncio.Event()

    async def use(store: Store) -> None:
        async with store.transaction() as tx:
            is_under_way.set()
            await may_end.wait()
            await tx.sign_outs.ids()

    async with opened(url) as store:
        using = asyncio.create_task(use(store))
        await is_under_way.wait()
        waiting = asyncio.create_task(use(store))
        asyncio.get_running_loop().call_soon(may_end.set)
    await using
    with pytest.raises(StoreError, match="closed"):
        await use(store)
    await asyncio.gather(waiting, return_exceptions=True)
    assert threads_left_beside(before) == []


@pytest.mark.parametrize(
    "bad",
    [
        *("", "nonsense", "planted", "sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:////planted\0"),
        *("sqlite://planted/file", "sqlite://me@/planted", "mysql://planted:planted@h/d?a=b"),
    ],
)
async def test_url_that_is_no_sqlite_file_is_a_setting_error(bad: str) -> None:
    with pytest.raises(SettingError, match=r"PLEXLINK_DATABASE_URL.* sqlite:////absolute/path/to/") as raised:
        await opened(bad).__aenter__()
    assert "planted" not in str(raised.value)


@pytest.mark.parametrize("end", ["?", "?/file", "?mode=memory", "?planted=1"])
async def test_question_mark_in_a_url_is_told_and_no_file_made(url: str, path: Path, end: str) -> None:
    with pytest.raises(SettingError, match=r"PLEXLINK_DATABASE_URL has a \?, .* %3F") as raised:
        await opened(f"{url}{end}").__aenter__()
    assert "planted" not in str(raised.value)
    assert names_beside(path) == set()


async def test_place_of_the_database_is_said_once_though_it_cannot_be_opened(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "plexlink")
    (link := path.with_name("link")).symlink_to(path)
    make_garbage(path)
    for place in (link, path, f"sqlite:///{link}"):
        with pytest.raises(StoreError):
            await Database.open(place).__aenter__()
    assert caplog.messages == [f"store.opening file={path}"]


ODD = [
    "what?",
    "?mode=memory",
    "a=b",
    "#1",
    "%41",
    "%",
    "one two",
    "Süß",
    "a&b",
    "it's",
    '"',
    "file:x",
    ":memory:",
    "~",
]


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("is_url", [False, True])
async def test_database_lies_in_its_folder_whatever_that_is_called(tmp_path: Path, name: str, *, is_url: bool) -> None:
    folder = tmp_path / name
    folder.mkdir()
    path = folder / "plexlink.sqlite3"
    async with Database.open(f"sqlite:///{quote(str(path))}" if is_url else path) as database:
        assert database.folder == path.parent
        await keep(database, {"kept": "yes"})
        assert others_see(path) == {"kept": "yes"}
        assert names_in(path) == set(WITH_THE_LOCK)
        assert mode_of(path) == 0o600
    async with Database.visit(path) as visitor:
        assert await rows_of(visitor) == {"kept": "yes"}
    assert names_beside(folder) == {name}


@pytest.mark.parametrize("start", ["~/", "", "link/"])
async def test_path_in_a_url_may_start_at_the_home_or_where_the_bot_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    monkeypatch.setenv("HOME" if start == "~/" else "UNUSED", str(tmp_path))
    monkeypatch.chdir("/" if start == "~/" else tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    async with Database.open(f"sqlite:///{start}file") as database:
        monkeypatch.chdir("/")
        assert database.folder == tmp_path
        await keep(database, {"kept": "yes"})
        assert others_see(tmp_path / "file") == {"kept": "yes"}


async def test_home_of_nobody_in_a_url_is_a_setting_error() -> None:
    with pytest.raises(SettingError, match="PLEXLINK_DATABASE_URL begins with the ~ of a user"):
        await opened("sqlite:///~planted-user-that-nobody-has/file").__aenter__()


def make_text(path: Path) -> None:
    path.write_text("This is no database.\n" * 100)


def make_damaged(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript("CREATE TABLE a (b); CREATE TABLE c (d);")
    content = bytearray(path.read_bytes())
    content[100:200] = bytes(100)
    path.write_bytes(content)


def make_foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE plexlink_attempts (something TEXT)")


@pytest.mark.parametrize("make", [make_garbage, make_text, Path.mkdir, make_damaged, make_foreign])
async def test_what_is_no_database_of_ours_is_refused_with_a_sentence(url: str, path: Path, make: Any) -> None:
    make(path)
    with pytest.raises(StoreError) as raised:
        await opened(url).__aenter__()
    assert_is_a_sentence(raised.value)


# --- the machine ---


def others_see(path: Path) -> dict[str, str]:
    """Return the key records as another program finds them at the path."""
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return dict(other.execute("SELECT name, value FROM plexlink_keys").fetchall())


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def move(path: Path, to: Path) -> None:
    path.replace(to)


def write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def names_beside(path: Path) -> set[str]:
    return {file.name for file in path.parent.iterdir()}


def names_in(path: Path) -> set[str]:
    return {file.name.removeprefix(path.name) for file in path.parent.iterdir()}


WITH_THE_LOCK = ("", "-wal", "-shm", ".lock")


@pytest.mark.parametrize("lost", [("",), ("-wal",), ("-shm",), ("-wal", "-shm"), WITH_THE_LOCK[:3], WITH_THE_LOCK])
async def test_deleted_files_are_put_back_with_all_that_was_committed(
    url: str, database: Database, path: Path, lost: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("before", "after"):
        await keep(database, {name: "it"})
        assert others_see(path) == {name: "it"}
        if name == "before":
            for suffix in lost:
                erase(path.with_name(path.name + suffix))
    assert names_in(path) == {"", "-wal", "-shm", ".lock"}
    assert "" not in lost or mode_of(path) == 0o600
    assert caplog.text.count("store.put_back") == 1
    with pytest.raises(DatabaseInUseError):
        await opened(url).__aenter__()


@pytest.mark.parametrize("suffix", ["", "-wal"])
async def test_what_was_committed_before_a_deletion_is_there_although_nothing_is_written_after(
    url: str, path: Path, suffix: str
) -> None:
    async with Database.open(url) as database:
        await keep(database, {"last": "words"})
        erase(path.with_name(path.name + suffix))
    assert others_see(path) == {"last": "words"}


async def test_folder_that_is_deleted_is_made_again_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    async with Database.open(f"sqlite:///{folder}/plexlink.sqlite3") as other:
        await keep(other, {"kept": "yes"})
        shutil.rmtree(folder)
        await rows_of(other)
        assert others_see(folder / "plexlink.sqlite3") == {"kept": "yes"}
        assert mode_of(folder) == 0o700


async def test_log_of_another_database_is_not_taken_for_that_of_the_file_put_back(
    database: Database, path: Path, tmp_path: Path
) -> None:
    await keep(database, {"ours": "1"})
    stale = tmp_path / "stale.sqlite3"
    async with Database.open(f"sqlite:///{stale}") as other:
        await keep(other, {"theirs": "2"})
        erase(path)
        for suffix in ("-wal", "-shm"):
            erase(path.with_name(path.name + suffix))
            shutil.copyfile(f"{stale}{suffix}", f"{path}{suffix}")
    assert await rows_of(database) == {"ours": "1"} == others_see(path)


async def test_file_in_the_place_of_the_database_is_left_alone_and_told_once(
    database: Database, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await keep(database, {"ours": "1"})
    away = path.with_name("away")
    move(path, away)
    write(path, b"a backup, perhaps")
    for _ in range(3):
        with pytest.raises(StoreUnavailableError, match="another file was put in its place") as raised:
            await keep(database, {"ours": "2"})
        assert_is_a_sentence(raised.value)
        with pytest.raises(StoreUnavailableError):
            await rows_of(database)
    assert content_of(path) == b"a backup, perhaps"
    assert caplog.text.count("store.unavailable") == 1

    move(away, path)
    assert await rows_of(database) == {"ours": "1"}
    await keep(database, {"ours": "3"})
    assert others_see(path) == {"ours": "3"}
    assert caplog.text.count("store.available_again") == 1


async def test_restored_backup_is_not_spoiled_by_our_log_nor_what_was_moved_away_robbed_of_it(
    url: str, path: Path
) -> None:
    away, backup = path.with_name("away"), path.with_name("backup")
    async with Database.open(url) as database:
        await keep(database, {"state": "backup"})
        with closing(sqlite3.connect(path)) as other:
            other.execute("VACUUM INTO ?", [str(backup)])
        await keep(database, {f"newer {number}": "x" * 5000 for number in range(50)})
        move(path, away)
        move(backup, path)
        with pytest.raises(StoreUnavailableError, match="another file"):
            await rows_of(database)
    assert others_see(path) == {"state": "backup"}
    assert len(others_see(away)) == 50


async def test_file_that_is_deleted_within_a_transaction_is_back_when_the_transaction_is_done(
    database: Database, path: Path
) -> None:
    async with database.transaction() as connection:
        await connection.execute(insert(tables.keys).values(name="kept", value="yes"))
        erase(path)
    assert others_see(path) == {"kept": "yes"}


async def test_file_that_comes_back_while_ours_is_written_anew_is_not_overwritten(
    database: Database, path: Path
) -> None:
    is_armed = True

    def restore(event: str, _: Any) -> None:
        nonlocal is_armed
        if is_armed and event in {"os.link", "os.rename"}:
            is_armed = False
            write(path, b"restored meanwhile")

    erase(path)
    sys.addaudithook(restore)
    with pytest.raises(StoreUnavailableError, match="another file"):
        await rows_of(database)
    assert not is_armed
    assert content_of(path) == b"restored meanwhile"
    assert names_in(path) == {"", ".lock"}


async def test_nothing_is_saved_while_what_belongs_beside_the_database_cannot_be_kept(
    database: Database, path: Path
) -> None:
    await keep(database, {"kept": "yes"})
    is_there = False

    def look() -> None:
        if not is_there:
            raise PermissionError(errno.EACCES, "planted")

    database.watch(look)
    with pytest.raises(StoreUnavailableError, match="read-only") as raised:
        await keep(database, {})
    assert_is_a_sentence(raised.value)
    is_there = True
    assert await rows_of(database) == {"kept": "yes"} == others_see(path)


# --- secrets ---


async def test_no_secret_stands_in_any_file_of_the_database(store: Store, path: Path) -> None:
    async with store.transaction() as tx:
        await write_everything(tx)
    files = sorted(path.parent.iterdir())
    assert {file.name for file in files} >= {path.name, f"{path.name}-wal", f"{path.name}-shm"}
    content = b"".join(file.read_bytes() for file in files)
    assert b"Discord: alice via PlexLink" in content, "the rows are there"
    assert b"planted" not in content


def all_bytes(path: Path) -> bytes:
    """Return what is in the database's files."""
    return b"".join(file.read_bytes() for file in path.parent.iterdir())


async def write_and_erase(store: Store, path: Path) -> set[bytes]:
    """Write everything and erase it again; return the envelopes that there were."""
    async with store.transaction() as tx:
        await write_everything(tx)
    sealed = set(re.findall(rb"plk1:a:[\w-]{40,}", all_bytes(path)))
    async with store.transaction() as tx:
        await tx.sign_outs.remove("sign-out")
        await tx.given_up.remove((await tx.given_up.all())[0].id)
        await tx.notices.remove(["notice"])
        await tx.servers.choose_plex_server(7, None)
        link = await tx.links.of(42)
        assert link is not None
        await tx.links.remove(link)
        await tx.attempts.prune(seen_before=NOW + timedelta(days=1), unseen_before=NOW + timedelta(days=1))
    return sealed


def execute_on(path: Path, statement: str) -> list[tuple[str]]:
    with closing(sqlite3.connect(path)) as other:
        return other.execute(statement).fetchall()


def left_of(sealed: set[bytes], path: Path) -> list[bytes]:
    """Return which envelopes are still in a file."""
    left = all_bytes(path)
    assert b"plexlink_sign_outs" in left, "it is the database"
    return [envelope for envelope in sealed if envelope in left]


async def test_erased_envelopes_are_in_no_file_while_the_bot_runs(store: Store, path: Path) -> None:
    sealed = await write_and_erase(store, path)
    assert len(sealed) > 8
    assert left_of(sealed, path) == []


async def test_an_interaction_token_that_a_newer_one_replaces_is_in_no_file(store: Store, path: Path) -> None:
    attempt = replace(full(), ended_at=None)
    assert attempt.answer is not None
    async with store.transaction() as tx:
        await tx.attempts.add(attempt)
    (former,) = (row.encode() for (row,) in execute_on(path, "SELECT answer_token_envelope FROM plexlink_attempts"))
    newer = replace(attempt.answer, token=planted("newer-interaction"), at=NOW + timedelta(seconds=1))
    async with store.transaction() as tx:
        await tx.attempts.show(replace(attempt, answer=newer))
    assert left_of({former}, path) == []


async def test_a_plex_server_that_another_one_replaces_or_nobody_is_asked_about_any_more_is_in_no_file(
    store: Store, path: Path
) -> None:
    async with store.transaction() as tx:
        await tx.servers.keep(Server(id=7))
    for chosen in (PlexServer(id=planted("other-machine"), name=planted("other-name")), None):
        async with store.transaction() as tx:
            await tx.servers.choose_plex_server(7, PlexServer(id=planted("machine"), name=planted("name")))
        names = "SELECT plex_server_name_envelope FROM plexlink_guilds"
        (former,) = (row.encode() for (row,) in execute_on(path, names))
        async with store.transaction() as tx:
            await tx.servers.choose_plex_server(7, chosen)
        assert left_of({former}, path) == []


async def test_envelopes_of_an_attempt_that_has_ended_are_in_no_file(store: Store, path: Path) -> None:
    attempt = replace(full(), ended_at=None)
    async with store.transaction() as tx:
        await tx.attempts.add(attempt)
    sealed = set(re.findall(rb"plk1:a:[\w-]{40,}", all_bytes(path)))
    async with store.transaction() as tx:
        await tx.attempts.move(flow.advance(attempt, flow.Cancelled(), NOW))
        await tx.attempts.show(replace(attempt, answer=None))
    assert len(sealed) > 3
    assert left_of(sealed, path) == []


async def test_a_log_that_cannot_be_emptied_makes_no_file_where_the_database_was(store: Store, path: Path) -> None:
    async with store.transaction() as tx:
        await write_everything(tx)
        for file in path.parent.iterdir():
            file.rename(file.with_name(f"{file.name}.away"))
    async with store.transaction() as tx:
        assert await tx.links.of(42), "put back whole"


@pytest.mark.parametrize("found", ["", "#"])
async def test_only_an_empty_key_file_beside_a_database_without_keys_is_made_anew(path: Path, found: str) -> None:
    settings = PlexLinkSettings(data_dir=path.parent)
    write(settings.key_file, found.encode())
    async with Database.open(path) as database:
        if found:
            with pytest.raises(SettingError, match="holds no key"):
                await open_vault(database, settings)
            return
        vault = await open_vault(database, settings)
        assert content_of(settings.key_file).decode() == vault.ring.text().reveal()
    write(settings.key_file, b"")
    async with Database.open(path) as database:
        with pytest.raises(SettingError, match="holds no key"):
            await open_vault(database, settings)


async def test_two_processes_that_sign_an_older_database_at_once_agree(path: Path, url: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.executescript((DATA / "databases" / "0003.sql").read_text())
    settings = PlexLinkSettings(data_dir=path.parent, keys=Secret(f"a:{A.text.reveal()}"))
    async with Database.open(url) as database, Database.visit(url) as visitor:
        known = await rows_of(database)
        await open_vault(database, settings)
        ours = await rows_of(database)
        assert await visitor.sign_all(a_vault(), known, {"primary": "a"}) == ours
        vault = await open_vault(visitor, settings)
        assert await rows_of(database) == ours
        async with Store(database=visitor, vault=vault).transaction() as tx:
            assert all(not attempt.trouble for attempt in await tx.attempts.all_of(3))


async def test_erased_envelopes_go_as_soon_as_nobody_reads_the_log_any_more(store: Store, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM plexlink_links").fetchall()
        sealed = await write_and_erase(store, path)
        assert left_of(sealed, path)
        reader.execute("ROLLBACK")
    async with store.transaction():
        pass
    assert left_of(sealed, path) == []


async def test_two_databases_of_one_process_are_migrated_without_mixing(tmp_path: Path) -> None:
    async def names(number: int) -> set[str]:
        async with Database.open(f"sqlite:///{tmp_path}/{number}") as database, database.transaction() as connection:
            return set(await connection.run_sync(lambda plain: inspect(plain).get_table_names()))

    first, second = await asyncio.gather(names(1), names(2))
    assert first == second
    assert "plexlink_attempts" in first


# --- what need not last ---


async def waits_for_disk(connection: AsyncConnection) -> bool:
    return await connection.scalar(text("PRAGMA synchronous")) == 2


async def test_commits_wait_for_the_disk_but_those_that_need_not_last(database: Database) -> None:
    for must_last in (True, False, False, True):
        async with database.transaction(must_last=must_last) as connection:
            assert await waits_for_disk(connection) is must_last


async def test_a_transaction_that_is_cut_off_takes_nothing_from_the_next_one(database: Database) -> None:
    async def begin() -> None:
        async with database.transaction(must_last=False):
            await asyncio.sleep(0)

    for turns in range(40):
        task = asyncio.create_task(begin())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        async with database.transaction() as connection:
            assert await waits_for_disk(connection)
