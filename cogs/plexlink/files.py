"""Files that are there whole or not at all, never in another one's place, and nobody else's to read."""

from __future__ import annotations

import os
import re
import secrets
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

OWNER_ONLY = 0o600
_DRAFT = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{16}\.draft(-journal)?", re.DOTALL)
_DRAFT_IS_LEFT_AFTER_SECONDS = 3600.0
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


def make_folder(folder: Path) -> None:
    """Make a folder, and those on the way to it, where they are missing: each its owner's alone.

    Raises:
        OSError: the system does not let us, or a file is in the way.

    """
    for each in reversed([folder, *folder.parents]):
        if not each.is_dir():
            each.mkdir(mode=0o700, exist_ok=True)  # with its parents, it would give those the usual rights


def draft_of(path: Path) -> Path:
    """Return where a file is written until it is finished: a name beside it that nobody gives to a file of theirs."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.draft")


def remove_drafts(folder: Path, name: str, *, older_than_seconds: float | None = _DRAFT_IS_LEFT_AFTER_SECONDS) -> None:
    """Remove the drafts of files with a name, a pattern, that processes left behind which died while they wrote.

    Others may be writing some just now, unless the caller knows better. SQLite's journal of a draft goes as well.
    """
    for file in folder.iterdir():
        draft = _DRAFT.fullmatch(file.name)
        with suppress(OSError):  # its writer has just finished
            if (
                draft is not None
                and re.fullmatch(name, draft["name"])
                and (older_than_seconds is None or time.time() - file.stat().st_mtime > older_than_seconds)
            ):
                file.unlink()


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


def synchronise(path: Path) -> None:
    """Wait until the disk has a file, or the names in a folder."""
    if os.name == "nt":  # there only what is open for writing can be waited for, and no folder is
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
