"""What SQLite says of files is one sentence that names what was found."""

from __future__ import annotations

import sqlite3

import pytest

from plexlink.errors import StoreUnavailableError
from plexlink.store.troubles import translated


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (sqlite3.SQLITE_IOERR_SHMMAP, "no shared memory"),
        (sqlite3.SQLITE_IOERR_SHMOPEN, "no shared memory"),
        (sqlite3.SQLITE_IOERR_READ, "cannot be read"),
        (sqlite3.SQLITE_IOERR_SHORT_READ, "cannot be read"),
        (sqlite3.SQLITE_IOERR_FSTAT, "cannot be read"),
        (sqlite3.SQLITE_IOERR_DATA, "cannot be read"),
        (sqlite3.SQLITE_IOERR_LOCK, "cannot lock files"),
        (sqlite3.SQLITE_IOERR_CHECKRESERVEDLOCK, "cannot lock files"),
        (sqlite3.SQLITE_IOERR_NOMEM, "has no memory left"),
        (sqlite3.SQLITE_NOMEM, "has no memory left"),
        (sqlite3.SQLITE_PROTOCOL, "holds it locked"),
        (sqlite3.SQLITE_IOERR_ACCESS, "read-only"),
        (sqlite3.SQLITE_IOERR_SHMSIZE, "does not take what is written"),
        (sqlite3.SQLITE_IOERR_WRITE, "does not take what is written"),
        (sqlite3.SQLITE_IOERR_FSYNC, "does not take what is written"),
        (sqlite3.SQLITE_FULL, "make room"),
        (sqlite3.SQLITE_CANTOPEN_FULLPATH, "cannot be opened"),
    ],
)
def test_each_trouble_has_its_own_sentence(code: int, words: str) -> None:
    error = MemoryError() if code == sqlite3.SQLITE_NOMEM else sqlite3.OperationalError("disk I/O error")
    if isinstance(error, sqlite3.Error):
        error.sqlite_errorcode = code
    with pytest.raises(StoreUnavailableError, match=words), translated():
        raise error
