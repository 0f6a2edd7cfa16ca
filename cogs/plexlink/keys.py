"""The key ring that a database is read with: from the settings, or from a file that is created at the first start."""

from __future__ import annotations

import logging
import os
from dataclasses import asdict
from typing import TYPE_CHECKING

from .errors import SettingError, StoreError, WrongKeysError
from .vault import KeyRecords, Vault, create_key_file, parse_keys, read_key_file, remove_drafts, write_key_file

if TYPE_CHECKING:
    from pathlib import Path

    from .settings import PlexLinkSettings
    from .store import Database
    from .vault import KeyRing

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
        remove_drafts(settings.key_file)
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
    _log.warning("vault.key_created file=%s: without this file no stored token can be read; back it up", path)
    return ring
