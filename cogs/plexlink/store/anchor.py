"""The database's files under the bot's feet: noticed when somebody takes them away, and put back.

SQLite goes on writing into a file that was deleted, without a word, and all of it is gone when the process ends. A
connection of its own, which nothing else uses, holds the files as long as the process lives, and with them all that
was committed. So what was deleted can be written again; what was replaced by another file is for the operator.
"""

from __future__ import annotations

import logging
import sqlite3
from typing import TYPE_CHECKING

from ..files import make_folder, put_in_place, synchronise
from .copies import keep_copy, write_whole
from .troubles import translated_files, unavailable

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from ..errors import StoreUnavailableError

_log = logging.getLogger(__name__)

_PATIENCE_SECONDS = 1.0
"""How long other programs are waited for: the event loop waits as well."""

_OPENING = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "SELECT 1 FROM sqlite_master",  # reading is what makes SQLite open the -wal and the -shm
)

_Identity = tuple[int, int] | None


class Anchor:
    """Hold the files of one database."""

    def __init__(self, path: Path) -> None:
        """Open the database. Raise `StoreError` where that fails."""
        self._path = path
        self._hold()

    def _hold(self) -> None:
        with translated_files():
            connection = sqlite3.connect(self._path, isolation_level=None, timeout=_PATIENCE_SECONDS)
            try:
                for statement in _OPENING:
                    connection.execute(statement).fetchall()
                self._known = self._look()
            except BaseException:
                connection.close()
                raise
            self._connection = connection

    def release(self) -> None:
        """Close the connection."""
        self._connection.close()

    def holds(self) -> bool:
        """Tell whether the files at the database's path are still those that were opened."""
        with translated_files():
            return self._look() == self._known

    def save(self) -> None:
        """Bring all that was committed to the database's path, to be opened anew there: see `renew`.

        Raises:
            StoreUnavailableError: another file is there, or the disk refuses.

        """
        with translated_files():
            here = _identity(self._path)
            if here is None:
                self._write_anew()
                _log.warning(
                    "store.put_back: the database was deleted or moved while the bot ran; do that only after a stop"
                )
            elif here == self._known[0]:
                self._empty_log()
                _log.warning(
                    "store.put_back: the database's -wal or -shm was deleted while the bot ran; leave them alone"
                )
            else:
                # At the next opening SQLite would take our log for the other file's and spoil it.
                self._empty_log()
                raise _displaced()

    def keep_copy(self, path: Path, *, version: str, now: datetime) -> Path | None:
        """Copy what was committed beside the database at `path` before it is upgraded; see `copies.py`.

        Raises:
            StoreError: there is no copy, and so there should be no upgrade.

        """
        with translated_files("The database cannot be copied before its upgrade, and stays as it is"):
            return keep_copy(self._connection, path, version=version, now=now)

    def renew(self) -> None:
        """Hold the files that are at the database's path now; nobody else may have the old ones open."""
        self._connection.close()
        self._hold()

    def _look(self) -> tuple[_Identity, ...]:
        return tuple(_identity(file) for file in with_companions(self._path))

    def _empty_log(self) -> None:
        """Move what stands in the write-ahead log to the file itself."""
        ((is_busy, _, _),) = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        if is_busy:
            raise unavailable("another program holds it locked; wait for that program, or end it")

    def _write_anew(self) -> None:
        """Write the database to a new file, whole or not at all."""
        make_folder(self._path.parent)
        draft = rescue_of(self._path)
        draft.unlink(missing_ok=True)
        try:
            write_whole(self._connection, draft)
            for file in with_companions(self._path)[1:]:
                file.unlink(missing_ok=True)  # SQLite would take a stale log for one of the new file
            put_in_place(draft, self._path)
        except FileExistsError:
            raise _displaced() from None
        finally:
            draft.unlink(missing_ok=True)
        synchronise(self._path.parent)


def rescue_of(path: Path) -> Path:
    """Return where a database that was deleted is written until it is whole."""
    return path.with_name(f"{path.name}.rescue")


def with_companions(path: Path) -> tuple[Path, Path, Path]:
    """Return the database's file, its write-ahead log and the log's index."""
    return path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")


def _displaced() -> StoreUnavailableError:
    return unavailable(
        "another file was put in its place while the bot ran, and nothing is written to either; "
        "see that the right one is there, and restart the bot"
    )


def _identity(path: Path) -> _Identity:
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino
