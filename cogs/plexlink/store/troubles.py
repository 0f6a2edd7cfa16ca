"""What SQLite or its disk refuses, said in one sentence: what is wrong, and what mends it."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from ..errors import ConflictError, StoreError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_USE = "The database cannot be used"

_FULL = "its disk is full; make room"
_LOCKED = "another program holds it locked; wait for that program, or end it"
_READ_ONLY = "it is read-only; let the bot's user write its file, the -wal and -shm beside it, and their folder"
_CANNOT_OPEN = "its file cannot be opened; look at the rights of its folder, and at the limit of open files"
_DISK = "its disk does not take what is written; make room, or look at the system's log"
_UNREADABLE = "its disk cannot be read; look at the system's log, and restore the database from a backup"
_NO_MEMORY = "the machine has no memory left for it; end what takes too much, or give it more"
_NO_LOCKS = "its file system cannot lock files; keep it on a local disk"
_NO_SHARED_MEMORY = "its file system has no shared memory, which the -shm beside it needs; keep it on a local disk"

_CANNOT_READ = ("READ", "SHORT_READ", "SEEK", "FSTAT", "MMAP", "DATA", "CORRUPTFS")
_CANNOT_LOCK = ("LOCK", "RDLOCK", "UNLOCK", "CHECKRESERVEDLOCK")
_CANNOT_SHARE = ("SHMOPEN", "SHMLOCK", "SHMMAP")


def _of_disk(names: Iterable[str], sentence: str) -> dict[int, str]:
    return {getattr(sqlite3, f"SQLITE_IOERR_{name}"): sentence for name in names}


_OF_SQLITE = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_PROTOCOL: _LOCKED,
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_IOERR: _DISK,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_PERM: _READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: _CANNOT_OPEN,
    sqlite3.SQLITE_IOERR_ACCESS: _READ_ONLY,
    sqlite3.SQLITE_IOERR_NOMEM: _NO_MEMORY,
    **_of_disk(_CANNOT_READ, _UNREADABLE),
    **_of_disk(_CANNOT_LOCK, _NO_LOCKS),
    **_of_disk(_CANNOT_SHARE, _NO_SHARED_MEMORY),
}
"""An extended code says more than the primary one, and goes first."""

_OF_SYSTEM = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: _FULL,
    errno.EACCES: _READ_ONLY,
    errno.EPERM: _READ_ONLY,
    errno.EROFS: _READ_ONLY,
    errno.EMFILE: _CANNOT_OPEN,
    errno.ENFILE: _CANNOT_OPEN,
}
_UNIQUE = {sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY}

_PRIMARY = 0xFF
"""SQLite's extended codes carry the primary one in their lowest byte."""


@contextmanager
def translated(what: str = _USE) -> Iterator[None]:
    """Raise what the libraries raise as a `StoreError` about `what`, without their text: it holds statements."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise _of_sqlite(error, what) from None
    except MemoryError:  # what the driver makes of SQLITE_NOMEM
        raise unavailable(_NO_MEMORY, what) from None


@contextmanager
def translated_files(what: str = _USE) -> Iterator[None]:
    """Raise what the system says of files as a `StoreError`, and do as `translated` does."""
    try:
        with translated(what):
            yield
    except OSError as error:
        raise of_system(error, what) from None


def of_system(error: OSError, what: str = _USE) -> StoreUnavailableError:
    """Return what the system says of a file, in a sentence."""
    return unavailable(_OF_SYSTEM.get(error.errno or 0, os.strerror(error.errno or 0)), what)


def unavailable(sentence: str, what: str = _USE) -> StoreUnavailableError:
    """Return the error that says what is wrong and what mends it."""
    return StoreUnavailableError(f"{what}: {sentence} (PLEXLINK_DATA_DIR, PLEXLINK_DATABASE_URL).")


def _of_sqlite(error: Exception, what: str) -> StoreError:
    cause = error if isinstance(error, sqlite3.Error) else getattr(error, "orig", None)
    code = getattr(cause, "sqlite_errorcode", None)
    if code in _UNIQUE:
        return ConflictError("There may be only one of these, and another one was quicker.")
    sentence = None if code is None else _OF_SQLITE.get(code, _OF_SQLITE.get(code & _PRIMARY))
    if sentence is not None:
        return unavailable(sentence, what)
    return StoreError(f"{what} ({cause or type(error).__name__}); look at PLEXLINK_DATA_DIR or PLEXLINK_DATABASE_URL.")
