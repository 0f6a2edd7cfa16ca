"""What becomes of backups where something is in the way: one sentence, and everything stays as it was."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from plexlink.errors import SettingError, StoreError
from plexlink.keys import are_backed_up
from plexlink.operator import back_up, back_up_keys, check
from plexlink.secret import Secret
from plexlink.settings import PlexLinkSettings
from plexlink.store import Database, copies
from plexlink.store.numbers import Numbers
from rows import A

if TYPE_CHECKING:
    from pathlib import Path

    from postgres import Server

IN_THIS_MUCH_ROOM = (
    "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536)); "
    "from plexlink_bot.cli import main; main()"
)
NEWER = "UPDATE plexlink_version SET version_num = '0099'"
OLDER = "DROP TABLE plexlink_access"
ELSEWHERE = {"PLEXLINK_DATABASE_URL": "postgresql://somebody:planted@127.0.0.1:9/plexlink"}
OUTSIDE = {"PLEXLINK_DATABASE_URL": "sqlite:///database/plexlink-20260101T000000Z.sqlite3"}
"""As whoever restores a backup by pointing at it."""

OTHER_VERSION = "The database is of another version; start this version's bot first."
NO_FOLDER_OF_OURS = "A backup does not belong into the data folder itself; name another one."


@pytest.fixture
async def settings(tmp_path: Path) -> PlexLinkSettings:
    """Return those of a database that a bot has made, and has left."""
    settings = PlexLinkSettings(data_dir=tmp_path / "data")
    await check(settings)
    return settings


def sql(settings: PlexLinkSettings, statement: str) -> None:
    with closing(sqlite3.connect(settings.database_file)) as database, database:
        database.execute(statement)


def files_in(folder: Path, *but: str) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if not path.name.endswith(but)]
    return {str(path): path.read_bytes() if path.is_file() else b"a folder" for path in files}


def plexlink(
    settings: PlexLinkSettings, *arguments: str, program: tuple[str, ...] = ("-m", "plexlink_bot"), **environment: str
) -> subprocess.CompletedProcess[bytes]:
    inherited = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    home = settings.data_dir.parent
    return subprocess.run(  # noqa: S603 - our own
        [sys.executable, *program, *arguments],
        cwd=home,
        env={"HOME": str(home), "PLEXLINK_DATA_DIR": str(settings.data_dir), **inherited, **environment},
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("command", "before", "environment", "sentence"),
    [
        ("backup data", "", {}, NO_FOLDER_OF_OURS),
        ("backup missing/backups", "", {}, "cannot be copied to {here}/missing/backups: No such file or directory."),
        ("backup in-the-way", "", {}, "cannot be copied to {here}/in-the-way: Not a directory."),
        ("backup backups", NEWER, {}, OTHER_VERSION),
        ("backup backups", OLDER, {}, OTHER_VERSION),
        ("backup backups", "", {"PLEXLINK_DATA_DIR": "no"}, "There is no database {here}/no/plexlink.sqlite3 yet"),
        ("backup backups", "", ELSEWHERE, 'is backed up with pg_dump; see "Back up" in deploy/runbook.md.'),
        ("backup database", "", OUTSIDE, "A backup does not belong into the folder of the database itself"),
        (
            "backup-keys data",
            "",
            {},
            "data/plexlink.key is in the data folder, where the key file is; name another place.",
        ),
        ("backup-keys data/copy", "", {}, "data/copy is in the data folder"),
        ("backup-keys missing/key", "", {}, "cannot be written to missing/key (No such file or directory)."),
        ("backup-keys in-the-way", "", {}, "in-the-way does not hold these keys, and is left as it is"),
        ("backup-keys -", "", {"PLEXLINK_KEYS": f"b:{A.text.reveal()}"}, "the keys are what PLEXLINK_KEYS says"),
        ("backup-keys -", "UPDATE plexlink_keys SET value = 'b' WHERE name = 'primary'", {}, "must hold the key b"),
    ],
)
async def test_what_cannot_be_backed_up_is_said_in_one_sentence_and_leaves_nothing(
    settings: PlexLinkSettings, command: str, before: str, environment: dict[str, str], sentence: str
) -> None:
    here = settings.data_dir.parent
    (here / "in-the-way").write_text("rubbish")
    (here / "database").mkdir()
    shutil.copy(settings.database_file, here / "database" / "plexlink-20260101T000000Z.sqlite3")
    if before:
        sql(settings, before)
    files = files_in(here, "-wal", "-shm")
    done = await asyncio.to_thread(plexlink, settings, *command.split(), **environment)
    (said,) = done.stderr.decode().splitlines()
    assert said.startswith("plexlink: ")
    assert sentence.format(here=here) in said
    assert "planted" not in said
    assert (done.returncode, done.stdout) == (78, b"")
    assert files_in(here, "-wal", "-shm") == files


async def test_a_backup_for_which_there_is_no_room_leaves_no_folder(settings: PlexLinkSettings) -> None:
    sql(settings, "CREATE TABLE large AS SELECT zeroblob(10000000)")
    program = ("-c", IN_THIS_MUCH_ROOM)
    done = await asyncio.to_thread(plexlink, settings, "backup", "backups", program=program)
    assert (done.returncode, done.stdout) == (78, b"")
    assert b"cannot be copied to" in done.stderr
    assert not (settings.data_dir.parent / "backups").exists()


async def test_a_damaged_copy_never_gets_the_name_of_a_backup(
    settings: PlexLinkSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_badly(connection: sqlite3.Connection, draft: Path) -> None:
        connection.execute("VACUUM INTO ?", (str(draft),))
        content = draft.read_bytes()
        draft.write_bytes(content[:8192] + bytes(4096) + content[12288:])

    monkeypatch.setattr(copies, "write_whole", write_badly)
    with pytest.raises(StoreError, match=r"was damaged|malformed"):
        back_up(settings, tmp_path / "backups", keep=None)
    assert not (tmp_path / "backups").exists()


async def test_what_stands_in_the_log_alone_is_in_the_copy_and_stays_there(
    settings: PlexLinkSettings, tmp_path: Path
) -> None:
    left = replace(settings, data_dir=tmp_path / "killed")
    left.data_dir.mkdir()
    with closing(sqlite3.connect(settings.database_file, isolation_level=None)) as database:
        database.execute("INSERT INTO plexlink_numbers VALUES ('a', 0.5)")
        for ending in ("", "-wal"):
            shutil.copy(f"{settings.database_file}{ending}", left.data_dir)
    before = files_in(left.data_dir, "-shm")
    copy = back_up(left, tmp_path / "backups", keep=None)
    assert files_in(left.data_dir, "-shm") == before
    with closing(sqlite3.connect(copy)) as database:
        assert database.execute("SELECT value FROM plexlink_numbers WHERE name = 'a'").fetchall() == [(0.5,)]


@pytest.mark.parametrize(("keep", "left"), [(None, 3), (3, 3), (2, 2), (1, 1)])
async def test_so_many_backups_are_kept_and_nothing_else_is_touched(
    settings: PlexLinkSettings, tmp_path: Path, keep: int | None, left: int
) -> None:
    folder, name = tmp_path / "backups", "plexlink-20260101T000000Z.sqlite3"
    dead, alive = f".{name}.0123456789abcdef.draft-journal", f".{name}.fedcba9876543210.draft"
    of_a_clock_ahead = "plexlink-29990101T000000Z.sqlite3"
    others = [f"{name}.20251001", f"a-{name}", "plexlink.sqlite3", alive, of_a_clock_ahead]
    older = [f"plexlink-{year}0101T000000Z.sqlite3" for year in (2025, 2026)]
    (folder / "plexlink-20240101T000000Z.sqlite3").mkdir(parents=True)
    for each in (*others, *older, dead):
        (folder / each).write_text("a backup, perhaps")
    for each in (*others[:3], dead):
        os.utime(folder / each, (0, 0))
    made = back_up(settings, folder, keep=keep)
    names = {path.name for path in folder.iterdir() if path.is_file()}
    assert names == {*others, made.name, *older[len(older) + 1 - left :]}
    assert (folder / "plexlink-20240101T000000Z.sqlite3").is_dir()


@pytest.fixture(params=["file", "server"])
async def wherever(request: pytest.FixtureRequest, settings: PlexLinkSettings, postgres: Server) -> PlexLinkSettings:
    if request.param == "server":
        settings = replace(settings, database_url=Secret(postgres.create_database()))
        await check(settings)
    return settings


async def is_noted(settings: PlexLinkSettings) -> bool:
    async with Database.visit(settings.database_place) as database, database.transaction() as connection:
        return are_backed_up(settings, await Numbers(connection).all())


async def test_keys_count_as_backed_up_until_one_is_added(wherever: PlexLinkSettings, tmp_path: Path) -> None:
    copy, dated = tmp_path / "copy.key", [tmp_path / "copy.key.20251001", wherever.data_dir / "plexlink.key.20251001"]
    for each in dated:
        shutil.copy(wherever.key_file, each)
        os.utime(each, (0, 0))
    (left := tmp_path / ".copy.key.0123456789abcdef.draft").touch()
    os.utime(left, (0, 0))
    assert not await is_noted(wherever)
    for _ in range(2):
        assert await back_up_keys(wherever, copy) == copy
        assert copy.read_bytes() == wherever.key_file.read_bytes()
        assert await is_noted(wherever)
    with wherever.key_file.open("a") as file:
        file.write(f"new:{A.text.reveal()}\n")
    assert not await is_noted(wherever)
    with pytest.raises(SettingError, match="does not hold these keys"):
        await back_up_keys(wherever, copy)
    assert not await is_noted(wherever)
    assert are_backed_up(replace(wherever, keys=A.text), {})
    assert all(each.exists() for each in dated), "somebody's own copies"
    assert not left.exists()


async def test_the_standard_output_gets_the_keys_and_nothing_else(settings: PlexLinkSettings) -> None:
    full = ("-c", "import os; os.dup2(os.open('/dev/full', os.O_WRONLY), 1); from plexlink_bot.cli import main; main()")
    done = await asyncio.to_thread(plexlink, settings, "backup-keys", "-", program=full)
    assert done.stderr == b"plexlink: The keys cannot be written to the standard output (No space left on device).\n"
    assert done.returncode == 78
    assert not await is_noted(settings)
    done = await asyncio.to_thread(plexlink, settings, "backup-keys", "-")
    assert done.stdout == settings.key_file.read_bytes()
    assert done.stderr == b"The keys are in what was printed; keep it apart from the database.\n"
    assert done.returncode == 0
    assert await is_noted(settings)


async def test_keys_for_a_folder_that_is_not_there_become_no_file_of_its_name(settings: PlexLinkSettings) -> None:
    done = await asyncio.to_thread(plexlink, settings, "backup-keys", f"{settings.data_dir.parent}/stick/")
    assert "there is no such folder" in " ".join(done.stderr.decode().split())
    assert done.returncode == 2
    assert not (settings.data_dir.parent / "stick").exists()
    assert not await is_noted(settings)
