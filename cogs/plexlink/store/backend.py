"""What an engine of databases is for the store: `sqlite.py` and `postgres.py` are the two that there are.

Both promise the same, and the use cases build on it: one transaction at a time, whoever begins it. A decision that
reads first and then writes is made on what nobody else changes meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from datetime import datetime
    from pathlib import Path

    from sqlalchemy import Connection, MetaData, Table
    from sqlalchemy.ext.asyncio import AsyncConnection

    from ..tenure import Process
    from .line import Line


class Backend(Protocol):
    """One database, wherever it lies."""

    @property
    def folder(self) -> Path | None:
        """Where its files are, if this machine has them."""
        ...

    def tell_place(self) -> None:
        """Say in the log which database it is, without what is secret."""
        ...

    def held(self) -> AbstractAsyncContextManager[None]:
        """See that it can be used, and keep other bots away where there can be only one.

        Raises:
            DatabaseInUseError: another bot runs on it.
            StoreError: it cannot be used.

        """
        ...

    def check_presence(self) -> None:
        """Raise StoreError where it is known that no bot has used it yet."""
        ...

    def translated(self) -> AbstractContextManager[None]:
        """Raise what the libraries raise as a `StoreError`, without their text: it holds statements."""
        ...

    def begun(self, *, must_last: bool = True, is_long: bool = False) -> AbstractAsyncContextManager[AsyncConnection]:
        """Give a connection in a transaction that nobody else's overlaps, committed at the end of the block.

        What need not last is not waited for until a disk has it; what is long may take longer than anything else.
        """
        ...

    def takes_changes(self) -> bool:
        """Tell whether something was changed since the last time."""
        ...

    async def stay_in_place(self) -> None:
        """Mend what others did to its files. Raise StoreUnavailableError where that fails."""
        ...

    async def forget_erased(self) -> None:
        """Take what was erased out of where it would be kept longer."""
        ...

    def keep_copy(self, version: str, *, now: datetime) -> None:
        """Keep a copy before an upgrade, where that is this program's to do. Raise StoreError where it fails."""
        ...

    def back_up(self, folder: Path, *, keep: int | None, now: datetime) -> Path:
        """Copy it into a folder, and return where the copy is; see `Database.back_up`."""
        ...

    async def number_on(self, connection: AsyncConnection, metadata: MetaData, least: Mapping[Table, int]) -> None:
        """Let new rows be numbered after those that were written with their numbers, and after `least`."""
        ...

    def strangers(self, connection: Connection, metadata: MetaData) -> list[str]:
        """Name what was not made by us and might keep what is erased."""
        ...

    async def touch(self, connection: AsyncConnection) -> None:
        """Write what changes nothing, which fails where nothing can be written."""
        ...

    def line(self, *, host: str, shards: str, version: str) -> Line | None:
        """Return a new process's line to the others, where there can be others."""
        ...

    async def processes(self) -> list[Process] | None:
        """Return the processes that are there, where there can be several."""
        ...

    async def close(self) -> None:
        """Close the connections that are not in use."""
        ...
