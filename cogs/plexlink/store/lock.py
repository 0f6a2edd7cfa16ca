"""The lock that keeps a second bot from the database, and what is said where it is not to be had.

Where a file system has no flock, filelock makes the file's presence the lock, and writes a process and its machine into
it. Of a process of this machine it knows whether it has ended; of another one, as a new container is, nobody knows.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import warnings
from pathlib import Path

import filelock

from ..errors import DatabaseInUseError, StoreError, StoreUnavailableError
from ..files import OWNER_ONLY
from .troubles import of_system

_CANNOT_LOCK = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}
_NOT_FOR_US = {errno.EACCES, errno.EPERM, errno.EROFS}
_HOLDER = re.compile(r"([0-9]+)\n([!-~]{1,253})\n")
_CONTAINER = "?pidns-"
"""filelock puts it between the machine's name and the number of a container."""


def acquire(lock: filelock.BaseFileLock) -> None:
    """Take the lock, or say at once why not.

    Raises:
        DatabaseInUseError: another bot runs on the database, or left its lock where nobody can tell.
        StoreUnavailableError: the machine does not let us at present.
        StoreError: there can be no lock in this place.

    """
    path = Path(lock.lock_file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # where it matters that there is no flock, we say so
            lock.acquire()
    except filelock.Timeout:
        raise _taken(path, is_mark=isinstance(lock, filelock.SoftFileLock)) from None
    except OSError as error:
        raise _refused(path, error) from None


def _taken(path: Path, *, is_mark: bool) -> StoreError:
    holder = "A running program"
    try:
        if is_mark:
            found = _HOLDER.match(path.read_text(encoding="ascii", errors="replace"))
            process, machine = found.groups() if found else ("", "")
            if machine != socket.gethostname():
                return _unknown(path, process, machine.partition(_CONTAINER)[0])
            holder = f"Process {process}"
        else:
            # filelock takes a file that cannot be made, as in /proc, for one that comes and goes.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, OWNER_ONLY))
    except OSError as error:
        return _refused(path, error)
    return DatabaseInUseError(
        f"{holder} holds {path}, most likely another bot on this database; "
        "stop it, or give this one its own PLEXLINK_DATA_DIR."
    )


def _unknown(path: Path, process: str, machine: str) -> DatabaseInUseError:
    if process:
        found = f"names process {process} of {machine}; if that has ended, delete the file that it left over"
    else:
        found = "names no process; if no bot runs on this database, delete the file"
    return DatabaseInUseError(
        f"Whether another bot runs cannot be told: the database's file system has no locks, and {path} {found}."
    )


def _refused(path: Path, error: OSError) -> StoreError:
    why = os.strerror(error.errno or 0)
    if error.errno in _CANNOT_LOCK:
        kind = StoreUnavailableError if error.errno == errno.ENOLCK else StoreError  # a server of locks may come back
        return kind(
            f"Whether another bot runs cannot be told: {path} cannot be locked ({why}); "
            "keep the database on a local disk (PLEXLINK_DATA_DIR, PLEXLINK_DATABASE_URL)."
        )
    is_no_place = isinstance(error, FileNotFoundError) and path.parent.is_dir()
    if error.errno in _NOT_FOR_US or is_no_place:
        return StoreError(
            f"The lock file {path} cannot be written ({why}); "
            "mend the rights of its folder, or name another one in PLEXLINK_DATA_DIR or PLEXLINK_DATABASE_URL."
        )
    return of_system(error)
