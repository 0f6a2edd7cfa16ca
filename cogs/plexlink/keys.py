"""The key ring that a database is read with: from the settings, or from a file that is created at the first start.

Whether the keys of the file are backed up is kept in the database, as a number that other keys do not have.
"""

from __future__ import annotations

import logging
import os
import re
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import SettingError, StoreError, WrongKeysError
from .files import remove_drafts
from .store import Store
from .vault import KeyRecords, Vault, create_key_file, parse_keys, read_key_file, write_key_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

    from .settings import PlexLinkSettings
    from .store import Database
    from .vault import KeyRing

_BACKED_UP = "keys_backed_up"

_log = logging.getLogger(__name__)


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
    if settings.keys is None:
        with suppress(OSError):
            remove_drafts(settings.data_dir, re.escape(settings.key_file.name))
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


def _copy(key_file: Path, ring: KeyRing, to: Path | TextIO) -> Path | None:
    if not isinstance(to, Path):
        with os.fdopen(os.dup(to.fileno()), "w", encoding="ascii") as stream:  # its end tells of a full disk
            stream.write(ring.text().reveal())
        return None
    file = to / key_file.name if to.is_dir() else to
    if key_file.parent.resolve() in file.resolve().parents:
        raise SettingError(f"{file} is in the data folder, where the key file is; name another place.")
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
