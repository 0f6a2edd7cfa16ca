"""Files that are there whole or not at all, never in another one's place, and nobody else's to read."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

OWNER_ONLY = 0o600
_TO_READ_OR_WRITE = 0o066
_BY_EVERYBODY = 0o006


def is_open_to_others(path: Path) -> bool:
    """Tell whether other users may read or change a file or a folder, and whoever runs the bot could mend that.

    On a mount that is read-only, as the secrets of containers are, nobody can. Of another user's file the group's
    rights may be those that the bot reads it with; another user's folder is mostly a volume, with files of ours.
    """
    if os.name == "nt":
        return False  # other rights
    try:
        found, mount = path.stat(), os.statvfs(path)
    except OSError:
        return False
    theirs = _TO_READ_OR_WRITE
    if found.st_uid != os.geteuid():
        theirs = 0 if stat.S_ISDIR(found.st_mode) else _BY_EVERYBODY
    return bool(found.st_mode & theirs) and not mount.f_flag & os.ST_RDONLY


def put_in_place(draft: Path, path: Path) -> None:
    """Give a finished draft its name; it may keep its old one as well.

    Raises:
        FileExistsError: something has that name.
        OSError: the system does not let us.

    """
    try:
        os.link(draft, path)  # unlike a rename, never replaces what is there already
    except FileExistsError:
        raise
    except OSError:
        # FAT, many network shares: no hard links. Our own empty file keeps the name until the draft takes it.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY))
        try:
            draft.replace(path)
        except OSError:
            path.unlink()
            raise
