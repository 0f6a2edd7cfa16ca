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
        (sqlite3.SQLITE_IOERR_LOCK, "cannot lock files"),
        (sqlite3.SQLITE_IOERR_ACCESS, "read-only"),
        (sqlite3.SQLITE_IOERR_SHMSIZE, "does not take what is written"),
        (sqlite3.SQLITE_IOERR_WRITE, "does not take what is written"),
        (sqlite3.SQLITE_IOERR_FSYNC, "does not take what is written"),
        (sqlite3.SQLITE_FULL, "make room"),
        (sqlite3.SQLITE_CANTOPEN_FULLPATH, "cannot be opened"),
    ],
)
def test_each_trouble_has_its_own_sentence(code: int, words: str) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    with pytest.raises(StoreUnavailableError, match=words), translated():
        raise error
