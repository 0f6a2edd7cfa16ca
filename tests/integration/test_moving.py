"""`plexlink move`: all that is stored goes from one engine to the other, or nothing does."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import insert, select, update

from plexlink.audit import AuditEntry, Deed
from plexlink.community import Cause
from plexlink.errors import DatabaseInUseError, StoreError, WrongKeysError
from plexlink.keys import open_vault
from plexlink.operator import move
from plexlink.secret import Secret
from plexlink.settings import PlexLinkSettings
from plexlink.store import Database, Store, tables
from rows import NOW, A, write_everything

if TYPE_CHECKING:
    from pathlib import Path

    from plexlink.vault import Vault
    from postgres import Server

MANY = 1200
"""More than are written at once."""

Rows = dict[str, set[tuple[object, ...]]]


@pytest.fixture(params=["from a file", "to a file"])
def urls(request: pytest.FixtureRequest, postgres: Server, tmp_path: Path) -> tuple[str, str]:
    file, server = f"sqlite:///{tmp_path}/here.sqlite3", postgres.create_database()
    return (file, server) if request.param == "from a file" else (server, file)


def settings(folder: Path, url: str, key: str = "a") -> PlexLinkSettings:
    return PlexLinkSettings(data_dir=folder, database_url=Secret(url), keys=Secret(f"{key}:{A.text.reveal()}"))


async def everything_in(database: Database) -> Rows:
    async with database.transaction() as connection:
        return {
            table.name: {tuple(row) for row in await connection.execute(select(table))}
            for table in tables.metadata.sorted_tables
            if table not in {tables.processes, tables.tenure}
        }


async def fill(folder: Path, url: str) -> Rows:
    """Put something into every table; return all of it."""
    async with Database.open(url) as database:
        vault: Vault = await open_vault(database, settings(folder, url))
        async with Store(database=database, vault=vault).transaction() as tx:
            await write_everything(tx)
            await tx.audit.add(*(AuditEntry(at=NOW, actor_id=42, deed=Deed.LINKED, user_id=n) for n in range(MANY)))
            await tx.numbers.keep({"a": 0.1, "b": 1e300})
            await tx.memberships.want(7, [42, 2**62], 8, Cause.SETUP, NOW)
            await tx.withdrawals.add(7, 42, NOW)
        async with database.transaction() as connection:
            await connection.execute(
                insert(tables.access).values(guild_id=7, user_id=42, has_access=True, checked_at=NOW, is_held=False)
            )
        found = await everything_in(database)
    assert all(found.values()), "there is something in every table"
    return found


async def test_all_that_is_stored_is_there_and_here_it_stays_as_it_was(tmp_path: Path, urls: tuple[str, str]) -> None:
    here, there = urls
    stored, told = await fill(tmp_path, here), list[tuple[int, int]]()
    total = sum(map(len, stored.values()))
    assert await move(settings(tmp_path, here), there, lambda *step: told.append(step)) == total
    assert told[0] == (0, total)
    assert told[-1] == (total, total)
    assert [step for step, _ in told] == sorted(step for step, _ in told)
    async with Database.open(there) as database:
        assert await everything_in(database) == stored
        vault = await open_vault(database, settings(tmp_path, there))
        async with Store(database=database, vault=vault).transaction() as tx:
            link, attempt = await tx.links.of(42), await tx.attempts.get(next(iter(stored["plexlink_attempts"]))[0])
            assert link is not None
            assert link.token.reveal() == "planted-token"
            assert attempt is not None
            assert attempt.trouble is None
            await tx.audit.add(AuditEntry(at=NOW, actor_id=42, deed=Deed.UNLINKED, user_id=42))
            assert await tx.audit.newest() == MANY + 1, "numbers go on"
            await tx.memberships.want(9, [42], 8, Cause.SETUP, NOW)
    async with Database.open(here) as database:
        assert await everything_in(database) == stored


async def test_what_owners_have_read_up_to_is_not_numbered_again(tmp_path: Path, urls: tuple[str, str]) -> None:
    here, there = urls
    await fill(tmp_path, here)
    read_to = MANY + 50  # of entries that are erased by now
    async with Database.open(here) as database, database.transaction() as connection:
        await connection.execute(update(tables.servers).values(audited_to=read_to))
    await move(settings(tmp_path, here), there, lambda *_: None)
    async with Database.open(there) as database:
        vault = await open_vault(database, settings(tmp_path, there))
        async with Store(database=database, vault=vault).transaction() as tx:
            await tx.audit.add(AuditEntry(at=NOW, actor_id=42, deed=Deed.UNLINKED, user_id=42))
            assert await tx.audit.newest() == read_to + 1


async def test_a_database_that_holds_something_is_not_moved_to(tmp_path: Path, urls: tuple[str, str]) -> None:
    here, there = urls
    stored = await fill(tmp_path, here)
    await move(settings(tmp_path, here), there, lambda *_: None)
    with pytest.raises(StoreError, match="is not empty; name a new one"):
        await move(settings(tmp_path, here), there, lambda *_: None)
    async with Database.open(there) as database:
        assert await everything_in(database) == stored


async def test_what_one_engine_does_not_take_leaves_nothing_there(tmp_path: Path, postgres: Server) -> None:
    here, there = f"sqlite:///{tmp_path}/here.sqlite3", postgres.create_database()
    await fill(tmp_path, here)
    async with Database.open(here) as database, database.transaction() as connection:
        await connection.execute(update(tables.attempts).values(device_name="x" * 65))
    with pytest.raises(StoreError, match="its server says 22001"):
        await move(settings(tmp_path, here), there, lambda *_: None)
    async with Database.open(there) as database:
        assert not any((await everything_in(database)).values())


async def test_keys_that_do_not_open_it_move_nothing(tmp_path: Path, urls: tuple[str, str]) -> None:
    here, there = urls
    await fill(tmp_path, here)
    with pytest.raises(WrongKeysError):
        await move(settings(tmp_path, here, key="other"), there, lambda *_: None)
    async with Database.open(there) as database:
        assert not any((await everything_in(database)).values())


async def test_a_database_that_a_bot_runs_on_is_left_alone(tmp_path: Path, urls: tuple[str, str]) -> None:
    here, there = urls
    stored = await fill(tmp_path, here)
    async with Database.open(here) as database:
        line = database.line(host="a-machine", shards="automatic", version="1")
        if line is not None:
            await line.beat(0)
        with pytest.raises(DatabaseInUseError, match=r"holds .*here\.sqlite3|on a-machine; stop all of them"):
            await move(settings(tmp_path, here), there, lambda *_: None)
        if line is not None:
            await line.close()
        assert await everything_in(database) == stored


async def test_where_no_bot_has_been_there_is_nothing_to_move(tmp_path: Path, urls: tuple[str, str]) -> None:
    here, there = urls
    with pytest.raises(StoreError, match=r"start the bot first|start this version's bot first"):
        await move(settings(tmp_path, here), there, lambda *_: None)
    with suppress(StoreError):
        async with Database.visit(there):
            raise AssertionError("nothing was made there")


def test_every_row_has_a_key_by_which_it_is_found_again() -> None:
    assert all(len(table.primary_key.columns) for table in tables.metadata.sorted_tables)


def plexlink(folder: Path, here: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "HOME": str(folder),
        "PLEXLINK_DATABASE_URL": here,
        "PLEXLINK_KEYS": f"a:{A.text.reveal()}",
        **{name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")},
    }
    command = [sys.executable, "-m", "plexlink_bot", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - our own


async def test_the_command_says_what_it_has_done_and_what_is_next(tmp_path: Path, urls: tuple[str, str]) -> None:
    here, there = urls
    total = sum(map(len, (await fill(tmp_path, here)).values()))
    done = await asyncio.to_thread(plexlink, tmp_path, here, "move", "--to", there)
    assert done.stdout.splitlines()[-1] == (
        f"{total} rows are there now, the same as here. Set PLEXLINK_DATABASE_URL to it, and start the bot."
    ), done
    assert done.returncode == 0
    again = await asyncio.to_thread(plexlink, tmp_path, here, "move", "--to", there)
    assert again.stderr == "plexlink: The database to move to is not empty; name a new one.\n"
    assert again.returncode == 78
