"""Which linked member is to have which role in which server: written in the transaction that changes the link.

Nobody knows in which servers a member is until Discord is asked, so a link is owed its role in each of them; the work
makes it true, and learns where the member is. Each function returns the ids of the servers that are owed something.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .community import Cause, Standing
from .models import AuditEntry, Deed

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from .community import Server
    from .store import Transaction

_MOST_AT_ONCE = 1000
"""So many ids fit into one statement of any database."""

_DEEDS = {Cause.UNLINKED: Deed.UNLINKED, Cause.MOVED: Deed.MOVED}
"""What is told of the link itself; that one has died was told when its member was."""


async def entitle(tx: Transaction, user_id: int, now: datetime) -> list[int]:
    """Let a member who has linked have the role of every server."""
    servers = await tx.servers.present()
    return [
        server.id
        for server in servers
        if await tx.memberships.want(server.id, [user_id], server.setup.role_id, Cause.LINKED, now)
    ]


async def disentitle(tx: Transaction, user_id: int, cause: Cause, now: datetime) -> list[int]:
    """Let a member lose every role that came with the link."""
    there = sorted({each.guild_id for each in await tx.memberships.of(user_id) if each.is_wanted and each.is_there})
    await tx.memberships.unwant(user_id, cause, now)
    if cause in _DEEDS:
        await note(tx, there, _DEEDS[cause], user_id, now)
    return there


async def entitle_all(tx: Transaction, server: Server, user_ids: Collection[int], now: datetime) -> None:
    """Let linked members have a server's role, and lose what was its role before."""
    await tx.memberships.unwant_others(server.id, server.setup.role_id, now)
    left = list(user_ids)
    while left:
        some, left = left[:_MOST_AT_ONCE], left[_MOST_AT_ONCE:]
        await tx.memberships.want(server.id, some, server.setup.role_id, Cause.SETUP, now)


async def meet(tx: Transaction, server: Server, user_id: int, role_ids: Collection[int], now: datetime) -> bool:
    """Compare a member who was seen in a server with what is to be; tell whether the server is owed something.

    Whoever was not there before, or has lost the role, gets it. Who has it without a link keeps it: that is noted once.
    """
    role_id = server.setup.role_id
    is_linked = await tx.links.of(user_id) is not None
    known = [each for each in await tx.memberships.of_in(user_id, server.id) if each.role_id == role_id]
    if is_linked:
        if not known or not known[0].is_wanted or known[0].standing is Standing.ABSENT:
            return bool(await tx.memberships.want(server.id, [user_id], role_id, Cause.LINKED, now))
        if known[0].standing is Standing.SETTLED and role_id is not None and role_id not in role_ids:
            return await tx.memberships.settle(known[0], Standing.DOUBTED, now)
        return False
    if role_id is None or role_id not in role_ids or known:
        return False
    await tx.memberships.find(server.id, user_id, role_id, now)
    await note(tx, [server.id], Deed.ROLE_FOUND, user_id, now)
    return True


async def note(
    tx: Transaction,
    guild_ids: Collection[int],
    deed: Deed,
    user_id: int,
    now: datetime,
    *,
    actor_id: int | None = None,
    detail: str | None = None,
) -> None:
    """Write a line into the audit of servers."""
    if guild_ids:
        await tx.audit.add(
            *(
                AuditEntry(at=now, actor_id=actor_id, deed=deed, user_id=user_id, detail=detail, guild_id=guild_id)
                for guild_id in guild_ids
            )
        )
