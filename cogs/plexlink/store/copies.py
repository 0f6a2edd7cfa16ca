"""Copies of the database from before an upgrade, beside it: whoever must go back has where to go.

They are made of what was committed, the write-ahead log included. What is erased from the database later stays in
them, sealed as it was, until two newer copies have taken their places.
"""

from __future__ import annotations

import filecmp
import os
import re
from typing import TYPE_CHECKING

from ..files import OWNER_ONLY, put_in_place
from .migrations import VERSION_TABLE

if TYPE_CHECKING:
    import sqlite3
    from datetime import datetime
    from pathlib import Path

_MOST = 2
_WHEN = "%Y%m%dT%H%M%S.%fZ"
_NAME = r"\.copy-\d{8}T\d{6}\.\d{6}Z-of-\w+"


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


def copies_of(path: Path) -> list[Path]:
    """Return the copies of a database, the oldest first; an empty one is what a crash left, and goes."""
    name = re.compile(re.escape(path.name) + _NAME)
    files = sorted(file for file in path.parent.iterdir() if name.fullmatch(file.name))
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
    draft.chmod(OWNER_ONLY)  # a umask may have taken rights that the owner needs
    connection.execute("VACUUM INTO ?", (str(draft),))
    synchronise(draft)


def synchronise(path: Path) -> None:
    """Wait until the disk has a file, or the names in a folder."""
    if os.name == "nt":  # there only what is open for writing can be waited for, and no folder is
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
