"""What the owners of a server choose, and what becomes of a server: decide and commit, nothing else.

Whether somebody is an owner is for whoever asks Discord; here stands what an owner may have.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from . import entitlements
from .audit import Deed
from .community import Objection, Server, ServerTouched

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import timedelta

    from .change import Change
    from .clock import Clock
    from .community import Setup
    from .ledger import Ledger


class Servers:
    """Set servers up, and follow what happens to them at Discord."""

    def __init__(self, *, ledger: Ledger, clock: Clock, grace: timedelta) -> None:
        self._ledger = ledger
        self._clock = clock
        self._grace = grace

    async def of(self, guild_id: int) -> Server:
        """Return what is chosen for a server."""
        async with self._ledger.change() as change:
            return await _server(change, guild_id)

    async def set_up(self, guild_id: int, setup: Setup, *, instead_of: Setup, actor_id: int) -> Server | None:
        """Choose for a server, in place of what was chosen; members get and lose roles accordingly, by and by.

        With it, its owners believe that all are no members of its Plex server any more whose losses are held. Nothing
        is done, and nothing returned, where something else was chosen than the caller has looked at.
        """
        now = self._clock.now()
        async with self._ledger.change() as change:
            before = await _server(change, guild_id)
            if before.setup != instead_of:
                return None
            is_new_role = setup.role_id != before.setup.role_id
            objection = None if is_new_role else before.objection
            reconciled_at = None if is_new_role else before.reconciled_at  # who has that one is to be learned
            server = replace(
                before,
                setup=setup,
                objection=objection,
                closed_at=None,
                chosen_by=actor_id,
                reconciled_at=reconciled_at,
            )
            if setup.audit_channel_id != before.setup.audit_channel_id:
                if before.setup.audit_channel_id is None:
                    newest = await change.tx.audit.newest()
                    server = replace(server, audited_to=newest, telling_to=newest)  # it begins with the choice
                await change.note_for(guild_id, Deed.CHANNEL_CHOSEN, actor_id, detail=_id(setup.audit_channel_id))
            if await change.tx.access.believe(guild_id):
                await change.settle_losses(guild_id)
                await change.note_for(guild_id, Deed.LOSSES_BELIEVED, actor_id)
                server = replace(server, losses_believed_at=now)
            await change.tx.servers.keep(server)
            if is_new_role:
                await change.note_for(guild_id, Deed.ROLE_CHOSEN, actor_id, detail=_id(setup.role_id))
            await entitlements.entitle_all(change.tx, server, await self._entitled(change), now)
            await change.tx.memberships.doubt(guild_id, owed_before=self._clock.now())
            change.tell(ServerTouched(guild_id))
            return server

    async def panel_posted(self, guild_id: int, channel_id: int, message_id: int, *, actor_id: int) -> Server:
        """Take note of a new panel; return the server as it was with the former one."""
        async with self._ledger.change() as change:
            before = await _server(change, guild_id)
            await change.tx.servers.keep(
                replace(before, panel_channel_id=channel_id, panel_message_id=message_id, chosen_by=actor_id)
            )
            await change.note_for(guild_id, Deed.PANEL_POSTED, actor_id, detail=_id(channel_id))
            return before

    async def panel_gone(self, guild_id: int, message_id: int) -> None:
        """Take note that the message of a panel is gone."""
        async with self._ledger.change() as change:
            server = await change.tx.servers.get(guild_id)
            if server is not None and server.panel_message_id == message_id:
                await change.lose_panel(server)

    async def channel_gone(self, guild_id: int, channel_id: int) -> None:
        """Take note that a channel was deleted, and the panel with it; the audit finds out by itself."""
        async with self._ledger.change() as change:
            server = await change.tx.servers.get(guild_id)
            if server is None or server.panel_message_id is None:
                return
            if server.panel_channel_id == channel_id:
                await change.lose_panel(server)

    async def met(self, guild_id: int, user_id: int, role_ids: Collection[int]) -> None:
        """Take note that a member was seen in a server with some roles."""
        async with self._ledger.change(must_last=False) as change:
            server = await change.tx.servers.get(guild_id)
            if server is None or server.left_at is not None:
                return
            if await entitlements.meet(change.tx, server, user_id, role_ids, self._clock.now()):
                change.tell(ServerTouched(guild_id))

    async def member_left(self, guild_id: int, user_id: int) -> None:
        """Take note that a member has left a server, or was thrown out."""
        async with self._ledger.change() as change:
            await change.tx.memberships.went(guild_id, user_id)
            await change.tx.access.forget_in(guild_id, user_id)

    async def joined(self, guild_id: int) -> None:
        """Go on with a server that has the bot back."""
        async with self._ledger.change() as change:
            server = await change.tx.servers.get(guild_id)
            if server is not None and server.left_at is not None:
                server = replace(server, left_at=None)
                await change.tx.servers.keep(server)
                await entitlements.entitle_all(change.tx, server, await self._entitled(change), self._clock.now())
                await change.tx.memberships.doubt(guild_id, owed_before=self._clock.now())
                change.tell(ServerTouched(guild_id))

    async def left(self, guild_id: int) -> None:
        """Take note that the bot is not in a server any more; for a month it may come back to what was chosen."""
        async with self._ledger.change() as change:
            server = await change.tx.servers.get(guild_id)
            if server is not None and server.left_at is None:
                await change.tx.servers.keep(replace(server, left_at=self._clock.now()))

    async def known(self) -> list[Server]:
        """Return all servers for which something is chosen, and those that were left within a month."""
        async with self._ledger.change() as change:
            return await change.tx.servers.all()

    async def role_gone(self, guild_id: int, role_id: int) -> None:
        """Take note that a role was deleted."""
        async with self._ledger.change() as change:
            server = await change.tx.servers.get(guild_id)
            if server is None:
                return
            await change.tx.memberships.forget_role(guild_id, role_id)
            if server.setup.role_id == role_id and server.objection is not Objection.GONE:
                await change.object(server, Objection.GONE)

    async def roles_changed(self, guild_id: int) -> None:
        """Let what was refused be tried again: the roles of a server, or the bot's own, are not what they were."""
        async with self._ledger.change(must_last=False) as change:
            server = await change.tx.servers.get(guild_id)
            if server is not None:
                change.tell(ServerTouched(guild_id))

    async def _entitled(self, change: Change) -> list[int]:
        return await change.tx.memberships.entitled(rejected_after=self._clock.now() - self._grace)


async def _server(change: Change, guild_id: int) -> Server:
    return await change.tx.servers.get(guild_id) or Server(id=guild_id)


def _id(snowflake: int | None) -> str | None:
    return None if snowflake is None else str(snowflake)
