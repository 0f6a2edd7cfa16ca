"""The key ring that a database is read with: from the settings, or from a file that is created at the first start.

Whether the keys of the file are backed up is kept in the database, as a number that other keys do not have.
"""

from __future__ import annotations

import logging
import os
import re
import stat
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import SettingError, StoreError, WrongKeysError
from .files import remove_drafts
from .store import Store
from .vault import (
    KeyRecords,
    Vault,
    change_key_file,
    create_key_file,
    fresh_key,
    key_of,
    parse_keys,
    read_key_file,
    write_key_file,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TextIO

    from .settings import PlexLinkSettings
    from .store import Database
    from .vault import KeyRing

_BACKED_UP = "keys_backed_up"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """What sealed until now, and what does from now on; `unreadable` envelopes did not open, and stay as they are."""

    former: str
    primary: str
    unreadable: int


async def open_vault(database: Database, settings: PlexLinkSettings) -> Vault:
    """Return the vault of a database; a new database gets a key file, unless the settings hold the keys.

    Raises:
        SettingError: the key file cannot be written, or the setting is malformed.
        WrongKeysError: the keys are missing, or not those that the database was written with.
        StoreError: the key table cannot be used.

    """
    records = await database.key_records(lambda: _first_records(settings))
    vault = _opened(records, settings)
    if not vault.signs:
        completed = vault.completed()
        records = await database.sign_all(_opened(completed, settings), records, completed)
        vault = _opened(records, settings)
        _log.warning("vault.rows_signed: the database of an earlier release is safe from foreign hands now")
    with suppress(OSError):
        # None is being made now: that happens before a database has records. Whoever changes the key file at this very
        # moment, or puts a deleted one back, is told that nothing was written, and does it again.
        remove_drafts(settings.data_dir, re.escape(settings.key_file.name), older_than_seconds=None)
    if settings.keys is None:
        database.watch(lambda: _keep_key_file(settings.key_file, vault.ring))
    return vault


def _opened(records: dict[str, str], settings: PlexLinkSettings) -> Vault:
    try:
        known = KeyRecords(**records)
    except TypeError:
        raise StoreError("The database's key table is incomplete; restore the database from a backup.") from None

    def read() -> KeyRing:
        return _key_ring(settings, is_new=False)

    return Vault(ring=read(), records=known, reload=read)


def _first_records(settings: PlexLinkSettings) -> dict[str, str]:
    return asdict(Vault.first_records(_key_ring(settings, is_new=True)))


def _keep_key_file(path: Path, ring: KeyRing) -> None:
    """Put a deleted key file back, while this process still knows what stood in it. Raise OSError if that fails."""
    if not path.exists():
        write_key_file(path, ring)
        _log.warning("vault.key_put_back file=%s: it was deleted while the bot ran; do that only after a stop", path)


def _key_ring(settings: PlexLinkSettings, *, is_new: bool) -> KeyRing:
    if settings.keys is not None:
        return parse_keys(settings.keys.reveal(), source="PLEXLINK_KEYS")
    path = settings.key_file
    if is_new:
        _forget_unwritten(path)
    if path.exists():
        return read_key_file(path)
    if not is_new:
        raise WrongKeysError(
            f"The key file {path} is missing, but the database was written with it; "
            "restore it from your backup, or set PLEXLINK_KEYS."
        )
    try:
        ring = create_key_file(path)
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise SettingError(f"The key file {path} cannot be written ({why}); mend PLEXLINK_DATA_DIR.") from None
    _log.warning("vault.key_created file=%s: without it no token is read; back it up: plexlink backup-keys", path)
    return ring


def _forget_unwritten(path: Path) -> None:
    """Remove an empty key file, which a process left that was killed before the key was in it.

    Only for a new database: nobody else makes keys for it just now, and none of its rows needs one.
    """
    with suppress(OSError):
        found = path.lstat()
        if stat.S_ISREG(found.st_mode) and found.st_size == 0:
            path.unlink()


def are_backed_up(settings: PlexLinkSettings, numbers: Mapping[str, float]) -> bool:
    """Tell whether the keys that are there now were backed up; those of a setting are for its owner to keep."""
    if settings.keys is not None:
        return True
    try:
        return numbers.get(_BACKED_UP) == read_key_file(settings.key_file).mark
    except SettingError:
        return False


async def back_up_keys(database: Database, settings: PlexLinkSettings, to: Path | TextIO) -> Path | None:
    """Copy the key file to a new file, into a folder, or onto a stream; return which file holds the keys.

    That they are backed up is noted in the database, which they must open.

    Raises:
        SettingError: they cannot be written there.
        WrongKeysError, StoreError: as `open_vault`.

    """
    vault = await open_vault(database, settings)
    try:
        file = _copy(settings.key_file, vault.ring, to)
    except OSError as error:
        name = to if isinstance(to, Path) else "the standard output"
        raise SettingError(f"The keys cannot be written to {name} ({os.strerror(error.errno or 0)}).") from None
    async with Store(database=database, vault=vault).transaction() as tx:
        await tx.numbers.keep({_BACKED_UP: vault.ring.mark})
    return file


async def rotate(database: Database, settings: PlexLinkSettings, sealed: Callable[[int, int], None]) -> Rotation:
    """Seal all that is stored with another key: a new one of the key file, or the first one of the setting.

    The file has the new key before anything is sealed with it: whatever ends this on its way loses nothing, and it is
    done again with the same key. The former keys stay, for older backups; see `retire`.

    Raises:
        SettingError: the setting names no new key first, or the key file cannot be written.
        WrongKeysError, StoreError: as `open_vault`.

    """
    vault = await open_vault(database, settings)
    if vault.ring.first().id == vault.primary:
        if settings.keys is not None:
            raise SettingError(
                f"PLEXLINK_KEYS must name a new key first, before the key {vault.primary}, which stays in it for now; "
                "openssl rand -base64 32 makes one."
            )
        _change(settings.key_file, vault.ring.with_first(fresh_key()))
        vault = await open_vault(database, settings)
    key = vault.ring.first()
    records = asdict(vault.succeeded_by(key))
    unreadable = await database.seal_anew(vault, _opened(records, settings), records, sealed)
    return Rotation(former=vault.primary, primary=key.id, unreadable=unreadable)


async def retire(database: Database, settings: PlexLinkSettings) -> list[str]:
    """Take the keys out of the key file that open nothing in the database any more, and return their ids.

    Of those of the setting they are only named: that is for its owner to change.

    Raises:
        SettingError: the keys are not backed up, and older backups need them; or the key file cannot be written.
        WrongKeysError, StoreError: as `open_vault`.

    """
    vault = await open_vault(database, settings)
    used = await database.keys_of(vault, key_of) | {vault.primary}
    unused = [key.id for key in vault.ring if key.id not in used]
    if settings.keys is None and unused:
        async with Store(database=database, vault=vault).transaction() as tx:
            numbers = await tx.numbers.all()
            if not are_backed_up(settings, numbers):
                raise SettingError("Older backups need the keys that would be removed: plexlink backup-keys first.")
            left = vault.ring.without(unused)
            await tx.numbers.keep({_BACKED_UP: left.mark})  # the backup holds more than these
        _change(settings.key_file, left)
    return unused


def _change(path: Path, ring: KeyRing) -> None:
    try:
        change_key_file(path, ring)
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise SettingError(f"The key file {path} cannot be written ({why}); it is as it was.") from None


def _copy(key_file: Path, ring: KeyRing, to: Path | TextIO) -> Path | None:
    if not isinstance(to, Path):
        with os.fdopen(os.dup(to.fileno()), "w", encoding="ascii") as stream:  # its end tells of a full disk
            stream.write(ring.text().reveal())
        return None
    file = to / key_file.name if to.is_dir() else to
    if key_file.parent.resolve() in file.resolve().parents:
        raise SettingError(f"{file} is in the data folder, where the key file is; name another place.")
    with suppress(OSError):
        remove_drafts(file.parent, re.escape(file.name))
    with suppress(FileExistsError):
        write_key_file(file, ring)
    if not _holds(file, ring):
        raise SettingError(f"{file} does not hold these keys, and is left as it is; name another place.")
    return file


def _holds(file: Path, ring: KeyRing) -> bool:
    try:
        return list(read_key_file(file)) == list(ring)
    except SettingError:
        return False
