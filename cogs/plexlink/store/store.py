"""Transactions that speak PlexLink's values: rows outside, frozen models inside."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

from .attempts import Attempts
from .links import Links
from .sign_outs import SignOuts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncConnection

    from ..models import Cell, Secret
    from .database import Database


class Sealer(Protocol):
    """What the store needs of a vault."""

    def encrypt(self, secret: Secret, cell: Cell) -> str:
        """Return an envelope."""
        ...

    def decrypt(self, envelope: str, cell: Cell) -> Secret:
        """Open an envelope."""
        ...

    def lookup(self, account_id: Secret) -> str:
        """Return the keyed hash of an account id."""
        ...


class Transaction:
    """The repositories, all in one writing transaction."""

    def __init__(self, connection: AsyncConnection, vault: Sealer) -> None:
        self.attempts = Attempts(connection, vault)
        self.links = Links(connection, vault)
        self.sign_outs = SignOuts(connection, vault)


class Store:
    """PlexLink's rows in a database, their secrets sealed by a vault."""

    def __init__(self, *, database: Database, vault: Sealer) -> None:
        self._database = database
        self._vault = vault

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Give the repositories in one transaction, committed at the end of the block.

        Raises:
            StoreError: the database refused; nothing of the block was kept.

        """
        async with self._database.transaction() as connection:
            yield Transaction(connection, self._vault)
