"""What the operator does with the database from the command line: beside a bot that runs on it, or before one does."""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from . import keys
from .errors import SettingError, StoreError
from .keeper import refuse_collision
from .shards import ALL_SHARDS
from .store import Database, Store
from .version import VERSION
from .work import health

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import TextIO

    from .settings import PlexLinkSettings
    from .shards import Shards
    from .tenure import Process


async def check(settings: PlexLinkSettings, shards: Shards = ALL_SHARDS) -> None:
    """Open database and keys as the plugin does, and close them. Raise as it does."""
    settings.make_folder()
    async with Database.open(settings.database_place) as database:
        await keys.open_vault(database, settings)
        line = database.line(host=socket.gethostname(), shards=str(shards), version=VERSION)
        if line is not None:
            try:
                await refuse_collision(line, shards)
            finally:
                await line.close()


async def processes(settings: PlexLinkSettings) -> list[Process] | None:
    """Return the processes that are there, longest first; nothing where a database is one process's alone.

    Raises:
        SettingError, StoreError: one sentence says what is wrong.

    """
    async with Database.visit(settings.database_place) as database:
        return await database.processes()


async def move(settings: PlexLinkSettings, to: str, moved: Callable[[int, int], None]) -> int:
    """Write all that is stored into the database that a URL names; return how many rows.

    The keys open both, before and after. `moved` is told how many rows are written by then, and in all.

    Raises:
        SettingError, StoreError, VaultError: nothing was moved; one sentence says what is wrong.

    """
    settings.make_folder()
    if to == settings.database_place:
        raise SettingError("--to names the very database that it would come from.")
    async with Database.still(settings.database_place) as source:
        await keys.open_vault(source, settings)
        with _said_of("--to"):
            async with Database.open(to) as target:
                count = await source.move_to(target, moved)
                await keys.open_vault(target, settings)
    return count


def back_up(settings: PlexLinkSettings, folder: Path, *, keep: int | None) -> Path:
    """Copy the database into a folder, and return where the copy is. Raise as `Database.back_up` does."""
    if os.path.realpath(folder) == os.path.realpath(settings.data_dir):
        raise SettingError("A backup does not belong into the data folder itself; name another one.")
    return Database.back_up(settings.database_place, folder, keep=keep)


async def back_up_keys(settings: PlexLinkSettings, to: Path | TextIO) -> Path | None:
    """Copy the key file to a file, into a folder or onto a stream; return which file holds the keys now.

    Raises:
        SettingError, StoreError, VaultError: one sentence says what is wrong; the keys do not count as backed up.

    """
    if settings.keys is not None:
        raise SettingError("There is no key file: the keys are what PLEXLINK_KEYS says; back up what you set there.")
    async with Database.visit(settings.database_place) as database:
        return await keys.back_up_keys(database, settings, to)


async def rotate_keys(settings: PlexLinkSettings, sealed: Callable[[int, int], None]) -> keys.Rotation:
    """Seal all that is stored with another key; `sealed` is told how many rows are done by then, and in all.

    Raises:
        SettingError, StoreError, VaultError: nothing was sealed anew; one sentence says what is wrong.

    """
    async with Database.still(settings.database_place) as database:
        return await keys.rotate(database, settings, sealed)


async def retire_keys(settings: PlexLinkSettings) -> list[str]:
    """Take keys out of the key file that open nothing any more; return their ids. Raise as `rotate_keys` does."""
    async with Database.visit(settings.database_place) as database:
        return await keys.retire(database, settings)


@contextmanager
def _said_of(name: str) -> Iterator[None]:
    """Let a sentence name what is wrong in the place of the variable that mostly is."""
    try:
        yield
    except (SettingError, StoreError) as error:
        raise type(error)(str(error).replace("PLEXLINK_DATABASE_URL", name)) from None


async def believe_refusals(settings: PlexLinkSettings) -> int:
    """Let the bot believe what it held back as a wave of refusals; return how much. Raise as `running` does."""
    async with Database.visit(settings.database_place) as database:
        store = Store(database=database, vault=await keys.open_vault(database, settings))
        async with store.transaction() as tx:
            return await health.believe(tx, datetime.now(UTC))
