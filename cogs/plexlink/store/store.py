"""Transactions that speak PlexLink's values: rows outside, frozen models inside."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from sqlalchemy import text

from . import channel
from .access import AccessRows
from .attempts import AttemptRows
from .audit import AuditRows
from .given_up import GivenUpRows
from .links import LinkRows
from .memberships import MembershipRows
from .notices import NoticeRows
from .numbers import Numbers
from .roster import RosterRows
from .servers import ServerRows
from .sign_outs import SignOutRows
from .withdrawals import WithdrawalRows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from ..tenure import Fence
    from .cells import Sealer
    from .database import Database


class Transaction:
    """The repositories, all in one writing transaction."""

    def __init__(self, connection: AsyncConnection, vault: Sealer) -> None:
        self.attempts = AttemptRows(connection, vault)
        self.links = LinkRows(connection, vault)
        self.sign_outs = SignOutRows(connection, vault)
        self.given_up = GivenUpRows(connection, vault)
        self.notices = NoticeRows(connection, vault)
        self.audit = AuditRows(connection)
        self.numbers = Numbers(connection)
        self.servers = ServerRows(connection, vault)
        self.memberships = MembershipRows(connection)
        self.withdrawals = WithdrawalRows(connection)
        self.access = AccessRows(connection)
        self.roster = RosterRows(connection, vault)
        self._connection = connection

    async def tell_others(self, words: Sequence[str]) -> None:
        """Tell other processes something, when this transaction is committed and not before."""
        if words:
            await self._connection.execute(text(channel.TELL), {"words": list(words)})


class Store:
    """PlexLink's rows in a database, their secrets sealed by a vault."""

    def __init__(self, *, database: Database, vault: Sealer, fence: Fence | None = None) -> None:
        self._database = database
        self._vault = vault
        self._fence = fence

    def fenced(self, fence: Fence) -> Store:
        """Return a store for the work of a tenure: it keeps nothing any more when another process has begun to work."""
        return Store(database=self._database, vault=self._vault, fence=fence)

    @asynccontextmanager
    async def transaction(self, *, must_last: bool = True) -> AsyncIterator[Transaction]:
        """Give the repositories in one transaction, committed at the end of the block; see `Database.transaction`.

        Raises:
            FencedError: the store is for the work of a tenure that is over.
            StoreError: the database refused; nothing of the block was kept.

        """
        async with self._database.transaction(must_last=must_last, fence=self._fence) as connection:
            yield Transaction(connection, self._vault)

    async def check(self) -> None:
        """Write what changes nothing. Raises StoreError where the database cannot be written."""
        await self._database.check()
