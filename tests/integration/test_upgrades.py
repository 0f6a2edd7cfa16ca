"""A newer PlexLink on an older database: what is copied before, what comes along, and what is refused."""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from plexlink import flow
from plexlink.errors import StoreError, StoreUnavailableError
from plexlink.keys import open_vault
from plexlink.models import Answer, Attempt, Card, Finding, Health, Lane, Link, Place, Reason, SignOut, State
from plexlink.secret import Secret
from plexlink.settings import PlexLinkSettings
from plexlink.store import Database, Store, migrations

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST_RELEASE = (Path(__file__).parents[1] / "data" / "databases" / "0001.sql").read_text()
KEYS = Secret("a:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
THEN = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
COPY = re.compile(r"plexlink\.sqlite3\.copy-\d{8}T\d{6}\.\d{6}Z-of-(\d{4})")

unix_only = pytest.mark.skipif(os.name == "nt", reason="Windows has other rights and limits")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "plexlink.sqlite3"


def restore(path: Path) -> None:
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.executescript(FIRST_RELEASE)


def size_of(path: Path) -> int:
    return path.stat().st_size


def execute(path: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        return database.execute(statement).fetchall()


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return list(database.iterdump())


def version_of(path: Path) -> object:
    ((version,),) = execute(path, f"SELECT version_num FROM {migrations.VERSION_TABLE}")  # noqa: S608
    return version


def copies_beside(path: Path) -> list[Path]:
    return sorted(file for file in path.parent.iterdir() if COPY.fullmatch(file.name))


def names_beside(path: Path) -> set[str]:
    return {file.name for file in path.parent.iterdir()}


async def open_once(path: Path) -> None:
    async with Database.open(path):
        pass


async def refused(path: Path) -> str:
    with pytest.raises(StoreError) as raised:
        await open_once(path)
    said = str(raised.value)
    assert said.endswith(".")
    assert "\n" not in said
    return said


# --- the rows ---


def secret(kind: str, number: int) -> Secret:
    return Secret(f"{kind}-of-{number}-0123456789")


def an_attempt(
    number: int,
    state: State,
    *,
    user: int = 0,
    reason: Reason | None = None,
    shown: Card | None = None,
    lane: Lane | None = Lane.DM,
    is_owed: bool = False,
) -> Attempt:
    """Return an attempt as it was planted in the first release's database."""
    user = user or number
    is_over, is_pending = state not in flow.OPEN, state is State.PENDING
    return Attempt(
        id=f"attempt-{number:02}".ljust(22, "x"),
        user_id=user,
        guild_id=7,
        device_name="Discord: member via PlexLink",
        state=state,
        requested_at=THEN,
        reason=reason,
        deadline_at=None if state is State.REQUESTED else THEN + timedelta(minutes=15),
        ended_at=THEN + timedelta(minutes=1 if reason is Reason.REPLACED else 2) if is_over else None,
        client_identifier=None if is_over else secret("client", number),
        pin_id=Secret(f"{90000 + number}") if is_pending else None,
        user_code=Secret(f"CD{number:02}") if is_pending else None,
        token=secret("token", number) if state is State.APPROVED else None,
        shown_state=shown,
        place=Place(lane=lane, **({"channel_id": 10 * user, "message_id": 10 * user + 1} if lane is Lane.DM else {})),
        answer=Answer(message_id=10 * user + 2, token=secret("interaction", number), at=THEN) if is_owed else None,
    )


ATTEMPTS = [
    an_attempt(1, State.REQUESTED, lane=None, is_owed=True),
    an_attempt(2, State.PENDING, shown=Card.WAITING, is_owed=True),
    an_attempt(3, State.PENDING, shown=Card.WAITING, lane=Lane.ANSWER, is_owed=True),
    an_attempt(4, State.PENDING, shown=Card.UNSURE),
    an_attempt(5, State.APPROVED, shown=Card.WAITING),
    an_attempt(6, State.APPROVED, shown=Card.APPROVED),
    an_attempt(7, State.LINKED, shown=Card.LINKED),
    an_attempt(8, State.LINKED, shown=Card.APPROVED),
    an_attempt(9, State.LINKED, reason=Reason.UNDONE, shown=Card.LINKED),
    an_attempt(10, State.LINKED, reason=Reason.REPLACED, shown=Card.REPLACED, user=7),
    an_attempt(11, State.REFUSED, reason=Reason.MANAGED, shown=Card.WAITING),
    an_attempt(12, State.REFUSED, reason=Reason.TAKEN, shown=Card.REFUSED),
    an_attempt(13, State.REFUSED, reason=Reason.REVOKED, shown=Card.REFUSED),
    an_attempt(14, State.EXPIRED, lane=Lane.ANSWER, is_owed=True),
    an_attempt(15, State.CANCELLED, shown=Card.CANCELLED),
    an_attempt(16, State.FAILED, reason=Reason.PLEX_REFUSED, shown=Card.FAILED),
    an_attempt(17, State.FAILED, reason=Reason.PLEX_SILENT, shown=Card.FAILED),
    an_attempt(18, State.FAILED, reason=Reason.UNREADABLE, shown=Card.FAILED),
]
LINKS = [
    Link(
        id=f"link-{number:02}".ljust(22, "x"),
        user_id=number,
        attempt_id=f"attempt-{number:02}".ljust(22, "x"),
        account_id=Secret(f"{1000 + number}"),
        account_name=Secret(f"account-of-{number}"),
        client_identifier=secret("client", number),
        token=secret("token", number),
        linked_at=THEN,
    )
    for number in (7, 8)
]
SIGNED_OUT = {9, 12}
EVENTS = {
    State.REQUESTED: flow.PinCreated(Secret("90099"), Secret("CD99"), THEN + timedelta(minutes=15)),
    State.PENDING: flow.Granted(Secret("token-of-99-0123456789")),
    State.APPROVED: flow.Accepted(),
}


async def test_every_row_of_the_first_release_is_as_it_was_and_can_be_gone_on_with(path: Path) -> None:
    restore(path)
    later = THEN + timedelta(minutes=5)
    async with Database.open(path) as database:
        vault = await open_vault(database, PlexLinkSettings(data_dir=path.parent, keys=KEYS))
        store = Store(database=database, vault=vault)
        async with store.transaction() as tx:
            found = {each.id: each for user in range(1, 19) for each in await tx.attempts.all_of(user)}
            assert found == {each.id: each for each in ATTEMPTS}
            behind = {each.user_id for each in await tx.attempts.unfinished()}
            assert behind == {1, 2, 3, 4, 5, 6, 8, 9, 11, 14}, "open, or its member has not seen how it ended"
            links = await tx.links.of_many({7, 8})
            assert list(links.values()) == LINKS
            sign_outs = [await tx.sign_outs.get(row_id) for row_id in await tx.sign_outs.ids()]
            assert {each.user_id: each for each in sign_outs if each} == {
                each.user_id: SignOut(
                    id=each.id,
                    user_id=each.user_id,
                    client_identifier=secret("client", each.user_id),
                    token=secret("token", each.user_id),
                    requested_at=THEN,
                )
                for each in sign_outs
                if each and each.user_id in SIGNED_OUT
            }
            assert len(sign_outs) == len(SIGNED_OUT)
            assert (await tx.notices.untold(), await tx.given_up.all()) == ([], [])

        advanced = [flow.advance(each, EVENTS[each.state], later) for each in ATTEMPTS if each.state in EVENTS]
        checked = [replace(link, health=Health(finding=Finding.ALIVE, checked_at=later)) for link in LINKS]
        async with store.transaction() as tx:
            for each in advanced:
                await tx.attempts.move(each)
            for link in checked:
                await tx.links.diagnose(link.id, link.health)
            for row_id in await tx.sign_outs.ids():
                await tx.sign_outs.remove(row_id)
        async with store.transaction() as tx:
            assert [await tx.attempts.get(each.id) for each in advanced] == advanced
            assert list((await tx.links.of_many({7, 8})).values()) == checked
            assert [await tx.links.holding(link.account_id) for link in LINKS] == checked
            assert await tx.sign_outs.ids() == []


# --- the copy ---


async def test_what_was_committed_is_copied_before_an_upgrade_though_it_is_in_the_log_alone(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "plexlink")
    with closing(sqlite3.connect(path, isolation_level=None)) as before:
        before.execute("PRAGMA journal_mode = WAL")
        before.execute("PRAGMA wal_autocheckpoint = 0")
        before.executescript(FIRST_RELEASE)
        assert size_of(path) < 8192, "all of it is in the -wal"
        await open_once(path)
    (copy,) = copies_beside(path)
    assert COPY.fullmatch(copy.name)[1] == "0001"  # type: ignore[index]
    restore(original := path.with_name("original"))
    assert dump(copy) == dump(original)
    assert version_of(path) == migrations.HEAD
    assert names_beside(path) == {path.name, f"{path.name}.lock", copy.name, "original"}
    assert caplog.messages == [
        f"store.opening file={path}",
        f"store.copied file={copy}: the database as it was before its upgrade",
        f"store.upgraded from=0001 to={migrations.HEAD}",
    ]


async def test_a_copy_is_a_database_that_the_program_starts_on_again(path: Path) -> None:
    restore(path)
    await open_once(path)
    (copy,) = copies_beside(path)
    copy.replace(path)
    await open_once(path)
    assert version_of(path) == migrations.HEAD


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@unix_only
@pytest.mark.parametrize("mask", [0, 0o077, 0o277])
async def test_a_copy_is_its_owners_alone_whatever_the_umask(path: Path, mask: int) -> None:
    restore(path)
    path.with_name(f"{path.name}.lock").touch(0o600)
    with umask(mask):
        await open_once(path)
    assert [copy.stat().st_mode & 0o777 for copy in copies_beside(path)] == [0o600]


@unix_only
async def test_a_copy_lies_beside_the_database_itself_and_not_beside_a_link_to_it(path: Path) -> None:
    restore(path)
    (folder := path.with_name("elsewhere")).mkdir()
    (link := folder / "link.sqlite3").symlink_to(path)
    await open_once(link)
    assert len(copies_beside(path)) == 1


@pytest.mark.parametrize("was", ["new", "current", "empty"])
async def test_nothing_is_copied_where_nothing_is_upgraded_or_nothing_is_stored(
    path: Path, monkeypatch: pytest.MonkeyPatch, was: str
) -> None:
    if was == "current":
        await open_once(path)
        execute(path, "INSERT INTO plexlink_keys VALUES ('primary', 'a')")
    if was == "empty":
        with monkeypatch.context() as before:
            before.setattr(migrations, "HEAD", "0001")
            await open_once(path)
    await open_once(path)
    assert version_of(path) == migrations.HEAD
    assert copies_beside(path) == []


async def test_the_newest_two_copies_are_kept_and_nothing_else_is_touched(path: Path) -> None:
    others = [f"{path.name}.copy-mine", f"other.{path.name}.copy-20260101T000000.000000Z-of-0001", f"{path.name}.bak"]
    for name in others:
        path.with_name(name).touch()
    made: list[str] = []
    for number in range(4):
        restore(path)
        execute(path, f"UPDATE plexlink_attempts SET device_name = 'the {number}. time'")  # noqa: S608
        await open_once(path)
        copies = [copy.name for copy in copies_beside(path)]
        assert copies[:-1] == made[-1:]
        made.append(copies[-1])
    assert set(others) < names_beside(path)
    newest = copies_beside(path)[-1]
    assert execute(newest, "SELECT DISTINCT device_name FROM plexlink_attempts") == [("the 3. time",)]


async def test_an_empty_copy_that_a_crash_left_costs_no_whole_one(path: Path) -> None:
    whole, empty = (path.with_name(f"{path.name}.copy-202{year}0101T000000.000000Z-of-0001") for year in (4, 5))
    whole.write_bytes(b"a copy")
    empty.touch()
    restore(path)
    await open_once(path)
    kept, made = copies_beside(path)
    assert kept == whole
    assert dump(made)


async def test_a_clock_that_was_set_back_does_not_cost_the_newest_copy(path: Path) -> None:
    for year in (2101, 2102):
        path.with_name(f"{path.name}.copy-{year}0101T000000.000000Z-of-0001").write_bytes(b"a copy")
    restore(path)
    await open_once(path)
    made, later = copies_beside(path)
    assert dump(made)
    assert "2102" in later.name


PLANTED = "CREATE TRIGGER planted AFTER DELETE ON plexlink_links BEGIN SELECT 1; END"


async def test_an_upgrade_that_fails_again_and_again_changes_nothing_and_pushes_no_copy_out(path: Path) -> None:
    older = path.with_name(f"{path.name}.copy-20260101T000000.000000Z-of-0001")
    older.write_bytes(b"a copy")
    restore(path)
    execute(path, PLANTED)
    before = dump(path)
    for _ in range(3):
        assert "(trigger planted)" in await refused(path)
        assert dump(path) == before
        kept, made = copies_beside(path)
        assert kept == older
        assert dump(made) == before
    execute(path, "DROP TRIGGER planted")
    await open_once(path)
    assert version_of(path) == migrations.HEAD
    assert len(copies_beside(path)) == 2


async def test_a_draft_that_a_killed_process_left_is_no_copy_and_goes(path: Path) -> None:
    restore(path)
    path.with_name(f"{path.name}.copying").write_bytes(b"half of it")
    await open_once(path)
    (copy,) = copies_beside(path)
    assert version_of(copy) == "0001"
    assert names_beside(path) == {path.name, f"{path.name}.lock", copy.name}


@contextmanager
def nearly_full_disk() -> Iterator[None]:
    """Let no file become larger than the index of the write-ahead log."""
    import resource  # noqa: PLC0415 - Windows has none

    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (32768, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))


@unix_only
async def test_a_copy_that_has_no_room_is_told_and_nothing_is_upgraded(path: Path) -> None:
    restore(path)
    older = path.with_name(f"{path.name}.copy-20260101T000000.000000Z-of-0001")
    older.write_bytes(b"a copy")
    before = dump(path)
    with nearly_full_disk(), pytest.raises(StoreUnavailableError) as raised:
        await open_once(path)
    assert str(raised.value).startswith(
        "The database cannot be copied before its upgrade, and stays as it is: its disk"
    )
    assert "make room" in str(raised.value)
    assert dump(path) == before
    assert names_beside(path) == {path.name, f"{path.name}.lock", older.name}
    await open_once(path)
    assert version_of(path) == migrations.HEAD


async def test_a_copy_that_may_not_be_written_is_told_and_nothing_is_upgraded(path: Path) -> None:
    restore(path)
    before = dump(path)
    (draft := path.with_name(f"{path.name}.copying")).mkdir()
    assert "cannot be copied before its upgrade, and stays as it is: " in await refused(path)
    assert dump(path) == before
    draft.rmdir()
    await open_once(path)
    assert version_of(path) == migrations.HEAD


def damage(path: Path) -> None:
    ((root,),) = execute(path, "SELECT rootpage FROM sqlite_master WHERE name = 'plexlink_links'")
    with path.open("r+b") as file:
        file.seek((int(str(root)) - 1) * 4096)
        file.write(b"\xff" * 4096)


async def test_a_damaged_database_is_not_upgraded(path: Path) -> None:
    restore(path)
    damage(path)
    assert "cannot be copied before its upgrade, and stays as it is (" in await refused(path)
    assert version_of(path) == "0001"
    assert copies_beside(path) == []


# --- an older program ---


@pytest.mark.parametrize("version", ["0099", "nonsense"])
async def test_an_older_program_writes_nothing_to_the_database_of_a_newer_one(path: Path, version: str) -> None:
    restore(path)
    await open_once(path)
    for copy in copies_beside(path):
        copy.unlink()
    execute(path, f"UPDATE {migrations.VERSION_TABLE} SET version_num = '{version}'")  # noqa: S608
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    assert await refused(path) == "A newer PlexLink wrote this database; install that release or a later one."
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before
