"""Copies of the database: from before an upgrade, beside it, and backups, wherever the operator wants them.

They are made of what was committed, the write-ahead log included. What is erased from the database later stays in
them, sealed as it was: in those from before upgrades until two newer ones have taken their places.
"""

from __future__ import annotations

import filecmp
import os
import re
import sqlite3
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

from ..errors import StoreError
from ..files import OWNER_ONLY, draft_of, put_in_place, remove_drafts, synchronise
from . import tables
from .migrations import HEAD, VERSION_TABLE
from .troubles import translated

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

_MOST = 2
_WHEN = "%Y%m%dT%H%M%S.%fZ"
_NAME = r"\.copy-\d{8}T\d{6}\.\d{6}Z-of-\w+"

_BACKUP = "plexlink-%Y%m%dT%H%M%SZ.sqlite3"
_BACKUPS = re.compile(r"plexlink-[0-9]{8}T[0-9]{6}Z\.sqlite3")


def keep_copy(connection: sqlite3.Connection, path: Path, *, version: str, now: datetime) -> Path | None:
    """Copy a database of `version` beside it, remove what is too many, and return where the copy is.

    Of a database that holds nothing there is none. An upgrade that is tried again finds the copy of the first time,
    and pushes no older one out.

    Raises:
        OSError, sqlite3.Error: there is no new copy.

    """
    if _is_empty(connection):
        return None
    draft = path.with_name(f"{path.name}.copying")
    draft.unlink(missing_ok=True)
    try:
        write_whole(connection, draft)
        known = copies_of(path)
        for copy in known:
            if filecmp.cmp(copy, draft, shallow=False):
                return copy
        copy = path.with_name(f"{path.name}.copy-{now.strftime(_WHEN)}-of-{version}")
        put_in_place(draft, copy)
        for former in known[: 1 - _MOST]:
            former.unlink()
    finally:
        draft.unlink(missing_ok=True)
    synchronise(path.parent)
    return copy


def back_up(path: Path, folder: Path, *, keep: int | None, now: datetime) -> Path:
    """Copy the database at `path` into a folder, which is made if it is missing; return where the copy is.

    The database is only read, and a bot may run on it. With `keep`, so many of the backups in the folder are left, the
    newest and this one, and those that are called after a later time.

    Raises:
        StoreError: there is no new backup, or one that is too many could not be removed.

    """
    folder = folder.absolute()
    if folder.resolve() == path.parent:
        raise StoreError("A backup does not belong into the folder of the database itself; name another one.")
    with translated(), closing(_reading(path)) as connection:
        if not _is_current(connection):
            raise StoreError("The database is of another version; start this version's bot first.")
        with _told(f"The database cannot be copied to {folder}"):
            backup = _write_backup(connection, folder, now)
    if keep is not None:
        with _told(f"The database was copied to {backup}, but older backups cannot be removed"):
            older = [file for file in _made_in(folder, _BACKUPS) if file < backup]  # a clock may have been ahead
            for file in older[: max(0, len(older) + 1 - keep)]:
                file.unlink()
    return backup


def _write_backup(connection: sqlite3.Connection, folder: Path, now: datetime) -> Path:
    is_new = not folder.exists()
    if is_new:
        folder.mkdir(mode=0o700)
    backup = folder / now.strftime(_BACKUP)
    draft = draft_of(backup)
    try:
        remove_drafts(folder, _BACKUPS.pattern)
        write_whole(connection, draft)
        with closing(_reading(draft)) as written:
            if written.execute("PRAGMA integrity_check").fetchall() != [("ok",)] or not _is_current(written):
                raise StoreError(f"The copy in {folder} was damaged, and is removed; look at both disks.")
        put_in_place(draft, backup)
    finally:
        for left in (draft, draft.with_name(f"{draft.name}-journal")):  # SQLite leaves its own where it fails
            left.unlink(missing_ok=True)
        if is_new:
            with suppress(OSError):  # it is not empty: all went well
                folder.rmdir()
    with suppress(OSError):  # some shares know no such thing
        synchronise(folder)
    return backup


def _reading(path: Path) -> sqlite3.Connection:
    """Open a database only to read it: nothing is written to it, not even at the end, when its log may stay empty."""
    return sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)


def _is_current(connection: sqlite3.Connection) -> bool:
    """Tell whether a database has all the tables of this version."""
    found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not found >= {VERSION_TABLE, *tables.metadata.tables}:
        return False
    return connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchall() == [(HEAD,)]  # noqa: S608 - a constant


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Say what could not be done, and why."""
    try:
        yield
    except (OSError, sqlite3.Error, UnicodeError) as error:  # a name that is no text is none for SQLite
        why = os.strerror(error.errno or 0) if isinstance(error, OSError) else error
        raise StoreError(f"{what}: {why}.") from None


def copies_of(path: Path) -> list[Path]:
    """Return the copies of a database from before its upgrades, the oldest first."""
    return _made_in(path.parent, re.compile(re.escape(path.name) + _NAME))


def _made_in(folder: Path, name: re.Pattern[str]) -> list[Path]:
    """Return the files with such names, the oldest first; an empty one is what a crash left, and goes."""
    files = sorted(file for file in folder.iterdir() if name.fullmatch(file.name) and file.is_file())
    for file in files:
        if file.stat().st_size == 0:
            file.unlink()
    return [file for file in files if file.exists()]


def _is_empty(connection: sqlite3.Connection) -> bool:
    tables = connection.execute(
        "SELECT printf('\"%w\"', name) FROM sqlite_master WHERE type = 'table' AND name != ?", (VERSION_TABLE,)
    ).fetchall()
    return not any(
        connection.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone()  # noqa: S608 - the table's own name
        for (name,) in tables
    )


def write_whole(connection: sqlite3.Connection, draft: Path) -> None:
    """Write all that was committed to a new file of its owner's alone, and wait until the disk has it."""
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY))
    with suppress(PermissionError):  # FAT, many network shares: all files have the rights of the mount
        draft.chmod(OWNER_ONLY)  # a umask may have taken rights that the owner needs
    connection.execute("VACUUM INTO ?", (str(draft),))
    synchronise(draft)
